"""Weights from elsewhere: what is read, what is refused, and what fits."""

from __future__ import annotations

import argparse
import dataclasses
import io
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from tests.records.test_record import RECORD
from tests.tiny import experiment
from tlfw.backbones.tensor_match import Fit, fit
from tlfw.backbones.weights import CHECKPOINT, WeightsFile, is_place, locate
from tlfw.errors import ConfigError

WANTED = {"conv.weight": torch.zeros(4, 3), "bn.weight": torch.zeros(4), "bn.num_batches_tracked": torch.tensor(0)}
STATE = {**{name: tensor + 1 for name, tensor in WANTED.items()}, "fc.weight": torch.zeros(2, 4)}


def saved(path: Path, content: object, **how: Any) -> WeightsFile:
    torch.save(content, path, **how)
    return WeightsFile.at(path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("DEFAULT", False), ("IMAGENET1K_V1", False), ("", False), ("abc123", False), ("w.pth", True), ("w.ckpt", True),
        ("a/w", True), ("~", True), ("0123abcd", True), ("target_only-full-resnet18-s0-0123456789ab", True),
    ],
)  # fmt: skip
def test_what_is_a_place(text: str, place: bool) -> None:
    assert is_place(text) == place


@pytest.mark.parametrize("how", ["zip", "before_zip", "safetensors"])
def test_every_format_is_read_by_its_content(tmp_path: Path, how: str) -> None:
    path = tmp_path / "weights.bin"
    if how == "safetensors":
        safetensors.torch.save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=how == "zip")
    file = WeightsFile.at(path)
    assert set(file.outline) == set(STATE)
    assert all(tensor.is_meta for tensor in file.outline.values())
    assert all(torch.equal(tensor, STATE[name]) for name, tensor in file.tensors().items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "best": torch.tensor(0.5), "optimizer": {"state": {}}},
        lambda state: {"model": state, "optimizer": {}},
        lambda state: {"model_state_dict": state},
        lambda state: {"model_ema": state},
        lambda state: {"state_dict": {"model": state}},
        lambda state: {"model": "resnet18", "state_dict": state},
        lambda state: OrderedDict(state),
        *(
            lambda state, name=name: {name: state, "epoch": 3}
            for name in ("net", "teacher", "encoder", "encoder_q", "backbone", "feature_extractor", "anything.else")
        ),
        lambda state: [{"ignored": 1}, {"model": state}][1],
        lambda state: {"models": [{"epoch": 1}, {"weights": state}]},
        lambda state: {"bn": {"weight": state["bn.weight"]}, "conv": {"weight": state["conv.weight"]}},
    ],
)
def test_containers_are_opened_whatever_they_are_called(tmp_path: Path, wrap: Callable) -> None:
    file = saved(tmp_path / "w.pth", wrap({name: STATE[name] for name in WANTED}))
    found = fit(file, WANTED)
    assert found.whole
    assert all(torch.equal(file.tensors()[theirs], STATE[own]) for own, theirs in found.fitted.items())
    assert found.left == ()


class Runs:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("pwned"),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.zeros(3), "holds a Tensor"),
        ([torch.zeros(3)], "holds a list"),
        ({"a": {"b": {"c": 1}}, "d": 2}, "holds no tensors, but a, d"),
        ({}, "holds no tensors, but nothing at all"),
        ({1: torch.zeros(3)}, "holds no tensors, but 1"),
        ({"a": torch.zeros(3, device="meta")}, "holds no tensors, but a"),
        ({"model": STATE, "args": argparse.Namespace(lr=1)}, "Python objects (argparse.Namespace)"),
        (nn.Linear(1, 1), "Python objects (torch.nn.modules.linear.Linear)"),
        ({"a": Runs()}, "Python objects"),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path: Path, monkeypatch, content: object, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        saved(tmp_path / "w.pth", content).outline  # noqa: B018
    assert caught.value.field == "weights"
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("pwned").exists()


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def made(save: Callable, *how: object) -> bytes:
    buffer = io.BytesIO()
    save(STATE, buffer, *how)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 4\n", "git-lfs pointer"),
        (b"<html>Not Found</html>", "damaged, or neither"),
        (made(lambda state, buffer: np.save(buffer, np.zeros(3))), "damaged, or neither"),
        (halved(made(torch.save)), "damaged, or neither"),
        (halved(made(lambda *a: torch.save(*a, _use_new_zipfile_serialization=False))), "damaged, or neither"),
        (safetensors.torch.save(STATE)[:-1], "damaged, or neither"),
        (halved(safetensors.torch.save(STATE)), "damaged, or neither"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^weights: .*w\.pth") as caught:
        WeightsFile.at(path).outline  # noqa: B018
    assert said in str(caught.value)


def test_a_file_is_read_once_until_it_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pth"
    first = saved(path, STATE)
    kept, names = first.sha256, set(first.outline)
    with monkeypatch.context() as blind:
        blind.setattr(torch, "load", lambda *_, **__: pytest.fail("read again"))
        blind.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))
        assert (WeightsFile.at(path).sha256, set(WeightsFile.at(path).outline)) == (kept, names)
    second = saved(path, {"other.weight": torch.zeros(1)})
    assert second.sha256 != kept
    assert set(second.outline) == {"other.weight"}


def compared(tmp_path: Path, state: dict[str, Tensor], wanted: dict[str, Tensor] = WANTED) -> Fit:
    return fit(saved(tmp_path / "w.pth", state), wanted)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "backbone.", "net.", "trunk.model.",
                                    "model.module._orig_mod."])  # fmt: skip
def test_usual_prefixes_are_taken_off(tmp_path: Path, prefix: str) -> None:
    state = {**{f"{prefix}{name}": tensor for name, tensor in STATE.items()}, "heads.target.0.bias": torch.zeros(2)}
    found = compared(tmp_path, state)
    assert found.whole
    assert found.fitted == {name: f"{prefix}{name}" for name in WANTED}
    assert found.left == (f"{prefix}fc.weight", "heads.target.0.bias")
    where = f" ({prefix.rstrip('.')})" if prefix else ""
    assert str(found) == f"w.pth{where}: 3 tensors fitted, 2 left ({prefix}fc.weight, heads.target.0.bias)"


def test_a_network_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^weights_entry: .* has the network 2 times: model, net\. Say which"):
        compared(tmp_path, {f"{prefix}.{name}": t for prefix in ("model", "net") for name, t in STATE.items()})


def test_what_does_not_fit_is_counted_and_named(tmp_path: Path) -> None:
    wanted = {**WANTED, **{f"layer{i}.weight": torch.zeros(i) for i in range(5)}}
    found = compared(tmp_path, {"conv.weight": torch.zeros(4, 1), "bn.weight": torch.zeros(4).int()}, wanted)
    assert not found.whole
    assert str(found) == (
        "w.pth: 0 tensors fitted, 5 missing (layer0.weight, layer1.weight, layer2.weight, …), "
        "2 of another shape (conv.weight is 4x1, not 4x3; bn.weight is 4 torch.int32, not 4 torch.float32)"
    )


def test_counts_of_batches_are_not_missed(tmp_path: Path) -> None:
    assert compared(tmp_path, {name: t for name, t in STATE.items() if "num_batches" not in name}).whole


def test_torchvisions_old_names_are_known(tmp_path: Path) -> None:
    old = ["features.denseblock1.denselayer2.norm.1.weight", "encoder.layers.l.mlp.linear_2.bias"]
    new = ["features.denseblock1.denselayer2.norm1.weight", "encoder.layers.l.mlp.3.bias"]
    found = compared(tmp_path, {name: torch.ones(1) for name in old}, {name: torch.ones(1) for name in new})
    assert found.fitted == dict(zip(new, old, strict=True))


def run_folder(runs: Path, key: str, **facts: Any) -> Path:
    folder = runs / f"target_only-full-resnet18-s0-{key[:12]}"
    folder.mkdir(parents=True)
    dataclasses.replace(RECORD, run_id=key, **facts).write(folder)
    safetensors.torch.save_file(STATE, folder / CHECKPOINT)
    return folder


def test_a_run_is_found_by_folder_name_and_key(tmp_path: Path) -> None:
    key = "0123456789abcdef0123456789abcdef"
    folder = run_folder(tmp_path, key)
    (tmp_path / f"pretrain-resnet18-s0-{key[:12]}").mkdir()  # what tracking leaves of a stage
    for text in (str(folder), f"{folder}/", folder.name, key, key[:12], key[:8], key[:20], str(folder / CHECKPOINT)):
        assert locate(text, tmp_path) == folder / CHECKPOINT
    assert WeightsFile.at(folder / CHECKPOINT).title == folder.name
    with pytest.raises(ConfigError, match=r"no run 0123456f in .*Give the key"):
        locate("0123456f", tmp_path)
    with pytest.raises(ConfigError, match=r"no run 0123456789abcdefff"):
        locate("0123456789abcdefff", tmp_path)
    other = run_folder(tmp_path, "01234567ffffffffffffffffffffffff")
    with pytest.raises(ConfigError, match=rf"2 runs .*{folder.name}, {other.name}\. Give more"):
        locate("01234567", tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a run's: it has no record\.json"):
        locate(str(tmp_path), tmp_path)
    failed = run_folder(tmp_path, "a" * 32, status="failed")
    with pytest.raises(ConfigError, match=r"the run .* failed"):
        locate(str(failed), tmp_path)
    bare = run_folder(tmp_path, "b" * 32)
    (bare / CHECKPOINT).unlink()
    with pytest.raises(ConfigError, match=r"has no checkpoint\.safetensors"):
        locate(str(bare), tmp_path)
    (bare / "record.json").write_text("{")
    with pytest.raises(ConfigError, match="is not a record"):
        locate(str(bare), tmp_path)


def test_weights_are_checked_in_planning_and_said_once_in_a_run(tmp_path: Path, capsys, monkeypatch) -> None:
    from tests.runs.test_run import JOB
    from tlfw.backbones.zoo import TorchvisionBackbone
    from tlfw.runs.run import run

    (tmp_path / "first").mkdir()
    first, _ = run(experiment(tmp_path / "first"), JOB)
    runs = tmp_path / "first" / "outputs" / "runs"
    given = TorchvisionBackbone(name="shufflenet_v2_x0_5", weights=first.run_id[:12], runs=str(runs))
    capsys.readouterr()
    second = experiment(tmp_path / "second", backbone=given)
    plan = second.plan()
    assert "weights" not in capsys.readouterr().out
    assert "random_features" not in plan.labels
    run(second, JOB)
    out = capsys.readouterr().out
    assert out.count("weights: ") == 1
    (folder,) = runs.glob(f"*-{first.run_id[:12]}")
    assert f"  weights: {folder.name}: 336 tensors fitted, 4 left (heads.source.0.bias, heads.source.0.weight, " in out
    moved = shutil.copy(folder / CHECKPOINT, tmp_path / "mine.safetensors")
    again = experiment(tmp_path, backbone=TorchvisionBackbone(name="shufflenet_v2_x0_5", weights=str(moved)))
    assert again.plan().key == plan.key  # it is the content that counts
    for wrong, said in (
        (
            TorchvisionBackbone(name="resnet18", weights=str(folder)),
            "of backbone=shufflenet_v2_x0_5, not resnet18",
        ),
        (TorchvisionBackbone(name="shufflenet_v2_x0_5", weights=str(tmp_path / "no.pth")), "no file"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            experiment(tmp_path, backbone=wrong).plan()
        assert caught.value.field == "backbone.weights"
