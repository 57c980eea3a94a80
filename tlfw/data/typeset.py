"""A general data set that needs no download: characters, drawn from the fonts that ship with Matplotlib."""

from __future__ import annotations

import string
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from tlfw.data.images import ImageArray, Images
from tlfw.data.rows import SplitName
from tlfw.data.sets import CONTENT, DataSet
from tlfw.identity.names import digest, named
from tlfw.strictness import STRICT

# Cropped to its own box, "O" is "0", "I" and "l" are "1", and "c", "s", "x" and others are their capitals.
CLASSES = string.digits + "".join(c for c in string.ascii_uppercase if c not in "IO") + "abdefghnqrt"

REGULAR = (
    "DejaVuSans", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Italic",
    "STIXGeneral", "STIXGeneralItalic", "cmr10", "cmss10", "cmti10", "cmtt10",
)  # fmt: skip
BOLD = (
    "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSansMono-Bold", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic",
    "STIXGeneralBol", "STIXGeneralBolIta", "cmb10",
)  # fmt: skip

SIZE = 32
"""Side of an image in pixels."""

CANVAS, INK = 48, 40
"""Sides of the square that a glyph is first drawn on, and of what it fills of it, in pixels."""

CHUNK = 4096

REVISION = 1
"""Raised whenever the same settings come to give other images."""


@named("tlfw.Typeset")
@dataclass(frozen=True, kw_only=True, config=STRICT)
class Typeset(DataSet):
    """Characters in 45 classes, grey, 32 px: placed, turned, slanted, bent, made coarse and grainy at random.

    Args:
        per_class: how many of each character.
        drawing_seed: decides which; `seed` does not.
    """

    per_class: Annotated[int, CONTENT] = Field(default=500, ge=2, le=20_000)
    drawing_seed: Annotated[int, CONTENT] = Field(default=0, ge=0)

    def read(self, split: SplitName) -> Images | None:
        if split != "train":
            return None
        labels_N = np.repeat(np.arange(len(CLASSES)), self.per_class)
        made_by = [
            REVISION,
            self.per_class,
            self.drawing_seed,
            *map(version, ("pillow", "matplotlib", "numpy", "torch")),
        ]
        pixels = partial(_cached_drawing, self.per_class, self.drawing_seed)
        return ImageArray(pixels, labels_N, CLASSES, name=digest(made_by))


@cache
def _cached_drawing(per_class: int, seed: int) -> np.ndarray:
    return draw(np.repeat(np.arange(len(CLASSES)), per_class), seed)


def draw(labels_N: np.ndarray, seed: int) -> np.ndarray:
    """One character for each label: uint8 `[N, 32, 32]`, ink 255 on 0. About 15,000 a second."""
    random = np.random.default_rng(seed)
    glyphs_KSHW = _glyphs()
    styles_N = random.integers(glyphs_KSHW.shape[1], size=len(labels_N))
    return np.concatenate(
        [
            _vary(glyphs_KSHW[labels_N[i : i + CHUNK], styles_N[i : i + CHUNK]], random)
            for i in range(0, len(labels_N), CHUNK)
        ]
    )


@cache
def _glyphs() -> Tensor:
    """Every class in every font and weight: float32 in [0, 1], `[classes, styles, CANVAS, CANVAS]`."""
    regular, bold = _in_fonts(REGULAR), _in_fonts(BOLD)
    heavier = [F.max_pool2d(regular, width, 1, width // 2) for width in (3, 5)]
    return torch.cat([regular, *heavier, bold], dim=1)


def _in_fonts(names: tuple[str, ...]) -> Tensor:
    import matplotlib  # of use to characters that are drawn, and not to those that are named

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(str(folder / f"{name}.ttf"), 64) for name in names]
    return (
        torch.from_numpy(np.stack([[_glyph(character, font) for font in fonts] for character in CLASSES])).float() / 255
    )


def _glyph(character: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """One character, cropped to its ink and scaled to fill INK pixels of the canvas."""
    left, top, right, bottom = font.getbbox(character)
    page = Image.new("L", (round(right - left) + 8, round(bottom - top) + 8))
    ImageDraw.Draw(page).text((4 - left, 4 - top), character, font=font, fill=255)
    glyph = page.crop(page.getbbox())
    scale = INK / max(glyph.size)
    glyph = glyph.resize(
        (max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))), Image.Resampling.BILINEAR
    )
    canvas = Image.new("L", (CANVAS, CANVAS))
    canvas.paste(glyph, ((CANVAS - glyph.width) // 2, (CANVAS - glyph.height) // 2))
    return np.asarray(canvas)


def _vary(glyphs_NHW: Tensor, random: np.random.Generator) -> np.ndarray:
    """Each glyph as a hurried hand and a poor scanner would have it: uint8 `[N, SIZE, SIZE]`."""
    n = len(glyphs_NHW)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.from_numpy(random.uniform(low, high, (n, *shape)).astype(np.float32))

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(random.normal(0, 1, (n, *shape)).astype(np.float32))

    # From output to input coordinates, so a factor above 1 makes the glyph smaller.
    turn, slant, wide, high = uniform(-0.2, 0.2), uniform(-0.35, 0.35), uniform(0.9, 1.5), uniform(0.8, 1.0)
    cos, sin = turn.cos(), turn.sin()
    rows = [
        torch.stack([wide * cos, wide * (slant * cos - sin), uniform(-0.1, 0.1)], 1),
        torch.stack([high * sin, high * (slant * sin + cos), uniform(-0.06, 0.06)], 1),
    ]
    grid_NHW2 = F.affine_grid(torch.stack(rows, 1), [n, 1, SIZE, SIZE], align_corners=False)
    # Bend it like rubber: random shifts at the corners of a coarse mesh, smooth between them.
    mesh_N2HW = normal(2, 4, 4) * uniform(0.0, 0.12, 1, 1, 1)
    bend_N2HW = F.interpolate(mesh_N2HW, size=(SIZE, SIZE), mode="bicubic", align_corners=True)
    x_N1HW = F.grid_sample(glyphs_NHW[:, None], grid_NHW2 + bend_N2HW.permute(0, 2, 3, 1), align_corners=False)
    # As seen by few pixels.
    sides_N = random.choice([8, 10, 12, 16], size=n)
    for side in np.unique(sides_N):
        chosen = torch.from_numpy(np.flatnonzero(sides_N == side))
        few = F.interpolate(x_N1HW[chosen], size=(int(side), int(side)), mode="area")
        x_N1HW[chosen] = F.interpolate(few, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    ink = uniform(1.0, 1.7, 1, 1, 1)
    grain = normal(1, SIZE // 4, SIZE // 4) * uniform(0.0, 0.05, 1, 1, 1)
    x_N1HW = x_N1HW * ink + F.interpolate(grain, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return (x_N1HW.clamp(0, 1) * 255).round().to(torch.uint8)[:, 0].numpy()
