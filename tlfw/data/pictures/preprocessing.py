"""All that lies between a decoded image and what a network gets: one value for training, prediction and export."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from tlfw.data.pictures.decoding import decoded
from tlfw.data.pictures.picture import Picture, Range, Span
from tlfw.data.pictures.resampling import ARITHMETIC, Interpolation, middle
from tlfw.errors import ConfigError, first_three
from tlfw.identity.names import named

WHITE = (255, 255, 255)

OF_STEP_4 = ("mean", "std")
"""Fields of a `Preprocessing` that no pixel depends on."""


@named("tlfw.Preprocessing")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """From a decoded image, upright and of any number of bits, to what a backbone takes, in this order.

    1. Colours in 8 bits (`Picture.eight_bits`): by `range` where there are more, on `background` where there is
       transparency. Grey becomes three equal channels.
    2. Resize the shorter side to `resize` (`resampling`), to whole numbers.
    3. Cut out the middle `size` x `size`.
    4. Divide by 255, subtract `mean`, divide by `std`, for each channel.

    Attributes:
        size: side of the square that the network gets, in pixels.
        resize: of the shorter side, in pixels; at least `size`.
        crop: which part is cut out.
        interpolation: as torch names it.
        channels: and their order.
        dtype: of pixels after step 3, and of what is stored of them.
        range: what is black and what is white in images of more than 8 bits: `type`, what their type says, or numbers.
        background: red, green and blue of what lies behind transparency.
        mean, std: of each channel, where 1 is white.
    """

    size: int
    resize: int
    crop: Literal["center"] = "center"
    interpolation: Interpolation
    channels: Literal["RGB"] = "RGB"
    dtype: Literal["uint8"] = "uint8"
    range: Range = "type"
    background: tuple[int, int, int] = WHITE
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation is {self.interpolation}, not one of {', '.join(get_args(Interpolation))}")
        if not 1 <= self.size <= self.resize:
            raise ValueError(f"resize is {self.resize}, where {self.size} pixels are cut out")
        if not len(self.mean) == len(self.std) == len(self.channels) or min(self.std) <= 0:
            raise ValueError(f"mean {self.mean} and std {self.std} do not fit three channels")

    def __call__(self, image: Image.Image | Picture) -> Tensor:
        """What a backbone takes of an image when nothing is learnt from it: float32 `[3, size, size]`.

        Args:
            image: as `decoding.open_image` gives it, or of any of Pillow's modes: as `Image.open` gives it.

        Raises:
            ValueError: nobody says what is black and what is white in it.
        """
        return self.normalise(self.pixels(image))

    def pixels(self, image: Image.Image | Picture) -> Tensor:
        """Steps 1 to 3: uint8 `[3, size, size]`."""
        found_HWC = decoded(image).eight_bits(self.range, self.background)
        return middle(found_HWC, self.resize, self.size, self.interpolation).expand(3, -1, -1).contiguous()

    @property
    def of_pixels(self) -> dict[str, Any]:
        """What decides `pixels`, field by field."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(Preprocessing) if f.name not in OF_STEP_4}

    def rgb(self, image: Image.Image | Picture) -> np.ndarray:
        """Step 1 alone: uint8 `[H, W, 3]`, what an export with its own preprocessing takes."""
        found_HWC = decoded(image).eight_bits(self.range, self.background)
        return np.ascontiguousarray(np.broadcast_to(found_HWC, (*found_HWC.shape[:2], 3)))

    def normalise(self, x: Tensor) -> Tensor:
        """Step 4: from uint8 `[..., 3, size, size]` to float32 of about zero mean and unit spread."""
        import torchvision.transforms.v2.functional as F  # takes a second, of which most who plan have no need

        return F.normalize(F.to_dtype(x, torch.float32, scale=True), list(self.mean), list(self.std))

    def in_words(self) -> tuple[list[str], list[str]]:
        """What is done, for programs that do it without tlfw: up to colours in 8 bits, and from there on."""
        if self.range == "type":
            black, white = "black is 0", "white the greatest number of the type (65535 for 16 bits)"
            numbers = f"{black} and {white}; signed, 32-bit and floating-point numbers are refused"
        else:
            numbers = f"black is {self.range[0]:g} and white {self.range[1]:g}"
        red, green, blue = self.background
        before = [
            "Decode the first frame. Turn it upright by its EXIF orientation. Apply no colour profile.",
            "A palette becomes its colours. CMYK becomes (255 - C) (255 - K) / 255 and so on, rounded to the nearest.",
            "A number v of more than 8 bits becomes 255 (v - black) / (white - black), rounded to the nearest whole "
            f"number, halves to the even one, cut at 0 and 255, where {numbers}; 255 less that where a TIFF says that "
            "white is 0. Numbers of 8 bits stay as they are.",
            f"A pixel of colour c and alpha a (0 to 255) becomes (c a + b (255 - a)) / 255, rounded to the nearest, on "
            f"the background b, which is [{red}, {green}, {blue}].",
            "Grey becomes three equal channels, in the order RGB.",
        ]
        inside = [
            f"Resize the shorter side to {self.resize} pixels and the longer one to floor({self.resize} x longer / "
            f"shorter), {self.interpolation}, antialiased, in whole numbers, as torch.nn.functional.interpolate("
            f"x_uint8, size, mode='{self.interpolation}', align_corners=False, antialias=True) does on the CPU:",
            *ARITHMETIC[self.interpolation],
            f"Cut out {self.size} x {self.size} pixels, in each axis from round((pixels - {self.size}) / 2) on, halves "
            "to the even number.",
            "Divide by 255, subtract mean, divide by std, for each channel, in float32.",
        ]
        return before, inside


def asked_range(given: str | Sequence[float]) -> Range | Literal["auto"]:
    """The setting `range`: `type`, `auto`, or the numbers that are black and white.

    Raises:
        ConfigError: it is something else.
    """
    right = "Use type, auto, or two numbers as they lie in the files, [black, white]: [0, 4095] for 12 bits."
    if isinstance(given, str):
        if given not in ("type", "auto"):
            raise ConfigError("range", f"there is no {given!r}.", right)
        return given  # type: ignore[return-value]
    if len(given) != 2 or not all(map(math.isfinite, given)) or given[0] >= given[1]:
        raise ConfigError("range", f"{list(given)} are not a lower and a higher number.", right)
    return given[0], given[1]


def colour(given: str | Sequence[int]) -> tuple[int, int, int]:
    """The setting `background`: a colour by a name that Pillow knows, or red, green and blue.

    Raises:
        ConfigError: it is something else.
    """
    right = "Use a colour's name, such as white or '#ffffff', or [red, green, blue], each from 0 to 255."
    if isinstance(given, str):
        try:
            found: Sequence[int] = ImageColor.getrgb(given)
        except ValueError as problem:
            raise ConfigError("background", f"there is no colour {given!r}.", right) from problem
        if len(found) == 4 and found[3] < 255:
            raise ConfigError("background", f"{given!r} is transparent itself.", right)
    else:
        found = given
    if len(found) < 3 or (len(found) > 3 and found is given) or not all(0 <= value <= 255 for value in found):
        raise ConfigError("background", f"{given} is no colour.", right)
    return found[0], found[1], found[2]


def range_in(spans: Iterable[Span]) -> Range:
    """What `auto` stands for: the least and the greatest number in all of the images that have more than 8 bits.

    `type` where none has.

    Raises:
        ConfigError: all numbers are one.
    """
    wide = [span for span in spans if span.wide]
    if not wide:
        return "type"
    low, high = min(span.low for span in wide), max(span.high for span in wide)
    if low == high:
        raise ConfigError("range", f"auto finds only the number {low:g} in all images for training.", "Give numbers.")
    return low, high


class Numbers(NamedTuple):
    """What the numbers of a data set's images mean, and what a person should know of them, in sentences."""

    range: Range
    remarks: tuple[str, ...]


class Spanned(NamedTuple):
    """What is known of the numbers of some images.

    Attributes:
        spans: of each image; None where its numbers were not looked at.
        called: place -> how a person finds the image.
    """

    spans: Sequence[Span | None]
    called: Callable[[int], str]

    @property
    def distinct(self) -> set[Span]:
        """Those that occur: few, where images are many."""
        return {span for span in set(self.spans) if span is not None}

    def those(self, of: Callable[[Span], bool]) -> list[tuple[int, Span]]:
        """The places of those of which something is so, with what is known of them."""
        chosen = {span for span in self.distinct if of(span)}
        return [(i, span) for i, span in enumerate(self.spans) if span in chosen and span is not None] if chosen else []


def numbers(asked: Range | Literal["auto"], learnt: Iterable[Span | None], all: Spanned) -> Numbers:
    """Find out what is black and what is white.

    Args:
        asked: as `asked_range` has it; `auto` is by the images for training alone.
        learnt: what is known of these.
        all: what is known of all.

    Raises:
        ConfigError: `auto` finds one number only.
    """
    range = range_in([span for span in learnt if span is not None]) if asked == "auto" else asked
    remarks = oddities(all, range)
    if asked == "auto" and range != "type":
        remarks.append(f"range=auto is [{range[0]:g}, {range[1]:g}], by its images for training")
    elif asked != "type" and not any(span.wide for span in all.distinct):
        given = asked if asked == "auto" else list(asked)
        remarks.append(f"range={given} changes nothing, for none of its images has more than 8 bits")
    return Numbers(range, tuple(remarks))


def check_by_type(training: Spanned) -> None:
    """See that images for training are not black by what their type says is white.

    Raises:
        ConfigError: most of those that have more than 8 bits use the lowest tenth of their type alone.
    """
    wide = training.those(lambda span: span.wide)
    dark = [(i, span) for i, span in wide if span.dark]
    if not dark or len(dark) <= len(wide) / 2:
        return
    name, span = training.called(dark[0][0]), dark[0][1]
    highest = max(span.high for _, span in dark)
    bits = max(int(highest).bit_length(), 8)
    raise ConfigError(
        "range",
        f"{len(dark)} of {len(wide)} images for training that have more than 8 bits use less than a tenth of what "
        f"their type says: {name} holds {span.low:g} to {span.high:g}, where {span.white:g} is white.",
        f"Say what is white: range=[0, {2**bits - 1}] for numbers of {bits} bits, auto for the greatest number in the "
        f"images for training, or [0, {span.white:g}] to take them as they are.",
    )


def oddities(images: Spanned, range: Range) -> list[str]:
    """What a person should know of images that are read, in sentences."""
    called, those = images.called, images.those

    def names(odd: Sequence[tuple[int, Span]]) -> str:
        return first_three([called(i) for i, _ in odd])

    def numbers(odd: Sequence[tuple[int, Span]]) -> str:
        def each(name: str, span: Span) -> str:
            black, white = span.bounds(range)
            return f"{name} ({span.low:g} to {span.high:g}, where {black:g} is black and {white:g} white)"

        return first_three([each(called(i), span) for i, span in odd])

    said = []
    if several := those(lambda span: span.several):
        said.append(f"{_images(several)} several frames, pages or layers, of which the first is used: {names(several)}")
    if lost := those(lambda span: span.lost):
        said.append(f"{_images(lost)} damaged EXIF data, so that nobody knows which way is up: {names(lost)}")
    if narrow := those(lambda span: span.narrow(range)):
        said.append(f"{_images(narrow, 'use')} less than a tenth of what is between black and white: {numbers(narrow)}")
    if beyond := those(lambda span: span.beyond(range)):
        said.append(f"{_images(beyond)} numbers beyond black or white, which become that: {numbers(beyond)}")
    return said


def _images(some: Sequence[object], verb: str = "have") -> str:
    return f"{len(some)} images {verb}" if len(some) > 1 else f"1 image {'has' if verb == 'have' else verb + 's'}"
