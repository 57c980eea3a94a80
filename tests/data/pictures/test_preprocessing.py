"""What lies between a decoded file and a network is one value, the same wherever images are seen."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.conftest import paint
from tests.data.odd_files import HEIGHT, WIDTH, Odd, levels, odd_files, png
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data import ImageFolder, Preprocessing, View
from tlfw.data.division import Part
from tlfw.data.images import ImageFiles, Reading
from tlfw.data.mixture import Pixels
from tlfw.data.pictures.decoding import open_image
from tlfw.data.pictures.picture import Picture, Span
from tlfw.data.pictures.preprocessing import Spanned, asked_range, colour, oddities, range_in
from tlfw.errors import ConfigError
from tlfw.predict import predict
from tlfw.runs.trained_model import Blueprint, LoadedModel

AT_SIZE = Preprocessing(size=HEIGHT, resize=HEIGHT, interpolation="bicubic", mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
"""The shorter side of odd files stays as it is, so that NumPy alone says what is right."""


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[object, list[Odd]]:
    """Range -> the files for which it is right."""
    by_range: dict[object, list[Odd]] = {}
    for each in odd_files(tmp_path_factory.mktemp("odd")):
        by_range.setdefault(each.range, []).append(each)
    return by_range


def right(odd: Odd) -> Tensor:
    """float32 `[3, HEIGHT, HEIGHT]`, by NumPy."""
    top, left = (round((pixels - HEIGHT) / 2) for pixels in odd.rgb_HWC.shape[:2])
    cut_HWC = odd.rgb_HWC[top : top + HEIGHT, left : left + HEIGHT]
    x_HWC = (cut_HWC / np.float32(255) - np.float32(AT_SIZE.mean)) / np.float32(AT_SIZE.std)
    return torch.from_numpy(x_HWC.transpose(2, 0, 1).astype(np.float32))


class Reads(nn.Module):
    """A classifier that says what it is given: logits are the mean of each part of an image."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x_BCHW, 2).flatten(1)


def loaded(own: Preprocessing) -> LoadedModel:
    classes = tuple(f"c{k}" for k in range(12))
    blueprint = Blueprint(
        run_id="r",
        backbone={},
        transform_input=False,
        classes={"target": classes},
        preprocessing=own,
        checkpoint_sha256="",
    )
    network = TorchvisionBackbone(name="resnet18")
    return LoadedModel(model=Reads(), transform=own, classes=classes, blueprint=blueprint, backbone=network)


def test_all_files_are_seen_alike_in_training_prediction_and_by_the_transform(odd: dict[object, list[Odd]]) -> None:
    count = 0
    for range_, files in odd.items():
        expected_BCHW = torch.stack([right(each) for each in files])
        own = dataclasses.replace(AT_SIZE, range=range_)
        names = [each.file.name for each in files]
        images = ImageFiles(files[0].file.parent, names, [0] * len(files), ["a"], reading=Reading(range=own.range))
        assert images.unreadable(None) == {}
        view = View(**{field.name: getattr(own, field.name) for field in dataclasses.fields(own)})
        part = Part(images, np.arange(len(files)))
        trained_BCHW = Pixels(part, view).batch(range(len(files)), None, 0)
        for k, each in enumerate(files):
            torch.testing.assert_close(trained_BCHW[k], expected_BCHW[k], rtol=0, atol=1e-6, msg=each.file.name)
            assert torch.equal(own(open_image(each.file)), trained_BCHW[k]), each.file.name
            with Image.open(each.file) as image:
                assert torch.equal(own(image), trained_BCHW[k]), each.file.name
        rows, unreadable, _ = predict(loaded(own), [each.file for each in files], top=12)
        assert unreadable == []
        expected_BK = Reads()(expected_BCHW).softmax(1)
        for row, expected_K in zip(rows, expected_BK, strict=True):
            said = {each["label"]: each["probability"] for each in row["top"]}
            assert [said[f"c{k}"] for k in range(12)] == pytest.approx(expected_K.tolist(), abs=1e-6), row["file"]
        count += len(files)
    assert count >= 200


def test_all_files_are_seen_alike_by_the_exported_graph(odd: dict[object, list[Odd]]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from tlfw.data.pictures.onnx_preprocessing import graph_of

    session = onnxruntime.InferenceSession(graph_of(AT_SIZE, 18, 10).SerializeToString())
    for range_, files in odd.items():
        own = dataclasses.replace(AT_SIZE, range=range_)
        for each in files:
            rgb_HWC = own.rgb(open_image(each.file))
            np.testing.assert_array_equal(rgb_HWC, each.rgb_HWC, err_msg=each.file.name)
            (x_BCHW,) = session.run(["x_BCHW"], {"image_BHWC": rgb_HWC[None]})
            np.testing.assert_allclose(x_BCHW[0], right(each), rtol=0, atol=1e-6, err_msg=each.file.name)


def test_a_background_is_seen_wherever_images_are(tmp_path: Path) -> None:
    logo = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    Image.fromarray(logo).save(tmp_path / "a.png")
    own = dataclasses.replace(AT_SIZE, background=(10, 20, 250))
    assert own.pixels(open_image(tmp_path / "a.png"))[:, 0, 0].tolist() == [10, 20, 250]
    assert own.rgb(open_image(tmp_path / "a.png"))[0, 0].tolist() == [10, 20, 250]


@pytest.mark.parametrize(
    ("given", "found"),
    [("type", "type"), ("auto", "auto"), ([0, 4095], (0, 4095)), ([-1.5, 2.0], (-1.5, 2.0))],
)
def test_ranges(given: object, found: object) -> None:
    assert asked_range(given) == found  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["Type", "0", [0], [0, 1, 2], [1, 1], [2, 1], [0, float("inf")], [float("nan"), 1]])
def test_no_ranges(given: object) -> None:
    with pytest.raises(ConfigError, match=r"^range: .*Use type, auto, or two numbers"):
        asked_range(given)  # type: ignore[arg-type]


def test_colours() -> None:
    assert colour("white") == colour("#ffffff") == colour([255, 255, 255]) == (255, 255, 255)
    assert colour("red") == colour("#ff0000ff") == (255, 0, 0)


@pytest.mark.parametrize("given", ["whitish", "#ffffff00", [1, 2], [1, 2, 3, 4], [0, 0, 256], [-1, 0, 0]])
def test_no_colours(given: object) -> None:
    with pytest.raises(ConfigError, match=r"^background: .*Use a colour's name"):
        colour(given)  # type: ignore[arg-type]


def test_auto_is_by_images_of_more_than_8_bits_alone() -> None:
    spans = [Span("uint16", 40, 900, 0, 65535), Span("uint16", 30, 500, 0, 65535), Span("uint8", 0, 255, 0, 255)]
    assert range_in(spans) == (30, 900)
    assert range_in(spans[2:]) == range_in([]) == "type"
    with pytest.raises(ConfigError, match="range: auto finds only the number 5"):
        range_in([Span("uint16", 5, 5, 0, 65535)])


def test_what_is_odd_is_said_with_names_and_counts() -> None:
    def named(*spans: Span | None) -> Spanned:
        return Spanned(spans, lambda place: f"{place}.png")

    fine = Span("uint8", 0, 255, 0, 255)
    assert oddities(named(fine, fine), "type") == []
    assert oddities(named(None, fine, fine._replace(several=True)), "type") == [
        "1 image has several frames, pages or layers, of which the first is used: 2.png"
    ]
    assert oddities(named(*[fine._replace(high=20)] * 5), "type") == [
        "5 images use less than a tenth of what is between black and white: "
        "0.png (0 to 20, where 0 is black and 255 white), 1.png (0 to 20, where 0 is black and 255 white), "
        "2.png (0 to 20, where 0 is black and 255 white) and 2 more"
    ]
    assert oddities(named(Span("uint16", 0, 5000, 0, 65535)), (0, 4095)) == [
        "1 image has numbers beyond black or white, which become that: "
        "0.png (0 to 5000, where 0 is black and 4095 white)"
    ]
    assert oddities(named(fine._replace(lost=True)), "type") == [
        "1 image has damaged EXIF data, so that nobody knows which way is up: 0.png"
    ]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"interpolation": "nearest"}, "interpolation is nearest, not one of bilinear, bicubic"),
        ({"resize": HEIGHT - 1}, "resize is 23, where 24 pixels are cut out"),
        ({"size": 0}, "resize is 24, where 0 pixels"),
        ({"mean": (0.5,)}, "do not fit three channels"),
        ({"std": (0.5, 0.0, 0.5)}, "do not fit three channels"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        dataclasses.replace(AT_SIZE, **wrong)  # type: ignore[arg-type]


def test_words_leave_nothing_to_guess() -> None:
    """A program that knows only them comes to the same numbers: each step that they name is done here by NumPy."""
    before, inside = dataclasses.replace(AT_SIZE, range=(0, 4095), background=(1, 2, 3)).in_words()
    words = " ".join([*before, *inside])
    for needed in (
        "black is 0 and white 4095", "rounded to the nearest whole number, halves to the even one", "[1, 2, 3]",
        "floor(24 x longer / shorter)", "antialiased", "bicubic", "round((pixels - 24) / 2)", "EXIF orientation",
        "floor((sum + 2**(p - 1)) / 2**p)", "Divide by 255, subtract mean, divide by std", "order RGB",
    ):  # fmt: skip
        assert needed in words, needed
    assert "65535" in " ".join(AT_SIZE.in_words()[0])


# A data set's settings


def sixteen(folder: Path, most: int, test_most: int | None = None) -> Path:
    """Grey images of 16 bits, two classes, that hold numbers up to `most`."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in range(2):
            for i in range(6):
                high = most if split == "train" else test_most or most
                values = random.integers(0, high // 2 + label * (high // 2), (20, 20), endpoint=True).astype(np.uint16)
                values[0, :2] = 0, high
                file = folder / split / f"c{label}" / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                png(file, values, 16)
    return folder


@pytest.mark.parametrize("most", [255, 4095, 6000])
def test_images_that_would_be_black_are_refused(tmp_path: Path, most: int) -> None:
    root = sixteen(tmp_path / "a", most)
    bits = {255: 8, 4095: 12, 6000: 13}[most]
    with pytest.raises(ConfigError) as refused:
        ImageFolder(root=str(root)).divide()
    assert str(refused.value).startswith("range: 12 of 12 images for training that have more than 8 bits use less than")
    assert f"range=[0, {2**bits - 1}] for numbers of {bits} bits, auto" in str(refused.value)
    assert str(root / "train" / "c0" / "0.png") in str(refused.value)
    for range_ in ([0, float(most)], "auto", [0, 65535.0]):
        assert len(ImageFolder(root=str(root), range=range_).divide().train) > 0


def test_images_that_use_what_their_type_has_are_taken(tmp_path: Path) -> None:
    assert len(ImageFolder(root=str(sixteen(tmp_path / "a", 65535))).divide().train) > 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"mean": [127.0, 127.0, 127.0], "std": [64.0, 64.0, 64.0]}, "mean"),
        ({"mean": [0.5, 0.5, 0.5], "std": [64.0, 64.0, 64.0]}, "std"),
        ({"mean": [0.5, 0.5, -0.1], "std": [0.2, 0.2, 0.2]}, "mean"),
        ({"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.0, 0.2]}, "std"),
        ({"range": "automatic"}, "range"),
        ({"background": "none"}, "background"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ImageFolder(root="x", **given)  # type: ignore[arg-type]
    assert str(refused.value).startswith(f"{field}: ")


def test_a_large_file_is_refused_by_a_data_sets_bound(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    for split in ("train", "test"):
        for label in range(2):
            for i in range(3):
                file = tmp_path / split / f"c{label}" / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                paint(label, i + 10 * (split == "test")).save(file)
    Image.new("L", (50, 40)).save(tmp_path / "train" / "c0" / "9.png")
    with pytest.raises(ConfigError, match=r"9.png \(it has 2,000 pixels, more than largest_image=1999"):
        ImageFolder(root=str(tmp_path), largest_image=1999).divide(manifests=manifests)
    found = ImageFolder(root=str(tmp_path), largest_image=2000).divide(manifests=manifests)
    assert sum(found.counts.values()) == 13


def test_signed_numbers_are_read_where_a_range_is_given(tmp_path: Path) -> None:
    values = np.array([[-5, 0, 5]], np.int32)
    picture = Picture.of(values)
    with pytest.raises(ValueError, match="signed numbers"):
        AT_SIZE.rgb(picture)
    found = dataclasses.replace(AT_SIZE, range=(-5, 5)).rgb(picture)
    np.testing.assert_array_equal(found[0, :, 0], levels(values, -5, 5)[0])


def test_jpeg_of_any_mode(tmp_path: Path) -> None:
    file = io.BytesIO()
    paint(0, 0).convert("CMYK").save(file, "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    rgb = AT_SIZE.rgb(open_image(tmp_path / "a.jpg")).astype(int)
    assert np.abs(rgb - np.asarray(paint(0, 0))).mean() < 12


def test_16_bits_are_a_copy_of_8_only_where_they_look_alike(tmp_path: Path) -> None:
    grey = np.arange(400, dtype=np.uint16).reshape(20, 20) % 256
    png(tmp_path / "wide.png", grey * 257, 16)
    Image.fromarray(grey.astype(np.uint8)).save(tmp_path / "plain.png")
    for range_, alike in (("type", True), ((0.0, 4095.0), False), ("auto", False)):
        images = ImageFiles(tmp_path, ["wide.png", "plain.png"], [0, 0], ["a"], reading=Reading(range=range_))  # type: ignore[arg-type]
        wide, plain = images.sums([0, 1], None)
        assert (wide == plain) is alike
