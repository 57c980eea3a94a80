"""How every noun that a config file fills in checks what it is given."""

from collections.abc import Callable

from pydantic import AfterValidator, ConfigDict
from pydantic_core import PydanticCustomError

STRICT = ConfigDict(
    strict=True,  # "3" is not 3, and true is not 1
    extra="forbid",  # a misspelt field is an error, not a comment
    arbitrary_types_allowed=True,
    allow_inf_nan=False,
)
"""The `config` of a pydantic dataclass that a config file fills in. Unknown fields and wrong types are errors."""


def at_most(most: int | Callable[[], int], why: str) -> AfterValidator:
    """That a number is not above a bound which has a reason.

    Args:
        most: the bound, or what knows it when the field is checked.
        why: what goes wrong above it, as in "999 threads …".
    """

    def check(given: int | None) -> int | None:
        bound = most() if callable(most) else most
        if given is not None and given > bound:
            problem = f"{given:,} {why}"
            raise PydanticCustomError("bound", "{problem}", {"problem": problem, "remedy": f"Use at most {bound:,}."})
        return given

    return AfterValidator(check)
