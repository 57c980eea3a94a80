"""From a file to what a network gets.

A file is decoded to the numbers that it holds (`decoding`, `picture`), then resized, cut and normalised by one value
(`preprocessing`). The same value serves training, prediction and export. A `view` adds augmentation: what there is
(`augment`), what is drawn for an image (`draws`), and what happens to pixels (`operations`). It imports errors and
identity only. Begin with `preprocessing`.
"""

from tlfw import offering

HOMES = {"Picture": "picture", "Preprocessing": "preprocessing", "View": "view"}
"""What the package offers -> the module that has it."""

__all__ = [*HOMES]
__getattr__ = offering(__name__, HOMES)
