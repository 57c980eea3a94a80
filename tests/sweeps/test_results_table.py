"""The table at a sweep's end."""

from __future__ import annotations

import dataclasses

import pytest

from tests.records.test_record import RECORD
from tlfw.records.metric import METRICS
from tlfw.records.record import Record
from tlfw.sweeps import results_table


def cells(out: str, edge: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip(edge).split(edge)] for line in out.splitlines() if line[:1] == edge]


def test_a_row_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    stages = [{"name": "pretrain", "reused": True}, {"name": "adapt", "reused": False}]
    done = dataclasses.replace(
        RECORD,
        metrics={"target/test/acc": 0.876, "target/test/loss": 0.4321, "source/val/acc": None},
        stages=stages,
        cost={"seconds": 99.0, "seconds_spent": 12.3},
        labels=["random_features"],
    )
    results_table.show(
        [
            (("a=1", "b=[x, y=2]", "seed=0"), done, False),
            (("a=2", "b=[x, y=2]", "seed=7"), dataclasses.replace(done, seed=7), True),
            (("a=3",), "the loss became nan", False),
        ],
        [METRICS["accuracy"]],
    )
    out = capsys.readouterr().out
    head = "data mix, freeze policy, backbone, seed, a, target test accuracy, source accuracy kept, seconds, reused"
    assert cells(out, "┃") == [head.split(", ")]
    assert cells(out, "│") == [
        ["joint", "full*", "resnet18", "0", "1", "87.6 %", "-", "12", "pretrain"],
        ["joint", "full*", "resnet18", "7", "2", "87.6 %", "-", "0", "all"],
    ]
    assert "* control: features are random" in out
    assert "failed: a=3\n  the loss became nan" in out


def test_runs_are_shown_by_the_metrics_that_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"target/test/loss": 0.4321, "target/test/macro_f1": 0.5, "source/val/loss": 2.0, "target/test/acc": 0.9}
    done = dataclasses.replace(RECORD, metrics=metrics, cost={"seconds_spent": 1.0})
    results_table.show([((), done, False)], [METRICS["log_loss"], METRICS["macro_f1"]])
    out = capsys.readouterr().out
    heads = [" ".join(filter(None, lines)) for lines in zip(*cells(out, "┃"), strict=True)]  # of several lines each
    assert heads[4:8] == [
        "target test log-loss", "target test macro F1", "source log-loss kept", "source macro F1 kept",
    ]  # fmt: skip
    assert cells(out, "│")[0][4:8] == ["0.432 nats", "50.0 %", "2.000 nats", "-"]


def test_a_field_has_a_column_where_runs_differ_in_it_and_not_only_in_what_they_were_told(capsys) -> None:
    """A control that is told what holds for all others too needs none."""

    def done(**backbone: object) -> Record:
        return dataclasses.replace(
            RECORD,
            settings={"backbone": backbone, "select": "last"},
            metrics={},
            stages=[],
            cost={"seconds_spent": 1.0},
        )

    def shown(*backbones: Record) -> str:
        told = [(), ("backbone.weights=null", "select=last")]
        rows = [(overrides, record, False) for overrides, record in zip(told, backbones, strict=True)]
        results_table.show(rows, [METRICS["accuracy"]])
        return capsys.readouterr().out

    assert "backbone.weights" not in shown(done(weights=None), done(weights=None))
    out = shown(done(weights="DEFAULT"), done(weights=None))
    assert "backbone.weights" in out
    assert "DEFAULT" in out
    assert "null" in out
    assert "select" not in out


@pytest.mark.parametrize("name", ["[flip,mixup]", "[/x]", "[bold]x", "a\\[b]"])
def test_names_are_no_markup(capsys: pytest.CaptureFixture[str], name: str) -> None:
    done = dataclasses.replace(RECORD, backbone=name, cost={"seconds_spent": 1.0}, settings={"target.augmentation": 1})
    other = dataclasses.replace(done, settings={"target.augmentation": name})
    runs = [((f"target.augmentation={value}",), each, False) for value, each in ((1, done), (name, other))]
    results_table.show([*runs, ((f"a={name}",), f"it is {name}", False)], [METRICS["accuracy"]])
    out = capsys.readouterr().out
    assert [row[2] for row in cells(out, "│")] == [name, name]
    assert cells(out, "│")[1][4] == name
    assert f"failed: a={name}\n  it is {name}" in out


def test_a_terminal_is_told_nothing_by_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    done = dataclasses.replace(RECORD, backbone="\x1b[31mred", cost={"seconds_spent": 1.0})
    results_table.show([((), done, False), (("a=1",), "of \x1b[2J", False)], [METRICS["accuracy"]])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[31mred" in out
    assert "of \\x1b[2J" in out
