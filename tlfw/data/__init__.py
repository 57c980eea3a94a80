"""Labelled images: data sets, their split into training, validation and test, and batches mixed from several sets.

`sets` says what a data set is, and `folder`, `published` and `typeset` are some. `rows` is what each source of images
fills in; `manifest` keeps what is known of files; `division` cuts images into parts; `overlap` and `near_copies`
compare parts; `mixture` serves batches. It imports `data.pictures`, and nothing of networks. Begin with `sets`.
"""

from tlfw import offering

HOMES = {
    "DataSet": "sets",
    "Digits": "sets",
    "Division": "division",
    "EvalBatches": "mixture",
    "ImageArray": "images",
    "ImageFiles": "images",
    "ImageFolder": "folder",
    "Images": "images",
    "Mixture": "mixture",
    "MixtureLoader": "mixture",
    "NoData": "sets",
    "Picture": "pictures.picture",
    "Pixels": "mixture",
    "Preprocessing": "pictures.preprocessing",
    "Row": "rows",
    "Rows": "rows",
    "Served": "mixture",
    "TorchvisionSet": "published",
    "Typeset": "typeset",
    "View": "pictures.view",
}
"""What the package offers -> the module that has it."""

__all__ = [*HOMES]
__getattr__ = offering(__name__, HOMES)
