"""Names are functions of meaning, and of nothing else."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import importlib
import json
import operator
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tlfw.identity.names import Nameless, canonical, digest, named, public_name, remembered, seed_from
from tlfw.methods.freeze import FreezePolicy, LastBlocks
from tlfw.methods.schedule import cosine


@dataclasses.dataclass(frozen=True)
class Thing:
    size: int

    def method(self) -> int:
        return self.size

    @classmethod
    def made(cls) -> Thing:
        return cls(1)


class SubThing(Thing):
    pass


class Other:
    def __init__(self, power: int = 1) -> None:
        self.power = power

    def identity(self) -> object:
        return ["other", self.power]


class Another(Other):
    pass


@dataclasses.dataclass(frozen=True)
class Curve:
    """A schedule as a value: what it holds is its fields."""

    power: int

    def __call__(self, optimizer: object, steps: int) -> object: ...


def schedule(optimizer: object, steps: int, *, power: int) -> object: ...


def making(power: int) -> Any:
    """A schedule as a closure."""

    def make(optimizer: object, steps: int) -> object:
        return power

    return make


def test_equal_meanings_have_equal_names() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": (1, 2), "a": 1})
    assert digest(Thing(1)) == digest(Thing(1))
    assert digest(partial(max, key=len)) == digest(partial(max, key=len))
    assert digest([0, 1]) == digest([0.0, 1.0]) == digest([-0.0, 1.0])
    assert digest(np.float64(0.5)) == digest(0.5)
    assert digest(np.int64(3)) == digest(3)
    assert digest(OmegaConf.create({"a": [1, {"b": 2}]})) == digest({"a": [1, {"b": 2}]})


def test_what_hydra_makes_of_a_config_is_what_one_would_write() -> None:
    made = instantiate({"_target_": "tlfw.methods.schedule.cosine", "_partial_": True, "warmup": 0.1})
    assert digest(made) == digest(partial(cosine, warmup=0.1)) != digest(partial(cosine, warmup=0.2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2), (1, "1"), (None, 0), (True, 1), (0.1, 0.2), ([], {}), (Thing(1), Thing(2)), (Thing, SubThing),
        (partial(max), partial(min)), (partial(max, 1), partial(max, 2)), (partial(max, key=1), partial(max, key=2)),
        (Thing(1).method, Thing(2).method), (Thing.made, SubThing.made), (Thing.made, Thing), (Curve(1), Curve(9)),
        (Curve(1), Thing(1)), (partial(schedule, power=1), partial(schedule, power=9)), (Other(1), Other(9)),
        (Other(1), Another(1)), ("abc".upper, "abd".upper), ("abc".upper, "abc".lower),
    ],
)  # fmt: skip
def test_other_meanings_have_other_names(one: object, other: object) -> None:
    assert digest(one) != digest(other)


# ------------------------------------------------------------------------- callables that hold what no name says


class Decorated:
    """An object that looks like a function."""

    def __init__(self, function: Any, power: int) -> None:
        functools.update_wrapper(self, function)
        self.power = power

    def __call__(self, *args: object) -> object:
        return self.power


class Holding:
    """An object whose method is a schedule."""

    def __init__(self, power: int) -> None:
        self.power = power

    def schedule(self, optimizer: object, steps: int) -> object:
        return self.power

    def __call__(self, optimizer: object, steps: int) -> object:
        return self.power


@functools.wraps(schedule)
def _around(*args: object, **kwargs: object) -> object: ...


@functools.wraps(cosine)
def _around_ours(*args: object, **kwargs: object) -> object: ...


@dataclasses.dataclass
class Hiding:
    """A dataclass that keeps what it was given where no field says it."""

    power: dataclasses.InitVar[int]

    def __post_init__(self, power: int) -> None:
        self.kept = power


@dataclasses.dataclass
class Slotted:
    __slots__ = ("kept", "size")
    size: int

    def __post_init__(self) -> None:
        self.kept = self.size + 1


class Partial(partial):
    pass


module_lambda = lambda optimizer, steps: None  # noqa: E731
looping = partial(schedule, power=[])

HOLDING: dict[str, Any] = {
    "a closure": making(9),
    "a lambda": lambda optimizer, steps: 9,
    "a lambda at the top of a module": module_lambda,
    "a method of an object that does not say what it is": Holding(9).schedule,
    "an object that can be called": Holding(9),
    "an object that has a function's name": Decorated(schedule, 9),
    "a function that has another's name": _around,
    "a function that has the name of one of tlfw's": _around_ours,
    "a partial of a closure": partial(making(9), steps=1),
    "a partial in a field": {"call": partial(lambda x: x, 1)},
    "a partial of its own kind": Partial(schedule, power=9),
    "a dataclass that holds more than its fields": Hiding(9),
    "a dataclass with a slot that is no field": Slotted(9),
    "a class that is made on the way": type("Made", (), {"power": 9}),
    "a dataclass that is made on the way": dataclasses.make_dataclass("Made", [("power", int)])(9),
    "an operator that holds a name": operator.methodcaller("upper"),
    "a function that keeps what it found": functools.lru_cache(making(9)),
    "a mapping that makes values": collections.defaultdict(lambda: 9),
    "an object": object(),
    "no number": float("nan"),
    "no end": float("inf"),
    "a mapping by numbers": {1: 2},
    "an array": np.zeros(3),
    "a tensor": torch.zeros(3),
    "a generator": (i for i in range(3)),
}


@pytest.mark.parametrize("value", HOLDING.values(), ids=HOLDING)
def test_what_holds_something_that_no_name_says_is_refused(value: object) -> None:
    with pytest.raises(Nameless, match=r"\w.*\. [A-Z].*\."):
        digest(value)
    with pytest.raises(TypeError):
        digest([{"deep": partial(schedule, power=value)}])


@functools.lru_cache
def kept_at_the_top(x: int) -> int:
    return x


def test_what_stands_at_the_top_of_a_module_has_a_name() -> None:
    for thing in (schedule, kept_at_the_top, Thing, Thing.method, max, torch.optim.SGD, torch.nn.functional.relu):
        assert digest(thing) == digest(thing)


def test_a_value_that_was_looked_at_is_the_same() -> None:
    """What a cached property keeps follows from the fields."""

    assert digest(Cached(2)) == digest(_looked_at(Cached(2))) != digest(Cached(3))


@dataclasses.dataclass(frozen=True)
class Cached:
    size: int

    @functools.cached_property
    def twice(self) -> int:
        return 2 * self.size


def _looked_at(thing: Cached) -> Cached:
    assert thing.twice == 2 * thing.size
    return thing


# ------------------------------------------------------------------------- values of classes derived from plain ones


class Point(NamedTuple):
    x: int

    def __call__(self) -> None: ...


class Pair(NamedTuple):
    x: int


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Whole(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    A = "a"


class Power(float):
    pass


class Told(str):
    pass


class Row(list):
    pass


class Book(dict):
    pass


def test_a_class_is_part_of_a_value_that_is_derived_from_a_plain_one() -> None:
    values = [
        *(1, 1.5, "a", [1], {"a": 1}),
        *(Point(1), Pair(1), Colour.RED, Colour.BLUE, Whole.ONE, Word.A, Power(1.5), Told("a"), Row([1]), Book(a=1)),
    ]
    assert len({digest(value) for value in values}) == len(values)
    marked = Told("a")
    marked.power = 9  # type: ignore[attr-defined]
    with pytest.raises(Nameless, match="Told holds power"):
        digest(marked)


# ------------------------------------------------------------------------------------------------- declared names


def test_every_field_of_a_policy_is_part_of_its_name() -> None:
    policy = LastBlocks(n=1, lr_head=0.1, lr_backbone=0.1)
    changes = [{"n": 2}, {"lr_head": 0.2}, {"lr_backbone": 0.2}, {"batch_norm": "train"}]
    assert len({digest(policy), *(digest(dataclasses.replace(policy, **c)) for c in changes)}) == 5


def test_tlfws_own_things_are_called_as_they_declare() -> None:
    assert canonical(torch.optim.SGD) == "torch.optim.sgd.SGD"
    assert canonical(FreezePolicy) == "tlfw.FreezePolicy"
    assert canonical(cosine) == "tlfw.schedule.cosine"
    assert public_name(LastBlocks) == "tlfw.LastBlocks"


def test_a_name_is_of_what_declares_it_and_not_of_what_is_derived() -> None:
    class Derived(LastBlocks):
        pass

    assert Derived.__dict__.get("__public_name__") is None
    with pytest.raises(Nameless, match="Derived is made while the program runs"):
        public_name(Derived)


def test_what_of_tlfw_declares_no_name_has_none() -> None:
    """Its place in the code is none: code moves."""
    with pytest.raises(Nameless, match="declares no public name"):
        canonical(seed_from)


def test_a_moved_class_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest([LastBlocks(n=1, lr_head=0.1, lr_backbone=0.1), partial(cosine, warmup=0.1)])
    for thing in (LastBlocks, cosine):
        monkeypatch.setattr(thing, "__module__", "tlfw.elsewhere")
    monkeypatch.setattr(cosine, "__qualname__", "renamed")
    assert digest([LastBlocks(n=1, lr_head=0.1, lr_backbone=0.1), partial(cosine, warmup=0.1)]) == before


def test_public_names_are_each_of_one_thing() -> None:
    from tlfw.identity.names import _DECLARED
    from tlfw.numerics.trainer import LIGHTNINGS

    assert all(public_name(thing) == name for name, thing in _DECLARED.items())
    assert {name for name in _DECLARED if not name.startswith("tlfw.")} <= {LIGHTNINGS}
    with pytest.raises(AssertionError, match="two things"):
        named("tlfw.LastBlocks")(Thing)


def test_an_object_says_what_it_is_beside_its_class() -> None:
    said = canonical(Other(3))
    assert said["identity"] == ["other", 3]
    assert said["is"].startswith("tests.identity.test_names.Other ")


# ------------------------------------------------------------------------------------------------------ processes


def test_names_are_the_same_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import json\n\n\ndef schedule(): ...\n")
    code = """if True:
        from functools import partial
        import mine
        from tlfw.identity.names import digest
        from tlfw.methods.schedule import cosine
        print(digest({"a": {1.5, 2.5}, "b": ["x", None, mine.schedule, partial(cosine, warmup=0.1)]}))
        """
    path = [str(tmp_path), *(p for p in sys.path if p)]
    told = {
        subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path = {path!r}\n{code}"],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": hash_seed},
            cwd=place,
        ).stdout.strip()
        for hash_seed, place in (("1", tmp_path), ("2", "/"))
    }
    assert len(told) == 1


def test_seeds_are_torch_seeds() -> None:
    seeds = {seed_from("a", i) for i in range(1000)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_stay_as_they_are() -> None:
    """Every number that a run draws depends on them."""
    assert seed_from("a", 1, {"b": [0.5, None, True]}) == 4267736366333688722


def test_results_are_remembered_by_meaning() -> None:
    calls = []

    @remembered
    def make(thing: object, size: int = 1) -> int:
        calls.append(thing)
        return len(calls)

    assert make([1, {"a": 2}]) == make((1, {"a": 2})) == 1
    assert make([1], size=2) == 2
    assert len(calls) == 2


def test_json_is_all_there_is() -> None:
    assert json.loads(json.dumps(canonical([Thing(1), Whole.ONE, Point(1), partial(schedule, power=1)])))
    assert importlib.import_module("tlfw.identity.names").__doc__
