"""What is done to the pixels of a batch, to each image by an amount of its own: torchvision's operations.

Those of `torchvision.transforms.v2.functional` take one amount for all images. Where that is enough they are called;
the functions here take an amount for each image, and give the pixels that torchvision's give of that image and amount.
What one image becomes does not depend on the others: each number is made by the same steps, whatever stands beside it.
Images are uint8 `[B, 3, H, W]`, amounts float64 `[B]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor

Change = Callable[[Tensor, np.ndarray], Tensor]
"""From (images, how much for each)."""

Matrix = tuple[float, float, float, float, float, float]
"""From where in the old image a place in the new one is taken, in pixels from the middle."""


def per_image(amount_B: np.ndarray, x_BCHW: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """One number for each image, `[B, 1, 1, 1]`, where the images are."""
    return torch.from_numpy(np.ascontiguousarray(amount_B)).to(x_BCHW.device, dtype)[:, None, None, None]


def by_kind(x_BCHW: Tensor, kind_B: np.ndarray, changes: Sequence[tuple[Change, np.ndarray]]) -> Tensor:
    """Each image after the change of its kind. Those of a kind are changed together.

    Args:
        kind_B: which of the changes, int64.
        changes: what is done, and each image's amount of it.
    """
    order_B = np.argsort(kind_B, kind="stable")
    there, back = (torch.from_numpy(each).to(x_BCHW.device) for each in (order_B, np.argsort(order_B)))
    counts = np.bincount(kind_B, minlength=len(changes))
    sorted_BCHW = x_BCHW.index_select(0, there)
    groups = zip(changes, sorted_BCHW.split(counts.tolist()), np.split(order_B, np.cumsum(counts)[:-1]), strict=True)
    parts = [change(x, amount_B[own_M]) for (change, amount_B), x, own_M in groups if len(own_M)]
    return torch.cat(parts).index_select(0, back)


def same(x_BCHW: Tensor, amount_B: np.ndarray) -> Tensor:
    """As it is."""
    return x_BCHW


def flip(x_BCHW: Tensor, flipped_B: np.ndarray) -> Tensor:
    """Left to right where it is said."""
    return by_kind(x_BCHW, flipped_B.astype(np.int64), [(same, flipped_B), (lambda x, _: x.flip(-1), flipped_B)])


def crop(x_BCHW: Tensor, reach: int, top_B: np.ndarray, left_B: np.ndarray) -> Tensor:
    """A part as large as the image, of the image with `reach` reflected pixels around it, from `top` and `left`."""
    places = []
    for start_B, length in zip((top_B, left_B), x_BCHW.shape[-2:], strict=True):
        asked_BN = np.abs(start_B[:, None] + np.arange(length) - reach)
        places.append(length - 1 - np.abs(length - 1 - asked_BN))
    row, column = (torch.from_numpy(place_BN).to(x_BCHW.device) for place_BN in places)
    place = row[:, None, :, None] * x_BCHW.shape[-1] + column[:, None, None, :]
    return x_BCHW.flatten(2).gather(2, place.flatten(2).expand(-1, x_BCHW.shape[1], -1)).view_as(x_BCHW)


def erase(
    x_BCHW: Tensor, top_B: np.ndarray, left_B: np.ndarray, height_B: np.ndarray, width_B: np.ndarray, fill: list[float]
) -> Tensor:
    """A rectangle of each image in the colour `fill`; nothing where it has no height."""
    y_BCHW, colour = x_BCHW.clone(), _colour(fill, x_BCHW)
    for i in np.flatnonzero(height_B).tolist():
        F.erase(y_BCHW[i], int(top_B[i]), int(left_B[i]), int(height_B[i]), int(width_B[i]), colour, inplace=True)
    return y_BCHW


def _colour(fill: list[float], x_BCHW: Tensor) -> Tensor:
    return torch.tensor(fill, device=x_BCHW.device)[:, None, None]


# ---------------------------------------------------------------------------------------------------------- colours


def brightness(x_BCHW: Tensor, factor_B: np.ndarray) -> Tensor:
    """As `F.adjust_brightness`."""
    return _bytes(x_BCHW * per_image(factor_B, x_BCHW))


def saturation(x_BCHW: Tensor, factor_B: np.ndarray) -> Tensor:
    """As `F.adjust_saturation`."""
    return _blend(x_BCHW, F.rgb_to_grayscale(x_BCHW), factor_B)


def contrast(x_BCHW: Tensor, factor_B: np.ndarray) -> Tensor:
    """As `F.adjust_contrast`."""
    # Whole numbers in float64: their sum is the same in every order.
    mean = F.rgb_to_grayscale(x_BCHW).mean((-3, -2, -1), dtype=torch.float64, keepdim=True)
    return _blend(x_BCHW, mean.float(), factor_B)


def _blend(x_BCHW: Tensor, other: Tensor, share_B: np.ndarray) -> Tensor:
    """A `share` of each image, and of the other what is left."""
    left = per_image(1.0 - share_B, x_BCHW)
    # The product and the sum are rounded once, as in `add` with one `alpha`.
    return _bytes((x_BCHW * per_image(share_B, x_BCHW)).addcmul_(other.float(), left))


def _bytes(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.clamp_(0, 255).to(torch.uint8)


def hue(x_BCHW: Tensor, turn_B: np.ndarray) -> Tensor:
    """As `F.adjust_hue`: turned by a share of the circle of colours."""
    red, green, blue = (rgb := F.to_dtype(x_BCHW, torch.float32, scale=True)).unbind(1)
    most, least = red.maximum(green).maximum(blue), red.minimum(green).minimum(blue)
    range_BHW = most - least
    # What is divided by no range is 0.
    of_red, of_green, of_blue = ((most[:, None] - rgb) / range_BHW.clamp_min(_NO_RANGE)[:, None]).unbind(1)
    is_red, is_green = _where(most, red), _where(most, green)
    is_green *= 1 - is_red
    sixth = (of_blue - of_green) * is_red + (of_red + 2 - of_blue) * is_green
    sixth += (of_green + 4 - of_red) * (1 - is_red - is_green)
    angle = (sixth * (1 / 6) + 1).frac_() + per_image(turn_B, x_BCHW)[:, 0]
    angle = (angle - angle.floor()) * 6
    saturation = range_BHW / most.clamp_min(_NO_RANGE)
    sector = angle.floor()
    beyond = (angle - sector) * saturation
    pale = 1 - saturation
    falling, rising = ((1 - beyond) * most).clamp_(0, 1), ((beyond + pale) * most).clamp_(0, 1)
    pale = (pale * most).clamp_(0, 1)
    # Turned by nearly nothing, the angle may round to a whole circle.
    to_yellow, to_green, to_cyan, to_blue, to_magenta, to_red, whole = (_where(sector, float(i)) for i in range(7))
    to_yellow += whole
    turned = torch.stack(
        (
            most * (to_yellow + to_red) + falling * to_green + pale * (to_cyan + to_blue) + rising * to_magenta,
            most * (to_green + to_cyan) + falling * to_blue + pale * (to_magenta + to_red) + rising * to_yellow,
            most * (to_blue + to_magenta) + falling * to_red + pale * (to_yellow + to_green) + rising * to_cyan,
        ),
        1,
    )
    return F.to_dtype(turned, torch.uint8, scale=True)


_NO_RANGE = 1e-6
"""Less than any step between two levels."""


def _where(one: Tensor, other: Tensor | float) -> Tensor:
    """1.0 where both are equal, else 0.0: to multiply by it is many times faster than `torch.where` on the CPU."""
    return torch.eq(one, other, out=torch.empty_like(one))


def sharpness(x_BCHW: Tensor, factor_B: np.ndarray) -> Tensor:
    """As `F.adjust_sharpness`."""
    if min(x_BCHW.shape[-2:]) <= 2:
        return x_BCHW
    x = x_BCHW.float()
    inner = x[..., 1:-1, 1:-1]
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    # The weights are 1/13, and 5/13 in the middle: no thirteenth is half way between two levels, so that this rounds
    # as a convolution does, and whole numbers have one sum.
    blurred = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner).div_(13).round_()
    inner.addcmul_(blurred.sub_(inner), per_image(1.0 - factor_B, x))
    return _bytes(x)


def posterize(x_BCHW: Tensor, bits_B: np.ndarray) -> Tensor:
    """As `F.posterize`: the highest `bits` stay."""
    lost_B = 8 - bits_B.astype(np.int64)
    return x_BCHW & per_image((255 >> lost_B) << lost_B, x_BCHW, torch.uint8)


def solarize(x_BCHW: Tensor, threshold_B: np.ndarray) -> Tensor:
    """As `F.solarize`: from the threshold on, a share of white, light is dark."""
    least_B = np.ceil(np.float32(255.0 * threshold_B))
    return x_BCHW ^ ((x_BCHW >= per_image(least_B, x_BCHW, torch.uint8)).view(torch.uint8) * 255)


# --------------------------------------------------------------------------------------------------------- geometry


def move(x_BCHW: Tensor, matrix_B6: np.ndarray, fill: list[float]) -> Tensor:
    """As `F.affine` and `F.rotate` with bilinear interpolation, by a `Matrix` for each image, float64 `[B, 6]`."""
    height, width = x_BCHW.shape[-2:]
    matrix_B23 = torch.from_numpy(matrix_B6).to(x_BCHW.device, torch.float32).reshape(-1, 2, 3)
    ahead_B32 = matrix_B23.transpose(1, 2) / torch.tensor([0.5 * width, 0.5 * height], device=x_BCHW.device)
    x_W, y_H = (torch.linspace((1.0 - n) * 0.5, (n - 1.0) * 0.5, n, device=x_BCHW.device) for n in (width, height))
    of_x, of_y, ahead = (ahead_B32[:, i, None, None, :] for i in range(3))
    # No product of matrices, whose rounding depends on how many there are, and on TF32.
    grid_BHW2 = (x_W[:, None] * of_x + y_H[:, None, None] * of_y).add_(ahead)
    # A fourth channel says how much of each pixel the image holds: the rest is filled.
    held = torch.ones(len(x_BCHW), x_BCHW.shape[1] + 1, height, width, device=x_BCHW.device)
    held[:, :-1] = x_BCHW
    sampled = torch.nn.functional.grid_sample(held, grid_BHW2, align_corners=False)
    colour = _colour(fill, x_BCHW)
    return sampled[:, :-1].sub_(colour).mul_(sampled[:, -1:]).add_(colour).round_().to(torch.uint8)


def sheared_in_x(amount: float, height: int, width: int) -> Matrix:
    """Around the corner at the top left, as `F.affine` has it."""
    slope = math.tan(math.radians(math.degrees(math.atan(amount))))
    return 1.0, slope, slope * height * 0.5, 0.0, 1.0, 0.0


def sheared_in_y(amount: float, height: int, width: int) -> Matrix:
    """Around the corner at the top left, as `F.affine` has it."""
    angle = math.radians(math.degrees(math.atan(amount)))
    slope = math.sin(angle) / math.cos(angle)
    return 1.0, 0.0, 0.0, slope, 1.0, -0.5 * height + slope * width * 0.5 + 0.5 * height


def moved_in_x(amount: float, height: int, width: int) -> Matrix:
    """By whole pixels."""
    return 1.0, 0.0, -float(int(amount)), 0.0, 1.0, 0.0


def moved_in_y(amount: float, height: int, width: int) -> Matrix:
    """By whole pixels."""
    return 1.0, 0.0, 0.0, 0.0, 1.0, -float(int(amount))


def rotated(amount: float, height: int, width: int) -> Matrix:
    """Counter-clockwise around the middle, by degrees."""
    angle = math.radians(-(amount % 360))
    cos, sin = math.cos(angle), math.sin(angle)
    return cos, sin, 0.0, -sin, cos, 0.0


MOVES: dict[str, Callable[[float, int, int], Matrix]] = {
    "ShearX": sheared_in_x,
    "ShearY": sheared_in_y,
    "TranslateX": moved_in_x,
    "TranslateY": moved_in_y,
    "Rotate": rotated,
}
"""From (amount, height, width)."""
