"""`python -m tlfw.store`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.records.test_claim import foreign
from tests.runs.test_run import JOB
from tests.tiny import experiment
from tlfw.runs import run as fold
from tlfw.store import Store
from tlfw.store.__main__ import main

KEYS = ["0123abcd" + 24 * "0", "0123abce" + 24 * "0", "ff" * 16]
DAY = 86400


def told(store: Store, *arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """-> (exit code, standard output, the message)."""
    code: object = 0
    try:
        main([*arguments, "--store", str(store.root)])
    except SystemExit as end:
        code = end.code
    out = capsys.readouterr().out
    return (1, out, code) if isinstance(code, str) else (int(str(code)), out, "")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Entries of 1, 2 and 3 kB, used 0, 20 and 40 days ago; and a folder that is not the store's."""
    made = Store(tmp_path / "store")
    for i, key in enumerate(KEYS):
        about = {"stage": "adapt", "backbone": "[b]", "seed": i, "data": {"target": "digits"}}
        folder, _ = made.get_or_make(
            "stages", key, lambda draft, i=i: (draft / "value").write_bytes(bytes(1000 * (i + 1))), about=about
        )
        os.utime(folder / "done.json", (then := time.time() - 20 * DAY * i, then))
    (made.root / "stages" / "mine").mkdir()
    return made


def left(store: Store) -> list[str]:
    return [entry.key for entry in store.entries()]


def test_ls_says_what_made_each(store: Store, capsys) -> None:
    code, out, _ = told(store, "ls", capsys=capsys)
    assert code == 0
    rows = [line for line in out.splitlines() if "stages" in line]
    assert [row.split("│")[2].strip() for row in rows] == [key[:12] for key in reversed(KEYS)]
    assert "40 d ago" in rows[0]
    assert "adapt, [b], seed 2, data target=digits" in rows[0]
    assert "3 entries, " in out
    (store.root / "stages" / KEYS[0] / "done.json").write_text("[")
    assert "unknown: it is damaged" in told(store, "ls", capsys=capsys)[1]


def test_ls_of_a_real_store(tmp_path: Path, capsys) -> None:
    made = experiment(tmp_path)
    fold.run(made, JOB)
    _, out, _ = told(made.shelf, "ls", capsys=capsys)
    assert "pretrain, shufflenet_v2_x0_5, seed 0, data source=tiny, m, trains all, steps 4" in out
    assert "adapt, shufflenet_v2_x0_5, seed 0, data target=tiny, m, trains head, steps 4" in out
    assert "of pretrain-shufflenet_v2_x0_5-" in out
    assert "images tiny val" in out


def test_rm_takes_what_is_named_and_nothing_else(store: Store, capsys) -> None:
    code, out, _ = told(store, "rm", "ff", "stages/0123abce", capsys=capsys)
    assert code == 0
    assert f"removed stages/{KEYS[1][:12]}…" in out
    assert left(store) == [KEYS[0]]
    assert (store.root / "stages" / "mine").is_dir()


@pytest.mark.parametrize(
    ("given", "said"),
    [("0123", "begins 2 keys: stages/0123abcd0000…, stages/0123abce0000…"), ("9", "begins no key"), ("", "no key"),
     ("mine", "begins no key")],
)  # fmt: skip
def test_rm_refuses_what_is_unclear(store: Store, capsys, given: str, said: str) -> None:
    code, _, message = told(store, "rm", "ff", given, capsys=capsys)
    assert code == 1
    assert said in message
    assert left(store) == KEYS


def test_what_is_being_made_is_left(store: Store, capsys) -> None:
    other = Store(store.root)
    with other.lock("stages", KEYS[2]):
        (store.root / "stages" / f".{KEYS[2]}.draft").mkdir()
        code, _, message = told(store, "rm", "ff", "0123abcd", capsys=capsys)
        assert code == 1
        assert "a process is making it" in message
        assert told(store, "gc", "--delete", capsys=capsys)[0] == 0
        assert left(store) == KEYS[1:]
        assert len(store.leftovers()) == 1


def test_what_another_machine_claimed_is_watched(store: Store, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for module, name, seconds in (("records.claim", "STALE_SECONDS", 1.5), ("store.__main__", "STALE_SECONDS", 1.5)):
        monkeypatch.setattr(f"tlfw.{module}.{name}", seconds)
    ended = threading.Event()

    def beat() -> None:
        count = 0
        while not ended.wait(0.1):
            foreign(store.root / "stages" / f".{KEYS[1]}.claim", count := count + 1)

    for key in KEYS[1:]:
        foreign(store.root / "stages" / f".{key}.claim")
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        code, out, _ = told(store, "gc", "--older-than", "0m", "--delete", capsys=capsys)
        assert code == 0
        assert "watching for 2 s whether processes on other machines live\n" in out
        assert left(store) == [KEYS[1]]
    finally:
        ended.set()
        thread.join()
    assert told(store, "rm", "0123", capsys=capsys)[0] == 0
    assert not list((store.root / "stages").glob(".*"))


def test_gc_shows_first_and_removes_when_told(store: Store, capsys) -> None:
    code, out, _ = told(store, "gc", "--older-than", "30d", capsys=capsys)
    assert code == 0
    assert f"stages/{KEYS[2][:12]}  3." in out
    assert "1 folder, 3." in out
    assert "to be removed" in out
    assert left(store) == KEYS
    told(store, "gc", "--older-than", "30d", "--delete", capsys=capsys)
    assert left(store) == KEYS[:2]
    store.find("stages", KEYS[1])  # is used now
    told(store, "gc", "--older-than", "1h", "--delete", capsys=capsys)
    assert left(store) == KEYS[:2]


def test_gc_removes_what_the_dead_left_but_checkpoints_only_when_old(store: Store, capsys) -> None:
    place = store.root / "stages"
    unfinished = "ab" * 16
    for name in (f".{KEYS[0]}.draft", f".{KEYS[0]}.gone", f".{KEYS[0]}.scratch", f".{unfinished}.draft"):
        (place / name).mkdir()
        (place / name / "file").write_text("1")
    (store.scratch("stages", unfinished) / "last.ckpt").write_text("1")
    told(store, "gc", "--delete", "--older-than", "1000d", capsys=capsys)
    assert [(each.key, each.what) for each in store.leftovers()] == [(unfinished, "scratch")]
    told(store, "gc", "--delete", "--older-than", "0m", capsys=capsys)
    assert store.leftovers() == []
    assert left(store) == []


def test_verify_finds_what_is_damaged(store: Store, capsys) -> None:
    assert told(store, "verify", capsys=capsys)[:2] == (0, "3 entries, 0 damaged\n")
    (store.root / "stages" / KEYS[1] / "value").write_bytes(b"")
    (store.root / "stages" / f".{KEYS[0]}.draft").mkdir()
    code, out, _ = told(store, "verify", capsys=capsys)
    assert code == 1
    assert f"stages/{KEYS[1][:12]}… is damaged (value: its checksum differs)\n" in out
    assert "a draft" in out
    assert "3 entries, 1 damaged" in out
    assert told(store, "verify", "--delete", capsys=capsys)[0] == 1
    assert left(store) == [KEYS[0], KEYS[2]]
    assert told(store, "verify", capsys=capsys)[0] == 0


@pytest.mark.parametrize("age", ["30", "d", "-1d", "30 years"])
def test_an_age_has_a_unit(store: Store, capsys, age: str) -> None:
    code, _, message = told(store, "gc", f"--older-than={age}", capsys=capsys)
    assert code == 1
    assert message.startswith("--older-than: ")


def test_it_is_a_command(tmp_path: Path) -> None:
    """Also without a store: one message, no traceback."""
    asked = subprocess.run(
        [sys.executable, "-m", "tlfw.store", "ls"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert asked.returncode == 1
    assert asked.stderr.startswith("--store: there is no folder")
    assert len(asked.stderr.splitlines()) == 1


def test_an_entry_that_lies_elsewhere_is_whole_while_that_is_there(store: Store, tmp_path: Path, capsys) -> None:
    place = store.place("stages", KEYS[0])
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    assert told(store, "verify", capsys=capsys)[0] == 0
    (tmp_path / "elsewhere").rename(tmp_path / "gone")
    assert told(store, "verify", "--delete", capsys=capsys)[0] == 1
    assert left(store) == sorted(KEYS[1:])
