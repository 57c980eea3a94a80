"""Names are functions of meaning, and of nothing else."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from tlfw.freeze import FreezePolicy, LastBlocks
from tlfw.identity import canonical, digest, seed_from


@dataclasses.dataclass(frozen=True)
class Thing:
    size: int


class Other:
    def identity(self) -> object:
        return ["other", 1]


def test_equal_meanings_have_equal_names() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": (1, 2), "a": 1})
    assert digest(Thing(1)) == digest(Thing(1))
    assert digest(partial(max, key=len)) == digest(partial(max, key=len))
    assert digest([0, 1]) == digest([0.0, 1.0]) == digest([-0.0, 1.0])


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 2), (1, "1"), (None, 0), (True, 1), (0.1, 0.2), ([], {}), (Thing(1), Thing(2)), (partial(max), partial(min))],
)
def test_other_meanings_have_other_names(one: object, other: object) -> None:
    assert digest(one) != digest(other)


def test_every_field_of_a_policy_is_part_of_its_name() -> None:
    policy = LastBlocks(n=1, lr_head=0.1, lr_backbone=0.1)
    changes = [{"n": 2}, {"lr_head": 0.2}, {"lr_backbone": 0.2}, {"batch_norm": "train"}]
    assert len({digest(policy), *(digest(dataclasses.replace(policy, **c)) for c in changes)}) == 5


def test_a_persons_own_code_is_named_by_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def name(module: str, text: str) -> object:
        (tmp_path / f"{module}.py").write_text(text)
        return canonical(importlib.import_module(module).schedule)

    monkeypatch.syspath_prepend(tmp_path)
    one, other = name("mine_a", "def schedule(): return 1\n"), name("mine_b", "def schedule(): return 2\n")
    assert str(one).removeprefix("mine_a.schedule ") != str(other).removeprefix("mine_b.schedule ")
    assert canonical(torch.optim.SGD) == "torch.optim.sgd.SGD"
    assert canonical(FreezePolicy) == "tlfw.freeze.FreezePolicy"


def test_an_object_says_what_it_is() -> None:
    assert canonical(Other()) == ["other", 1]


@pytest.mark.parametrize("nameless", [object(), float("nan"), float("inf"), {1: 2}])
def test_what_cannot_be_named_is_refused(nameless: object) -> None:
    with pytest.raises(TypeError):
        digest(nameless)


def test_names_are_the_same_in_another_process() -> None:
    code = "from tlfw.identity import digest; print(digest({'a': {1.5, 2.5}, 'b': ['x', None]}))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": hash_seed}
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert told == {digest({"a": {1.5, 2.5}, "b": ["x", None]})}


def test_seeds_are_torch_seeds() -> None:
    seeds = {seed_from("a", i) for i in range(1000)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
