"""One run: a config, a plan, a fold of stages, one test, a record.

An `experiment` is a whole config as objects. Planning is three passes: `check` what was asked, `look` at the data
(`experiment_data`), and give `keys` to all that will be made. `fold` trains the stages in order, and `run` tests the
last model and leaves the record. `trained_model` rebuilds it from the run's folder. It imports everything but sweeps
and reports. Begin with `run`.
"""

from tlfw.runs.trained_model import LoadedModel, load

__all__ = ["LoadedModel", "load"]
