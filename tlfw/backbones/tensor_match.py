"""What of a file of weights is a network's, and whether it is that network at all."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

from tlfw.backbones.weights import WeightsFile, some
from tlfw.errors import ConfigError

OLD_NAMES = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)
"""How older torchvision called tensors of densenet and vit, also in files that it still publishes."""

COUNTS = ("num_batches_tracked", "total_ops", "total_params")
"""Last parts of names of what is counted and not learnt: by BatchNorm, which old files lack and no trunk here uses, and
by a profiler."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """What of a file is a trunk's.

    Attributes:
        title: the file's.
        entry: where in the file the network is, as `state_dict_ema` or `state_dict.module`; empty where it is the file.
        fitted: the trunk's name of a tensor -> the file's.
        left: the file's names of what stands beside these and is not the trunk's: heads, and whatever else there is.
        missing: the trunk's names of what the file does not have, but for `COUNTS`.
        misshaped: the trunk's name -> (the file's shape, the trunk's).
        inside: those of `left` that stand within the network: it is a deeper one, or another.
    """

    title: str
    entry: str
    fitted: Mapping[str, str]
    left: tuple[str, ...]
    missing: tuple[str, ...]
    misshaped: Mapping[str, tuple[str, str]]
    inside: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether every tensor of the trunk is there, and the file has no more of a network than the trunk has."""
        return not (self.missing or self.misshaped or self.inside)

    def __str__(self) -> str:
        said = [f"{len(self.fitted)} tensors fitted"]
        if self.missing:
            said.append(f"{len(self.missing)} missing ({some(self.missing)})")
        if self.misshaped:
            shapes = (f"{name} is {theirs}, not {own}" for name, (theirs, own) in self.misshaped.items())
            said.append(f"{len(self.misshaped)} of another shape ({some(shapes, '; ')})")
        if self.inside:
            said.append(f"{len(self.inside)} of layers that it does not have ({some(self.inside)})")
        elif self.left:
            said.append(f"{len(self.left)} left ({some(self.left)})")
        return f"{self.title}{f' ({self.entry})' if self.entry else ''}: {', '.join(said)}"


def fit(file: WeightsFile, wanted: Mapping[str, Tensor], head: Collection[str] = (), entry: str | None = None) -> Fit:
    """Compare a file with the tensors of a trunk, by names, shapes and types, wherever in the file they are.

    Args:
        wanted: the trunk's, by its own names; their data is not used.
        head: paths of the submodules that make the classifier's head, which is not wanted.
        entry: where in the file the network is: the whole name of the place (`state_dict.module.encoder_q`) or a part
            of it (`encoder_q`); empty: the file's own top; None: there is only one.

    Returns:
        The fit of the one place where the network is; else of the place that has most of it.

    Raises:
        ConfigError: the file cannot be read; the network is there several times, and it is not said which is meant, or
            not where it is said to be; or what fits has values that no network can have.
    """
    places = _places(file, wanted)
    asked = places if entry is None else _asked(places, entry)
    found = {place: _compare(file, place, names, wanted, head) for place, names in asked.items()}
    whole = [place for place, each in found.items() if each.whole]
    if entry in whole:
        whole = [entry]
    if len(whole) > 1:
        raise ConfigError(
            "weights_entry",
            f"{file.path} has the network {len(whole)} times: {_listed(whole)}.",
            "Say which of them is meant.",
        )
    if whole:
        chosen = found[whole[0]]
        if wrong := _unsound(file, tuple(chosen.fitted.values())):
            raise ConfigError(
                "weights", f"{file.path} is of no use: {wrong}.", "Give weights of a training that ended well."
            )
        return chosen
    if entry is not None and not found:
        others = [place for place, names in places.items() if _compare(file, place, names, wanted, head).whole]
        tops = dict.fromkeys(name.partition(".")[0] for name in file.outline)
        raise ConfigError(
            "weights_entry",
            f"{file.path} has no {entry!r} with tensors of this network.",
            f"The network is in {_listed(others)}." if others else f"The file has {some(tops)}.",
        )
    return max(found.values(), key=lambda each: (len(each.fitted), len(each.misshaped), -len(each.left)))


def _places(file: WeightsFile, wanted: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """Place -> the trunk's name -> the file's name, of every place under which a name of the trunk is found.

    A place is what stands before the trunk's own names: entries of a file that has several things (`model_ema`), and
    what data parallelism, compilation, and modules around a network put there (`module`, `encoder_q`).
    """
    found: dict[str, dict[str, str]] = {}
    for name in file.outline:
        today = name
        for old, new in OLD_NAMES:
            today = old.sub(new, today)
        words = today.split(".")
        for i in range(len(words)):
            if (own := ".".join(words[i:])) in wanted:
                found.setdefault(".".join(words[:i]), {})[own] = name
    return found or {"": {}}


def _asked(places: Mapping[str, dict[str, str]], entry: str) -> dict[str, dict[str, str]]:
    """The places that a person may mean by `entry`."""
    return {
        place: names for place, names in places.items() if place == entry or (entry and f".{entry}." in f".{place}.")
    }


def _compare(
    file: WeightsFile, place: str, names: Mapping[str, str], wanted: Mapping[str, Tensor], head: Collection[str]
) -> Fit:
    misshaped, fitted = {}, {}
    for own, tensor in wanted.items():
        if own in names and (differ := _differ(file.outline[names[own]], tensor)):
            misshaped[own] = differ
        elif own in names:
            fitted[own] = names[own]
    used = {names[own] for own in (*fitted, *misshaped)}
    holders = {file.holders[name] for name in used}
    holder = holders.pop() if len(holders) == 1 else ""
    left = tuple(name for name in file.outline if name not in used and (not holder or name.startswith(f"{holder}.")))
    before = f"{place}." if place else ""
    beside = {name: name.removeprefix(before) for name in left if name.startswith(before)}
    return Fit(
        title=file.title,
        entry="" if file.note else place,  # our own files say what they hold
        fitted=fitted,
        left=left,
        missing=tuple(own for own in wanted if own not in names and not own.endswith(COUNTS)),
        misshaped=misshaped,
        inside=tuple(name for name, own in beside.items() if _is_inside(own, wanted, head)),
    )


def _is_inside(name: str, wanted: Iterable[str], head: Collection[str]) -> bool:
    """Whether a tensor that a trunk does not have belongs within it: in a module of it, or in the next of a row.

    `layer3.4.conv1.weight` does where the trunk has a `layer3`, and so does `layer5.0.conv1.weight`.
    """
    if name.endswith(COUNTS) or any(f"{name}.".startswith(f"{path}.") for path in head):
        return False
    top, _, rest = name.partition(".")
    tops = {own.partition(".")[0] for own in wanted}
    numbered = re.fullmatch(r"(.*?)\d+", top)
    rows = {row[1] for own in tops if (row := re.fullmatch(r"(.*?)\d+", own))}
    return (bool(rest) and top in tops) or (numbered is not None and bool(rest) and numbered[1] in rows)


@functools.lru_cache(maxsize=32)
def _unsound(file: WeightsFile, names: tuple[str, ...]) -> str:
    """What no network can have among some tensors of a file; empty: nothing."""
    tensors = file.tensors()
    found = []
    for name in names:
        values = tensors[name]
        if not values.is_floating_point():
            continue
        values = values.float()
        if wrong := int((~torch.isfinite(values)).sum()):
            found.append(f"{name} has {wrong} of {values.numel()} values that are NaN or infinite")
        elif name.endswith("running_var") and (values < 0).any():
            found.append(f"{name} has negative variances")
    return "; ".join(found[:2]) + (f"; and {len(found) - 2} more such tensors" if len(found) > 2 else "")


def _differ(theirs: Tensor, own: Tensor) -> tuple[str, str] | None:
    kinds = ("", "") if theirs.is_floating_point() == own.is_floating_point() else (f" {theirs.dtype}", f" {own.dtype}")
    if theirs.shape == own.shape and not any(kinds):
        return None
    return _shape(theirs) + kinds[0], _shape(own) + kinds[1]


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _listed(places: Iterable[str]) -> str:
    return ", ".join(place or "'' (its top)" for place in places)
