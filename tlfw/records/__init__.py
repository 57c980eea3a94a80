"""What runs and sweeps write down, and the words for it.

A run leaves a `record`, with `settings` and the values of each `metric`; a sweep leaves a `plan_file`. `comparison`
says what makes a row of its own and which difference matters; `secret` keeps passwords out of all of it. Nothing here
needs torch, so the report can read it. It imports `tlfw.errors` and `tlfw.identity`. Begin with `record`.
"""

from tlfw import offering

HOMES = {"METRICS": "metric", "Metric": "metric", "Record": "record"}
"""What the package offers -> the module that has it."""

__all__ = [*HOMES]
__getattr__ = offering(__name__, HOMES)
