"""First weights that were learnt elsewhere: which file holds them, and what is in it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from tlfw.errors import ConfigError
from tlfw.records.record import FILE, Record

CHECKPOINT = "checkpoint.safetensors"
"""The weights in a run's folder."""

ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
"""What files of weights are called; what is in them is seen by their content."""

RUN = re.compile(r"(?:[^/]*-)?([0-9a-f]{8,32})")
"""A run's key, or the name of its folder, which ends with it."""

NOTE = "tlfw"
"""The entry of a safetensors header in which our own files say what they are weights of."""

SHOWN = 3


def is_place(text: str) -> bool:
    """Whether it names a file or a run, and not published weights."""
    return "/" in text or text.startswith("~") or text.endswith(ENDINGS) or RUN.fullmatch(text) is not None


def locate(text: str, runs: Path) -> Path:
    """The file that a path, a run's folder, its name or its key stands for.

    Args:
        runs: the folder of all runs, in which names and keys are looked up.

    Raises:
        ConfigError: there is no such file or run, or more than one, or the run has no weights.
    """
    path = Path(text).expanduser()
    if not path.exists() and (key := RUN.fullmatch(text)):
        path = _run_of(key.group(1), runs)
    return _checkpoint(path) if path.is_dir() else path


def _run_of(key: str, runs: Path) -> Path:
    found = [path.parent for path in sorted(runs.glob(f"*-{key[:12]}*/{FILE}")) if _run_id(path).startswith(key)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(
            "weights",
            f"there is no run {key} in {runs.absolute()}.",
            "Give the key that its folder's name ends with, or the path of its folder.",
        )
    raise ConfigError(
        "weights", f"{len(found)} runs have keys that begin with {key}: {some(p.name for p in found)}.", "Give more."
    )


def _run_id(record: Path) -> str:
    try:
        return Record.read(record).run_id
    except (OSError, ValueError):
        return ""


def _checkpoint(folder: Path) -> Path:
    try:
        record = Record.read(folder)
    except OSError as problem:
        raise ConfigError(
            "weights",
            f"{folder} is a folder, but not a run's: it has no {FILE}.",
            f"Give a file ({', '.join(ENDINGS)}), or a folder of outputs/runs.",
        ) from problem
    except ValueError as problem:
        raise ConfigError("weights", f"{problem}.", f"Give its {CHECKPOINT}.") from problem
    if record.status != "done" or not (folder / CHECKPOINT).is_file():
        why = "failed" if record.status != "done" else f"has no {CHECKPOINT}"
        raise ConfigError("weights", f"the run {folder} {why}.", "Give one that ended well, or a file.")
    return folder / CHECKPOINT


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """A file as it is now. One that was written again is another, and is read again.

    Attributes:
        state: what changes when the file does: its size, its times of modification and of change, its place on the
            disk. A copy of equal size and time has another of the last two.
    """

    path: Path
    state: tuple[int, ...]

    @classmethod
    def at(cls, path: Path) -> WeightsFile:
        """The file at `path`.

        Raises:
            ConfigError: there is none, it is empty, or it stands for one that is elsewhere.
        """
        try:
            stat = path.stat()
            with path.open("rb") as file:
                pointer = file.read(100).startswith(b"version https://git-lfs")
        except FileNotFoundError as problem:
            raise ConfigError(
                "weights",
                f"there is no file {path.absolute()}.",
                "Give the path of a state_dict, or a run's folder or key.",
            ) from problem
        except OSError as problem:
            raise _unreadable(path, problem) from problem
        if pointer:
            raise ConfigError(
                "weights", f"{path} is a git-lfs pointer and not the file itself.", "Fetch it: git lfs pull."
            )
        if not stat.st_size:
            raise ConfigError("weights", f"{path} is empty.", "Fetch or save it again.")
        return cls(path, (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_dev, stat.st_ino))

    @property
    def title(self) -> str:
        """What people call it: a run's weights by the run."""
        return self.path.parent.name if self.path.name == CHECKPOINT else self.path.name

    @property
    def sha256(self) -> str:
        """Of its content; read once in a process."""
        return _sha256(self)

    @property
    def outline(self) -> Mapping[str, Tensor]:
        """Its tensors on torch's meta device: names, shapes and types. Read once in a process."""
        return _outline(self).tensors

    @property
    def holders(self) -> Mapping[str, str]:
        """The name of each tensor -> that of the entry which directly holds it; empty: the file itself."""
        return _outline(self).holders

    @property
    def note(self) -> Mapping[str, Any]:
        """What a file of ours says of itself; empty for others."""
        return _outline(self).note

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors, by full name: `conv1.weight`, or `state_dict.conv1.weight` of one in the entry `state_dict`.

        Executes nothing that the file holds.

        Raises:
            ConfigError: it has none, or they cannot be read.
        """
        return {name: tensor for name, (tensor, _) in _tensors_of(_read(self.path)[0], self.path).items()}


@functools.lru_cache(maxsize=32)
def _sha256(file: WeightsFile) -> str:
    with _readable(file.path), file.path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@dataclasses.dataclass(frozen=True)
class _Outline:
    tensors: Mapping[str, Tensor]
    holders: Mapping[str, str]
    note: Mapping[str, Any]


@functools.lru_cache(maxsize=32)
def _outline(file: WeightsFile) -> _Outline:
    content, note = _read(file.path)
    found = _tensors_of(content, file.path)
    return _Outline(
        tensors={name: tensor.to("meta") for name, (tensor, _) in found.items()},
        holders={name: holder for name, (_, holder) in found.items()},
        note=note,
    )


def _read(path: Path) -> tuple[object, Mapping[str, Any]]:
    """Whatever a file holds, mapped into memory where its format allows, and its note."""
    with _readable(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about files that it then refuses
        with path.open("rb") as file:
            head = file.read(9)
        if head[8:] == b"{":
            with safetensors.safe_open(path, "pt") as opened:
                note = json.loads((opened.metadata() or {}).get(NOTE, "{}"))
                return {name: opened.get_tensor(name) for name in opened.keys()}, note  # noqa: SIM118 no mapping
        return torch.load(path, map_location="cpu", weights_only=True, mmap=head.startswith(b"PK")), {}


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise _unreadable(path, problem) from problem
    except Exception as problem:  # torch and safetensors raise many kinds, all of them about the file
        if held := re.search(r"GLOBAL ([\w.]+)", str(problem)):
            raise ConfigError(
                "weights",
                f"{path} holds Python objects ({held.group(1)}), and to read those could run code.",
                "If you trust it, load it where it was made and save its state_dict as .safetensors.",
            ) from problem
        raise ConfigError(
            "weights",
            f"{path} is damaged, or neither safetensors nor made by torch.save.",
            "Fetch or save it again.",
        ) from problem


def _unreadable(path: Path, problem: OSError) -> ConfigError:
    return ConfigError("weights", f"{path} cannot be read ({problem.strerror}).", "Give a file that can.")


MOST_NESTED = 12
"""Entries within entries are looked into so far."""


def _tensors_of(content: object, path: Path) -> dict[str, tuple[Tensor, str]]:
    """Full name -> a tensor, and the name of the entry that holds it."""
    remedy = "Give a state_dict: a dict from names to tensors."
    if not isinstance(content, Mapping):
        raise ConfigError("weights", f"{path} holds a {type(content).__name__} and no state_dict.", remedy)
    found: dict[str, tuple[Tensor, str]] = {}
    for name, tensor, holder in _walk(content, "", 0):
        if name in found:
            raise ConfigError("weights", f"{path} has two tensors that are called {name}.", remedy)
        found[name] = tensor, holder
    if not found:
        names = some(map(str, content)) or "nothing at all"
        raise ConfigError("weights", f"{path} holds no tensors, but {names}.", remedy)
    return found


def _walk(content: object, holder: str, depth: int) -> Iterator[tuple[str, Tensor, str]]:
    """Every tensor that an entry holds under a name, whatever the entries above it are called."""
    if isinstance(content, Mapping):
        parts: Iterable[tuple[object, object]] = content.items()
    else:
        parts = enumerate(content) if isinstance(content, list | tuple) else ()
    for key, value in parts:
        name = f"{holder}.{key}".removeprefix(".")
        if isinstance(value, Tensor):
            if isinstance(key, str) and not value.is_meta and value.layout == torch.strided and not value.is_quantized:
                yield name, value, holder
        elif depth < MOST_NESTED:
            yield from _walk(value, name, depth + 1)


def some(things: Iterable[str], between: str = ", ") -> str:
    """The first three of some texts."""
    every = list(things)
    return between.join([*every[:SHOWN], *(["…"] if len(every) > SHOWN else [])])
