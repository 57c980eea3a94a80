"""Labelled images: data sets, their split into training, validation and test, and batches mixed from several sets.

`sets` says what a data set is, and `folder`, `published` and `typeset` are some. `rows` is what each source of images
fills in; `manifest` keeps what is known of files; `division` cuts images into parts; `overlap` and `near_copies`
compare parts; `mixture` serves batches. It imports `data.pictures`, and nothing of networks. Begin with `sets`.
"""

from tlfw.data.division import Division
from tlfw.data.folder import ImageFolder
from tlfw.data.images import ImageArray, ImageFiles, Images
from tlfw.data.mixture import EvalBatches, Mixture, MixtureLoader, Pixels, Served
from tlfw.data.pictures.picture import Picture
from tlfw.data.pictures.preprocessing import Preprocessing
from tlfw.data.pictures.view import View
from tlfw.data.published import TorchvisionSet
from tlfw.data.rows import Row, Rows
from tlfw.data.sets import DataSet, Digits, NoData
from tlfw.data.typeset import Typeset

__all__ = [
    "DataSet",
    "Digits",
    "Division",
    "EvalBatches",
    "ImageArray",
    "ImageFiles",
    "ImageFolder",
    "Images",
    "Mixture",
    "MixtureLoader",
    "NoData",
    "Picture",
    "Pixels",
    "Preprocessing",
    "Row",
    "Rows",
    "Served",
    "TorchvisionSet",
    "Typeset",
    "View",
]
