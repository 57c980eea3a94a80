"""What an image is known by."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from tlfw.data.pictures.fingerprint import SMALLEST, exact, grey, hashes, looks
from tlfw.data.pictures.picture import Picture

RANDOM = np.random.default_rng(0)


def picture(side: int = 48) -> Image.Image:
    """Smooth, as photographs are."""
    small = Image.fromarray(RANDOM.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def distance(one: str, other: str) -> int:
    return (int(one[:16], 16) ^ int(other[:16], 16)).bit_count()


def name(pixels: np.ndarray) -> str:
    return exact(Picture.of(pixels))


def test_pixels_and_size_are_the_name() -> None:
    pixels = RANDOM.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    assert name(pixels) == name(np.asfortranarray(pixels)) == name(pixels.copy())
    assert name(pixels) != name(pixels.reshape(6, 4, 3))
    other = pixels.copy()
    other[3, 5, 2] ^= 1
    assert name(pixels) != name(other)
    flat = pixels[:, :, 0]
    assert name(flat) == name(np.stack([flat] * 3, axis=2)) == name(np.asarray(Image.fromarray(flat).convert("RGB")))


def test_more_bits_that_say_the_same_have_the_same_name() -> None:
    grey = RANDOM.integers(0, 256, (4, 6), dtype=np.uint8)
    wide = grey.astype(np.uint16) * 257
    assert name(wide) == name(grey)
    turned = Picture(65535 - wide[:, :, None], None, (0, 65535), white_is_low=True)
    assert exact(turned) == name(grey)
    others = [wide + np.uint16(1), grey.astype(np.uint16), grey.astype(np.int32), grey.astype(np.float32)]
    of_12_bits = Picture(grey.astype(np.uint16)[:, :, None], None, (0, 4095))
    turned = Picture(grey.astype(np.uint16)[:, :, None], None, (0, 4095), white_is_low=True)
    names = [name(grey), *map(name, others), exact(of_12_bits), exact(turned)]
    assert len(set(names)) == len(names)


def test_a_colour_that_nobody_sees_is_not_in_the_name() -> None:
    logo = RANDOM.integers(0, 256, (4, 6, 4), dtype=np.uint8)
    logo[:2, :, 3], logo[2:, :, 3] = 0, 200
    hidden = logo.copy()
    hidden[:2, :, :3] = 7
    assert name(hidden) == name(logo) != name(logo[:, :, :3])
    for change in ((slice(2, 4), 0, 0), (slice(2, 4), 0, 3), (0, 0, 3)):
        other = logo.copy()
        other[change] ^= 1
        assert name(other) != name(logo)
    grey_and_alpha = logo[:, :, [0, 3]]
    assert name(grey_and_alpha) == name(logo[:, :, [0, 0, 0, 3]])


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
