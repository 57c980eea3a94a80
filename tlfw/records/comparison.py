"""By what a sweep is judged: what makes a row of its own, and which difference matters. It decides no number."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

from tlfw.errors import ConfigError, nearest
from tlfw.records.settings import REPETITION

REPEATED = (*REPETITION, "target.fold")


def check_compared(names: Sequence[str], fields: Collection[str]) -> None:
    """See that each of `names` can make rows of its own.

    Args:
        fields: the full names of all fields of the config.

    Raises:
        ConfigError: one is no field, is named twice, or tells repetitions apart.
    """
    for name in names:
        if name in REPEATED:
            raise ConfigError(
                "compare", f"{name} tells repetitions of one thing apart.", "Leave it out: a row is over all of them."
            )
        if name not in fields:
            near = nearest(name, fields, limit=2)
            remedy = f"Did you mean {' or '.join(near)}?" if near else "Use --cfg job to see all fields."
            raise ConfigError("compare", f"there is no field {name!r}.", remedy)
    if twice := [name for name in names if list(names).count(name) > 1]:
        raise ConfigError("compare", f"{twice[0]} is there twice.", "Name each field once.")


def share(given: object) -> float | None:
    """The smallest difference that matters, as a share: `1%`, `1.5 points` and 0.015 are 0.01, 0.015 and 0.015.

    Raises:
        ConfigError: it is no such text or number, or not between 0 and 1.
    """
    remedy = "Use 1%, '1.5 points', or a share between 0 and 1; null where no difference is too small."
    if given is None:
        return None
    found = math.nan
    if isinstance(given, int | float) and not isinstance(given, bool):
        found = float(given)
    elif isinstance(given, str) and (text := re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(%|points?)\s*", given)):
        found = float(text[1]) / 100
    if math.isnan(found):
        raise ConfigError("margin", f"{given!r} is no difference.", remedy)
    if not 0 < found < 1:
        raise ConfigError("margin", f"{given!r} is not between 0 and 1, which are 0% and 100%.", remedy)
    return found
