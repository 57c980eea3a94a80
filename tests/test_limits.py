"""What a machine has, and that nobody asks for much more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from tests.tiny import experiment
from tlfw import limits as machine
from tlfw.errors import ConfigError
from tlfw.strictness import at_most


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert machine.cores() == 3
    assert (machine.most_threads(), machine.most_workers()) == (64, 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(100)), raising=False)
    assert (machine.most_threads(), machine.most_workers()) == (400, 200)


@pytest.mark.parametrize(("limit", "within"), [("1000000\n", 1_000_000), ("max\n", None), (None, None)])
def test_memory_is_what_a_container_has_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, within: int | None
) -> None:
    monkeypatch.setattr(machine, "MEMORY_LIMIT", tmp_path / "memory.max")
    whole = machine.memory_bytes()
    assert whole > 10**8
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
    assert machine.memory_bytes() == (within or whole)


def test_half_of_the_memory_is_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 2 * 3 * 224 * 224 * 4 * 10)
    assert machine.most_images(224) == 10


def test_a_bound_says_what_goes_wrong_and_what_would_be_right() -> None:
    field = TypeAdapter(Annotated[int | None, at_most(lambda: 1000, "cats are too many")])
    assert [field.validate_python(value) for value in (None, 0, 1000)] == [None, 0, 1000]
    with pytest.raises(ValidationError, match="1,001 cats are too many") as problem:
        field.validate_python(1001)
    assert problem.value.errors()[0]["ctx"]["remedy"] == "Use at most 1,000."


def test_a_batch_that_memory_does_not_hold_is_refused_in_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert experiment(tmp_path).plan()
    monkeypatch.setattr(machine, "memory_bytes", lambda: 3 * 32 * 32 * 4 * 2 * 7)
    with pytest.raises(ConfigError, match=r"batch_size: 8 images of 32 px, .* Use at most 7\."):
        experiment(tmp_path).plan()
