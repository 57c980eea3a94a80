"""Jobs that a scheduler runs: Slurm, or processes of this machine that stand in for it.

Begin reading with `executor`, which submits a job and asks how it is. `resources` is what a job gets, `slurm` asks
Slurm's own commands, and `job` is what happens inside a job. What is to be submitted, and when, is decided by `sweeps`.
"""
