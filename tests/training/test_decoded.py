"""Images are decoded once, and what is kept of them is what decoding gives."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import paint
from tests.training.test_train import VIEW
from tlfw.data import ImageArray, Pixels, View
from tlfw.data.division import Part
from tlfw.store import Store
from tlfw.training import decoded
from tlfw.training.decoded import CHUNK, KIND, Kept

NUMERICS = {"torch": "2", "torchvision": "0", "decoders": {"pillow": "12"}, "threads": 3}
COUNT = 2 * CHUNK + 7


class Counted(ImageArray):
    """Images that count how often one of them is opened in this process."""

    opened = 0

    def open(self, index: int):
        Counted.opened += 1
        return super().open(index)


def part(count: int = COUNT, first: int = 0) -> Part:
    pixels = np.stack([np.asarray(paint(i % 3, first + i, 40)) for i in range(count)])
    return Part(Counted(pixels, np.arange(count) % 3, "abc"), np.arange(count)[::-1].copy())


def kept(folder: Path, own: Part, content: str = "c", view: View = VIEW, most: int | None = None) -> Pixels:
    return Pixels(own, view, Kept(Store(folder), own, view, content, NUMERICS, "target train", most))


def direct(own: Part, view: View = VIEW) -> torch.Tensor:
    return Pixels(own, view).batch(range(len(own)), None, 0)


@pytest.mark.parametrize("alone", [0.0, 60.0], ids=["by other processes", "by this one"])
def test_what_is_kept_is_what_decoding_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: float) -> None:
    monkeypatch.setattr(decoded, "ALONE_SECONDS", alone)
    monkeypatch.setattr(decoded, "cores", lambda: 2)
    own, begun = part(), Counted.opened
    pixels = kept(tmp_path, own)
    pixels.open()
    assert Counted.opened - begun == (COUNT if alone else 0)
    assert torch.equal(pixels.batch(range(COUNT), None, 0), direct(own))
    again = kept(tmp_path, own)
    before = Counted.opened
    again.open()
    assert torch.equal(again.batch([3, 3, COUNT - 1], None, 0), pixels.batch([3, 3, COUNT - 1], None, 0))
    assert Counted.opened == before
    assert len(Store(tmp_path).keys(KIND)) == 1


def test_a_few_images_do_not_decode_all(tmp_path: Path) -> None:
    own = part()
    before = Counted.opened
    few = kept(tmp_path, own).few(4)
    assert Counted.opened == before + 4
    assert torch.equal(few, direct(own)[:4])
    assert not Store(tmp_path).keys(KIND)
    kept(tmp_path, own).open()
    before = Counted.opened
    assert torch.equal(kept(tmp_path, own).few(4), few)
    assert Counted.opened == before
    assert len(kept(tmp_path, part(3)).few(8)) == 3


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"mean": (0.1, 0.2, 0.3)}, True),
        ({"augmentation": ("flip",)}, True),
        ({"size": VIEW.size - 1}, False),
        ({"resize": VIEW.resize + 1}, False),
        ({"interpolation": "bicubic"}, False),
        ({"background": (0, 0, 0)}, False),
        ({"range": (0.0, 9.0)}, False),
    ],
    ids=str,
)
def test_what_decides_pixels_decides_the_key(tmp_path: Path, change: dict, same: bool) -> None:
    def key(view: View, content: str = "c", numerics: dict = NUMERICS) -> str:
        return Kept(Store(tmp_path), part(1), view, content, numerics, "target train").key

    assert (key(dataclasses.replace(VIEW, **change)) == key(VIEW)) == same
    assert key(VIEW, "d") != key(VIEW)
    assert key(VIEW, numerics=NUMERICS | {"threads": 1}) == key(VIEW)
    for name in ("torch", "torchvision", "decoders"):
        assert key(VIEW, numerics=NUMERICS | {name: "9"}) != key(VIEW)


def test_the_least_recently_used_make_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {name: part(10, first) for name, first in (("a", 0), ("b", 50), ("c", 100))}
    most = int(2.5 * 10 * 3 * VIEW.size**2)
    for name in "ab":
        kept(tmp_path, parts[name], name, most=most).open()
    store = Store(tmp_path)
    keys = {name: Kept(store, own, VIEW, name, NUMERICS, "").key for name, own in parts.items()}
    os.utime(store.place(KIND, keys["b"]) / "done.json", (1000, 1000))
    kept(tmp_path, parts["a"], "a").open()
    kept(tmp_path, parts["c"], "c", most=most).open()
    assert set(store.keys(KIND)) == {keys["a"], keys["c"]}
    assert "1 decoded parts that were not used lately left the store" in capsys.readouterr().out


@pytest.mark.parametrize("memory", [0, 2**30])
def test_what_does_not_fit_is_the_same_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], memory: int
) -> None:
    monkeypatch.setattr(decoded, "IN_MEMORY_BYTES", memory)
    own = part(10)
    pixels = kept(tmp_path, own, most=10 * 3 * VIEW.size**2)  # the file's header is not in it, but nothing else fits
    pixels.open()
    assert Store(tmp_path).keys(KIND)
    other = kept(tmp_path, part(11), "d", most=10 * 3 * VIEW.size**2)
    other.open()
    assert torch.equal(other.batch(range(11), None, 0), direct(other.part))
    said = capsys.readouterr().out
    how = "are kept in memory" if memory else "are decoded each time"
    assert f"target train: 11 images (33.8 kB) {how}, not in the store: they do not fit" in said
    assert other.heavy(training=False) == (memory == 0)
    assert len(Store(tmp_path).keys(KIND)) == 1


def test_a_store_that_can_only_be_read_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = part(10)
    monkeypatch.setattr(Path, "mkdir", _refuse)
    pixels = kept(tmp_path / "store", own)
    pixels.open()
    assert torch.equal(pixels.batch(range(10), None, 0), direct(own))
    assert "not in the store: cannot write in" in capsys.readouterr().out


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_another_process_may_take_it_away_between_two_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, store = part(10), Store(tmp_path)
    archive = Kept(store, own, VIEW, "c", NUMERICS, "target train")
    read: Callable[[Path], np.ndarray] = decoded._read
    gone: list[Path] = []

    def taken(folder: Path) -> np.ndarray:
        if not gone:
            gone.append(folder)
            store.remove(KIND, archive.key)
        return read(folder)

    monkeypatch.setattr(decoded, "_read", taken)
    found = archive.get()
    assert found is not None
    assert len(found) == 10
