"""First weights that were learnt elsewhere: which file holds them, what is in it, and what of that fits."""

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
from tlfw.record import FILE, Record

CHECKPOINT = "checkpoint.safetensors"
"""The weights in a run's folder."""

ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
"""What files of weights are called; what is in them is seen by their content."""

CONTAINERS = ("state_dict", "model_state_dict", "model", "model_ema")
"""Under which of a checkpoint's entries its weights are."""

PREFIX = re.compile(r"(?:(?:module|_orig_mod|model|backbone|net|trunk)\.)*")
"""What data parallelism, compilation, and modules around a network put before its tensors' names."""

OLD_NAMES = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)
"""How older torchvision called tensors of densenet and vit, also in files that it still publishes."""

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
        "weights", f"{len(found)} runs have keys that begin with {key}: {_some(p.name for p in found)}.", "Give more."
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
    """A file as it is now. One that was written again is another, and is read again."""

    path: Path
    bytes: int
    modified_ns: int

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
        return cls(path, stat.st_size, stat.st_mtime_ns)

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
        return _outline(self)[0]

    @property
    def note(self) -> Mapping[str, Any]:
        """What a file of ours says of itself; empty for others."""
        return _outline(self)[1]

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors, by the names that they have in it. Executes nothing that the file holds.

        Raises:
            ConfigError: it has none, or they cannot be read.
        """
        return _state_of(_read(self.path)[0], self.path)


@functools.lru_cache(maxsize=32)
def _sha256(file: WeightsFile) -> str:
    with _readable(file.path), file.path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@functools.lru_cache(maxsize=32)
def _outline(file: WeightsFile) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    content, note = _read(file.path)
    return {name: tensor.to("meta") for name, tensor in _state_of(content, file.path).items()}, note


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


def _state_of(content: object, path: Path) -> dict[str, Tensor]:
    remedy = "Give a state_dict: a dict from names to tensors."
    if not isinstance(content, Mapping):
        raise ConfigError("weights", f"{path} holds a {type(content).__name__} and no state_dict.", remedy)
    inner = [key for key in CONTAINERS if _holds_tensors(content.get(key))]
    if len(inner) > 1:
        raise ConfigError(
            "weights",
            f"{path} holds several sets of weights: {', '.join(inner)}.",
            "Save the one that you want as .safetensors.",
        )
    if inner:
        return _state_of(content[inner[0]], path)
    found = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor) and not value.is_meta
    }
    if not found:
        names = _some(map(str, content)) or "nothing at all"
        raise ConfigError("weights", f"{path} holds no tensors, but {names}.", remedy)
    return found


def _holds_tensors(value: object) -> bool:
    return isinstance(value, Mapping) and (
        any(isinstance(child, Tensor) for child in value.values())
        or any(_holds_tensors(value.get(key)) for key in CONTAINERS)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """What of a file is a trunk's.

    Attributes:
        title: the file's.
        fitted: the trunk's name of a tensor -> the file's.
        left: the file's names of what is not the trunk's: heads, and whatever else it has.
        missing: the trunk's names of what the file does not have. BatchNorm's counts, which old files
            lack and no trunk here uses, are not missed.
        misshaped: the trunk's name -> (the file's shape, the trunk's).
    """

    title: str
    fitted: Mapping[str, str]
    left: tuple[str, ...]
    missing: tuple[str, ...]
    misshaped: Mapping[str, tuple[str, str]]

    @property
    def whole(self) -> bool:
        """Whether every tensor of the trunk is there."""
        return not self.missing and not self.misshaped

    def __str__(self) -> str:
        said = [f"{len(self.fitted)} tensors fitted"]
        if self.missing:
            said.append(f"{len(self.missing)} missing ({_some(self.missing)})")
        if self.misshaped:
            shapes = (f"{name} is {theirs}, not {own}" for name, (theirs, own) in self.misshaped.items())
            said.append(f"{len(self.misshaped)} of another shape ({_some(shapes, '; ')})")
        if self.left:
            said.append(f"{len(self.left)} left ({_some(self.left)})")
        return f"{self.title}: {', '.join(said)}"


def fit(file: WeightsFile, wanted: Mapping[str, Tensor]) -> Fit:
    """Compare a file with the tensors of a trunk, by names, shapes and types.

    Args:
        wanted: the trunk's, by torchvision's names; their data is not used.

    Raises:
        ConfigError: the file cannot be read, or has the network twice.
    """
    by_prefix: dict[str, dict[str, str]] = {}
    for name in file.outline:
        prefix = PREFIX.match(name)
        assert prefix is not None
        by_prefix.setdefault(prefix.group(), {})[_today(name[prefix.end() :])] = name
    known = {prefix: len(names.keys() & wanted.keys()) for prefix, names in by_prefix.items()}
    most = max(known.values())
    first, *others = [prefix for prefix, count in known.items() if count == most]
    if most and others:
        raise ConfigError(
            "weights",
            f"{file.path} has the network twice, under {first!r} and {others[0]!r}.",
            "Save the one that you want as .safetensors.",
        )
    names = by_prefix[first]
    misshaped, fitted = {}, {}
    for own in wanted:
        if own in names and (differ := _differ(file.outline[names[own]], wanted[own])):
            misshaped[own] = differ
        elif own in names:
            fitted[own] = names[own]
    used = {names[own] for own in (*fitted, *misshaped)}
    return Fit(
        title=file.title,
        fitted=fitted,
        left=tuple(name for name in file.outline if name not in used),
        missing=tuple(own for own in wanted if own not in names and not own.endswith("num_batches_tracked")),
        misshaped=misshaped,
    )


def _today(name: str) -> str:
    for old, new in OLD_NAMES:
        name = old.sub(new, name)
    return name


def _differ(theirs: Tensor, own: Tensor) -> tuple[str, str] | None:
    kinds = ("", "") if theirs.is_floating_point() == own.is_floating_point() else (f" {theirs.dtype}", f" {own.dtype}")
    if theirs.shape == own.shape and not any(kinds):
        return None
    return _shape(theirs) + kinds[0], _shape(own) + kinds[1]


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _some(things: Iterable[str], between: str = ", ") -> str:
    every = list(things)
    return between.join([*every[:SHOWN], *(["…"] if len(every) > SHOWN else [])])
