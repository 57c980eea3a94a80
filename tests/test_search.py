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
from tests.tiny import experiment
from tlfw import run as fold
from tlfw.errors import ConfigError, Diverged, Pruned
from tlfw.search import METRIC, Search, search
from tlfw.trial import Trial, open_journal

SPACE = {"data_mix": "joint,pretrain_joint", "lr": "tag(log,interval(0.001,0.1))"}


class World:
    """A launcher and a planner without training: the nearer a rate is to 0.01, the better."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.jobs: list[list[str]] = []
        self.stop_after = stop_after

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
            found.append(Returned(Pruned("pruned at step 3") if bad else {METRIC: 1 - abs(rate - 0.01)}))
        return found

    def go(self, folder: Path, **changes: Any):
        settings = Search(**{"trials": 9, "at_a_time": 2, "space": SPACE, **changes})
        return search(
            settings, "s", folder, ["seed=3"], checked=self.checked, stored=lambda key: False, launch=self.launch,
            said=str,
        )  # fmt: skip


def test_the_trial_that_validated_best_is_found(tmp_path: Path) -> None:
    world = World()
    best = world.go(tmp_path)
    assert len(world.jobs) == 9
    assert all(each[0] == "seed=3" for each in world.jobs)
    rates = [float(dict(w.split("=", 1) for w in each)["lr"]) for each in world.jobs if "data_mix=joint" in each]
    assert best.accuracy == pytest.approx(max(1 - abs(rate - 0.01) for rate in rates))
    assert best.overrides[:2] == ["seed=3", "data_mix=joint"]
    assert (best.trials, best.trials - best.pruned) == (9, len(rates))
    assert str(best).startswith(f"best of 9 trials, of which {best.pruned} ended early, on validation data: ")
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
    with pytest.raises(Pruned, match=r"pruned at step 2, target/val/acc"):
        fold.prepare(made, JOB)
    assert len(made.shelf.keys("stages")) == 1  # the pretraining
    assert list(study.trials[0].intermediate_values) == [2]
    assert not list(made.runs.glob("*/record.json"))


def test_a_stages_validation_is_returned_without_a_look_at_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlfw.run.examine", lambda *_, **__: pytest.fail("opened test images"))
    found = fold.prepare(experiment(tmp_path, until="adapt"), JOB)
    assert set(found) == {"source/val/acc", "source/val/loss", "target/val/acc", "target/val/loss"}


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
