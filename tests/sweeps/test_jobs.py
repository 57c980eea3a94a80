"""Which jobs a sweep has, and which of them repeat each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from tlfw import CONF
from tlfw.errors import ConfigError
from tlfw.sweeps.jobs import Jobs, jobs, repeated, with_threads

GRID = {"data_mix": "a,b", "freeze_policy": "x,y"}
CONTROL = [["data_mix=c", "freeze_policy=x"]]


def test_a_product_and_what_comes_beside_it() -> None:
    found = [" ".join(sorted(job)) for job in jobs(GRID, CONTROL, []).overrides]
    assert found == [
        "data_mix=a freeze_policy=x", "data_mix=a freeze_policy=y", "data_mix=b freeze_policy=x",
        "data_mix=b freeze_policy=y", "data_mix=c freeze_policy=x",
    ]  # fmt: skip


def test_the_control_is_repeated_for_what_else_is_swept() -> None:
    found = jobs(GRID, CONTROL, ["seed=0,1", "+experiment=grid"]).overrides
    assert len(found) == 10
    assert all("+experiment=grid" in job for job in found)
    assert sorted(j for j in map(sorted, found) if "data_mix=c" in j) == [
        sorted(["data_mix=c", "freeze_policy=x", f"seed={seed}", "+experiment=grid"]) for seed in (0, 1)
    ]


def test_the_command_line_wins_over_the_file() -> None:
    found = jobs(GRID, [], ["data_mix=c"])
    assert found.overrides == [["freeze_policy=x", "data_mix=c"], ["freeze_policy=y", "data_mix=c"]]


def test_equal_jobs_are_one() -> None:
    assert jobs({"a": "1,1"}, [["a=1"]], []).overrides == [["a=1"]]


@pytest.mark.parametrize("argument", ["seed=interval(0,1)", "hydra/launcher=basic,joblib"])
def test_what_cannot_be_swept(argument: str) -> None:
    with pytest.raises(ConfigError):
        jobs({}, [], [argument])


def composed(job: Sequence[str]) -> DictConfig:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return compose("config", overrides=list(job), return_hydra_config=True)


def asked(*arguments: str, params: dict[str, object] | None = None, also: Sequence[Sequence[str]] = ()) -> Jobs:
    return jobs(params or {}, also, arguments)


CELLS = ("freeze_policy=last_layer,full",)


def test_a_repetition_is_a_seed_and_a_draw_and_comes_after_all_cells_of_the_one_before() -> None:
    found = repeated(asked(*CELLS, "++repeat.count=2"), composed)
    assert found.overrides == [
        ["freeze_policy=last_layer", "seed=0", "target.split_seed=0"],
        ["freeze_policy=full", "seed=0", "target.split_seed=0"],
        ["freeze_policy=last_layer", "seed=1", "target.split_seed=1"],
        ["freeze_policy=full", "seed=1", "target.split_seed=1"],
    ]
    assert found.times == 2
    assert found.said == "2 cells x 2 repetitions: seeds 0 to 1, each with its own draw of labelled images"


def test_a_repetition_by_seed_leaves_the_draw_alone() -> None:
    found = repeated(asked("target.split_seed=4", "++repeat.count=3", "++repeat.by=seed"), composed)
    assert found.overrides == [["target.split_seed=4", f"seed={seed}"] for seed in range(3)]
    assert found.said == "1 cell x 3 repetitions: seeds 0 to 2, all with the same draw of labelled images"


def test_every_seed_with_every_draw() -> None:
    found = repeated(asked(*CELLS, "++repeat.count=2", "++repeat.by=cross"), composed)
    pairs = [(job[1], job[2]) for job in found.overrides[::2]]
    assert pairs == [(f"seed={seed}", f"target.split_seed={draw}") for draw in (0, 1) for seed in (0, 1)]
    assert (len(found.overrides), found.times) == (8, 4)
    assert found.said == "2 cells x 4 repetitions: seeds 0 to 1, each with 2 draws of labelled images"


def test_they_count_from_what_the_job_has_by_override_by_file_or_by_another_field() -> None:
    found = repeated(asked("seed=7", "target.split_seed=${seed}", "++repeat.count=2"), composed)
    assert found.overrides == [["seed=7", "target.split_seed=7"], ["seed=8", "target.split_seed=8"]]
    course = repeated(asked("+experiment=course_7_6", "++repeat.count=2"), composed)
    assert [job[1:] for job in course.overrides] == [
        ["seed=123", "target.split_seed=0"], ["seed=124", "target.split_seed=1"],
    ]  # fmt: skip
    assert ": seeds 123 to 124, " in course.said


def test_a_job_with_a_seed_of_its_own_counts_from_that_one() -> None:
    found = repeated(asked("++repeat.count=2", "data_mix=joint", also=[["data_mix=target_only", "seed=5"]]), composed)
    seeds = [[word for word in job if word.startswith("seed=")] for job in found.overrides]
    assert seeds == [["seed=0"], ["seed=5"], ["seed=1"], ["seed=6"]]
    assert found.said == "2 cells x 2 repetitions, each with its own draw of labelled images"


def test_what_the_experiment_sweeps_can_ask_for_repetitions_too() -> None:
    found = repeated(asked(params={"repeat": 2, "freeze_policy": "last_layer,full"}), composed)
    assert len(found.overrides) == 4
    assert repeated(asked("++repeat.count=3", params={"repeat": 2}), composed).times == 3


def test_a_target_whose_file_has_no_draw_is_drawn_all_the_same() -> None:
    found = repeated(asked("++repeat.count=2", "~target.split_seed"), composed)
    assert found.overrides[1] == ["~target.split_seed", "seed=1", "++target.split_seed=1"]


def test_a_run_for_each_fold_with_a_seed_of_its_own() -> None:
    found = repeated(asked(*CELLS, "folds=3", "seed=4"), composed)
    assert found.overrides[:2] == [
        ["freeze_policy=last_layer", "folds=3", "fold=0", "seed=4"],
        ["freeze_policy=full", "folds=3", "fold=0", "seed=4"],
    ]
    assert [job[2:] for job in found.overrides[::2]] == [[f"fold={k}", f"seed={4 + k}"] for k in range(3)]
    assert (found.times, found.said) == (3, "2 cells x 3 folds: seeds 4 to 6")
    named = asked("folds=3", "fold=1,2")
    assert repeated(named, composed).overrides == named.overrides


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["++repeat.count=2", "seed=0,1"], "seed: it is swept, where repeat=2 makes its values"),
        (["++repeat.count=2", "target.split_seed=range(0,2)"], "target.split_seed: it is swept, where repeat=2"),
        (["folds=3", "seed=0,1"], "seed: it is swept, where folds=3 makes its values"),
        (["folds=3", "++repeat.count=2"], "folds: each fold is a repetition, and repeat is 2"),
        (["++repeat.count=0"], "repeat.count: .* greater than or equal to 1"),
        (["++repeat.by=cross"], "repeat.by: cross needs two seeds and two draws"),
        (
            ["++repeat.count=2", "++repeat.by=seed", "target.split_seed=${seed}"],
            "target.split_seed: it follows another",
        ),
    ],
)
def test_what_cannot_be_repeated(arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        repeated(asked(*arguments), composed)


def test_seeds_that_the_experiment_or_a_control_sweeps_cannot_be_repeated_either() -> None:
    for swept in ({"params": {"seed": "0,1"}}, {"also": [["data_mix=target_only", "seed=3,4"]]}):
        with pytest.raises(ConfigError, match="seed: it is swept"):
            repeated(asked("++repeat.count=2", **swept), composed)
    assert repeated(asked("++repeat.count=2", "seed=0", params={"seed": "0,1"}), composed).times == 2


@pytest.mark.parametrize("field", ["++repeat.count", "++repeat.by", "folds", "compare", "margin"])
def test_a_sweep_has_one_of_it(field: str) -> None:
    name = field.lstrip("+").split(".")[0]
    with pytest.raises(ConfigError, match=rf"{name}: it is swept over \(2,3\), where a sweep has one"):
        asked(f"{field}=2,3")


def test_jobs_that_ask_for_repetitions_of_their_own_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"repeat: a job has .*count=3.*, and the first one has .*count=2"):
        repeated(asked("++repeat.count=2", also=[["repeat=3", "data_mix=target_only"]]), composed)


def test_where_nothing_is_repeated_nothing_changes() -> None:
    once = asked(*CELLS, "seed=0,1", "++repeat.count=1")
    found = repeated(once, composed)
    assert (found.overrides, found.times, found.said) == (once.overrides, None, "")


def test_a_job_that_cannot_be_composed_is_left_to_the_check_of_all() -> None:
    found = repeated(asked("freeze_policy=fulll,full", "++repeat.count=2"), composed)
    assert len(found.overrides) == 4
    none = asked("freeze_policy=fulll", "++repeat.count=2")
    assert repeated(none, composed).overrides == none.overrides
    unlike = asked("seed=one", "++repeat.count=2")
    assert repeated(unlike, composed).overrides == unlike.overrides


def test_an_experiments_file_may_give_a_number_and_the_command_line_another(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "five.yaml").write_text("# @package _global_\nrepeat: 5\n")

    def with_own(job: Sequence[str]) -> DictConfig:
        return composed([f"hydra.searchpath=[file://{tmp_path}]", "+experiment=five", *job])

    assert repeated(asked(), with_own).times == 5
    assert repeated(asked("++repeat.count=2"), with_own).times == 2
    with pytest.raises(ConfigError, match=r"repeat.count: it is not given"):
        repeated(asked("++repeat.by=cross"), with_own)


@pytest.mark.parametrize(
    ("launcher", "settings", "expected"),
    [
        ("slurm", {"cpus": 6}, "threads=6"),
        ("slurm_local", {}, "threads=2"),
        ("submitit_slurm", {"cpus_per_task": 4}, "threads=4"),
        ("ray", {"ray": {"remote": {"num_cpus": 3}}}, "threads=3"),
        ("joblib", {"n_jobs": 1}, "threads=5"),
    ],
)
def test_jobs_are_told_their_threads_before_they_are_planned(
    monkeypatch: pytest.MonkeyPatch, launcher: str, settings: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 5)
    found = [["seed=0"], ["seed=1", "a=2"]]
    told = with_threads(found, OmegaConf.create({"threads": None}), launcher, settings)
    assert told == [["seed=0", expected], ["seed=1", "a=2", expected]]
    assert found == [["seed=0"], ["seed=1", "a=2"]]


@pytest.mark.parametrize(("threads", "launcher"), [(3, "slurm"), (None, "basic"), (3, "basic")])
def test_threads_that_are_given_or_are_this_process_s_are_not_told(threads: int | None, launcher: str) -> None:
    assert with_threads([["seed=0"]], OmegaConf.create({"threads": threads}), launcher, {}) == [["seed=0"]]
