"""What an image's numbers become, and what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from tlfw.data.pictures.picture import Picture, Span

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def grey(*values: float, kind: str = "uint16", **more: object) -> Picture:
    return Picture(np.array([values]).astype(kind)[:, :, None], **more)  # type: ignore[arg-type]


def levels(picture: Picture, range: object) -> list[int]:
    return picture.eight_bits(range, WHITE)[0, :, 0].tolist()  # type: ignore[arg-type]


def test_a_range_is_mapped_to_8_bits_and_cut() -> None:
    of_16 = grey(0, 128, 257, 65535, type_range=(0, 65535))
    assert levels(of_16, "type") == [0, 0, 1, 255]
    assert levels(of_16, (0, 255)) == [0, 128, 255, 255]
    assert levels(of_16, (100, 300)) == [0, 36, 200, 255]
    assert levels(grey(0, 16, 4095, type_range=(0, 4095)), "type") == [0, 1, 255]
    assert levels(grey(0, 16, 4095, type_range=(0, 4095), white_is_low=True), "type") == [255, 254, 0]
    assert levels(grey(-1, -0.5, 0, 1, kind="float32", type_range=None), (-1.0, 1.0)) == [0, 64, 128, 255]
    # Halves become even.
    assert levels(grey(1, 3, 5, kind="int32", type_range=None), (0, 510)) == [0, 2, 2]


def test_numbers_of_8_bits_stay_whatever_the_range() -> None:
    of_8 = grey(0, 7, 255, kind="uint8")
    assert levels(of_8, (0, 16)) == levels(of_8, "type") == [0, 7, 255]


@pytest.mark.parametrize("kind", ["int8", "int32", "uint32", "float32"])
def test_what_would_be_a_guess_is_refused(kind: str) -> None:
    picture = grey(0, 3, 100, kind=kind, type_range=None)
    with pytest.raises(ValueError, match=rf"{kind}, 0 to 100\).*range=\[black, white\] or range=auto"):
        picture.eight_bits("type", WHITE)
    assert levels(picture, (0, 100)) == [0, 8, 255]


def test_transparency_shows_the_background_and_not_what_is_hidden() -> None:
    for hidden in (0, 255):
        values = np.full((1, 3, 3), hidden, np.uint8)
        values[0, 2] = 10, 20, 30
        picture = Picture(values, np.array([[0, 0, 255]], np.uint8))
        assert picture.eight_bits("type", (1, 2, 3)).tolist() == [[[1, 2, 3], [1, 2, 3], [10, 20, 30]]]
        assert picture.eight_bits("type", WHITE)[0, 0].tolist() == [255] * 3
    random = np.random.default_rng(0)
    values, alpha = random.integers(0, 256, (40, 50, 3), np.uint8), random.integers(0, 256, (40, 50), np.uint8)
    exact = (values * (alpha[..., None] / 255.0)) + np.array([9, 100, 200]) * (1 - alpha[..., None] / 255.0)
    np.testing.assert_array_equal(Picture(values, alpha).eight_bits("type", (9, 100, 200)), np.rint(exact))


def test_grey_on_a_colour_becomes_colours() -> None:
    picture = Picture(np.full((1, 1, 1), 100, np.uint8), np.array([[51]], np.uint8))
    assert picture.eight_bits("type", (255, 0, 0)).tolist() == [[[224, 20, 20]]]
    assert picture.eight_bits("type", BLACK).tolist() == [[[20]]]


def test_where_white_is_low_it_is_before_transparency() -> None:
    picture = Picture(np.zeros((1, 1, 1), np.uint16), np.array([[0]], np.uint8), (0, 65535), white_is_low=True)
    assert picture.eight_bits("type", BLACK).tolist() == [[[0]]]


def test_a_span_says_what_is_odd() -> None:
    def span(low: float, high: float, kind: str = "uint16") -> Span:
        return Span(kind, low, high, 0, 65535)

    assert span(0, 255).narrow("type")
    assert not span(0, 255).narrow((0, 255))
    assert span(0, 6552).narrow("type")
    assert not span(0, 6554).narrow("type")
    assert span(60000, 65535).narrow("type")
    assert not span(60000, 65535).dark
    assert span(0, 6552).dark
    assert not span(0, 0).dark  # all black, which it may be
    assert span(0, 4096).beyond((0, 4095))
    assert span(4, 4000).beyond((5, 4095))
    assert not span(0, 4095).beyond((0, 4095))
    assert span(0, 20, "uint8").narrow("type")
    assert not span(0, 20, "uint8").dark


def test_arrays_are_pictures() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert Picture.of(pixels[:, :, 0]).values_HWC.shape == (2, 3, 1)
    assert Picture.of(pixels[:, :, :3]).alpha_HW is None
    for channels in (2, 4):
        picture = Picture.of(pixels[:, :, :channels])
        assert picture.values_HWC.shape == (2, 3, channels - 1)
        np.testing.assert_array_equal(picture.alpha_HW, pixels[:, :, channels - 1])
    wide = Picture.of(pixels.astype(np.uint16) * 257)
    np.testing.assert_array_equal(wide.alpha_HW, pixels[:, :, 3])
    assert Picture.of(np.array([[False, True]])).eight_bits("type", WHITE)[..., 0].tolist() == [[0, 255]]
    assert Picture.of(np.zeros((2, 2), np.int16)).values_HWC.dtype == np.int32
    assert Picture.of(np.zeros((2, 2), np.float16)).values_HWC.dtype == np.float32


@pytest.mark.parametrize(
    "pixels",
    [np.zeros(3, np.uint8), np.zeros((2, 2, 5), np.uint8), np.zeros((2, 2)), np.zeros((2, 2), np.int64),
     np.zeros((2, 2, 4), np.float32), np.zeros((2, 2), complex)],
)  # fmt: skip
def test_other_arrays_are_none(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"is no image|nobody says what is opaque"):
        Picture.of(pixels)


def test_a_person_sees_something_of_every_picture() -> None:
    for picture in (
        grey(10, 200, type_range=(0, 65535)),
        grey(-3, 5, kind="int32", type_range=None),
        grey(0.0, 0.25, kind="float32", type_range=None),
    ):
        assert np.asarray(picture.shown())[0, :, 0].tolist()[-1] == 255
    assert np.asarray(grey(5, kind="float32", type_range=None).shown()).max() == 0
