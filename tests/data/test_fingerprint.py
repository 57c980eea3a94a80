"""What an image is known by."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from tlfw.data.fingerprint import SMALLEST, exact, grey, hashes, looks

RANDOM = np.random.default_rng(0)


def picture(side: int = 48) -> Image.Image:
    """Smooth, as photographs are."""
    small = Image.fromarray(RANDOM.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def distance(one: str, other: str) -> int:
    return (int(one[:16], 16) ^ int(other[:16], 16)).bit_count()


def test_pixels_and_size_are_the_name() -> None:
    pixels = RANDOM.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    assert exact(pixels) == exact(np.asfortranarray(pixels)) == exact(pixels.copy())
    assert exact(pixels) != exact(pixels.reshape(6, 4, 3))
    other = pixels.copy()
    other[3, 5, 2] ^= 1
    assert exact(pixels) != exact(other)
    flat = pixels[:, :, 0]
    assert exact(flat) == exact(np.stack([flat] * 3, axis=2)) == exact(np.asarray(Image.fromarray(flat).convert("RGB")))


def test_a_copy_looks_the_same_and_another_picture_does_not() -> None:
    image, other = picture(), picture()
    file = io.BytesIO()
    image.save(file, "JPEG", quality=50)
    for copy in (image.resize((30, 30)), image.resize((96, 96)), Image.open(file)):
        assert distance(looks(image), looks(copy)) <= 6
    assert distance(looks(image), looks(other)) > 12


def test_the_second_half_is_the_mirror_image() -> None:
    image = picture()
    assert looks(image)[16:] == looks(ImageOps.mirror(image))[:16] != looks(image)[:16]


@pytest.mark.parametrize(("size", "there"), [((SMALLEST, 90), True), ((90, SMALLEST - 1), False), ((8, 8), False)])
def test_small_images_say_nothing(size: tuple[int, int], there: bool) -> None:
    assert (looks(picture().resize(size)) is not None) == there


def test_hashes_are_the_numbers_of_those_that_are_known() -> None:
    one, two = looks(picture()), looks(picture())
    positions, found = hashes([None, one, None, two])
    assert positions.tolist() == [1, 3]
    assert found.tolist() == [[int(each[:16], 16), int(each[16:], 16)] for each in (one, two)]
    positions, found = hashes([None])
    assert (positions.tolist(), found.shape) == ([], (0, 2))


def test_grey_versions_multiply_to_their_correlation() -> None:
    image = picture()
    brighter = image.point(lambda v: v // 2 + 60)
    assert (grey(image) * grey(brighter)).sum() == pytest.approx(1, abs=0.01)
    assert (grey(image) * grey(ImageOps.invert(image))).sum() == pytest.approx(-1, abs=0.01)
    assert (grey(image) ** 2).sum() == pytest.approx(1, abs=1e-5)
    assert not grey(Image.new("RGB", (40, 40), (9, 9, 9))).any()
