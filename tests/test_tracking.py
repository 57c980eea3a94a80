"""Weights & Biases: one W&B run a run, one a shared stage, read back from its offline files."""

from __future__ import annotations

import http.server
import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_run import JOB
from tests.tiny import FULL, LAST_LAYER, experiment
from tlfw import run as fold
from tlfw import tracking
from tlfw.errors import TrainingFailed
from tlfw.freeze import LastBlocks
from tlfw.tracking import Tracking

OFFLINE = Tracking(mode="offline")


def records(path: Path) -> Iterator[Any]:
    """The messages of an offline file: a LevelDB log of W&B's own protobuf messages."""
    from wandb.proto import wandb_internal_pb2 as pb

    data, place, buffer = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        chunk = data[place + 7 : place + 7 + size]
        place += 7 + size
        buffer = chunk if kind in (1, 2) else buffer + chunk
        if kind in (1, 4):
            record = pb.Record()
            record.ParseFromString(buffer)
            yield record


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"config": {}, "summary": {}, "history": [], "exit": None, "tags": []}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found |= {
                "id": record.run.run_id,
                "group": record.run.run_group,
                "tags": list(record.run.tags),
                "job": record.run.job_type,
            }
            updates = record.run.config.update
        else:
            updates = record.config.update if kind == "config" else ()
        found["config"] |= {u.key or "/".join(u.nested_key): json.loads(u.value_json) for u in updates}
        if kind == "summary":
            found["summary"] |= {
                u.key or "/".join(u.nested_key): json.loads(u.value_json) for u in record.summary.update
            }
        if kind == "history":
            found["history"].append(
                {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
            )
        if kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def logged(folder: Path) -> dict[str, dict[str, Any]]:
    return {found["id"]: found for found in map(read, sorted(folder.glob("outputs/runs/*/wandb/*/*.wandb")))}


def test_each_run_is_a_wandb_run_and_a_shared_pretraining_is_one_too(tmp_path: Path) -> None:
    first, _ = fold.run(experiment(tmp_path, tracking=OFFLINE), JOB)
    second, _ = fold.run(experiment(tmp_path, tracking=OFFLINE, freeze_policy=FULL), JOB)
    found = logged(tmp_path)
    assert len(found) == 3
    (shared,) = {record.stages[0]["wandb_id"] for record in (first, second)}
    for record in (first, second):
        own = found[record.wandb["id"]]
        assert record.stages[1]["wandb_id"] == own["id"]
        assert own["group"] == "s"
        assert own["exit"] == 0
        assert {"m", "f", "shufflenet_v2_x0_5"} <= set(own["tags"])
        assert own["config"]["a"] == 1
        assert own["summary"]["target/test/acc"] == pytest.approx(record.metrics["target/test/acc"])
        assert Path(record.wandb["dir"]).is_dir()
        steps = [row["trainer/global_step"] for row in own["history"] if "adapt/train/loss" in row]
        assert steps == [0, 1, 2, 3]
        assert len([row for row in own["history"] if {"adapt/target/val/acc", "adapt/source/val/acc"} <= set(row)]) == 2
    pretraining = found[shared]
    assert pretraining["job"] == "pretrain"
    assert any("pretrain/train/loss" in row for row in pretraining["history"])
    assert pretraining["summary"]["source/val/acc"] >= 0


def test_a_forced_run_is_a_new_wandb_run_and_a_resumed_one_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("tlfw.run.examine", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("power cut")))
        with pytest.raises(RuntimeError, match="power cut"):
            fold.run(experiment(tmp_path, tracking=OFFLINE), JOB)
    (failed,) = (found for found in logged(tmp_path).values() if found["job"] == "run")
    assert failed["exit"] == 1
    assert failed["summary"]["status"] == "failed"
    resumed, _ = fold.run(experiment(tmp_path, tracking=OFFLINE), JOB)
    assert resumed.wandb["id"] == failed["id"]
    forced, _ = fold.run(experiment(tmp_path, tracking=OFFLINE, force=True), JOB)
    assert forced.wandb["id"] != resumed.wandb["id"]


def test_a_failed_pretraining_is_ended_too(tmp_path: Path) -> None:
    import wandb

    from tests.tiny import MIXES, stage
    from tlfw.mix import DataMix

    wild = LastBlocks(n="all", lr_head=1e30, lr_backbone=1e30)
    mix = DataMix(
        stages={"pretrain": stage("source", policy=wild), "adapt": MIXES["target_only"].stages["adapt"]},
        order=["pretrain", "adapt"],
        full_lr=0.1,
    )
    with pytest.raises(TrainingFailed):
        fold.run(experiment(tmp_path, tracking=OFFLINE, data_mix=mix, freeze_policy=LAST_LAYER), JOB)
    assert wandb.run is None
    assert [found["exit"] for found in logged(tmp_path).values()] == [1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    tracking._reachable.cache_clear()
    yield
    tracking._reachable.cache_clear()


@pytest.mark.usefixtures("asked")
def test_without_a_key_it_is_offline_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert [Tracking(mode="auto").settle(Path("runs")) for _ in range(2)] == ["offline", "offline"]
    (line,) = capsys.readouterr().out.splitlines()
    assert "no API key" in line
    assert line.endswith("wandb sync runs/*/wandb/offline-run-*")


@pytest.mark.usefixtures("asked")
def test_without_a_server_it_is_offline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert Tracking(mode="auto").settle(Path("runs")) == "offline"
    assert "http://127.0.0.1:9 does not answer" in capsys.readouterr().out


@pytest.mark.usefixtures("asked")
def test_with_a_key_and_a_server_it_is_online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = http.server.HTTPServer(
        ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
    )  # answers 501, which is an answer
    threading.Thread(target=server.handle_request, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1:{server.server_port} login user password {'x' * 40}\n")
    assert Tracking(mode="auto").settle(Path("runs")) == "online"
    server.server_close()


@pytest.mark.usefixtures("asked")
def test_wandb_mode_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert Tracking(mode="auto").settle(Path("runs")) == "disabled"
    assert Tracking(mode="offline").settle(Path("runs")) == "offline"
