"""One run: a config, a plan, a fold of stages, one test, a record.

An `experiment` is a whole config as objects. Planning is three passes: `check` what was asked, `look` at the data
(`experiment_data`), and give `keys` to all that will be made. `run` looks whether it is done, and makes an `attempt`
otherwise: `fold` trains the stages in order, the last model is tested, and the record is left. `trained_model` rebuilds
it from the run's folder. It imports everything but sweeps and reports. Begin with `run`.
"""

from tlfw import offering

HOMES = {"LoadedModel": "trained_model", "load": "trained_model"}
"""What the package offers -> the module that has it."""

__all__ = [*HOMES]
__getattr__ = offering(__name__, HOMES)
