"""What is compared: what the model trains on, what may change, and how rates change over a stage.

A data `mix` is an order of stages; a `freeze` policy says which blocks train, and with which rates; a `schedule` moves
these. It imports backbones and data. Begin with `mix`; add a mix, a policy or a schedule here.
"""

from tlfw import offering

HOMES = {
    "Budget": "mix",
    "DataMix": "mix",
    "FreezePolicy": "freeze",
    "LastBlocks": "freeze",
    "Stage": "mix",
}
"""What the package offers -> the module that has it."""

__all__ = [*HOMES]
__getattr__ = offering(__name__, HOMES)
