"""Law 5: nothing half-written is ever read."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from tlfw.store import Store


def put(text: str):
    def make(folder: Path) -> None:
        (folder / "value").write_text(text)

    return make


def refuse(_: Path) -> None:
    raise AssertionError("was there already")


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find("stages", "k") is None
    folder, there = store.get_or_make("stages", "k", put("1"))
    assert (folder / "value").read_text() == "1"
    assert not there
    assert store.get_or_make("stages", "k", refuse) == (folder, True)
    assert store.keys("stages") == ["k"]
    store.get_or_make("stages", "k", put("2"), redo=True)
    assert (folder / "value").read_text() == "2"


def test_what_fails_does_not_exist(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def half(folder: Path) -> None:
        (folder / "value").write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        store.get_or_make("stages", "k", half)
    assert store.find("stages", "k") is None
    assert store.keys("stages") == []
    folder, there = store.get_or_make("stages", "k", put("whole"))
    assert not there
    assert {p.name for p in folder.iterdir()} == {"value", "done.json"}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "undone", "garbled"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    folder, _ = store.get_or_make("stages", "k", put("value"))
    value, done = folder / "value", folder / "done.json"
    match damage:
        case "flip":
            value.write_text("vAlue")
        case "truncate":
            value.write_text("val")
        case "remove":
            value.unlink()
        case "undone":
            done.unlink()
        case "garbled":
            done.write_text("{")
    assert store.find("stages", "k") is None
    folder, there = store.get_or_make("stages", "k", put("value"))
    assert not there
    assert (folder / "value").read_text() == "value"


def _slow(root: Path, mark: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "value").write_text("half")
        mark.touch()
        time.sleep(60)

    Store(root).get_or_make("stages", "k", make)


def test_a_killed_process_leaves_no_lock_and_no_entry(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    process = multiprocessing.get_context("spawn").Process(target=_slow, args=(tmp_path / "store", mark))
    process.start()
    deadline = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = Store(tmp_path / "store")
    assert store.find("stages", "k") is None
    folder, there = store.get_or_make("stages", "k", put("whole"))
    assert not there
    assert (folder / "value").read_text() == "whole"


def _count(root: Path, log: Path) -> None:
    def make(folder: Path) -> None:
        with log.open("a") as file:
            file.write("made\n")
        time.sleep(0.2)
        (folder / "value").write_text("x")

    Store(root).get_or_make("stages", "k", make)


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_count, args=(tmp_path / "store", log)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert log.read_text() == "made\n"
