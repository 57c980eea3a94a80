"""What reads image files: Pillow, with pillow-heif for HEIF where that is installed."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import stat
from pathlib import Path

import PIL
from PIL import Image, UnidentifiedImageError, features

from tlfw.data.listing import first_bytes

_HEIF, _AVIF = (b"ftyphe", b"ftypmif1", b"ftypmsf1"), (b"ftypavi",)


def open_file(path: Path) -> Image.Image:
    """The image in a file, not decoded yet. Pillow raises many kinds of exceptions where there is none.

    Raises:
        ValueError: there cannot be one, or what reads it is not installed.
        OSError: with a number: the system does not let the file be read.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")  # opening a pipe would wait for whoever writes to it
    if status.st_size == 0:
        raise ValueError("it is empty")
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        kind = first_bytes(path)[4:12]
        if kind.startswith(_HEIF):
            if not _with_heif():
                raise ValueError("it is HEIF, which takes pillow-heif: pip install 'tlfw[heif]'") from None
            return Image.open(path)
        if kind.startswith(_AVIF) and not features.check("avif"):
            raise ValueError(
                "it is AVIF, which this Pillow cannot read: install a wheel of Pillow 11.3 or newer"
            ) from None
        raise


def versions() -> str:
    """Of all that decodes: another one may read more, and read it otherwise."""
    return " ".join(filter(None, (PIL.__version__, _heif_version())))


@functools.cache
def _with_heif() -> bool:
    """Make Pillow read HEIF. It costs an import, so it is done when the first such file comes."""
    if _heif_version() is None:
        return False
    importlib.import_module("pillow_heif").register_heif_opener()
    return True


@functools.cache
def _heif_version() -> str | None:
    try:
        return f"heif {importlib.metadata.version('pillow-heif')}"
    except importlib.metadata.PackageNotFoundError:
        return None
