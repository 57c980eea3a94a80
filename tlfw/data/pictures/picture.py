"""A decoded image: the numbers that its file holds, upright, and what is known of them.

Nothing is scaled before a `Preprocessing` says what is black, what is white and what lies behind transparency.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

Range = Literal["type"] | tuple[float, float]
"""What is black and what is white in images of more than 8 bits: what their type says, or these numbers."""

TENTH = 0.1
"""An image that uses less than this share of what lies between black and white is worth a word."""

TYPE_RANGES: dict[str, tuple[float, float]] = {"uint8": (0, 255), "uint16": (0, 65535)}
"""Kind of number -> what is black and what is white, of those whose type says so."""

KINDS = ("uint8", "uint16", "int32", "uint32", "float32")
"""Of numbers that an array may have, as NumPy calls them."""

_WHAT = {"f": "floating-point numbers", "i": "signed numbers", "u": "32-bit numbers"}


class Span(NamedTuple):
    """What is known of an image's numbers without keeping them.

    Attributes:
        kind: of number, as NumPy calls it; with `, white is low` where a TIFF says so.
        low, high: the least and the greatest; 0 and 255 for 8 bits with transparency.
        black, white: what its type says they are; None: it does not say.
        several: whether the file has more frames, pages or layers than the one that is used.
        lost: whether nobody knows which way is up.
    """

    kind: str
    low: float
    high: float
    black: float | None
    white: float | None
    several: bool = False
    lost: bool = False

    @property
    def wide(self) -> bool:
        """Whether it has more than 8 bits, or other ones, so that a range is applied to it."""
        return self.kind != "uint8"

    def bounds(self, range: Range) -> tuple[float, float]:
        """The numbers that become black and white.

        Raises:
            ValueError: nobody says.
        """
        if range != "type" and self.wide:
            return range
        if self.black is None or self.white is None:
            kind = self.kind.partition(",")[0]
            raise ValueError(
                f"its pixels are {_WHAT[np.dtype(kind).kind]} ({kind}, {self.low:g} to {self.high:g}), whose type does "
                "not say what is black and what is white: range=[black, white] or range=auto would"
            )
        return self.black, self.white

    def narrow(self, range: Range) -> bool:
        """Whether it uses less than a tenth of what lies between black and white."""
        black, white = self.bounds(range)
        return min(self.high, white) - max(self.low, black) < TENTH * (white - black)

    def beyond(self, range: Range) -> bool:
        """Whether it has numbers outside, which become black or white."""
        black, white = self.bounds(range)
        return self.low < black or self.high > white

    @property
    def dark(self) -> bool:
        """Whether it has more bits than 8 and stays in the lowest tenth of its type: by that all of it is black."""
        return self.wide and self.white is not None and 0 < self.high < TENTH * self.white


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A decoded image, upright.

    Attributes:
        values_HWC: its numbers, `[H, W, 1]` for grey or `[H, W, 3]` for RGB: uint8, uint16, int8, int32, uint32 or
            float32.
        alpha_HW: how opaque each pixel is, uint8 `[H, W]`; None: all are.
        type_range: what its type says is black and white; None: it does not say.
        white_is_low: whether the lower number is white and not black, as a TIFF may say.
        several: whether the file has more frames, pages or layers, of which this is the first.
        lost: whether its EXIF data are damaged, so that nobody knows which way is up: it is as it lies in the file.
    """

    values_HWC: np.ndarray
    alpha_HW: np.ndarray | None = None
    type_range: tuple[float, float] | None = (0, 255)
    white_is_low: bool = False
    several: bool = False
    lost: bool = False

    @classmethod
    def of(cls, pixels: np.ndarray) -> Picture:
        """A picture of an array: `[H, W]`, or `[H, W, C]` with C of 1 (grey), 2 (and alpha), 3 (RGB) or 4 (and alpha).

        Args:
            pixels: uint8, uint16 or bool, whose types say what is black and what is white, int32, uint32 or float32, or
                what can be made one of these without loss.

        Raises:
            ValueError: it is none.
        """
        values_HWC = pixels[:, :, None] if pixels.ndim == 2 else pixels
        if values_HWC.ndim != 3 or values_HWC.shape[2] not in (1, 2, 3, 4):
            raise ValueError(f"an array of the shape {pixels.shape} is no image: use [H, W], or [H, W, 3] for colours")
        if pixels.dtype == bool:
            values_HWC = values_HWC * np.uint8(255)
        kind = next((kind for kind in KINDS if np.can_cast(values_HWC.dtype, kind)), None)
        if kind is None:
            raise ValueError(f"an array of {pixels.dtype} is no image: use {', '.join(KINDS)}")
        values_HWC, alpha_HW = values_HWC.astype(kind, copy=False), None
        if values_HWC.shape[2] in (2, 4):
            if kind not in TYPE_RANGES:
                raise ValueError(f"its alpha is of {kind}, of which nobody says what is opaque")
            alpha_HW = np.rint(values_HWC[:, :, -1] * (255 / TYPE_RANGES[kind][1])).astype(np.uint8)
            values_HWC = values_HWC[:, :, :-1]
        return cls(values_HWC, alpha_HW, TYPE_RANGES.get(kind))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as Pillow has them."""
        height, width = self.values_HWC.shape[:2]
        return width, height

    @functools.cached_property
    def span(self) -> Span:
        """What is known of its numbers."""
        low, high = float(self.values_HWC.min()), float(self.values_HWC.max())
        if self.values_HWC.dtype == np.uint8 and self.alpha_HW is not None:
            low, high = 0.0, 255.0  # what a person sees of it lies in its transparency too
        kind = str(self.values_HWC.dtype) + (", white is low" if self.white_is_low else "")
        black, white = self.type_range or (None, None)
        return Span(kind, low, high, black, white, self.several, self.lost)

    def eight_bits(self, range: Range, background: Sequence[int]) -> np.ndarray:
        """Its colours in 8 bits, uint8 `[H, W, 1]` for grey or `[H, W, 3]` for RGB.

        A number v of more than 8 bits becomes the whole number that is nearest to 255 (v - black) / (white - black),
        halves the even one, cut at 0 and 255; where white is low, 255 less that. Then a pixel of colour c becomes
        (c a + b (255 - a)) / 255, rounded to the nearest, where a is its alpha and b the background's colour.

        Args:
            background: red, green and blue in [0, 255].

        Raises:
            ValueError: nobody says what is black and what is white.
        """
        values_HWC = self.values_HWC
        if values_HWC.dtype != np.uint8:
            values_HWC = _scaled(values_HWC, *self.span.bounds(range))
            if self.white_is_low:
                values_HWC = 255 - values_HWC
        if self.alpha_HW is None:
            return values_HWC
        alpha_HW1 = self.alpha_HW[:, :, None].astype(np.uint16)
        behind = np.asarray(background if len(set(background)) > 1 else background[:1], dtype=np.uint16)
        blended_HWC = values_HWC * alpha_HW1 + behind * (255 - alpha_HW1)
        return ((blended_HWC + 127) // 255).astype(np.uint8)  # there are no halves: 255 is odd

    def shown(self) -> Image.Image:
        """For people, and to be compared by looks: RGB on white.

        From its least to its greatest number where its type does not say what is white, or all would be black.
        """
        low, high = self.span.low, self.span.high
        own: Range = (low, high if high > low else low + 1)
        grey_or_rgb_HWC = self.eight_bits(own if self.type_range is None or self.span.dark else "type", (255, 255, 255))
        return Image.fromarray(np.broadcast_to(grey_or_rgb_HWC, (*grey_or_rgb_HWC.shape[:2], 3)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values_HWC, dtype=dtype, copy=copy)


def _scaled(values: np.ndarray, black: float, white: float) -> np.ndarray:
    if values.dtype == np.uint16:  # by a table: equal, and forty times as quick
        return _table(black, white)[values]
    return np.rint(np.clip((values.astype(np.float64) - black) * 255 / (white - black), 0, 255)).astype(np.uint8)


@functools.lru_cache(maxsize=16)
def _table(black: float, white: float) -> np.ndarray:
    return _scaled(np.arange(2**16, dtype=np.int32), black, white)
