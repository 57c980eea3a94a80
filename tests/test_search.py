"""A search learns from validation, goes on where it was, and never looks at a test image."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.test_agenda import JOB, job, stage
from tests.test_main import SMOKE
from tests.test_waves import Returned
from tests.tiny import FULL, experiment
from tlfw import run as fold
from tlfw.errors import ConfigError, Diverged, Pruned
from tlfw.metric import METRICS, Metric
from tlfw.search import MONITOR, Search, search
from tlfw.trial import Trial, open_journal

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
            self.jobs.append(list(each))
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

    def go(self, folder: Path, **changes: Any):
        settings = Search(**{"trials": 9, "at_a_time": 2, "space": SPACE, **changes})
        return search(
            settings, "s", folder, ["seed=3"], self.metric, checked=self.checked, stored=lambda key: False,
            launch=self.launch, said=str,
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
    monkeypatch.setattr("tlfw.trial.pruner", lambda: optuna.pruners.ThresholdPruner(lower=2.0))
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
    monkeypatch.setattr("tlfw.run.examine", lambda *_, **__: pytest.fail("opened test images"))
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
