"""Law 5: nothing half-written is ever read."""

from __future__ import annotations

import contextlib
import datetime
import errno
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import tlfw
from tests.making import counted, slowly
from tests.runs.test_run import JOB, numbers
from tests.tiny import experiment
from tlfw.command_line.messages import explain
from tlfw.errors import ConfigError, TrainingFailed
from tlfw.runs import run as fold
from tlfw.runs.attempt import Attempt
from tlfw.runs.experiment import StoreSettings
from tlfw.store import Held, Store, disk_full, size


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


@pytest.mark.parametrize(
    "damage", ["flip", "truncate", "empty", "remove", "add", "undone", "garbled", "lists nothing", "other", "a file"]
)
def test_a_damaged_entry_is_made_again(tmp_path: Path, capsys, damage: str) -> None:
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
        case "empty":
            value.write_text("")
        case "add":
            (folder / "more").write_text("")
        case "garbled":
            done.write_text("{")
        case "lists nothing":
            done.write_text('{"sha256": {}, "seal": ""}')
        case "other":
            done.write_text(done.read_text().replace('"stages"', '"pages"'))
        case "a file":
            shutil.rmtree(folder)
            folder.write_text("")
    assert store.find("stages", "k") is None
    assert os.path.lexists(folder), "only who has the lock may remove it"
    folder, there = store.get_or_make("stages", "k", put("value"))
    assert not there
    assert (folder / "value").read_text() == "value"
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"store: stages/k is damaged \((value|done.json|more)\b.*\); it is made again", line)
    assert store.get_or_make("stages", "k", refuse) == (folder, True)
    assert [p.name for p in folder.parent.iterdir() if p.name != "k"] == []


def test_an_entry_says_what_made_it_and_when_it_was_used(tmp_path: Path) -> None:
    store, key = Store(tmp_path), "0123abcd" * 4
    folder, _ = store.get_or_make("stages", key, put("12345"), about={"stage": "adapt", "seed": 3})
    os.utime(folder / "done.json", (1000, 1000))
    (entry,) = store.entries()
    facts = dict(entry.made_by)
    assert datetime.datetime.fromisoformat(facts.pop("when")).tzinfo == datetime.UTC
    version = tlfw.__version__
    assert facts == {"kind": "stages", "key": key, "stage": "adapt", "seed": 3, "tlfw": version, "bytes": 5}
    assert entry.used == 1000
    assert store.find("stages", key)
    assert time.time() - store.entries()[0].used < 60


def test_a_killed_process_leaves_no_lock_and_no_entry(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    process = multiprocessing.get_context("spawn").Process(target=slowly, args=(tmp_path / "store", mark))
    process.start()
    deadline = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = Store(tmp_path / "store")
    assert store.find("stages", "k") is None
    (draft,) = (tmp_path / "store" / "stages").glob(".k.*.draft")
    assert (draft / "value").read_text() == "half"
    began = time.monotonic()
    with store.lock("stages", "k", patience=0):
        assert time.monotonic() - began < 5, "its process is known to be dead"
    folder, there = store.get_or_make("stages", "k", put("whole"))
    assert not there
    assert (folder / "value").read_text() == "whole"
    assert {p.name for p in folder.iterdir()} == {"value", "done.json"}


@pytest.mark.parametrize("damaged", [False, True])
def test_two_processes_make_it_once(tmp_path: Path, damaged: bool) -> None:
    log = tmp_path / "log"
    if damaged:
        folder, _ = Store(tmp_path / "store").get_or_make("stages", "k", put("x"))
        (folder / "value").write_text("y")
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=counted, args=(tmp_path / "store", log)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert log.read_text() == "made\n"


def test_a_lock_is_one_processs(tmp_path: Path) -> None:
    one, other = Store(tmp_path), Store(tmp_path)
    with one.lock("stages", "k"), pytest.raises(Held, match="stages/k is being made"):
        other.remove("stages", "k")


def test_what_another_entry_is_made_of_is_not_removed_meanwhile(tmp_path: Path) -> None:
    store, other = Store(tmp_path), Store(tmp_path)
    store.get_or_make("features", "f", put("1"))

    def make(folder: Path) -> None:
        for key in ("f", "g"):
            store.get_or_make("features", key, put("1"))
            with pytest.raises(Held, match=f"features/{key} is being used by process"):
                other.remove("features", key)
            assert other.holder("features", key)
        put("2")(folder)

    store.get_or_make("stages", "k", make)
    assert not list(tmp_path.glob("*/.*"))
    for key in ("f", "g"):
        other.remove("features", key)
    assert other.keys("features") == []


def test_who_was_stopped_yields_to_what_is_published(tmp_path: Path, capsys) -> None:
    """And to what is damaged there it does not."""
    one, other = Store(tmp_path), Store(tmp_path)

    def make(folder: Path) -> None:
        (tmp_path / "stages" / ".k.claim").unlink()  # as who takes it for dead does
        other.get_or_make("stages", "k", put("other"))
        put("one")(folder)

    folder, there = one.get_or_make("stages", "k", make)
    assert ((folder / "value").read_text(), there) == ("other", False)
    assert "stages/k: another process was faster; that is used" in capsys.readouterr().out
    assert [path.name for path in folder.parent.iterdir()] == ["k"]
    (folder / "value").write_text("damaged")
    folder, _ = one.get_or_make("stages", "k", put("one"))
    assert (folder / "value").read_text() == "one"
    folder, _ = one.get_or_make("stages", "k", lambda draft: (make(draft), put("again")(draft))[0], redo=True)
    assert (folder / "value").read_text() == "again"


def test_scratch_has_one_owner(tmp_path: Path) -> None:
    """Who is taken for dead cannot write into what another goes on from, and takes that one's result."""
    one, other = Store(tmp_path), Store(tmp_path)

    def half(folder: Path) -> None:
        scratch = one.scratch("stages", "k")
        (scratch / "last.ckpt").write_text("step 5")
        (tmp_path / "stages" / ".k.claim").unlink()
        other.get_or_make("stages", "k", whole)
        (scratch / "last.ckpt").write_text("step 6")

    def whole(folder: Path) -> None:
        (folder / "value").write_text((other.scratch("stages", "k") / "last.ckpt").read_text())

    folder, there = one.get_or_make("stages", "k", half)
    assert ((folder / "value").read_text(), there) == ("step 5", True)
    assert [path.name for path in folder.parent.iterdir()] == ["k"]


@pytest.mark.parametrize("ending", [True, False])
def test_what_was_read_from_scratch_that_is_gone_is_not_published(tmp_path: Path, ending: bool) -> None:
    store = Store(tmp_path)

    def make(folder: Path) -> None:
        shutil.rmtree(store.scratch("stages", "k"))
        put("not whole")(folder)
        if not ending:
            raise RuntimeError("cannot write")

    with pytest.raises(TrainingFailed, match="stages/k: what was unfinished was taken away"):
        store.get_or_make("stages", "k", make)
    assert store.find("stages", "k") is None
    assert not list((tmp_path / "stages").iterdir())


def test_a_store_of_a_version_of_before_serves(tmp_path: Path) -> None:
    store, key = Store(tmp_path), "ab" * 16
    for what in ("draft", "scratch", "gone"):
        (tmp_path / "stages" / f".{key}.{what}").mkdir(parents=True)
        (tmp_path / "stages" / f".{key}.{what}" / "last.ckpt").write_text("step 5")
    (tmp_path / "stages" / f".{key}.lock").touch()
    assert sorted(left.what for left in store.leftovers()) == ["draft", "gone", "lock", "scratch"]

    def make(folder: Path) -> None:
        (folder / "value").write_text((store.scratch("stages", key) / "last.ckpt").read_text())

    folder, _ = store.get_or_make("stages", key, make)
    assert (folder / "value").read_text() == "step 5"
    assert [path.name for path in folder.parent.iterdir()] == [key]


GROUP, USERS = 23456, (23457, 23458)


def as_user(user: int, act: Callable[[], None], umask: int = 0o002) -> None:
    """Do something in a process of another user, who is in the group."""
    child = os.fork()
    if not child:
        code = 1
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(GROUP)
            os.setuid(user)
            os.umask(umask)
            act()
            code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that a group shares."""
    if os.geteuid():
        pytest.skip("only root can be two users")
    with tempfile.TemporaryDirectory(prefix="shared", dir="/tmp") as name:
        place = Path(name)
        os.chown(place, -1, GROUP)
        place.chmod(0o2775)
        yield place


@pytest.mark.parametrize("umask", [0o002, 0o022])
def test_a_group_shares_a_store(shared: Path, umask: int) -> None:
    """Also where the files of one are not to be written by others, as long as they may write in its folder."""
    root, key = shared / "store", "ab" * 16

    def killed(draft: Path) -> None:
        (Store(root).scratch("stages", key) / "last.ckpt").write_text("step 5")
        (draft / "half").write_text("")
        os._exit(0)

    def goes_on(draft: Path) -> None:
        scratch = store.scratch("stages", key)
        there = [file.read_text() for file in scratch.iterdir()]
        assert there == ["step 5"] * (umask == 0o002), "else its folder is only its user's"
        (scratch / "last.ckpt").write_text("step 6")
        put("whole")(draft)

    store = Store(root)
    as_user(USERS[0], lambda: (root / "stages").mkdir(parents=True))
    as_user(USERS[0], lambda: store.get_or_make("stages", key, killed), umask)
    as_user(USERS[1], lambda: store.get_or_make("stages", key, goes_on))
    folder = store.place("stages", key)
    for path in root.rglob("*"):
        if umask == 0o002:
            assert path.stat().st_gid == GROUP
            assert path.stat().st_mode & 0o060 == 0o060
            assert path.is_file() or path.stat().st_mode & 0o2070 == 0o2070
    (folder / "done.json").chmod(0o644)
    os.utime(folder / "done.json", (1000, 1000))
    for _ in range(2):
        as_user(USERS[0], lambda: refuse(folder) if store.find("stages", key) is None else None)
    assert (folder / "done.json").stat().st_mtime == 1000
    assert time.time() - store.used("stages", key) < 60, "a use is noted also where the file is another's"
    as_user(USERS[0], lambda: store.remove("stages", key))
    assert not [path for path in (root / "stages").iterdir() if umask == 0o002]


def test_a_store_that_others_may_only_read_is_verified(shared: Path) -> None:
    from tlfw.store.__main__ import main

    root = shared / "store"
    as_user(USERS[0], lambda: Store(root).get_or_make("stages", "ab" * 16, put("1")) and None)
    shared.chmod(0o755)
    (root / "stages" / f".{'cd' * 16}.draft").mkdir()
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for command in ("verify", "ls", "gc"):
        as_user(USERS[1] + 1, lambda command=command: main([command, "--store", str(root)]))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of its own: (mount options) -> its folder, or again with others. Skips where there can be none."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        again = ["-o", f"remount,{options}"] if place.is_mount() else ["-t", "tmpfs", "-o", options, "tmpfs"]
        try:
            subprocess.run(["mount", *again, place], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("nothing can be mounted here")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", "--lazy", place], check=True)


BIG = torch.zeros(1_000_000)
WRITERS: dict[str, Callable[[Path], object]] = {
    "plain": lambda draft: (draft / "file").write_bytes(bytes(4_000_000)),
    "torch": lambda draft: torch.save({"a": BIG}, draft / "file.ckpt"),
    "safetensors": lambda draft: safetensors.torch.save_file({"a": BIG}, draft / "file.safetensors"),
    "numpy": lambda draft: np.save(draft / "file.npy", BIG.numpy()),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_message_and_leaves_nothing(disk, writer: str) -> None:
    store = Store(disk("size=2m") / "store")
    with pytest.raises(ConfigError, match=r"^store.dir: the disk of .*/store is full") as told:
        store.get_or_make("stages", "k", lambda draft: WRITERS[writer](draft))
    assert "python -m tlfw.store gc" in (explain(told.value) or "")
    assert [p.name for p in (store.root / "stages").iterdir()] == []
    disk("size=20m")
    store.get_or_make("stages", "k", lambda draft: WRITERS[writer](draft))
    assert store.find("stages", "k")


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(disk, tmp_path: Path) -> None:
    whole, _ = fold.run(experiment(tmp_path / "whole"), JOB)
    made = experiment(tmp_path, store=StoreSettings(dir=str(disk("size=1m"))))
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"^store.dir: the disk of .* is full"):
            fold.run(made, JOB)
        assert not list(made.shelf.root.glob("*/.*.draft"))
        assert made.shelf.keys("stages") == []
    disk("size=40m")
    assert numbers(fold.run(made, JOB)[0]) == numbers(whole)


def test_a_full_disk_elsewhere_is_not_the_stores(tmp_path: Path) -> None:
    def make(draft: Path) -> None:
        (draft / "half").write_text("")
        raise RuntimeError("not written") from OSError(errno.EDQUOT, "Disk quota exceeded", "/elsewhere/file")

    with pytest.raises(RuntimeError, match="not written") as told:
        Store(tmp_path).get_or_make("stages", "k", make)
    assert disk_full(told.value)
    assert (explain(told.value) or "").startswith("outputs: the disk is full.")
    assert [p.name for p in (tmp_path / "stages").iterdir()] == []


def test_a_full_disk_without_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlfw.store.has_room", lambda _: False)

    def make(draft: Path) -> None:
        (draft / "half").write_text("12345")
        raise OSError("1000 requested and 5 written")

    with pytest.raises(ConfigError, match=r"is full \(needs more than the 5 B"):
        Store(tmp_path).get_or_make("stages", "k", make)


def test_a_store_that_can_only_be_read_is_read(disk, tmp_path: Path) -> None:
    place = str(disk("size=60m"))
    first, _ = fold.run(experiment(tmp_path, store=StoreSettings(dir=place)), JOB)
    disk("ro")
    again = experiment(tmp_path / "again", store=StoreSettings(dir=place))
    record, there = fold.run(again, JOB)
    assert not there
    assert [stage["reused"] for stage in record.stages] == [True, True]
    assert numbers(record) == numbers(first)
    for change in ({"seed": 1}, {"force": True}):
        with pytest.raises(ConfigError, match=r"^store.dir: cannot write in .* \(Read-only file system\)"):
            fold.run(experiment(tmp_path / "again", store=StoreSettings(dir=place), **change), JOB)
    with pytest.raises(ConfigError, match=r"^store.dir: cannot write in"):
        again.shelf.get_or_make("stages", "k", put("1"))


def test_where_no_folder_can_be_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^store.dir: cannot write in .*file"):
        Store(tmp_path / "file").get_or_make("stages", "k", put("1"))
    with pytest.raises(ConfigError, match=r"^store.dir: cannot write in .*file"):
        Store(tmp_path / "file").scratch("stages", "k")


def test_the_checkpoint_of_a_run_is_the_stores_and_does_not_need_it(tmp_path: Path, monkeypatch) -> None:
    made = experiment(tmp_path)
    evaluate, kept = Attempt.evaluate, {}

    def emptied(self) -> None:
        evaluate(self)
        kept["weights"] = self.fold.weights.file.read_bytes()
        shutil.rmtree(made.shelf.root)

    monkeypatch.setattr(Attempt, "evaluate", emptied)
    fold.run(made, JOB)
    (checkpoint,) = (tmp_path / "outputs" / "runs").glob("*/checkpoint.safetensors")
    assert checkpoint.read_bytes() == kept["weights"]


def _spoil(path: Path, random: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    match random.integers(5):
        case 0:
            content[random.integers(len(content))] ^= 1 << int(random.integers(8))
            path.write_bytes(content)
        case 1:
            path.write_bytes(content[: random.integers(len(content))])
        case 2:
            path.write_bytes(b"")
        case 3:
            path.unlink()
        case 4:
            (path.parent / "added").write_bytes(content)


@pytest.mark.slow
def test_damage_of_any_kind_anywhere_changes_no_number(tmp_path: Path, capsys) -> None:
    """Fifty times, three at once, a file is damaged and the run made again: the same numbers, and a line for each."""
    made = experiment(tmp_path)
    first, _ = fold.run(made, JOB)
    store, random = made.shelf, np.random.default_rng(0)
    last = made.plan().stages[-1].key
    for _ in range(17):
        # Of decoded images only those of the test are needed again where stages and features are there.
        entries = [e for e in store.entries() if e.kind != "pixels" or e.made_by["images"].endswith(" test")]
        chosen = [entries[i] for i in random.choice(len(entries), 3, replace=False)]
        for entry in chosen:
            files = sorted(store.place(entry.kind, entry.key).iterdir())
            _spoil(files[random.integers(len(files))], random)
        if last not in {entry.key for entry in chosen}:  # which needs no features while it is there
            store.remove("stages", last)
        for record in (tmp_path / "outputs" / "runs").glob("*/record.json"):
            record.unlink()
        capsys.readouterr()
        again, there = fold.run(made, JOB)
        assert not there
        assert numbers(again) == numbers(first)
        said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("store: ")]
        assert sorted(line.split(" (")[0] for line in said) == sorted(f"store: {e.name} is damaged" for e in chosen)
    assert {entry.key for entry in store.entries()} >= {entry.key for entry in entries}


def test_sizes_are_for_people() -> None:
    assert [size(n) for n in (0, 999, 1000, 1_234_567, 2 * 10**12)] == ["0 B", "999 B", "1.0 kB", "1.2 MB", "2.0 TB"]
