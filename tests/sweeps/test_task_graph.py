"""What a sweep shares, and in which order: from keys alone."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.tiny import FULL, LAST_LAYER, LAST_LAYERS, MIXES, SIZE, Tiny, experiment
from tlfw.methods.freeze import LastBlocks
from tlfw.records.settings import flat
from tlfw.runs import run as fold
from tlfw.runs.experiment import Joint
from tlfw.runs.experiment_data import Memo
from tlfw.runs.job import Job
from tlfw.sweeps.setting_changes import changes
from tlfw.sweeps.task_graph import Candidate, Speeds, Step, make_agenda, speeds, steps_of

JOB = Job(choices={"data_mix": "m", "freeze_policy": "f", "backbone": "b"}, config={"a": 1}, folder=None, sweep="s")


def stage(name: str, key: str, images: int = 10) -> Step:
    return Step(name, (("stages", key),), images, trains=True)


def features(name: str, *keys: str) -> Step:
    return Step(f"{name}/features", tuple(("features", key) for key in keys), 5, trains=False)


def job(run_id: str, *steps: Step, done: bool = False, **settings) -> Candidate:
    idle = frozenset(["outputs", "repeat.count"])
    return Candidate((f"run={run_id}",), run_id, steps, settings, done, idle=idle)


def waves(agenda) -> list[list[tuple[int, str | None]]]:
    return [[(task.candidate, task.step.until if task.step else None) for task in wave] for wave in agenda.waves]


def test_what_several_need_is_made_once_and_first() -> None:
    grid = [
        job("a", stage("pretrain", "p"), stage("adapt", "a")),
        job("b", stage("pretrain", "p"), stage("adapt", "b")),
        job("c", stage("adapt", "c")),
    ]
    agenda = make_agenda(grid, lambda key: False)
    assert waves(agenda) == [[(0, "pretrain"), (2, None)], [(0, None), (1, None)]]
    assert agenda.trainings() == (5, 4)
    assert agenda.images() == (50, 40)


def test_the_plan_says_of_what_cells_and_repetitions_it_is() -> None:
    agenda = make_agenda([job("a", stage("adapt", "a"), done=True)], lambda key: False)
    assert agenda.text(Speeds({}, {})) == "plan: 1 run, 1 done, 0 to do"
    assert agenda.text(Speeds({}, {}), "1 cell x 1 fold") == "plan: 1 run (1 cell x 1 fold), 1 done, 0 to do"


def test_what_the_store_has_and_what_is_done_is_not_made() -> None:
    grid = [
        job("a", stage("pretrain", "p"), stage("adapt", "a")),
        job("b", stage("pretrain", "p"), stage("adapt", "b"), done=True),
        job("a", stage("pretrain", "p"), stage("adapt", "a")),
        job("d", stage("pretrain", "p"), stage("adapt", "d")),
    ]
    agenda = make_agenda(grid, lambda key: key == ("stages", "p"))
    assert waves(agenda) == [[(0, None), (3, None)]]
    assert agenda.same_as == {2: 0}
    assert "4 runs, 1 done, 2 to do, 1 equal to another" in agenda.text(Speeds({}, {}))
    again = make_agenda([job("a", stage("adapt", "a"), force=True)], lambda key: True)
    assert waves(again) == [[(0, None)]]
    assert again.trainings() == (1, 1)


def test_features_are_shared_by_those_who_need_the_same() -> None:
    """The run that needs most makes them; one that needs fewer waits for no other in its wave."""
    p = stage("pretrain", "p")
    grid = [
        job("a", p, features("adapt", "1", "2"), stage("adapt", "a")),
        job("b", p, features("adapt", "1", "2", "3"), stage("adapt", "b")),
        job("c", p, features("adapt", "9"), stage("adapt", "c")),
    ]
    agenda = make_agenda(grid, lambda key: False)
    assert waves(agenda) == [
        [(1, "pretrain")],
        [(1, "adapt/features"), (2, None)],
        [(0, None), (1, None)],
    ]
    made = [task for wave in agenda.waves for task in wave if task.step]
    assert len({key for task in made for key in task.step.keys}) == 4


def test_no_two_tasks_of_a_wave_make_the_same_and_needs_come_earlier() -> None:
    """Over a grid of every kind, whatever is in the store already."""
    found = []
    for seed in range(2):
        for mix in MIXES:
            for policy in (LAST_LAYER, LAST_LAYERS, FULL):
                made = experiment(Path("nowhere"), seed=seed, data_mix=MIXES[mix], freeze_policy=policy)
                plan = made.plan(MEMO)
                found.append(job(plan.key, *steps_of(plan)))
    every = sorted({key for each in found for step in each.steps for key in step.keys})
    for missing in range(0, len(every) + 1, 7):
        have = set(every[:missing])
        agenda = make_agenda(found, have.__contains__)
        for wave in agenda.waves:
            wanted = {key for task in wave for key in task.needs}
            assert wanted <= have
            makes = []
            for task in wave:
                steps = [task.step] if task.step else agenda.missing[task.candidate]
                makes += [key for step in steps for key in step.keys if key not in have]
            assert len(makes) == len(set(makes))
            have |= set(makes)
        assert have == set(every)


MEMO = Memo()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_equal_cells_are_one_run_and_both_sides_give_the_same_numbers(tmp_path: Path) -> None:
    """All of the blocks, said in two ways; BatchNorm's mode of frozen blocks, of which there are none."""
    blocks = len(experiment(tmp_path).backbone.block_names())
    rates = {"lr_head": 0.05, "lr_backbone": 0.01}
    sides = [LastBlocks(n="all", **rates), LastBlocks(n=blocks, **rates, batch_norm="train")]
    found = [experiment(tmp_path / str(i), freeze_policy=policy) for i, policy in enumerate(sides)]
    assert len({each.plan().key for each in found}) == 1
    one, other = (fold.run(each, JOB)[0] for each in found)
    assert one.metrics == other.metrics
    assert one.certificate == other.certificate
    steps, images = (
        experiment(tmp_path, data_mix=MIXES["target_only"]).plan().key,
        experiment(tmp_path, data_mix=MIXES["target_only"], source=Tiny(classes=2, image_size=SIZE)).plan().key,
    )
    assert steps == images  # a source that nothing is trained on


def test_the_time_is_estimated_where_earlier_runs_tell_it() -> None:
    """Each stage as fast as such stages were, what is shared once, and what runs take beside their stages."""
    slow, fast = ({"backbone.name": "x", "freeze_policy.n": n} for n in ("all", 0))
    grid = [
        job("a", stage("pretrain", "p", 100), stage("adapt", "a", 100), **slow),
        job("b", stage("pretrain", "p", 100), features("adapt", "f"), stage("adapt", "b", 100), **fast),
    ]
    agenda = make_agenda(grid, lambda key: False)

    def made(pretrain: float, adapt: float) -> list[dict[str, object]]:
        seconds = {"pretrain": pretrain, "adapt": adapt}
        return [
            {"name": name, "seconds": each, "images_seen": 10, "reused": name == "pretrain"}
            for name, each in seconds.items()
        ]

    known = speeds([(slow, made(3.0, adapt), adapt + 4) for adapt in (1.0, 2.0, 9.0)] + [(fast, made(3.0, 0.5), 4.5)])
    assert agenda.seconds(known) == pytest.approx(30 + 20 + 5 + 2 * 4)
    assert "about 63 s" in agenda.text(known)
    assert agenda.facts("s", known)["seconds"] == pytest.approx(63)
    assert agenda.seconds(speeds([(slow, made(3.0, 1.0), 4.0)])) is None
    assert agenda.seconds(Speeds({}, {})) is None


def test_the_plan_says_which_setting_it_was() -> None:
    assert flat({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": 1, "a.c": [1, 2], "d": None}
    common = {"backbone.name": "x", "seed": 0}
    agenda = make_agenda(
        [job("a", stage("adapt", "a"), **common, **{"adapt.batch_size": 16, "outputs": "here"})], lambda key: False
    )
    earlier = [{**common, "adapt.batch_size": 64, "outputs": "there"}, {**common, "seed": 1, "adapt.batch_size": 16}]
    assert changes(agenda, earlier) == ["  1 of these runs because a setting changed: adapt.batch_size: 64 -> 16"]
    assert changes(agenda, earlier[1:]) == []
    drawn = {**common, "target.split_seed": 0, "adapt.batch_size": 64}
    other = {**drawn, "target.split_seed": 1, "repeat.count": 5}
    assert changes(make_agenda([job("a", stage("adapt", "a"), **other)], lambda key: False), [drawn]) == []
    matched = make_agenda([job("a", stage("adapt", "a"), **common, match_budget="images")], lambda key: False)
    assert changes(matched, [common]) == ["  1 of these runs because a setting changed: match_budget: null -> images"]


@pytest.mark.parametrize(("select", "because"), [("last", []), ("best_val", ["metric: accuracy -> log_loss, "])])
def test_the_metric_is_a_reason_where_it_selects(select: str, because: list[str]) -> None:
    common = {"backbone.name": "x", "select": select}
    ours = {**common, "metric": "log_loss", "validations": 5}
    idle = frozenset(["metric"] if select == "last" else [])
    asked = dataclasses.replace(job("a", stage("adapt", "a"), **ours), idle=idle)
    agenda = make_agenda([asked], lambda key: False)
    earlier = {**common, "metric": "accuracy", "validations": 10}
    said = f"  1 of these runs because a setting changed: {''.join(because)}validations: 10 -> 5"
    assert changes(agenda, [earlier]) == [said]


def test_runs_that_repeat_each_other_have_one_setting(tmp_path: Path) -> None:
    """Whatever differs, if it is a seed, or decides nothing."""
    plan = experiment(tmp_path).plan()
    assert len(plan.setting) == 32
    joint = Joint(target_share=0.25, loss_weight={"source": 2.0, "target": 1.0})
    for equal in ({"seed": 1}, {"threads": 1}, {"validations": 3}, {"joint": joint}, {"checkpoint_seconds": 1.0}):
        assert experiment(tmp_path, **equal).plan().setting == plan.setting, equal
    others = [
        {"freeze_policy": FULL},
        {"data_mix": MIXES["target_only"]},
        {"optimizer": partial(torch.optim.SGD, momentum=0.5)},
        {"data_mix": MIXES["joint"]},
    ]
    settings = [experiment(tmp_path, **other).plan().setting for other in others]
    assert len({plan.setting, *settings}) == 1 + len(others)
    assert experiment(tmp_path, seed=1).plan().key != plan.key
