"""From an image file to a picture: which formats are read, and one rule for each of Pillow's modes.

| mode | becomes |
|---|---|
| `1`, `L`, `LA`, `La` | grey of 8 bits, with alpha |
| `P`, `PA` | the palette's colours, with alpha where an entry has it |
| `RGB`, `RGBX`, `RGBA`, `RGBa` | RGB, with alpha that is not multiplied in; of 16 bits where a PNG or TIFF has them |
| `CMYK`, `YCbCr`, `HSV`, `LAB` | RGB as Pillow converts it; colour profiles are not applied |
| `I;16`, Netpbm's `I` | grey of 16 bits, whose white is 65535, or what the file says: 4095 in a TIFF of 12 bits |
| `I`, `F`, signed TIFFs | grey of signed, 32-bit or floating-point numbers, of which nobody says what is white |

One colour may be named as transparent (`transparency` in Pillow's `info`), and is then.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import PIL
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from tlfw.data.pictures.picture import Picture

LARGEST_IMAGE = 178_956_970
"""Pixels that a file may have unless another bound is given: Pillow's own, above which it suspects an attack."""

FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "ICO", "ICNS", "PSD", "QOI", "SGI"),
    *("SUN", "DDS", "BLP", "FTEX", "DCX", "MSP", "XBM", "XPM"),
)
"""What a file may hold, by Pillow's names, whatever its ending says: formats that are known by how they begin.

Left out are those that run another program (EPS: Ghostscript), that Pillow only names (BUFR, GRIB, HDF5, MPEG), that
need Windows (WMF), that hold another file (IPTC), and measurements without a white (FITS)."""

BY_ENDING = {
    ".tga": "TGA", ".icb": "TGA", ".vda": "TGA", ".vst": "TGA", ".pcx": "PCX", ".cur": "CUR", ".dib": "DIB",
    ".fli": "FLI", ".flc": "FLI", ".im": "IM",
}  # fmt: skip
"""Formats that begin as other files may, and the endings under which they are looked for."""

HEIF = (b"ftyphe", b"ftypmif1", b"ftypmsf1")
"""How such files begin, after four bytes."""

UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""EXIF's orientation -> how rows and columns are put right."""

EIGHT_BITS = {
    "1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBX": "RGB",
    "RGBA": "RGBA", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB",
}  # fmt: skip
"""Pillow's modes of 8 bits -> the one in which their numbers are taken."""

PHOTOMETRIC, BITS, PLANES, SAMPLE_FORMAT = 262, 258, 284, 339
"""Tags of a TIFF."""
UNSIGNED, SIGNED = 1, 2
WHITE_IS_ZERO, SEPARATE = 0, 2


def reader() -> str:
    """What reads files here, so that what could not be read is tried again where that has become another."""
    return " ".join([PIL.__version__, *_heif()])


def open_image(path: Path, largest: int = LARGEST_IMAGE) -> Picture:
    """The first image in a file. Pillow raises many kinds of exceptions where there is none, or a damaged one.

    Args:
        largest: pixels that it may have.

    Raises:
        OSError: the file cannot be read; it has an `errno`.
        ValueError: it has too many pixels, or nothing is known of its numbers.
    """
    return picture_in(content_of(path), path.suffix, largest)


def content_of(path: Path) -> bytes:
    """What is in a file.

    Raises:
        OSError: it cannot be read; it has an `errno`.
        ValueError: it is no regular file.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")  # a pipe would be waited for
    return path.read_bytes()


def picture_in(content: bytes, ending: str, largest: int = LARGEST_IMAGE) -> Picture:
    """The first image in what is in a file; as `open_image`.

    Args:
        ending: of the file's name, with its dot.
        largest: pixels that it may have.
    """
    with _bounded(largest), _opened(content, ending) as file:
        return _picture(file)


def decoded(image: Image.Image | Picture) -> Picture:
    """An image of any of Pillow's modes, as `Image.open` gives it or as it was made in memory; it is not changed.

    Where a file has 16 bits a colour Pillow drops the lower 8 when it loads it: give it as it was opened.

    Raises:
        ValueError: nothing is known of its numbers.
    """
    if isinstance(image, Picture):
        return image
    with _quiet():
        if image.format == "TIFF" and _codec(image)[0]:
            # Pillow maps a file that it opened by name into memory, and then turns some the wrong way.
            with _File(image).opened() as again:
                return _picture(again)
        return _picture(image)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Pillow warns of odd metadata (EXIF, palette transparency) in images that it then reads well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _bounded(largest: int) -> Iterator[None]:
    """Inside, Pillow refuses more pixels, also in an image that lies within a file, and warns of nothing.

    Raises:
        ValueError: it did.
    """
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = largest / 2  # type: ignore[assignment]  # it refuses from twice that on
    try:
        with _quiet():
            yield
    except Image.DecompressionBombError as problem:
        said = re.search(r"\((\d+) pixels\)", str(problem))
        count = f"{int(said[1]):,} pixels, more" if said else "more pixels"
        raise ValueError(
            f"it has {count} than largest_image={largest}: set a larger one if the file is meant"
        ) from problem
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _opened(content: bytes, ending: str) -> Image.Image:
    """A file's image, not loaded yet.

    Raises:
        ValueError: it is of no format that is read.
    """
    own = BY_ENDING.get(ending.lower())
    try:
        return Image.open(io.BytesIO(content), formats=(*FORMATS, *((own,) if own else ()), *_heif()))
    except UnidentifiedImageError as problem:
        if not content:
            raise ValueError("the file is empty") from problem
        if content[4:12].startswith(HEIF) and not _heif():
            raise ValueError("it is HEIF, which takes pillow-heif: pip install 'tlfw[heif]'") from problem
        raise ValueError("it is no image of a format that is read, or its beginning is damaged") from problem


@functools.cache
def _heif() -> tuple[str, ...]:
    """HEIF's name, where the package that reads it is installed."""
    try:
        import pillow_heif
    except ImportError:
        return ()
    pillow_heif.register_heif_opener()
    return ("HEIF",)


class _Numbers(NamedTuple):
    """What `Picture` has, as it lies in the file."""

    values_HWC: np.ndarray
    alpha_HW: np.ndarray | None = None
    type_range: tuple[float, float] | None = (0, 255)
    white_is_low: bool = False


def _picture(image: Image.Image) -> Picture:
    several = bool(getattr(image, "is_animated", False))
    own = _numbers(image)
    alpha_HW = None if own.alpha_HW is None or own.alpha_HW.min() == 255 else own.alpha_HW
    orientation = _orientation(image)
    turn = UPRIGHT.get(orientation or 1, lambda a: a)
    return Picture(
        turn(own.values_HWC),
        None if alpha_HW is None else turn(alpha_HW),
        own.type_range,
        own.white_is_low,
        several,
        orientation is None,
    )


def _orientation(image: Image.Image) -> int | None:
    """EXIF's, of an image that was loaded: what a format keeps behind the pixels is known then.

    1 where there is none, or 0, which some cameras write; None: its EXIF data are damaged.
    """
    try:
        tags = image.getexif()
    except Exception:  # Pillow raises many kinds for damaged EXIF data
        return None
    found = tags.get(ExifTags.Base.Orientation)
    if found is None:
        given = image.info.get("exif", b"")
        return None if given and not tags and not _without_tags(given) else 1
    return (found or 1) if found in range(9) else None


def _without_tags(exif: bytes) -> bool:
    """Whether EXIF data that begin well say that they hold nothing. Of a damaged beginning Pillow may say nothing."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if tiff.startswith(b"II") else "big"
    first = int.from_bytes(tiff[4:8], order)
    return tiff[:4] in (b"II*\0", b"MM\0*") and tiff[first : first + 2] == b"\0\0"


def _numbers(image: Image.Image) -> _Numbers:
    """Loads the image."""
    rawmode = str((_codec(image)[1] or ("",))[0])
    key = image.info.get("transparency")
    if (found := _netpbm(image) or _sixteen_bits_a_colour(image)) is not None:
        return found._replace(alpha_HW=_by_key(found.values_HWC, key)) if found.alpha_HW is None else found
    tags = _tags(image)
    bits, sample_format = _tag(tags, BITS), _tag(tags, SAMPLE_FORMAT) or UNSIGNED
    white_is_low = _tag(tags, PHOTOMETRIC) == WHITE_IS_ZERO
    if image.mode in EIGHT_BITS:
        if image.mode == "L" and sample_format == SIGNED:
            return _Numbers(np.array(image)[:, :, None].view(np.int8), None, None)
        return _eight_bits(image, rawmode, key)
    if image.mode.startswith("I;16"):
        values_HWC = np.array(image).astype(np.uint16)[:, :, None]
        return _Numbers(values_HWC, _by_key(values_HWC, key), (0, 2 ** (bits or 16) - 1), white_is_low)
    if image.mode not in ("I", "F"):
        raise ValueError(f"its mode {image.mode} has no rule by which it becomes colours")
    values_HWC = np.array(image)[:, :, None]
    if image.mode == "F" and not np.isfinite(values_HWC).all():
        raise ValueError("some of its pixels are no finite numbers")
    if image.mode == "I" and bits == 32 and sample_format == UNSIGNED:
        values_HWC = values_HWC.view(np.uint32)
    return _Numbers(values_HWC, None, None, white_is_low)


def _eight_bits(image: Image.Image, rawmode: str, key: Any) -> _Numbers:
    mode = "RGBA" if image.mode == "P" and image.has_transparency_data else EIGHT_BITS[image.mode]
    values = np.array(image if image.mode == mode else image.convert(mode))
    if mode in ("LA", "RGBA"):
        return _Numbers(values[:, :, :-1], values[:, :, -1])
    values_HWC = values[:, :, None] if values.ndim == 2 else values
    if isinstance(key, int):  # of a PNG of 1, 2 or 4 bits it has as many, where the pixels come in 8
        key *= {"1": 255, "L;2": 85, "L;4": 17}.get(rawmode, 1)
    return _Numbers(values_HWC, _by_key(values_HWC, key) if image.mode in ("1", "L", "RGB") else None)


def _by_key(values_HWC: np.ndarray, key: Any) -> np.ndarray | None:
    """The alpha of an image in which one colour is transparent; None: none is."""
    if not isinstance(key, int | tuple):
        return None
    return np.where((values_HWC == np.asarray(key, dtype=np.int64)).all(axis=2), 0, 255).astype(np.uint8)


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


def _tag(tags: Any, tag: int) -> int | None:
    """A TIFF's number, the first where it has one for each channel."""
    found = tags.get(tag)
    found = found[0] if isinstance(found, tuple) and found else found
    return found if isinstance(found, int) else None


# What Pillow would take too few bits of, or too long for


def _netpbm(image: Image.Image) -> _Numbers | None:
    """A Netpbm file whose white is not 255. Pillow scales it to 8 or 16 bits, number by number in Python."""
    codec, args = _codec(image)
    if image.format != "PPM" or not (codec.startswith("ppm") or args[:1] == ("I;16B",)):
        return None
    maxval, file = (int(args[-1]) if codec.startswith("ppm") else 65535), _File(image)
    if image.mode == "I":
        if codec == "ppm_plain":
            values = file.loaded(codec, lambda args: (args[0], 65535))  # it is left as it is then
        else:
            values = file.loaded("raw", lambda _: ("I;16B", 0, 1))
        return _Numbers(values.astype(np.uint16)[:, :, None], None, (0, maxval))
    if codec == "ppm_plain":
        return None
    if maxval > 255:
        high, low = file.loaded("raw", lambda _: ("RGB;16B", 0, 1)), file.loaded("raw", lambda _: ("RGB;16L", 0, 1))
        return _Numbers(_joined(high, low), None, (0, maxval))
    values = file.loaded("raw", lambda _: (image.mode, 0, 1))
    of_255 = np.rint(np.minimum(np.arange(256) / maxval, 1) * 255).astype(np.uint8)
    return _Numbers(of_255[values.reshape(*values.shape[:2], -1)])


def _sixteen_bits_a_colour(image: Image.Image) -> _Numbers | None:
    """A PNG or TIFF of 16 bits a colour, of which Pillow keeps the upper 8. It is read twice, once for the lower."""
    codec, args = _codec(image)
    rawmode, tags = str(args[0]) if args else "", _tags(image)
    if image.mode not in ("RGB", "RGBA") or codec not in ("zip", "raw", "libtiff"):
        return None
    in_planes = _tag(tags, PLANES) == SEPARATE and _tag(tags, BITS) == 16
    if in_planes and codec == "libtiff":  # whose planes Pillow gives no lower bits of
        raise ValueError("it has 16 bits a colour in compressed planes of their own, of which Pillow drops 8")
    if (not in_planes and rawmode[-4:-1] != ";16") or rawmode[:-4] == "RGBa":
        return None
    file = _File(image)
    image.load()  # what a format keeps behind the pixels is known then
    if rawmode == "LA;16B":  # its four bytes, as if they were colours
        bytes_HW4 = file.loaded(codec, lambda args: ("RGBA", *args[1:]))
        high, low = bytes_HW4[:, :, ::2], bytes_HW4[:, :, 1::2]
    elif in_planes:  # which Pillow takes for planes of 8 bits
        order = "L" if tags.prefix == b"II" else "B"
        high = file.loaded(codec, lambda args: (f"{args[0]};16{order}", *args[1:]))
        low = file.loaded(codec, lambda args: (f"{args[0]};16{OTHER[order]}", *args[1:]))
    else:
        high = np.array(image)
        low = file.loaded(codec, lambda args: (rawmode[:-1] + OTHER[rawmode[-1]], *args[1:]))
    values_HWC = _joined(high, low)
    if values_HWC.shape[2] == 3:
        return _Numbers(values_HWC, None, (0, 65535))
    alpha_HW = np.rint(values_HWC[:, :, -1] / 257).astype(np.uint8)
    return _Numbers(values_HWC[:, :, :-1], alpha_HW, (0, 65535))


OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Order of two bytes -> the one in which Pillow takes the lower of them for the upper."""


def _joined(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return high.astype(np.uint16) << 8 | low


class _File:
    """What lies in the file of an image that is not loaded yet."""

    def __init__(self, image: Image.Image) -> None:
        assert isinstance(image, ImageFile.ImageFile)
        assert image.fp is not None
        self.format, self.frame, place = str(image.format), image.tell(), image.fp.tell()
        image.fp.seek(0)
        self.content = image.fp.read()
        image.fp.seek(place)

    def opened(self) -> ImageFile.ImageFile:
        """It again, from memory."""
        again = Image.open(io.BytesIO(self.content), formats=(self.format,))
        again.seek(self.frame)
        return again

    def loaded(self, codec: str, change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> np.ndarray:
        """Its pixels as another decoder of Pillow has them, or the same with other arguments."""
        with self.opened() as again:
            again.tile = [tile._replace(codec_name=codec, args=change(_arguments(tile))) for tile in again.tile]
            return np.array(again)


def _codec(image: Image.Image) -> tuple[str, tuple[Any, ...]]:
    """The decoder of a file that is not loaded, and its arguments; empty for any other image."""
    tiles = getattr(image, "tile", None)
    return (tiles[0].codec_name, _arguments(tiles[0])) if tiles else ("", ())


def _arguments(tile: ImageFile._Tile) -> tuple[Any, ...]:
    return tile.args if isinstance(tile.args, tuple) else (tile.args,)
