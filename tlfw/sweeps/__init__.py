"""Many runs: the jobs of a command, what they share, and in which order they are made.

`jobs` reads what was typed, `task_graph` finds equal runs and shared stages, `waves` hands them to a launcher,
`search` draws them instead of listing them, and `final_report` ends the sweep. It imports runs and the report.
Begin with `sweep`.
"""
