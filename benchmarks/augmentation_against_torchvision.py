"""Whether each augmentation draws images as torchvision's transform of its name does.

    python -m benchmarks.augmentation_against_torchvision [--draws 10000] [--size 32] [--strength 1.0]

Draws as many variants of one image from both, and compares what is measured of each variant: its mean and variance over
the draws, and how often it is extreme, in standard errors. One that is beyond 4.5 would be met by chance in one of a
thousand such tables.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torchvision.transforms.v2 as T
from torch import Tensor

from tlfw.data.pictures.augment import OF_IMAGES
from tlfw.data.pictures.draws import drawing_from
from tlfw.data.pictures.view import View

BY_CHANCE = 4.5
"""Standard errors."""

FILL = [124.0, 116.0, 104.0]
BILINEAR = T.InterpolationMode.BILINEAR


def flip_crop(strength: float, size: int) -> T.Transform:
    reach = min(max(int(strength * size / 8), 1), size - 1)
    return T.Compose([T.RandomHorizontalFlip(), T.RandomCrop(size, padding=reach, padding_mode="reflect")])


TORCHVISION: dict[str, Callable[[float, int], T.Transform]] = {
    "flip": lambda strength, size: T.RandomHorizontalFlip(),
    "flip_crop": flip_crop,
    "rand_augment": lambda strength, size: T.RandAugment(2, round(9 * strength), interpolation=BILINEAR, fill=FILL),
    "trivial_augment": lambda strength, size: T.TrivialAugmentWide(interpolation=BILINEAR, fill=FILL),
    "colour": lambda strength, size: T.ColorJitter(0.4 * strength, 0.4 * strength, 0.4 * strength, 0.1 * strength),
    "erasing": lambda strength, size: T.RandomErasing(scale=(0.02 * strength, 0.33 * strength), value=FILL),
}
"""Name -> torchvision's transform of one image, from (strength, size in pixels)."""


def picture(size: int) -> Tensor:
    """An image that looks otherwise from every side, with noise: uint8 `[3, size, size]`."""
    rows, columns = np.mgrid[:size, :size] / size
    colours = np.stack([200 * rows + 30, 150 * columns**2 + 60, 90 + 80 * rows * columns])
    noise = np.random.default_rng(0).normal(0, 25, colours.shape)
    return torch.from_numpy(np.clip(colours + noise, 0, 255).astype(np.uint8))


def view(name: str, strength: float, size: int) -> View:
    mean = tuple(channel / 255 for channel in FILL)
    fields = {"size": size, "resize": size, "interpolation": "bilinear", "mean": mean, "std": (0.2, 0.2, 0.2)}
    return View(**fields, augmentation=(name,), strength=strength)


def ours(name: str, strength: float, x_CHW: Tensor, draws: int, seed: int = 0) -> Tensor:
    """Variants of one image: the passes of a data set that holds it alone."""
    seen = view(name, strength, x_CHW.shape[-1])
    return seen.augment(x_CHW.expand(draws, -1, -1, -1), seed, [0] * draws, range(draws))


def theirs(name: str, strength: float, x_CHW: Tensor, draws: int, seed: int = 0) -> Tensor:
    transform = TORCHVISION[name](strength, x_CHW.shape[-1])
    with drawing_from(seed):
        return torch.stack([transform(x_CHW) for _ in range(draws)])


def features(x_BCHW: Tensor, of: Tensor) -> dict[str, np.ndarray]:
    """What is measured of each variant of an image, float64 `[B]`."""
    parts = [_features(x, of) for x in x_BCHW.split(500)]
    # Sums that are formed in another order are no other results.
    return {name: torch.cat([part[name] for part in parts]).numpy().round(9) for name in parts[0]}


def _features(x_BCHW: Tensor, of: Tensor) -> dict[str, Tensor]:
    x = x_BCHW.double()
    across = torch.linspace(-1, 1, x.shape[-1], dtype=torch.float64)
    return {
        "change": (x - of).abs().mean((1, 2, 3)),
        "brightness": x.mean((1, 2, 3)),
        "contrast": x.mean(1).std((1, 2)),
        "left to right": (x * across).mean((1, 2, 3)),
        "top to bottom": (x * across[:, None]).mean((1, 2, 3)),
        "red over blue": (x[:, 0] - x[:, 2]).mean((1, 2)),
        "saturation": (x.amax(1) - x.amin(1)).mean((1, 2)),
        "sharpness": x.diff(dim=-1).abs().mean((1, 2, 3)),
    }


@dataclasses.dataclass(frozen=True)
class Compared:
    """One feature of variants by both: (theirs, ours), and how far these are apart in standard errors."""

    augmentation: str
    feature: str
    means: tuple[float, float]
    deviations: tuple[float, float]
    lowest: tuple[float, float]
    highest: tuple[float, float]
    apart: dict[str, float]

    @property
    def worst(self) -> float:
        return max(self.apart.values())


def compared(name: str, strength: float, size: int, draws: int) -> Iterator[Compared]:
    """Every feature of one augmentation."""
    x_CHW = picture(size)
    yield from compare(name, theirs(name, strength, x_CHW, draws), ours(name, strength, x_CHW, draws), x_CHW)


def compare(name: str, theirs_BCHW: Tensor, ours_BCHW: Tensor, of: Tensor) -> Iterator[Compared]:
    one, other = features(theirs_BCHW, of), features(ours_BCHW, of)
    for feature in one:
        a, b = one[feature], other[feature]
        both = np.concatenate([a, b])
        low, high = np.quantile(both, [0.02, 0.98])
        apart = {
            "mean": _apart(a, b),
            "variance": _apart((a - both.mean()) ** 2, (b - both.mean()) ** 2),
            "low": _apart(a <= low, b <= low),
            "high": _apart(a >= high, b >= high),
            "unchanged": _apart(a == a.min(), b == a.min()) if feature == "change" else 0.0,
        }
        means, deviations, lowest, highest = ((float(of(a)), float(of(b))) for of in (np.mean, np.std, np.min, np.max))
        yield Compared(name, feature, means, deviations, lowest, highest, apart)


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """How many standard errors two means are apart."""
    difference = abs(float(a.mean() - b.mean()))
    error = float(np.sqrt(a.var() / len(a) + b.var() / len(b)))
    return 0.0 if difference < 1e-9 else difference / error if error else np.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--strength", type=float, default=1.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{given.draws:,} draws, {given.size} px, strength {given.strength:g}; torchvision | tlfw")
    heads = ("mean", "deviation", "least", "most")
    print(f"{'':31}" + "".join(f"{head:>20}" for head in heads) + f"{'standard errors apart':>30}")
    worst = 0.0
    for name in OF_IMAGES:
        for each in compared(name, given.strength, given.size, given.draws):
            pairs = (each.means, each.deviations, each.lowest, each.highest)
            numbers = "".join(f"{a:10.2f} |{b:8.2f}" for a, b in pairs)
            where = max(each.apart, key=lambda kind: each.apart[kind])
            print(f"{name:16}{each.feature:15}{numbers}{each.worst:16.2f} ({where})")
            worst = max(worst, each.worst)
    print(f"worst: {worst:.2f} standard errors, {'by chance' if worst < BY_CHANCE else 'NOT by chance'}")


if __name__ == "__main__":
    main()
