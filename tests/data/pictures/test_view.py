"""How a model sees an image."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image

from tests.conftest import paint
from tlfw.backbones.families import all_names
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data import Digits, View
from tlfw.data.pictures.augmentation import IMAGE, UNSCALED
from tlfw.runs.experiment_data import view

PLAIN = View(size=32, resize=32, interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))


@pytest.mark.parametrize("name", all_names())
def test_published_weights_bring_their_own_preprocessing(name: str) -> None:
    backbone = TorchvisionBackbone(name=name, weights="DEFAULT")
    own = backbone.published.transforms()
    seen = view(Digits(), backbone, own.crop_size[0])
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    x_CHW = F.resize(F.pil_to_tensor(image), own.resize_size, interpolation=own.interpolation)
    x_CHW = F.to_dtype(F.center_crop(x_CHW, own.crop_size), torch.float32, scale=True)
    torch.testing.assert_close(seen(image), F.normalize(x_CHW, own.mean, own.std), rtol=0, atol=0)
    # torchvision's preset itself resizes pictures by Pillow, which rounds a little otherwise.
    assert (seen(image) - own(image)).abs().max() <= 2.01 / 255 / min(own.std)


def test_any_shape_becomes_a_square() -> None:
    for size in ((8, 8), (100, 40), (40, 100), (32, 32)):
        x_CHW = PLAIN.pixels(Image.new("RGB", size, (255, 0, 0)))
        assert x_CHW.shape == (3, 32, 32)
        assert x_CHW.dtype == torch.uint8
        assert x_CHW.amax((1, 2)).tolist() == [255, 0, 0]


def test_normalisation() -> None:
    x_BCHW = PLAIN.normalise(torch.full((2, 3, 32, 32), 255, dtype=torch.uint8))
    assert x_BCHW.dtype == torch.float32
    assert x_BCHW[0, :, 0, 0].tolist() == pytest.approx([5.0, 3.0, 7 / 3])


def global_states() -> list:
    """Of every generator that a transform could draw from unseen."""
    return [torch.get_rng_state().tolist(), random.getstate(), [part.tolist() for part in np.random.get_state()[1:2]]]


MIXTURE = ("flip_crop", "rand_augment", "colour", "erasing", "rand_augment")


def augmented(*names: str, size: int = 32, **fields: float) -> View:
    return dataclasses.replace(PLAIN, size=size, resize=size, augmentation=names, **fields)


def passes(seen: View, x_CHW: torch.Tensor, count: int) -> torch.Tensor:
    """One image as `count` passes see it, one after the other."""
    return torch.cat([seen.augment(x_CHW[None], 0, [7], [k]) for k in range(count)])


@pytest.mark.parametrize("names", [*[(name,) for name in IMAGE], MIXTURE])
def test_augmentation_is_a_function_of_seed_position_and_pass(names: tuple[str, ...]) -> None:
    seen = augmented(*names)
    x_CHW = seen.pixels(paint(1, 0))
    before, states = x_CHW.clone(), global_states()
    variants = passes(seen, x_CHW, 20)
    assert global_states() == states
    assert torch.equal(x_CHW, before)
    torch.manual_seed(1)
    again = dataclasses.replace(seen)  # nothing is remembered from image to image
    assert all(torch.equal(variants[k], again.augment(x_CHW[None], 0, [7], [k])[0]) for k in reversed(range(20)))
    different = {v.numpy().tobytes() for v in variants}
    assert len(different) == 2 if names == ("flip",) else len(different) > 5  # nothing is erased from half of them
    assert (variants.shape[1:], variants.dtype) == (x_CHW.shape, torch.uint8)
    assert torch.equal(PLAIN.augment(x_CHW[None], 0, [0], [0])[0], x_CHW)


@pytest.mark.parametrize("size", [1, 2, 5, 31, 32, 65])
@pytest.mark.parametrize("names", [*[(name,) for name in IMAGE], MIXTURE])
def test_an_image_alone_is_what_it_is_in_company(names: tuple[str, ...], size: int) -> None:
    """Bit for bit, in any company, order and number."""
    seen = augmented(*names, size=size)
    x_BCHW = torch.stack([seen.pixels(paint(i % 3, i)) for i in range(40)])
    positions, seen_before = list(range(100, 140)), [i % 4 for i in range(40)]
    together = seen.augment(x_BCHW, 3, positions, seen_before)
    for i in range(40):
        assert torch.equal(seen.augment(x_BCHW[i : i + 1], 3, [100 + i], [i % 4])[0], together[i])
    some = np.random.default_rng(0).permutation(40)[:17].tolist()
    asked = [positions[i] for i in some], [seen_before[i] for i in some]
    assert torch.equal(seen.augment(x_BCHW[some], 3, *asked), together[some])


def test_how_many_are_augmented_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = augmented(*MIXTURE)
    x_BCHW = torch.stack([seen.pixels(paint(i % 3, i)) for i in range(9)])
    together = seen.augment(x_BCHW, 0, range(9), [0] * 9)
    for pixels in (1, 4 * 32**2):
        monkeypatch.setattr("tlfw.data.pictures.view.PIXELS_TOGETHER", pixels)
        assert torch.equal(seen.augment(x_BCHW, 0, range(9), [0] * 9), together)


def test_the_number_of_threads_changes_nothing() -> None:
    """As where workers make batches, which have one."""
    seen = augmented(*MIXTURE)
    x_BCHW = torch.stack([seen.pixels(paint(i % 3, i)) for i in range(100)])
    made, threads = [], torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        made.append(seen.augment(x_BCHW, 0, range(100), [0] * 100))
    torch.set_num_threads(threads)
    assert torch.equal(*made)


def test_an_augmentation_named_twice_is_drawn_twice() -> None:
    x_CHW = PLAIN.pixels(paint(1, 0))
    twice = passes(augmented("flip", "flip"), x_CHW, 40)
    back = sum(torch.equal(variant, x_CHW) for variant in twice)
    assert 10 < back < 30


@pytest.mark.parametrize(("size", "strength"), [(1, 1.0), (2, 1.0), (3, 1.0), (32, 1.0), (24, 1.5)])
def test_flip_and_crop_are_what_they_say(size: int, strength: float) -> None:
    """Either way round, at every place in the image with its reflected border."""
    seen = augmented("flip_crop", size=size, strength=strength)
    x_CHW = seen.pixels(paint(1, 0))
    reach = min(max(int(strength * size / 8), 1), size - 1)
    possible = set()
    for one in (x_CHW, x_CHW.flip(-1)):
        padded = torch.nn.functional.pad(one[None].float(), [reach] * 4, mode="reflect")[0].byte()
        for top in range(2 * reach + 1):
            for left in range(2 * reach + 1):
                possible.add(padded[:, top : top + size, left : left + size].numpy().tobytes())
    made = seen.augment(x_CHW.expand(2000, -1, -1, -1), 0, range(2000), [0] * 2000)
    assert {variant.numpy().tobytes() for variant in made} == possible


@pytest.mark.parametrize("name", IMAGE)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_smallest_images_can_be_augmented(name: str, size: int) -> None:
    seen = augmented(name, size=size)
    assert passes(seen, seen.pixels(paint(1, 0)), 30).shape == (30, 3, size, size)


@pytest.mark.parametrize("name", [name for name in IMAGE if name not in UNSCALED])
def test_a_greater_strength_changes_an_image_more(name: str) -> None:
    x_CHW = PLAIN.pixels(paint(1, 0))

    def change(strength: float) -> float:
        return (passes(augmented(name, strength=strength), x_CHW, 60).float() - x_CHW).abs().mean().item()

    assert change(0.1) < change(1.0) < change(2.0)


def test_what_is_erased_becomes_zero() -> None:
    seen = augmented("erasing")
    white = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    erased = [x for x in passes(seen, white, 40) if (x < 255).any()]
    assert 10 < len(erased) < 30
    for x_CHW in erased:
        values = seen.normalise(x_CHW[None])[0][:, (x_CHW < 255).all(0)]
        assert values.abs().max() < 0.5 / 255 / 0.1 + 1e-6  # half a step of 8 bits, over the least spread


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([PLAIN.pixels(paint(i % 3, i)) for i in range(6)]).float(), torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("names", [("mixup",), ("cutmix",), ("flip", "mixup", "cutmix")])
def test_mixing_is_a_function_of_its_key(names: tuple[str, ...]) -> None:
    seen = dataclasses.replace(PLAIN, augmentation=names)
    x_BCHW, y_B = batch()
    states = global_states()
    mixed = [seen.mix(x_BCHW, y_B, 4, 0, step) for step in range(10)]
    assert global_states() == states
    assert torch.equal(x_BCHW, batch()[0])
    for step, (x, y_BK) in reversed(list(enumerate(mixed))):
        again = dataclasses.replace(seen).mix(x_BCHW, y_B, 4, 0, step)
        assert torch.equal(again[0], x)
        assert torch.equal(again[1], y_BK)
        assert (y_BK.shape, y_BK.dtype) == ((6, 4), torch.float32)
        torch.testing.assert_close(y_BK.sum(1), torch.ones(6))
        assert (y_BK[:, 3] == 0).all()
    assert len({x.numpy().tobytes() for x, _ in mixed}) > 5


def test_shares_of_labels_are_shares_of_images() -> None:
    x_BCHW, y_B = batch()
    blend, shares_BK = dataclasses.replace(PLAIN, augmentation=("mixup",)).mix(x_BCHW, y_B, 3, 0)
    share = shares_BK[0, 0]
    assert 0 < share < 1
    torch.testing.assert_close(blend, share * x_BCHW + (1 - share) * x_BCHW.roll(1, 0))
    cut, shares_BK = dataclasses.replace(PLAIN, augmentation=("cutmix",)).mix(x_BCHW, y_B, 3, 0)
    own = (cut == x_BCHW).all(1).float().mean((1, 2))
    torch.testing.assert_close(shares_BK.gather(1, y_B[:, None])[:, 0], own)
    still = dataclasses.replace(PLAIN, augmentation=("mixup",)).still
    assert still.mix(x_BCHW, y_B, 3, 0) == (x_BCHW, y_B)
    assert still == PLAIN
