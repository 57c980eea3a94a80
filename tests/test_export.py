"""`python -m tlfw.export`: what is exported says what the run's model says."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file

import tlfw
from tests.test_loaded import CLASSES, leave_untrained
from tests.tiny import SIZE
from tlfw import export as door
from tlfw.export import Differs, export, main
from tlfw.loaded import LoadedModel, load

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
    assert said["preprocessing"]["resize"] == {"shorter_side": SIZE, "interpolation": "bilinear", "antialias": True}
    assert said["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
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
