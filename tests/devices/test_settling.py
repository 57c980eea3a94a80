"""What a process hands on to those that it starts."""

from __future__ import annotations

import pytest

from tlfw.devices.settling import environment


def test_processes_are_not_told_who_started_the_one_that_starts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "RANKED"):
        monkeypatch.setenv(name, "7")
    found = environment()
    assert {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "TORCHELASTIC_RUN_ID"}.isdisjoint(found)
    assert found["RANKED"] == "7"
    assert int(found["OMP_NUM_THREADS"]) >= 1
