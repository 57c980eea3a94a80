"""`python -m tlfw.export`: what is exported says what the run's model says."""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file

import tlfw
from tests.conftest import paint
from tests.runs.test_trained_model import CLASSES, leave_untrained
from tests.tiny import SIZE
from tlfw import export as door
from tlfw.data import Picture, Preprocessing
from tlfw.export import PIXELS_OFF, PROBABILITY_TOLERANCE, Differs, export, main
from tlfw.predict import predict
from tlfw.runs.trained_model import LoadedModel, load

HEADS = ("resnet18", "mobilenet_v3_small", "squeezenet1_1", "googlenet")
LARGER_HEADS = ("convnext_tiny", "densenet121", "swin_t", "vit_b_16")
"""With those, one family for each structure of a head."""


def told(*arguments: object) -> str | None:
    """The message that the command ended with; None: it ended well."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return str(end.code)
    return None


def random_images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(7))


def onnx_logits(file: Path, x_BCHW: torch.Tensor) -> torch.Tensor:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits_BK"], {"x_BCHW": x_BCHW.numpy()})[0])


def same(loaded: LoadedModel, exported: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Logits differ by far less than images do."""
    for count in (5, 2, 1):
        x_BCHW = random_images(count)
        with torch.inference_mode():
            expected_BK, found_BK = loaded.model(x_BCHW), exported(x_BCHW)
        if count == 5:
            spread = expected_BK.std(0).max().item()
            assert spread > 1e-4
        torch.testing.assert_close(found_BK, expected_BK, rtol=0, atol=spread / 20)


@pytest.mark.slow
def test_onnx_of_a_run(made: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert told(made, "--format", "onnx") is None
    assert "elsewhere.onnx and elsewhere.onnx.json: logits differ from the run's by" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere.onnx", "elsewhere.onnx.json"]
    same(load(made), lambda x_BCHW: onnx_logits(Path("elsewhere.onnx"), x_BCHW))
    said = json.loads(Path("elsewhere.onnx.json").read_text())
    assert said["classes"] == ["c0", "c1", "c2"]
    assert said["inputs"] == [{"name": "x_BCHW", "dtype": "float32", "shape": ["B", 3, SIZE, SIZE]}]
    assert said["outputs"][0] == {"name": "logits_BK", "dtype": "float32", "shape": ["B", 3], "softmax": "not applied"}
    steps = said["preprocessing"]
    assert (steps["resize"], steps["size"], steps["interpolation"]) == (SIZE, SIZE, "bilinear")
    assert steps["mean"] == [0.485, 0.456, 0.406]
    before, inside = load(made).transform.in_words()
    assert (steps["steps_before"], steps["steps_in_the_file"]) == ([*before, *inside], [])
    assert any("floor((sum + 2**(p - 1)) / 2**p)" in step for step in steps["steps_before"])  # how it rounds
    assert said["backbone"]["name"] == "shufflenet_v2_x0_5"
    assert said["run_id"] == load(made).blueprint.run_id == json.loads((made / "record.json").read_text())["run_id"]
    assert said["versions"]["tlfw"] == tlfw.__version__
    assert said["check"]["largest_relative_difference"] < said["check"]["tolerance"]


@pytest.mark.slow
def test_onnx_of_a_model_that_one_file_cannot_hold(made: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(door, "ONE_FILE_BYTES", 1000)
    export(load(made), "onnx", tmp_path / "a.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "a.onnx.data", "a.onnx.json"]
    same(load(made), lambda x_BCHW: onnx_logits(tmp_path / "a.onnx", x_BCHW))


@pytest.mark.slow
@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("name", [*HEADS, "convnext_tiny", "vit_b_16"])
def test_onnx_of_every_head(name: str, tmp_path: Path) -> None:
    loaded = load(leave_untrained(tmp_path, name, transform_input=name == "googlenet"))
    export(loaded, "onnx", tmp_path / "a.onnx")
    same(loaded, lambda x_BCHW: onnx_logits(tmp_path / "a.onnx", x_BCHW))


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("name", [*HEADS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER_HEADS)])
def test_torchscript_and_safetensors_of_every_head(name: str, tmp_path: Path) -> None:
    loaded = load(leave_untrained(tmp_path, name, transform_input=name == "googlenet"))
    export(loaded, "torchscript", tmp_path / "a.pt")
    with pytest.warns(FutureWarning, match=r"torch\.jit\.load"):
        same(loaded, torch.jit.load(tmp_path / "a.pt"))
    said = export(loaded, "safetensors", tmp_path / "a.safetensors")
    options = said["backbone"]["torchvision_options"]
    assert options["num_classes"] == len(CLASSES["target"])
    if name not in ("googlenet", "vit_b_16"):  # of the one, side heads are left out; the other is built for one size
        assert options == {"num_classes": len(CLASSES["target"])}
    model = torchvision.models.get_model(name, **options)
    model.load_state_dict(load_file(tmp_path / "a.safetensors"), strict=True)
    same(loaded, model.eval())
    assert said["backbone"]["note"] is None


def test_a_stem_for_small_images_is_said(tmp_path: Path) -> None:
    loaded = load(leave_untrained(tmp_path, "resnet18", stem="small"))
    said = export(loaded, "safetensors", tmp_path / "a.safetensors")
    assert said["backbone"]["stem"] == "small"
    model = torchvision.models.get_model("resnet18", num_classes=5)
    model.conv1, model.maxpool = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False), torch.nn.Identity()
    assert "conv1 is Conv2d(3, …, 3, padding=1, bias=False), and maxpool is Identity()" in said["backbone"]["note"]
    model.load_state_dict(load_file(tmp_path / "a.safetensors"), strict=True)
    same(loaded, model.eval())


def test_mnasnets_need_of_a_version_is_said(tmp_path: Path) -> None:
    loaded = load(leave_untrained(tmp_path, "mnasnet0_5"))
    export(loaded, "torchscript", tmp_path / "a.pt")
    said = export(loaded, "safetensors", tmp_path / "a.safetensors")
    assert "state._metadata = model.state_dict()._metadata" in said["backbone"]["note"]
    model = torchvision.models.get_model("mnasnet0_5", num_classes=5)
    state = OrderedDict(load_file(tmp_path / "a.safetensors"))
    state._metadata = model.state_dict()._metadata
    model.load_state_dict(state, strict=True)
    same(loaded, model.eval())


def test_what_says_something_else_is_not_written(made: Path, tmp_path: Path, monkeypatch) -> None:
    loaded = load(made)

    def off_by(wrong) -> None:
        def write(loaded, file):
            file.write_text("x")
            return lambda x_BCHW: loaded.model(x_BCHW) + wrong

        monkeypatch.setitem(door.FORMATS, "onnx", (".onnx", write))

    for wrong in (0.01, float("nan"), torch.zeros(2, 1, 1)):
        off_by(wrong)
        with pytest.raises(Differs, match="the exported model"):
            export(loaded, "onnx", tmp_path / "a.onnx")
        assert (told(made, "--format", "onnx", "--out", tmp_path / "a.onnx") or "").startswith("nothing was written: ")
    assert list(tmp_path.iterdir()) == []
    off_by(1e-6)
    export(loaded, "onnx", tmp_path / "a.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "a.onnx.json"]


def test_what_cannot_work_is_one_message(made: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert told("gone", "--format", "safetensors", "--out", "a.safetensors") == (
        f"run: there is no folder {tmp_path / 'gone'}. "
        "Give a run's folder, outputs/runs/NAME-KEY, or the record.json in it."
    )
    assert told(made, "--format", "onnx", "--out", "a.pt") == "--out: a.pt ends in '.pt'. Use .onnx for onnx."
    assert "no/a.pt cannot be written" in str(told(made, "--format", "torchscript", "--out", "no/a.pt"))
    own = told(made / "record.json", "--format", "safetensors", "--out", made / "checkpoint.safetensors")
    assert "is the run's own checkpoint" in str(own)
    assert load(made)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else name)
    assert told(made, "--format", "onnx") == (
        "--format: onnx needs onnxscript, not installed here. Install tlfw with its extra `export`."
    )
    assert list(tmp_path.iterdir()) == []


# With its preprocessing


SMALL_TABLE = Preprocessing(size=SIZE, resize=40, interpolation="bicubic", mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def photographs(folder: Path, count: int) -> list[Path]:
    """Of odd sizes and three formats: smooth and noisy areas, and sharp borders."""
    random = np.random.default_rng(0)
    files = []
    for i in range(count):
        height, width = (int(side) for side in random.integers(9, 320, 2))
        coarse = random.integers(0, 256, (7, 9, 3)).astype(np.uint8)
        large = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
        large += random.integers(-40, 41, large.shape) * (np.arange(width) % 64 < 32)[None, :, None]
        large[:, : width // 5] = 255 * (np.arange(height) // 3 % 2)[:, None, None]
        files.append(folder / f"{i:03}.{('png', 'jpg', 'webp')[i % 3]}")
        Image.fromarray(large.clip(0, 255).astype(np.uint8)).save(files[-1])
    return files


def agrees(loaded: LoadedModel, file: Path, photos: list[Path]) -> tuple[int, int]:
    """See that what was exported and `tlfw.predict` say the same of photographs.

    Returns:
        How many resized pixels are a level off, and of how many.
    """
    onnxruntime = pytest.importorskip("onnxruntime")
    from tlfw.data.pictures.onnx_preprocessing import graph_of

    own = loaded.transform
    whole, first = (
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        for model in (file, graph_of(own, 18, 10).SerializeToString())
    )
    assert [(each.name, each.type) for each in whole.get_inputs()] == [("image_BHWC", "tensor(uint8)")]
    assert [each.name for each in whole.get_outputs()] == ["probabilities_BK", "label_B", "classes_K"]
    rows, unreadable, _ = predict(loaded, photos, top=len(loaded.classes))
    assert unreadable == []
    assert len({row["label"] for row in rows}) > 2  # it tells them apart
    off = count = 0
    for photo, row in zip(photos, rows, strict=True):
        with Image.open(photo) as image:
            rgb_HWC = np.asarray(image.convert("RGB"))  # by another program, to which these files have no secrets
        probabilities_1K, label_1, classes_K = whole.run(None, {"image_BHWC": rgb_HWC[None]})
        assert tuple(classes_K) == loaded.classes
        said = {each["label"]: each["probability"] for each in row["top"]}
        assert probabilities_1K[0].tolist() == pytest.approx(
            [said[name] for name in loaded.classes], abs=PROBABILITY_TOLERANCE
        )
        shares = [each["probability"] for each in row["top"]]
        if shares[0] - shares[1] > 1e-3:
            assert label_1[0] == row["label"], photo.name
        (x_BCHW,) = first.run(None, {"image_BHWC": rgb_HWC[None]})
        mean_C11, std_C11 = np.reshape(own.mean, (3, 1, 1)), np.reshape(own.std, (3, 1, 1))
        levels_CHW = np.rint(255 * (x_BCHW[0] * std_C11 + mean_C11)).astype(int)
        gap_CHW = np.abs(levels_CHW - own.pixels(Picture.of(rgb_HWC)).numpy())
        assert gap_CHW.max() <= 1
        off, count = off + int((gap_CHW > 0).sum()), count + gap_CHW.size
    return off, count


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_onnx_with_preprocessing_says_what_predict_says(tmp_path: Path, interpolation: str, count: int) -> None:
    loaded = load(leave_untrained(tmp_path, "resnet18"))
    own = dataclasses.replace(SMALL_TABLE, interpolation=interpolation)
    loaded = dataclasses.replace(
        loaded, transform=own, blueprint=dataclasses.replace(loaded.blueprint, preprocessing=own)
    )
    (tmp_path / "photos").mkdir()
    said = export(loaded, "onnx", tmp_path / "a.onnx", preprocess=True)
    photos = photographs(tmp_path / "photos", count)
    off, pixels = agrees(loaded, tmp_path / "a.onnx", photos)
    assert off <= PIXELS_OFF * pixels
    assert said["inputs"] == [{"name": "image_BHWC", "dtype": "uint8", "shape": ["B", "H", "W", 3], "channels": "RGB"}]
    assert [each["name"] for each in said["outputs"]] == ["probabilities_BK", "label_B", "classes_K"]
    assert said["check"]["largest_difference"] <= said["check"]["tolerance"] == PROBABILITY_TOLERANCE
    assert said["check"]["labels"] == "equal wherever the two likeliest classes are more than 0.001 apart"
    steps = said["preprocessing"]
    before, inside = own.in_words()
    assert (steps["steps_before"], steps["steps_in_the_file"]) == (before, inside)
    assert (tmp_path / "a.onnx.json").read_text() == json.dumps(said, indent=1) + "\n"


def test_a_batch_of_images_of_one_size(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from tlfw.data.pictures.onnx_preprocessing import graph_of

    session = onnxruntime.InferenceSession(graph_of(SMALL_TABLE, 18, 10).SerializeToString())
    image_BHWC = np.random.default_rng(0).integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)
    (x_BCHW,) = session.run(None, {"image_BHWC": image_BHWC})
    for x_CHW, image_HWC in zip(x_BCHW, image_BHWC, strict=True):
        np.testing.assert_allclose(x_CHW, SMALL_TABLE(Picture.of(image_HWC)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "shape", [(32, 32), (40, 40), (40, 41), (41, 40), (1, 1), (1, 3000), (3000, 1), (39, 40), (7, 5), (500, 33)]
)
def test_every_shape_is_resized_to_the_level(shape: tuple[int, int], interpolation: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from tlfw.data.pictures.onnx_preprocessing import graph_of

    for resize, size in ((40, SIZE), (40, 40), (35, 32)):
        own = dataclasses.replace(SMALL_TABLE, resize=resize, size=size, interpolation=interpolation)
        session = onnxruntime.InferenceSession(graph_of(own, 18, 10).SerializeToString())
        image_HWC = (np.random.default_rng(1).integers(0, 2, (*shape, 3)) * 255).astype(np.uint8)
        (x_BCHW,) = session.run(None, {"image_BHWC": image_HWC[None]})
        np.testing.assert_allclose(x_BCHW[0], own(Picture.of(image_HWC)), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("filled")
def test_class_names_of_any_bytes_are_in_the_file(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    loaded = load(leave_untrained(tmp_path, "shufflenet_v2_x0_5"))
    names = ('"quoted", {braced}', "鳥\n", "caf\udce9", "=1", "[x]")
    loaded = dataclasses.replace(loaded, classes=names)
    export(loaded, "onnx", tmp_path / "a.onnx", preprocess=True)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    image_HWC = np.asarray(paint(0, 0))
    try:
        probabilities_1K, label_1, classes_K = session.run(None, {"image_BHWC": image_HWC[None]})
    except UnicodeDecodeError:  # onnxruntime in Python gives text
        (probabilities_1K,) = session.run(["probabilities_BK"], {"image_BHWC": image_HWC[None]})
    else:
        assert tuple(classes_K)[:2] == names[:2]
        assert label_1[0] == classes_K[probabilities_1K[0].argmax()]
    assert probabilities_1K.shape == (1, 5)


@pytest.mark.parametrize("form", ["torchscript", "safetensors"])
def test_other_formats_hold_no_preprocessing(made: Path, tmp_path: Path, monkeypatch, form: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert told(made, "--format", form, "--preprocess") == (f"--preprocess: {form} cannot hold it. Use --format onnx.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("filled")
def test_preprocessing_that_says_something_else_is_not_written(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("onnx")
    from tlfw.data.pictures import onnx_preprocessing

    loaded = load(leave_untrained(tmp_path, "shufflenet_v2_x0_5"))
    darker = dataclasses.replace(loaded.transform, mean=(0.6, 0.6, 0.6))
    off = dataclasses.replace(loaded.transform, std=(0.2515,) * 3)

    def write(loaded: LoadedModel, file: Path) -> Callable[[torch.Tensor], torch.Tensor]:
        file.write_text("x")
        return lambda image_BHWC: (
            loaded.model(loaded.transform(Picture.of(image_BHWC[0].numpy()))[None]).softmax(1) + 6e-4
        )

    (tmp_path / "out").mkdir()
    with monkeypatch.context() as other:
        other.setattr(door, "write_onnx_with_preprocessing", write)
        with pytest.raises(Differs, match="a probability is off by"):
            export(loaded, "onnx", tmp_path / "out" / "a.onnx", preprocess=True)
    graph = onnx_preprocessing.graph_of
    for wrong in (darker, off, dataclasses.replace(loaded.transform, resize=SIZE + 1)):
        with monkeypatch.context() as other:
            other.setattr(onnx_preprocessing, "graph_of", lambda _, *versions, wrong=wrong: graph(wrong, *versions))
            with pytest.raises(Differs, match="the exported preprocessing"):
                export(loaded, "onnx", tmp_path / "out" / "a.onnx", preprocess=True)
    assert list((tmp_path / "out").iterdir()) == []
