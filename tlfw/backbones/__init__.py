"""Networks: their blocks, their head, and their first weights.

A `backbone` is a config that builds a network; its `families` say which blocks it has, and `network` is what is known
of it without data. `weights` finds tensors in files and `fit` puts them in; `input_spec` says how images were prepared
for them. It imports `tlfw.data.pictures` for interpolations, and nothing of training. Begin with `backbone`; add a
network in `families` or `zoo`.
"""

from tlfw import offering

HOMES = {
    "Backbone": "backbone",
    "Block": "families",
    "Family": "families",
    "TorchvisionBackbone": "zoo",
}
"""What the package offers -> the module that has it."""

__all__ = [*HOMES]
__getattr__ = offering(__name__, HOMES)
