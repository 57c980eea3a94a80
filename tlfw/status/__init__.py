"""How far a sweep is: `python -m tlfw.status`, and the live table of the command that conducts it.

`sweep_reader` reads the plan, the ledger's entries and the records of a sweep, and makes a `Row` of each task.
`status_table` shows rows to people and logs, `time_left` estimates, and `cancelling` ends jobs. Nothing but that
writes. It imports `tlfw.records`, and no torch. Begin with `sweep_reader`.
"""

from tlfw.status.row import Row
from tlfw.status.status_table import lines, screen, summary, table
from tlfw.status.sweep_reader import Overview, SweepReader, rows

__all__ = ["Overview", "Row", "SweepReader", "lines", "rows", "screen", "summary", "table"]
