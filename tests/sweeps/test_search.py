"""A search learns from validation, goes on where it was, and never looks at a test image."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import safetensors.torch
from hydra.errors import HydraException

from tests.conftest import paint
from tests.sweeps.test_jobs import composed
from tests.sweeps.test_launch import Returned
from tests.sweeps.test_task_graph import JOB, job, stage
from tests.test_main import SMOKE
from tests.tiny import FULL, MIXES, experiment
from tlfw.backbones.zoo import TorchvisionBackbone
from tlfw.data import ImageFolder
from tlfw.errors import ConfigError, Diverged, Pruned
from tlfw.identity.names import digest
from tlfw.records.metric import METRICS, Metric
from tlfw.runs import run as fold
from tlfw.runs.experiment_data import Memo
from tlfw.runs.trial import Trial, open_journal
from tlfw.sweeps.check import deciding
from tlfw.sweeps.launch import Waves
from tlfw.sweeps.search import JOURNAL, MONITOR, Search, search, study_name, trials_there

SPACE = {"data_mix": "joint,pretrain_joint", "lr": "tag(log,interval(0.001,0.1))"}


class World:
    """A launcher and a planner without training: the nearer a rate is to 0.01, the better; by another metric that is
    not asked for, the worse."""

    def __init__(self, stop_after: int = 10**9, metric: str = "accuracy") -> None:
        self.jobs: list[list[str]] = []
        self.stop_after, self.metric = stop_after, METRICS[metric]

    def checked(self, jobs):
        return [dataclasses.replace(job(str(j), stage("adapt", str(j))), overrides=tuple(j)) for j in jobs]

    def launch(self, batch, first):
        found = []
        for each in batch:
            if len(self.jobs) == self.stop_after:
                raise KeyboardInterrupt
            self.jobs.append([word for word in each if not word.startswith("planned=")])
            settings = dict(word.split("=", 1) for word in each)
            assert settings["until"] == "adapt"
            rate = float(settings["lr"])
            bad = settings["data_mix"] == "pretrain_joint"
            found.append(Returned(Pruned("pruned at step 3") if bad else self.validated(rate)))
        return found

    def validated(self, rate: float) -> dict[str, float]:
        value = {each.at(MONITOR): abs(rate - 0.01) for each in METRICS.values() if each.higher_is_better}
        value[METRICS["log_loss"].at(MONITOR)] = 1 - abs(rate - 0.01)
        return value | {self.metric.at(MONITOR): self.score(rate)}

    def score(self, rate: float) -> float:
        return 1 - abs(rate - 0.01) if self.metric.higher_is_better else abs(rate - 0.01)

    def go(self, folder: Path, deciding: object = None, **changes: Any):
        settings = Search(**{"trials": 9, "at_a_time": 2, "space": SPACE, **changes})
        return search(
            settings, study_name(settings, "s", self.metric, deciding), folder, ["seed=3"], self.metric,
            checked=self.checked, stored=lambda key: False, crew=lambda _: Waves(self.launch), said=str,
        )  # fmt: skip


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_the_trial_that_validated_best_is_found(tmp_path: Path, capsys, metric: Metric) -> None:
    world = World(metric=metric.name)
    best = world.go(tmp_path)
    assert len(world.jobs) == 9
    assert all(each[0] == "seed=3" for each in world.jobs)
    rates = [float(dict(w.split("=", 1) for w in each)["lr"]) for each in world.jobs if "data_mix=joint" in each]
    assert best.value == world.score(min(rates, key=lambda rate: abs(rate - 0.01)))
    assert f": target val {metric.told(best.value)} of data_mix=joint lr=" in capsys.readouterr().out
    assert best.overrides[:2] == ["seed=3", "data_mix=joint"]
    assert (best.trials, best.trials - best.pruned) == (9, len(rates))
    told = f"best of 9 trials, of which {best.pruned} ended early, on validation data: {metric.told(best.value)} with "
    assert str(best).startswith(told)
    assert str(best).endswith(f" with {' '.join(best.overrides[1:])}")
    assert {word for each in world.jobs for word in each if word.startswith("data_mix")} == {
        "data_mix=joint", "data_mix=pretrain_joint",
    }  # fmt: skip


def test_an_interrupted_search_goes_on_with_the_same_trials(tmp_path: Path) -> None:
    whole, cut, rest = World(), World(stop_after=5), World()
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    expected = whole.go(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        cut.go(tmp_path / "cut")
    assert rest.go(tmp_path / "cut") == expected

    def drawn(world: World) -> set[str]:
        return {" ".join(word for word in each if word.startswith(("lr", "data_mix"))) for each in world.jobs}

    assert drawn(cut) | drawn(rest) == drawn(whole)
    nothing = World()
    assert nothing.go(tmp_path / "cut") == expected
    assert nothing.jobs == []


def test_a_search_by_another_metric_is_another_one(tmp_path: Path) -> None:
    first, second = World(), World(metric="log_loss")
    first.go(tmp_path)
    assert second.go(tmp_path).metric is METRICS["log_loss"]
    assert len(second.jobs) == len(first.jobs)


def test_the_metric_itself_is_not_drawn(tmp_path: Path) -> None:
    named = "accuracy,log_loss"
    for changes in ({"space": {"metric": named}}, {"when": {"data_mix=joint": {"metric": named}}}):
        with pytest.raises(ConfigError, match=r"hydra.sweeper.search: metric is what trials are compared by"):
            World().go(tmp_path, **changes)


def test_a_trial_that_diverged_is_a_result(tmp_path: Path) -> None:
    """A worse one than any other: it is not drawn again by the search that goes on."""

    class Wild(World):
        def launch(self, batch, first):
            found = super().launch(batch, first)
            wild = [float(dict(word.split("=", 1) for word in each)["lr"]) > 0.02 for each in batch]
            return [Returned(Diverged("nan")) if bad else each for bad, each in zip(wild, found, strict=True)]

    first, again = Wild(), Wild()
    best = first.go(tmp_path)
    assert len(first.jobs) == best.trials == 9
    assert best.pruned > 0
    assert again.go(tmp_path) == best
    assert again.jobs == []


def test_trials_of_other_data_or_settings_do_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many as were asked for are drawn anew, and one line says so; nothing is drawn anew where all is as it was."""
    World().go(tmp_path, deciding={"images": "old"})
    assert "other data or settings" not in capsys.readouterr().out
    anew, again = World(), World()
    anew.go(tmp_path, deciding={"images": "new"})
    assert len(anew.jobs) == 9
    line = "search: 9 earlier trials under this sweep's name were of other data or settings, and count for nothing here"
    assert capsys.readouterr().out.splitlines()[0] == line
    again.go(tmp_path, deciding={"images": "new"})
    assert again.jobs == []
    assert "other data or settings" not in capsys.readouterr().out
    more = World()
    more.go(tmp_path, deciding={"images": "new"}, trials=11)
    assert len(more.jobs) == 2


def test_a_study_is_named_by_the_space_and_by_all_that_decides_numbers() -> None:
    def named(deciding: object = "d", metric: Metric = METRICS["accuracy"], **changes: Any) -> str:
        return study_name(Search(**{"trials": 9, "at_a_time": 2, "space": SPACE, **changes}), "s", metric, deciding)

    assert named() == named(trials=20, at_a_time=1, seed=4)
    others = [
        named("e"),
        named(metric=METRICS["log_loss"]),
        named(space={"lr": "0.1,0.2"}),
        named(when={"data_mix=joint": {"n": "1,2"}}),
    ]
    assert len({named(), *others}) == 5


def test_every_option_that_can_be_drawn_is_looked_at_once() -> None:
    settings = Search(
        trials=1,
        at_a_time=1,
        space={"policy": "last,full", "lr": "interval(0,1)", "n": "range(1,4)", "seed": "range(0,1000)"},
        when={"policy=last,full": {"mode": "a,b"}},
    )
    assert settings.options() == [
        ["policy=last"], ["policy=full"], ["n=1"], ["n=2"], ["n=3"], ["seed=0"], ["seed=999"],
        ["policy=last", "mode=a"], ["policy=last", "mode=b"],
    ]  # fmt: skip


def test_looking_for_trials_writes_nothing(tmp_path: Path) -> None:
    assert trials_there(tmp_path, "s") == (0, 0)
    assert list(tmp_path.iterdir()) == []
    World().go(tmp_path)
    before = (tmp_path / JOURNAL).read_bytes()
    name = study_name(Search(trials=9, at_a_time=2, space=SPACE), "s", METRICS["accuracy"], None)
    assert trials_there(tmp_path, name) == (9, 0)
    assert trials_there(tmp_path, "t") == (0, 9)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(JOURNAL, before)]


def test_a_dry_run_of_a_search_says_what_it_would_do_and_writes_nothing(cli, tmp_path: Path) -> None:
    given = ("-m", "+experiment=search", *SMOKE, "source.per_class=10", "hydra.sweeper.search.trials=4")
    code, out, err = cli(*given, "hydra.sweeper.dry_run=true")
    assert code == 0, err
    assert "search: 4 trials, 4 at a time, of data_mix=pretrain_finetune,joint,pretrain_joint " in out
    assert "; 0 are there. The best of them would be tested." in out
    assert "steps in" not in out
    assert list(tmp_path.rglob("*")) == []
    code, _, err = cli(*given, "hydra.sweeper.dry_run=true", "target.rot=x")
    assert code == 1
    assert "target.rot: there is no such field" in err


TINY = """# @package _global_
defaults:
  - folder
  - override /data@source: none
  - override /data_mix: target_only
  - override /freeze_policy: full
  - override /trainer: smoke
  - override /tracking: disabled
  - _self_
name: tiny
image_size: 32
threads: 1
target: {root: images, train_per_class: null, augmentation: none}
pretrain: {budget: 0images}
adapt: {budget: 96images, batch_size: 8}
validations: 1
hydra:
  mode: MULTIRUN
  sweeper:
    report: false
    search:
      trials: 2
      at_a_time: 1
      space: {freeze_policy: "full,mine", freeze_policy.lr_head: "interval(0.01,0.1)"}
"""
MINE = "_target_: tlfw.methods.freeze.LastBlocks\nn: 0\nlr_head: 0.1\nlr_backbone: null\nbatch_norm: eval\n"


@pytest.mark.slow
def test_a_search_begins_anew_where_images_or_the_experiments_file_changed(cli, folder, tmp_path: Path) -> None:
    """The same command each time, or the file of an option that is drawn. A folder that was only moved is the same
    data, and other test images are nothing. What is tested on others is refused before the first trial."""
    file, policy = tmp_path / "own" / "experiment" / "tiny.yaml", tmp_path / "own" / "freeze_policy" / "mine.yaml"
    for each, text in ((file, TINY), (policy, MINE)):
        each.parent.mkdir(parents=True)
        each.write_text(text)
    folder("images", train=8)
    changed = False

    def drawn(*more: str) -> int:
        code, out, err = cli("--config-dir", "own", "+experiment=tiny", *more)
        assert code == 0, out + err
        trials = sum(line.startswith("trial ") for line in out.splitlines())
        assert ("other data or settings" in out) == (changed and trials > 0)
        return trials

    assert (drawn(), drawn()) == (2, 0)
    shutil.move(tmp_path / "images", tmp_path / "moved")
    changed = True
    folder("images", train=8, first=5000)
    assert (drawn(), drawn()) == (2, 0)
    assert drawn("target.root=moved") == 0
    assert drawn("outputs=elsewhere", "hydra.sweep.dir=outputs/sweeps/tiny") == 0
    paint(0, 77).save(tmp_path / "images" / "test" / "class0" / "0.png")
    assert drawn() == 0
    file.write_text(TINY.replace("96images", "64images"))
    assert drawn() == 2
    file.write_text(TINY.replace("override /freeze_policy: full", "override /backbone: squeezenet1_1"))
    assert drawn() == 2
    file.write_text(TINY)
    assert drawn() == 0
    policy.write_text(MINE.replace("n: 0", "n: 1").replace("null", "0.01"))
    assert drawn() == 2
    code, out, err = cli(
        *("--config-dir", "own", "+experiment=tiny", "target.root=moved", "adapt.batch_size=4"),
        "hydra.sweeper.report=true",
    )
    assert code == 1
    assert "name: under tiny runs were asked for that are tested on other images: they differ in target.root." in err
    assert "trial " not in out


PARTS = """from torch.optim.lr_scheduler import LambdaLR


def flat(optimizer, steps, *, warmup):
    return LambdaLR(optimizer, lambda step: 1.0)
"""


def test_what_decides_trials_is_in_the_options_that_they_draw_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options' files, the code behind them, and weights."""
    (tmp_path / "freeze_policy").mkdir()
    policy, code, weights = (tmp_path / name for name in ("freeze_policy/mine.yaml", "mine_17.py", "w.safetensors"))
    policy.write_text(MINE)
    code.write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    whole = TorchvisionBackbone(name="shufflenet_v2_x0_5").build(10, 32, seed=1)
    tensors = {name: tensor.contiguous() for name, tensor in whole.state_dict().items()}
    safetensors.torch.save_file(tensors, weights)
    fixed = [
        f"hydra.searchpath=[file://{tmp_path}]", "image_size=32", "backbone=shufflenet_v2_x0_5", "tracking=disabled",
        "source.per_class=5", "target.train_per_class=10", f"outputs={tmp_path}", "schedule=constant", "trainer=cpu",
    ]  # fmt: skip
    options = [["freeze_policy=mine"], [f"backbone.weights={weights}"], ["schedule._target_=mine_17.flat"]]

    def decide(*more: str) -> str:
        sys.modules.pop("mine_17", None)
        return digest(deciding([[*fixed, *more, *each] for each in [[], *options]], composed, Memo()))

    first = decide()
    assert decide("workers=3", f"store.dir={tmp_path / 'x'}", "checkpoint_seconds=1", "++repeat.count=2") == first
    assert decide("adapt.batch_size=32") != first
    assert decide("data_mix=target_only", "source.per_class=6") != decide("data_mix=target_only")  # others may need it
    policy.write_text(policy.read_text().replace("0.1", "0.2"))
    second = decide()
    code.write_text(PARTS + "# changed\n")
    third = decide()
    safetensors.torch.save_file({name: tensor + 1 for name, tensor in tensors.items()}, weights)
    assert len({first, second, third, decide()}) == 4


def test_images_of_a_set_that_only_some_trials_learn_from_decide_too(tmp_path: Path, folder: Any) -> None:
    """Also where they cannot be had, which is known when such a trial is planned."""
    made = experiment(tmp_path, data_mix=MIXES["target_only"], source=ImageFolder(root=str(folder("general"))))
    before = digest(made.basis(Memo()))
    paint(0, 5).save(tmp_path / "general" / "test" / "class0" / "0.png")
    assert digest(made.basis(Memo())) == before
    for file in (tmp_path / "general" / "train" / "class1").iterdir():
        paint(1, 900 + int(file.stem)).save(file)
    assert digest(made.basis(Memo())) != before
    shutil.rmtree(tmp_path / "general")
    assert made.basis(Memo())


def test_where_nothing_can_be_a_trial_that_is_said(tmp_path: Path) -> None:
    wrong = [f"outputs={tmp_path}", "tracking=disabled", "freeze_policy.lr_head=-1"]
    with pytest.raises(HydraException):
        deciding([wrong, [*wrong, "seed=1"]], composed, Memo())
    right = ["freeze_policy.lr_head=0.1", "target.train_per_class=10", "source.per_class=5", "trainer=cpu"]
    assert deciding([wrong, [*wrong, *right]], composed, Memo())


def test_conditions_and_what_cannot_be_drawn() -> None:
    trial = optuna.trial.FixedTrial({"policy": "full", "n": 2, "lr": 0.5})
    space = {"policy": "last,full"}
    with_n = Search(
        trials=1, at_a_time=1, space=space, when={"policy=full": {"n": "range(1,4)", "lr": "interval(0,1)"}}
    )
    assert with_n.draw(trial) == ["policy=full", "n=2", "lr=0.5"]
    without = Search(trials=1, at_a_time=1, space=space, when={"policy=last,other": {"n": "range(1,4)"}})
    assert without.draw(trial) == ["policy=full"]
    with pytest.raises(ConfigError, match=r"n: 3 cannot be drawn from"):
        Search(trials=1, at_a_time=1, space={"n": "3"}).draw(trial)


def test_a_pruned_trial_ends_early_and_leaves_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = str(tmp_path / "journal")
    study = optuna.create_study(study_name="s", storage=open_journal(journal))
    trial = Trial(journal=journal, study="s", id=study.ask()._trial_id)
    made = experiment(tmp_path, trial=trial, until="adapt")
    assert made.plan().key == experiment(tmp_path).plan().key
    monkeypatch.setattr("tlfw.runs.trial.pruner", lambda: optuna.pruners.ThresholdPruner(lower=2.0))
    with pytest.raises(Pruned, match=r"pruned at step 2, target val accuracy \d+\.\d %: others did better"):
        fold.prepare(made, JOB)
    assert len(made.shelf.keys("stages")) == 1  # the pretraining
    assert list(study.trials[0].intermediate_values) == [2]
    assert not list(made.runs.glob("*/record.json"))


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
@pytest.mark.parametrize("others", ["better", "worse"])
def test_a_trial_ends_early_where_it_does_worse_than_others_by_the_metric(
    tmp_path: Path, metric: Metric, others: str
) -> None:
    """The study that the search makes, and what a run reports to it."""
    journal = str(tmp_path / "search.journal")
    World(metric=metric.name).go(tmp_path)
    (study,) = optuna.get_all_study_summaries(open_journal(journal))
    held = optuna.load_study(study_name=study.study_name, storage=open_journal(journal))
    low, high = (0.0, 1e9) if metric.high is None else (0.0, 1.0)
    best, worst = (high, low) if metric.higher_is_better else (low, high)
    for _ in range(5):
        trial = held.ask()
        trial.report(best if others == "better" else worst, 2)
        held.tell(trial, 0.5)
    own = Trial(journal=journal, study=study.study_name, id=held.ask()._trial_id)
    made = experiment(tmp_path, trial=own, until="adapt", metric=metric.name, freeze_policy=FULL)
    if others == "better":
        with pytest.raises(Pruned, match=rf"target val {metric.title} "):
            fold.prepare(made, JOB)
    else:
        validated = fold.prepare(made, JOB)
        reported = held.trials[-1].intermediate_values
        assert reported[4] == pytest.approx(validated[metric.at(MONITOR)], rel=1e-5)


def test_a_stages_validation_is_returned_without_a_look_at_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlfw.runs.attempt.examine", lambda *_, **__: pytest.fail("opened test images"))
    found = fold.prepare(experiment(tmp_path, until="adapt"), JOB)
    assert set(found) == {metric.at(f"{name}/val") for name in ("source", "target") for metric in METRICS.values()}


@pytest.mark.slow
def test_a_search_of_paradigms(cli, tmp_path: Path) -> None:
    given = ("-m", "+experiment=search", *SMOKE, "source.per_class=10", "hydra.sweeper.search.trials=4")
    code, out, err = cli(*given)
    assert code == 0, err
    assert out.count("\ntrial ") == 4
    assert out.count("  test: ") == 1
    assert len(list((tmp_path / "outputs" / "runs").glob("*/record.json"))) == 1
    code, out, err = cli(*given)
    assert code == 0, err
    assert "steps in" not in out
    assert "1 done (0 trained now, 1 were there)" in out
    code, _, err = cli(*given, "seed=0,1")
    assert code == 1
    assert "hydra.sweeper.search: 2 jobs are asked for besides" in err
    code, _, err = cli(*given, "hydra.sweeper.search.at_a_time=0")
    assert code == 1
    assert "hydra.sweeper.search: at_a_time" in err
