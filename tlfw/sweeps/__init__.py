"""Many runs: the jobs of a command, what they share, and in which order they are made.

Hydra's sweeper, `tlfw/_namespace/hydra_plugins/tlfw_sweeper.py`, is the algorithm: begin there. `jobs` reads what was
typed, `composer` makes configs and experiments of it, `check` plans each job, `task_graph` finds equal runs and shared
stages, `launch` hands them to a launcher, `search` draws jobs instead of listing them, and `final_report` ends the
sweep. It imports runs and the report.
"""
