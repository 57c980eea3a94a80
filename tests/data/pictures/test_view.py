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
from tlfw.data.pictures.augment import IMAGE, UNSCALED
from tlfw.identity.names import seed_from
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


@pytest.mark.parametrize("names", [*[(name,) for name in IMAGE], ("flip_crop", "rand_augment", "colour", "erasing")])
def test_augmentation_is_a_function_of_its_key(names: tuple[str, ...]) -> None:
    seen = dataclasses.replace(PLAIN, augmentation=names)
    x_CHW = seen.pixels(paint(1, 0))
    before, states = x_CHW.clone(), global_states()
    variants = [seen.augment(x_CHW, 0, epoch, 7) for epoch in range(20)]
    assert global_states() == states
    assert torch.equal(x_CHW, before)
    torch.manual_seed(1)
    again = dataclasses.replace(seen)  # nothing is remembered from image to image
    assert all(torch.equal(variants[k], again.augment(x_CHW, 0, k, 7)) for k in reversed(range(20)))
    different = {v.numpy().tobytes() for v in variants}
    assert len(different) == 2 if names == ("flip",) else len(different) > 8
    assert {(v.shape, v.dtype) for v in variants} == {(x_CHW.shape, torch.uint8)}
    assert torch.equal(PLAIN.augment(x_CHW, 0, 0, 0), x_CHW)


@pytest.mark.parametrize("size", [1, 2, 3, 32])
def test_flip_and_crop_are_what_they_say(size: int) -> None:
    """A coin, then a place in the image with its reflected border, drawn one after the other."""
    seen = dataclasses.replace(PLAIN, size=size, resize=size, augmentation=("flip_crop",))
    x_CHW = seen.pixels(paint(1, 0))
    for k in range(20):
        draws = torch.Generator().manual_seed(seed_from("augment", 0, k, 7))
        expected = x_CHW.flip(-1) if torch.rand((), generator=draws) < 0.5 else x_CHW
        if reach := min(max(size // 8, 1), size - 1):
            top, left = torch.randint(0, 2 * reach + 1, (2,), generator=draws).tolist()
            padded = torch.nn.functional.pad(expected[None].float(), [reach] * 4, mode="reflect")[0].byte()
            expected = padded[:, top : top + size, left : left + size]
        assert torch.equal(seen.augment(x_CHW, 0, k, 7), expected)


@pytest.mark.parametrize("name", IMAGE)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_smallest_images_can_be_augmented(name: str, size: int) -> None:
    seen = dataclasses.replace(PLAIN, size=size, resize=size, augmentation=(name,))
    assert all(seen.augment(seen.pixels(paint(1, 0)), k).shape == (3, size, size) for k in range(30))


@pytest.mark.parametrize("name", [name for name in IMAGE if name not in UNSCALED])
def test_a_greater_strength_changes_an_image_more(name: str) -> None:
    x_CHW = PLAIN.pixels(paint(1, 0))

    def change(strength: float) -> float:
        seen = dataclasses.replace(PLAIN, augmentation=(name,), strength=strength)
        return sum((seen.augment(x_CHW, k).float() - x_CHW.float()).abs().mean().item() for k in range(60))

    assert change(0.1) < change(1.0) < change(2.0)


def test_what_is_erased_becomes_zero() -> None:
    seen = dataclasses.replace(PLAIN, augmentation=("erasing",))
    white = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    erased = [x for x in (seen.augment(white, k) for k in range(40)) if (x < 255).any()]
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
