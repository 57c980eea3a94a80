"""From a file to what a network gets.

A file is decoded to the numbers that it holds (`decoding`, `picture`), then resized, cut and normalised by one value
(`preprocessing`). The same value serves training, prediction and export. A `view` adds augmentation: what there is
(`augment`), what is drawn for an image (`draws`), and what happens to pixels (`operations`). It imports errors and
identity only. Begin with `preprocessing`.
"""

from tlfw.data.pictures.picture import Picture
from tlfw.data.pictures.preprocessing import Preprocessing
from tlfw.data.pictures.view import View

__all__ = ["Picture", "Preprocessing", "View"]
