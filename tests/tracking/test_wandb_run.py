"""Weights & Biases: one W&B run a run, one a shared stage, read back from its offline files."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image

from tests.runs.test_run import JOB
from tests.tiny import FULL, LAST_LAYER, experiment
from tests.tracking.wandb_server import WandbServer
from tlfw import CONF
from tlfw.errors import ConfigError, Diverged
from tlfw.methods.freeze import LastBlocks
from tlfw.runs import run as fold
from tlfw.tracking import tracked as tracking
from tlfw.tracking.connection import Line
from tlfw.tracking.wandb_run import Tracking

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
        axes = {"data_mix": "m", "freeze_policy": "f", "backbone": "shufflenet_v2_x0_5", "seed": 0, "steps": 8}
        assert axes.items() <= own["summary"].items()
        assert own["summary"]["images_seen"] == 2 * 4 * 8
        assert own["summary"]["cost/seconds"] > 0
        assert Path(record.wandb["dir"]).is_dir()
        steps = [row["trainer/global_step"] for row in own["history"] if "adapt/train/loss" in row]
        assert steps == [0, 1, 2, 3]
        assert len([row for row in own["history"] if {"adapt/target/val/acc", "adapt/source/val/acc"} <= set(row)]) == 2
    pretraining = found[shared]
    assert pretraining["job"] == "pretrain"
    assert any("pretrain/train/loss" in row for row in pretraining["history"])
    assert pretraining["summary"]["source/val/acc"] >= 0


def opened(folder: Path, id: str) -> None:
    """An offline W&B run that says nothing."""
    OFFLINE.open(id=id, name="n", group=None, tags=[], config={}, folder=folder, job_type="run").finish({})


def test_the_files_are_where_they_were_said_to_be_wherever_wandb_began(tmp_path: Path, monkeypatch) -> None:
    """A job may have a folder of its own (`hydra.job.chdir`); W&B's process stays in the first one."""
    monkeypatch.chdir(tmp_path)
    opened(Path("first"), "a")
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    opened(Path("second"), "b")
    assert list(tmp_path.glob("first/wandb/offline-*/run-a.wandb"))
    assert list(tmp_path.glob("job/second/wandb/offline-*/run-b.wandb"))


def test_wandbs_process_of_a_program_around_it_is_not_needed(cli, tmp_path: Path, monkeypatch) -> None:
    import wandb

    wandb.teardown()
    monkeypatch.setenv("WANDB_SERVICE", f"3-1-unix-{tmp_path}/gone")
    small = ("backbone=shufflenet_v2_x0_5", "image_size=32", "data_mix=target_only", "target.train_per_class=10")
    code, _, err = cli("trainer=smoke", "tracking=offline", *small)
    assert code == 0, err
    assert len(logged(tmp_path)) == 1


def test_a_forced_run_is_a_new_wandb_run_and_a_resumed_one_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("tlfw.runs.attempt.examine", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("power cut")))
        with pytest.raises(RuntimeError, match="power cut"):
            fold.run(experiment(tmp_path, tracking=OFFLINE), JOB)
    (failed,) = (found for found in logged(tmp_path).values() if found["job"] == "run")
    assert failed["exit"] == 1
    assert failed["summary"]["status"] == "failed"
    resumed, _ = fold.run(experiment(tmp_path, tracking=OFFLINE), JOB)
    assert resumed.wandb["id"] == failed["id"]
    forced, _ = fold.run(experiment(tmp_path, tracking=OFFLINE, force=True), JOB)
    assert forced.wandb["id"] != resumed.wandb["id"]


def test_a_pretraining_that_diverged_is_ended_too(tmp_path: Path) -> None:
    import wandb

    from tests.tiny import MIXES, stage
    from tlfw.methods.mix import DataMix

    wild = LastBlocks(n="all", lr_head=1e30, lr_backbone=1e30)
    mix = DataMix(
        stages={"pretrain": stage("source", policy=wild), "adapt": MIXES["target_only"].stages["adapt"]},
        order=["pretrain", "adapt"],
        full_lr=0.1,
    )
    with pytest.raises(Diverged):
        fold.run(experiment(tmp_path, tracking=OFFLINE, data_mix=mix, freeze_policy=LAST_LAYER), JOB)
    assert wandb.run is None
    assert [(found["exit"], found["summary"]["status"]) for found in logged(tmp_path).values()] == [(1, "diverged")]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(tracking, "_LINE", Line())


@pytest.mark.usefixtures("asked")
def test_without_a_key_it_is_offline_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert [Tracking(mode="auto").settle(Path("runs")) for _ in range(2)] == ["offline", "offline"]
    (line,) = capsys.readouterr().out.splitlines()
    assert "no API key" in line
    assert line.endswith("wandb sync runs/*/wandb/offline-run-*")


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("mode", ["auto", "online"])
def test_without_a_server_it_is_offline(monkeypatch, capsys: pytest.CaptureFixture[str], mode) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://user:hunter22@127.0.0.1:9")
    assert Tracking(mode=mode, dir="there").settle(Path("runs")) == "offline"
    said = capsys.readouterr().out
    assert "http://***@127.0.0.1:9 does not answer" in said
    assert said.endswith("wandb sync there/wandb/offline-run-*\n")


@pytest.mark.usefixtures("asked")
def test_with_a_key_and_a_server_it_is_online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = WandbServer()
    server.behaviour = "breaks"  # which is an answer
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1:{server.server_port} login user password {'x' * 40}\n")
    assert Tracking(mode="auto").settle(Path("runs")) == "online"
    server.close()


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("said", "mode"), [("offline", "offline"), ("dryrun", "offline"), ("disabled", "disabled"), ("online", "online"),
                       ("run", "online"), ("shared", "shared")]
)  # fmt: skip
def test_wandb_mode_is_heard_where_the_config_leaves_it_open(monkeypatch, said: str, mode: str) -> None:
    monkeypatch.setattr(tracking, "_unusable", lambda: None)
    monkeypatch.setenv("WANDB_MODE", said)
    assert Tracking(mode="auto").settle(Path("runs")) == mode
    for own in ("online", "offline", "disabled"):
        assert Tracking(mode=own).settle(Path("runs")) == own


@pytest.mark.usefixtures("asked")
def test_an_unknown_wandb_mode_is_refused_before_any_training(monkeypatch, cli) -> None:
    monkeypatch.setenv("WANDB_MODE", "loud")
    code, _, err = cli("trainer=smoke")
    assert code == 1
    assert "WANDB_MODE: it is 'loud'. Set it to one of online, run, shared, offline" in err
    assert Tracking(mode="offline").settle(Path("runs")) == "offline"


@pytest.mark.usefixtures("asked")
def test_the_environment_sets_project_entity_and_folder_unless_the_config_does(monkeypatch) -> None:
    names = ("project", "entity", "dir")
    for name in names:
        monkeypatch.setenv(f"WANDB_{name.upper()}", f"from-{name}")
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        made, own = (
            instantiate(compose("config", overrides=given).tracking)
            for given in ([], [f"tracking.{name}=own" for name in names])
        )
    assert [made.project, made.entity, made.dir] == ["from-project", "from-entity", "from-dir"]
    assert [own.project, own.entity, own.dir] == ["own"] * 3


def test_files_go_where_they_are_wanted_and_the_record_says_where(tmp_path: Path) -> None:
    there = tmp_path / "there"
    record, _ = fold.run(experiment(tmp_path, tracking=Tracking(mode="offline", dir=str(there))), JOB)
    assert record.wandb["dir"] == str(there / "wandb")
    assert len(list(there.glob("wandb/offline-run-*/*.wandb"))) == 2
    assert not list(tmp_path.glob("outputs/runs/*/wandb"))
    (tmp_path / "blocked").touch()
    with pytest.raises(ConfigError, match=r"tracking\.dir"):
        experiment(tmp_path, tracking=Tracking(mode="offline", dir=str(tmp_path / "blocked" / "x"))).plan()


def test_a_sweeps_report_is_a_run_with_a_table_pictures_and_notes(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    tracked = OFFLINE.open(
        id="report-1", name="sweep", group="sweep", tags=[], config={}, folder=tmp_path, job_type="report",
        notes="joint / full is best",
    )  # fmt: skip
    rows = [{"cell": "joint / full", "accuracy": 0.9, "kept": None}, {"cell": "a", "accuracy": 0.8, "kept": 0.5}]
    tracked.show({"leaderboard": rows}, {"accuracy": tmp_path / "p.png"})
    tracked.finish({"verdict": "winner"})
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    begun = next(record.run for record in records(path) if record.WhichOneof("record_type") == "run")
    assert (begun.notes, begun.run_group, begun.job_type) == ("joint / full is best", "sweep", "report")
    found = read(path)
    assert found["summary"]["verdict"] == "winner"
    (row,) = [row for row in found["history"] if any("leaderboard" in name for name in row)]
    assert row["leaderboard"]["_type"] == "table-file" if "leaderboard" in row else row["leaderboard/_type"]
    (table,) = path.parent.glob("files/media/table/leaderboard*.json")
    assert json.loads(table.read_text()) == {
        "columns": ["cell", "accuracy", "kept"], "data": [["joint / full", 0.9, None], ["a", 0.8, 0.5]],
    }  # fmt: skip
    assert list(path.parent.glob("files/media/images/accuracy*.png"))


def test_where_tracking_is_disabled_a_report_is_shown_nowhere(tmp_path: Path) -> None:
    tracked = Tracking(mode="disabled").open(
        id="r", name="s", group="s", tags=[], config={}, folder=tmp_path, job_type="report"
    )
    tracked.show({"leaderboard": [{"a": 1}]}, {})
    tracked.finish({})
    assert list(tmp_path.iterdir()) == []
