"""Image files of every mode, depth, format and orientation are the numbers that they hold, or are refused."""

from __future__ import annotations

import os
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import paint
from tests.data.odd_files import Odd, netpbm, odd_files, png, tiff, upright
from tlfw.data.pictures.decoding import FORMATS, decoded, open_image
from tlfw.data.pictures.picture import Picture

WHITE = (255, 255, 255)


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> list[Odd]:
    return list(odd_files(tmp_path_factory.mktemp("odd")))


def seen(picture: Picture, odd: Odd) -> np.ndarray:
    found_HWC = picture.eight_bits(odd.range, WHITE)  # type: ignore[arg-type]
    return np.broadcast_to(found_HWC, (*found_HWC.shape[:2], 3))


def test_files_are_the_numbers_that_numpy_makes(odd: list[Odd]) -> None:
    assert len(odd) >= 200
    assert len({each.file.suffix for each in odd}) >= 15
    for each in odd:
        with Image.open(each.file) as image:
            pictures = (open_image(each.file), decoded(image))
        for picture in pictures:
            np.testing.assert_array_equal(seen(picture, each), each.rgb_HWC, err_msg=each.file.name)


def test_pictures_that_are_made_in_memory(tmp_path: Path) -> None:
    image = paint(0, 0)
    np.testing.assert_array_equal(decoded(image).values_HWC, np.asarray(image))
    assert decoded(decoded(image)) is not None
    for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "La", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"):
        made = image.convert("RGB").convert({"RGBa": "RGBA", "La": "LA", "PA": "P"}.get(mode, mode))
        made = made.convert(mode) if made.mode != mode else made
        right = np.asarray(made.convert("LA" if mode == "La" else "RGBA" if mode == "RGBa" else "RGB").convert("RGB"))
        got = decoded(made).eight_bits("type", WHITE)
        np.testing.assert_array_equal(np.broadcast_to(got, right.shape), right, err_msg=mode)
    for kind, mode in ((np.uint16, "I;16"), (np.int32, "I"), (np.float32, "F")):
        values = np.arange(6).reshape(2, 3).astype(kind)
        made = Image.fromarray(values)
        assert made.mode == mode
        np.testing.assert_array_equal(decoded(made).values_HWC[:, :, 0], values)


def test_an_image_is_not_changed_by_being_decoded(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    paint(0, 0).crop((0, 0, 30, 20)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        first = decoded(image)
        assert (image.size, first.size) == ((30, 20), (20, 30))
        assert decoded(image).size == (20, 30)


def test_what_it_is_says_more_than_its_ending(tmp_path: Path) -> None:
    image = paint(0, 0)
    for ending in ("jpg", "", "dat", "gif", "tga"):
        image.save(tmp_path / f"a.{ending}", "PNG")
        np.testing.assert_array_equal(open_image(tmp_path / f"a.{ending}").values_HWC, np.asarray(image))


def test_a_program_for_pages_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not {"EPS", "WMF", "FITS", "BUFR", "MPEG"} & set(FORMATS)
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript"))
    for name in ("a.jpg", "a.eps", "a.png"):
        paint(0, 0).save(tmp_path / name, "EPS")
        with pytest.raises(ValueError, match="no image of a format that is read"):
            open_image(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"notes\n", "no image of a format that is read, or its beginning is damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image of a format that is read"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, r"HEIF, which takes pillow-heif: pip install 'tlfw\[heif\]'"),
    ],
)
def test_what_is_no_image_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, why: str
) -> None:
    monkeypatch.setattr("tlfw.data.pictures.decoding._heif", lambda: ())
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=why):
        open_image(tmp_path / "a.png")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match="no regular file"):
        open_image(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "b.png")


def test_heif_is_read_where_its_package_is_there(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:16, :, 0], pixels[:, 32:, 1] = 200, 200
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(pixels).save(tmp_path / "a.heic", quality=-1, exif=exif.tobytes())
        (tmp_path / "a.heic").replace(tmp_path / "a.jpg")
        picture = open_image(tmp_path / "a.jpg")
        assert not picture.span.lost
        right = upright(pixels, orientation).astype(int)
        assert picture.values_HWC.shape == right.shape
        assert np.abs(picture.values_HWC - right).mean() < 6, orientation


def test_too_many_pixels_are_refused_by_a_bound_that_can_be_raised(tmp_path: Path) -> None:
    Image.new("L", (100, 50)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bound in (1, 2499, 4999):
            with pytest.raises(ValueError, match=f"it has 5,000 pixels, more than largest_image={bound}:"):
                open_image(tmp_path / "a.png", bound)
        assert open_image(tmp_path / "a.png", 5000).size == (100, 50)
    assert Image.MAX_IMAGE_PIXELS == 89_478_485


def test_a_bomb_costs_nothing(tmp_path: Path) -> None:
    """A file that says it is large is refused before any of its pixels are made."""
    png(tmp_path / "a.png", np.zeros((1, 1), np.uint8), 8)
    content = (tmp_path / "a.png").read_bytes()
    head = content[12:16] + struct.pack(">II", 60_000, 60_000) + content[24:29]
    (tmp_path / "a.png").write_bytes(content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:])
    with pytest.raises(ValueError, match="it has 3,600,000,000 pixels, more than largest_image=178956970"):
        open_image(tmp_path / "a.png")


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_of_several_frames_the_first_is_used_and_known(tmp_path: Path, ending: str) -> None:
    frames = [paint(k, 0).convert("P" if ending == "gif" else "RGB") for k in range(3)]
    how = {"lossless": True} if ending == "webp" else {}
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:], **how)
    frames[0].save(tmp_path / f"b.{ending}", **how)
    several, one = open_image(tmp_path / f"a.{ending}"), open_image(tmp_path / f"b.{ending}")
    assert several.span.several
    assert not one.span.several
    np.testing.assert_array_equal(several.values_HWC, one.values_HWC)


def test_what_lies_cut_off_in_a_file_is_refused(tmp_path: Path) -> None:
    for name, how in (("a.png", {}), ("a.jpg", {}), ("a.tif", {}), ("a.bmp", {}), ("a.webp", {}), ("a.gif", {})):
        paint(0, 0).save(tmp_path / name, **how)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) * 6 // 10])
        with pytest.raises((OSError, ValueError, SyntaxError)):
            open_image(tmp_path / name)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    values = np.ones((4, 5), np.float32)
    values[1, 2] = np.nan
    tiff(tmp_path / "a.tif", values)
    with pytest.raises(ValueError, match="no finite numbers"):
        open_image(tmp_path / "a.tif")


def test_lower_bits_that_pillow_drops_are_not_guessed(tmp_path: Path) -> None:
    values = np.arange(4 * 6 * 3).reshape(4, 6, 3).astype(np.uint16)
    tiff(tmp_path / "a.tif", values, in_planes=True, deflated=True)
    with pytest.raises(ValueError, match="compressed planes"):
        open_image(tmp_path / "a.tif")


NOTHING = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
DAMAGED = (
    b"no TIFF", b"II", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff",
    b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06",  # cut
    b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02x\0\0\0",
    b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0" + b"\0" * 4,
)  # fmt: skip


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_where_nobody_knows_which_way_is_up_that_is_known(tmp_path: Path, form: str) -> None:
    def opened(tags: bytes | None) -> Picture:
        paint(0, 0).save(tmp_path / "a", form, **({} if tags is None else {"exif": b"Exif\0\0" + tags}))
        return open_image(tmp_path / "a")

    for tags in DAMAGED:
        assert opened(tags).span.lost, tags
    for orientation in (0, 1, 6):
        tags = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation, 0, 0]) + b"\0" * 4
        assert not opened(tags).span.lost
    other = NOTHING[:8] + b"\0\x01\x01\x28\0\x03\0\0\0\x01\0\x02\0\0" + b"\0" * 4
    assert not any(opened(tags).span.lost for tags in (None, NOTHING, other))


def test_netpbm_beyond_its_white_is_white(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5\n2 1\n100\n\x64\xc8")
    np.testing.assert_array_equal(open_image(tmp_path / "a.pgm").values_HWC[:, :, 0], [[255, 255]])
    netpbm(tmp_path / "b.pgm", np.array([[1000, 4095]], np.uint16), 1000)
    picture = open_image(tmp_path / "b.pgm")
    assert picture.type_range == (0, 1000)
    assert picture.span.beyond("type")


def test_damaged_files_are_read_or_refused_and_soon(tmp_path: Path, odd: list[Odd]) -> None:
    """Bytes flipped, cut off, doubled and taken for another format: an image, or an exception that says why."""
    random, refused, file = np.random.default_rng(0), 0, tmp_path / "a"
    for k in range(200):
        content = bytearray(odd[int(random.integers(len(odd)))].file.read_bytes())
        for _ in range(int(random.integers(1, 4))):
            at = int(random.integers(min(len(content), 200 if k % 2 else len(content))))
            match k % 4:
                case 0 | 1:
                    content[at] ^= int(random.integers(1, 256))
                case 2:
                    content = content[: max(at, 1)]
                case _:
                    content[at:at] = content[at : at + 8]
        file = file.with_suffix(str(random.choice([".png", ".tif", ".jpg", ".tga", ".gif", "", ".pcx"])))
        file.write_bytes(content)
        began = time.process_time()
        try:
            picture = open_image(file)
            assert picture.values_HWC.ndim == 3
            assert picture.span
        except MemoryError:
            raise
        except Exception:
            refused += 1
        assert time.process_time() - began < 5
    assert 20 < refused < 190
