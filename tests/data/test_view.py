"""How a model sees an image."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from PIL import Image

from tests.conftest import paint
from tlfw.backbone import Backbone
from tlfw.data import Digits, View
from tlfw.families import BACKBONES
from tlfw.plan import view

PLAIN = View(size=32, resize=32, interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))


@pytest.mark.parametrize("name", BACKBONES)
def test_published_weights_bring_their_own_preprocessing(name: str) -> None:
    backbone = Backbone(name=name, weights="DEFAULT")
    own = backbone.published.transforms()
    seen = view(Digits(), backbone, own.crop_size[0])
    image = Image.fromarray(torch.randint(0, 255, (300, 400, 3), dtype=torch.uint8).numpy())
    torch.testing.assert_close(seen.normalise(seen.pixels(image)[None])[0], own(image), rtol=0, atol=1e-6)


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


@pytest.mark.parametrize("kind", ["flip", "flip_crop"])
def test_augmentation_is_a_function_of_its_key(kind: str) -> None:
    seen = dataclasses.replace(PLAIN, augmentation=kind)
    x_CHW = seen.pixels(paint(1, 0))
    state = torch.get_rng_state()
    variants = [seen.augment(x_CHW, 0, epoch, 7) for epoch in range(20)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, seen.augment(x_CHW, 0, k, 7)) for k, v in enumerate(variants))
    different = {v.numpy().tobytes() for v in variants}
    assert len(different) == 2 if kind == "flip" else len(different) > 10
    assert x_CHW.numpy().tobytes() in different or kind == "flip_crop"
    assert torch.equal(PLAIN.augment(x_CHW, 0, 0, 0), x_CHW)
