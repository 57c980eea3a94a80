"""What a folder for results has to be able to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runs.test_run import JOB
from tests.tiny import experiment
from tlfw.errors import ConfigError
from tlfw.records.folder import fault
from tlfw.runs import run as fold

REAL = {"open": os.open, "replace": os.replace, "rename": os.rename}


def _no_exclusion(path: object, flags: int, *mode: int, **given: int) -> int:
    return REAL["open"](path, flags & ~os.O_EXCL, *mode, **given)


def _refused(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


def _refused_for_folders(one: Path, other: Path, **_: object) -> None:
    if Path(one).is_dir():
        _refused()
    REAL["rename"](one, other)


def _onto_anything(one: Path, other: Path, **_: object) -> None:
    if Path(other).is_dir():
        REAL["rename"](other, Path(other).with_name("away"))
    REAL["rename"](one, other)


FAULTS: dict[str, tuple[str, Callable[..., object], str]] = {
    "O_EXCL": ("open", _no_exclusion, "O_EXCL does not work"),
    "replace": ("replace", _refused, "a file cannot take another one's place there"),
    "folders": ("rename", _refused_for_folders, "a folder cannot be renamed there"),
    "onto": ("rename", _onto_anything, "onto one that holds something"),
}


def test_a_usual_folder_has_none_and_is_left_as_it_was(tmp_path: Path) -> None:
    assert fault(tmp_path) == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_when_planning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    call, wrong, said = FAULTS[name]
    monkeypatch.setattr(os, call, wrong)
    assert said in fault(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=rf"^outputs: .*outputs cannot hold results: .*{said}.* Give a folder on"):
        fold.run(experiment(tmp_path), JOB)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    assert fault(tmp_path) == ""


def test_where_nothing_can_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        fault(tmp_path / "file")


def test_a_sweep_asks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("tlfw.runs.experiment.fault", lambda folder: asked.append(folder) or "")
    memo = fold.Memo()
    for seed in (0, 1):
        experiment(tmp_path, seed=seed).plan(memo)
    assert len(asked) == 2, "the store and the outputs"
