"""Labelled images: what they are, how they are split, seen, and served in mixtures."""

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
