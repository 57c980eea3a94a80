"""Whatever W&B or its server does, the run is done, the record is true, one line says it, and no key is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from tests.runs.test_run import JOB
from tests.tiny import FULL, MIXES, experiment
from tests.tracking.test_wandb_run import OFFLINE, read, records
from tests.tracking.wandb_server import WandbServer
from tlfw.records.record import Record
from tlfw.runs import attempt
from tlfw.runs import run as fold
from tlfw.runs.job import Job
from tlfw.tracking import tracked as tracking
from tlfw.tracking.connection import Line
from tlfw.tracking.tracked import Tracked, Weights
from tlfw.tracking.wandb_run import Tracking

ONLINE = Tracking(mode="online")
KEYS = ("0a1b2c3d4e" * 4, "wandb_v1_" + "Zy9Xw8Vu7T" * 8)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    """W&B starts anew and knows of this server alone."""
    made = WandbServer()
    wandb.teardown()
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_API_KEY", KEYS[0])
    monkeypatch.setenv("WANDB_BASE_URL", made.url)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(tracking, "PATIENCE", 2.0)
    monkeypatch.setattr(tracking, "_LINE", Line())
    yield made
    wandb.teardown()
    made.close()


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert "wandb" not in err
    return [line for line in out.splitlines() if "W&B" in line]


def files(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"outputs/runs/*/wandb/{kind}-*/*.wandb"))


def test_a_server_that_works_gets_everything_and_nothing_is_said(server: WandbServer, tmp_path: Path, capsys) -> None:
    record, _ = fold.run(experiment(tmp_path, tracking=ONLINE), JOB)
    assert record.wandb["mode"] == "online"
    assert said(capsys) == []
    sent = " ".join(server.bodies)
    assert all(name in sent for name in ("pretrain/train/loss", "adapt/train/loss", "target/test/acc"))


@pytest.mark.parametrize("behaviour", ["refuses", "answers GET alone", "hangs"])
def test_a_server_of_no_use_is_asked_once_and_runs_are_offline(
    server: WandbServer, tmp_path: Path, capsys, monkeypatch, behaviour
) -> None:
    monkeypatch.setattr("tlfw.tracking.connection.SECONDS", 1.0)
    server.behaviour = behaviour
    began = time.monotonic()
    first, _ = fold.run(experiment(tmp_path, tracking=ONLINE), JOB)
    asked = len(server.asked)
    second, _ = fold.run(experiment(tmp_path, tracking=ONLINE, freeze_policy=FULL), JOB)
    assert time.monotonic() - began < 30
    assert len(server.asked) == asked
    assert [record.wandb["mode"] for record in (first, second)] == ["offline", "offline"]
    (line,) = said(capsys)
    assert "it is offline" in line
    assert line.endswith(f"wandb sync {tmp_path}/outputs/runs/*/wandb/offline-run-*")
    assert [read(path)["exit"] for path in files(tmp_path, "offline-run")] == [0, 0, 0]


@pytest.mark.parametrize("behaviour", ["hangs", "refuses"])
def test_a_server_lost_in_mid_run_costs_little_and_the_record_says_so(
    server: WandbServer, tmp_path: Path, capsys, monkeypatch, behaviour
) -> None:
    real = attempt.examine

    def examine(*arguments: Any) -> Any:
        server.behaviour = behaviour
        return real(*arguments)

    monkeypatch.setattr("tlfw.runs.attempt.examine", examine)
    alone = experiment(tmp_path, tracking=ONLINE, data_mix=MIXES["target_only"], freeze_policy=FULL)
    began = time.monotonic()
    record, _ = fold.run(alone, JOB)
    assert time.monotonic() - began < 20
    assert record.status == "done"
    assert record.wandb["mode"] == "offline"
    (path,) = files(tmp_path, "run")
    (line,) = said(capsys)
    assert "the connection to the server broke" in line
    assert f"wandb sync --include-online {path.parent} " in line
    assert "target/test/acc" in read(path)["summary"]
    after, _ = fold.run(experiment(tmp_path, tracking=ONLINE, seed=1), JOB)
    assert after.wandb["mode"] == "offline"
    assert said(capsys) == []
    (left,) = tmp_path.glob(f"outputs/runs/*-{record.run_id[:12]}")
    assert Record.read(left).wandb == record.wandb


def test_a_key_that_is_none_is_offline(server: WandbServer, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "too-short")
    record, _ = fold.run(experiment(tmp_path, tracking=ONLINE), JOB)
    assert record.wandb["mode"] == "offline"
    (line,) = said(capsys)
    assert "40+ characters" in line
    assert "too-short" not in line


def test_logging_that_fails_stops_no_training(tmp_path: Path, capsys, monkeypatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise BrokenPipeError("wandb-core is gone")

    monkeypatch.setattr(tracking, "_LINE", Line())
    monkeypatch.setattr("wandb.sdk.wandb_run.Run.log", broken)
    record, _ = fold.run(experiment(tmp_path, tracking=OFFLINE), JOB)
    assert record.status == "done"
    assert said(capsys) == ["W&B: metrics are not logged: BrokenPipeError: wandb-core is gone. The run continues"]


def test_without_any_wandb_at_all_the_run_is_done(tmp_path: Path, capsys, monkeypatch) -> None:
    def broken(**_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(tracking, "_LINE", Line())
    monkeypatch.setattr(wandb, "init", broken)
    record, _ = fold.run(experiment(tmp_path, tracking=OFFLINE), JOB)
    assert record.wandb == {"id": None, "mode": "disabled", "dir": None}
    assert said(capsys) == ["W&B: it is disabled: OSError: no space left on device. Metrics are in the records alone"]


def holders(folder: Path, *secrets: str) -> list[Path]:
    """The files that hold a secret."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert len(found) > 10
    return [path for path in found if any(secret.encode() in path.read_bytes() for secret in secrets)]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("behaviour", ["well", "refuses"])
def test_no_secret_is_left_behind(server: WandbServer, tmp_path: Path, capfd, monkeypatch, key, behaviour) -> None:
    server.behaviour = behaviour
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("HF_TOKEN", "marked-hf-token")
    monkeypatch.setattr(sys, "argv", ["tlfw", "+note=marked-hf-token"])
    config = {"a": {"key": f"{key}", "remote": "https://me:marked-pass@host/x"}, "argv": ["marked-hf-token"]}
    job = Job(choices=JOB.choices, config=config, folder=None, sweep="s")

    def examine(*_: Any) -> None:
        raise RuntimeError(f"401 for {key}")

    fold.run(experiment(tmp_path, tracking=ONLINE), job)
    monkeypatch.setattr("tlfw.runs.attempt.examine", examine)
    with pytest.raises(RuntimeError):
        fold.run(experiment(tmp_path, tracking=ONLINE, freeze_policy=FULL), job)
    assert holders(tmp_path, key, "marked-hf-token", "marked-pass") == []
    assert holders(tmp_path, "***")
    out, err = capfd.readouterr()
    assert not any(secret in out + err for secret in (key, "marked-hf-token", "marked-pass"))
    assert not any(secret in body for body in server.bodies for secret in (key, "marked-hf-token", "marked-pass"))


@pytest.mark.slow
def test_no_secret_is_left_behind_by_a_whole_process(server: WandbServer, tmp_path: Path) -> None:
    """A secret that a config takes from the environment stays a reference in Hydra's files and is masked in W&B's."""
    server.behaviour = "refuses"
    (tmp_path / "here").mkdir()
    command = [
        sys.executable, "-m", "tlfw", "+experiment=quickstart", "trainer=smoke", "image_size=32", "source.per_class=10",
        "backbone.runs=${oc.env:MARKED_SECRET}",
    ]  # fmt: skip
    environment = {**os.environ, "MARKED_SECRET": "marked-in-the-environment"}
    told = subprocess.run(command, cwd=tmp_path / "here", env=environment, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("W&B") == 1
    assert told.stderr == ""
    secrets = (KEYS[0], "marked-in-the-environment")
    assert holders(tmp_path, *secrets) == []
    assert not any(secret in told.stdout for secret in secrets)
    (overrides,) = tmp_path.glob("here/outputs/runs/*/.hydra/overrides.yaml")
    assert "${oc.env:MARKED_SECRET}" in overrides.read_text()


def artifacts(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Job type of a run -> the artifacts that it logged, from its offline file."""
    found = {}
    for path in sorted(folder.glob("outputs/runs/*/wandb/offline-run-*/*.wandb")):
        found.setdefault(read(path)["id"], []).extend(
            {
                "name": record.artifact.name,
                "type": record.artifact.type,
                "metadata": json.loads(record.artifact.metadata),
                "files": {entry.path: Path(entry.local_path) for entry in record.artifact.manifest.contents},
            }
            for record in records(path)
            if record.WhichOneof("record_type") == "artifact"
        )
    return found


def test_weights_are_artifacts_with_their_lineage(tmp_path: Path) -> None:
    kept = Tracking(mode="offline", artifacts=True)
    first, _ = fold.run(experiment(tmp_path, tracking=kept), JOB)
    second, _ = fold.run(experiment(tmp_path, tracking=kept, freeze_policy=FULL), JOB)
    assert second.stages[0]["reused"]
    found = artifacts(tmp_path)
    shared = first.stages[0]["wandb_id"]
    (source,) = found[shared]
    assert source["name"] == f"pretrain-shufflenet_v2_x0_5-{first.stages[0]['key'][:12]}"
    assert source["type"] == "model"
    assert source["metadata"]["source/val/acc"] >= 0
    assert "starts_from" not in source["metadata"]
    for record in (first, second):
        (own,) = found[record.wandb["id"]]
        assert own["name"] == f"adapt-shufflenet_v2_x0_5-{record.stages[1]['key'][:12]}"
        assert own["metadata"]["target/test/acc"] == pytest.approx(record.metrics["target/test/acc"])
        assert own["metadata"]["data_mix"] == "m"
        lineage = {"starts_from": source["name"], "starts_from_run": shared}
        assert lineage.items() <= own["metadata"].items()
        (path,) = tmp_path.glob(f"outputs/runs/*/wandb/offline-run-*/*{record.wandb['id']}.wandb")
        assert lineage.items() <= read(path)["config"].items()
        (file,) = own["files"].items()
        assert file[0] == "weights.safetensors"
        assert file[1] == tmp_path / "outputs/store/stages" / record.stages[1]["key"] / "weights.safetensors"
        assert file[1].is_file()


def test_weights_stay_here_unless_asked_for(tmp_path: Path) -> None:
    record, _ = fold.run(experiment(tmp_path, tracking=OFFLINE), JOB)
    assert artifacts(tmp_path)[record.wandb["id"]] == []


class Online:
    """In the place of wandb's run: notes what is asked of it; `trouble` is raised by `use_artifact`."""

    def __init__(self, folder: Path, trouble: Exception | None = None) -> None:
        self.done: list[Any] = []
        self.trouble = trouble
        self.settings = wandb.Settings(root_dir=str(folder), run_id="r")
        self.config = self

    def update(self, facts: dict[str, Any], **_: Any) -> None:
        self.done.append(facts)

    def use_artifact(self, name: str, type: str) -> None:
        self.done.append((name, type))
        if self.trouble:
            raise self.trouble

    def log_artifact(self, artifact: wandb.Artifact) -> None:
        self.done.append((artifact.name, artifact.metadata))


@pytest.mark.parametrize("known", [True, False])
def test_online_the_source_is_declared_where_the_server_has_it(
    server: WandbServer, tmp_path: Path, capsys, monkeypatch, known: bool
) -> None:
    monkeypatch.setattr(wandb.Artifact, "wait", lambda *_, **__: None)
    run = Online(tmp_path, None if known else wandb.errors.CommError("artifact not found"))
    tracked = Tracked(run, "r", "online", "hint", artifacts=True)
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    tracked.starts_from(Weights(name="pretrain-a", file=tmp_path, run_id="p"))
    tracked.keep(Weights(name="adapt-b", file=tmp_path / "weights.safetensors", run_id="r"), {"acc": 0.5, "no": None})
    lineage = {"starts_from": "pretrain-a", "starts_from_run": "p"}
    assert run.done == [lineage, ("pretrain-a:latest", "model"), ("adapt-b", {"acc": 0.5, **lineage})]
    assert tracked.facts()["mode"] == "online"
    assert len(said(capsys)) == (not known)


def test_an_upload_is_waited_for_as_long_as_the_server_answers(
    server: WandbServer, tmp_path: Path, capsys, monkeypatch
) -> None:
    waits = []

    def wait(*_: Any, timeout: int) -> None:
        waits.append(timeout)
        if len(waits) == 3:
            monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        raise wandb.sdk.artifacts.exceptions.WaitTimeoutError("still uploading")

    monkeypatch.setattr(wandb.Artifact, "wait", wait)
    tracked = Tracked(Online(tmp_path), "r", "online", "hint", artifacts=True)
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    tracked.keep(Weights(name="adapt-b", file=tmp_path / "weights.safetensors", run_id="r"), {})
    assert waits == [2, 2, 2]
    (line,) = said(capsys)
    assert "the connection to the server broke" in line
