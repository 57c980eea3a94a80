"""How often a sweep asks the same again, and what is another one each time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from tlfw.errors import ConfigError
from tlfw.strictness import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Repeat:
    """What a repetition is. A single run is none; a sweep makes them, all cells of one before the next.

    Args:
        count: how many seeds, how many draws of labelled images, or both.
        by: `both`: each repetition has a seed and a draw of its own. `seed`: all have the same draw. `cross`: every
            seed with every draw, which tells what comes of the one and what of the other.
    """

    count: int = Field(ge=1)
    by: Literal["both", "seed", "cross"] = "both"

    def __post_init__(self) -> None:
        if self.by == "cross" and self.count < 2:
            raise ConfigError(
                "by", "cross needs two seeds and two draws at least, and repeat is 1.", "Set repeat to 2 or more."
            )

    @classmethod
    def of(cls, given: Any) -> Repeat:
        """What a config says: this, its fields, or a number alone.

        Raises:
            ConfigError: it is none of them.
        """
        if isinstance(given, cls):
            return given
        fields = given if isinstance(given, Mapping) else {"count": given}
        try:
            return cls(**{name: value for name, value in fields.items() if name != "_target_"})
        except ConfigError as problem:
            raise problem.at("repeat") from None
        except ValidationError as problem:
            first = problem.errors()[0]
            field = str(first["loc"][0])
            said = "it is not given" if first["type"] == "missing" else f"{first['msg']}, and it is {first['input']!r}"
            remedy = {"count": "Use a number such as repeat=5.", "by": "Use repeat.by=both, seed or cross."}
            raise ConfigError(f"repeat.{field}", f"{said}.", remedy.get(field, "Leave it out.")) from problem

    @property
    def total(self) -> int:
        """The repetitions of a cell."""
        return self.count**2 if self.by == "cross" else self.count

    def pairs(self, seed: int, draw: int) -> list[tuple[int, int]]:
        """The seed and the draw of each repetition, counted from those that a cell was asked for with."""
        seeds, draws = (range(first, first + self.count) for first in (seed, draw))
        if self.by == "cross":
            return [(each, other) for other, each in itertools.product(draws, seeds)]
        return [(each, other if self.by == "both" else draw) for each, other in zip(seeds, draws, strict=True)]
