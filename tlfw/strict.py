"""How every noun that a config file fills in checks what it is given."""

from pydantic import ConfigDict

STRICT = ConfigDict(
    strict=True,  # "3" is not 3, and true is not 1
    extra="forbid",  # a misspelt field is an error, not a comment
    arbitrary_types_allowed=True,
    allow_inf_nan=False,
)
"""The `config` of a pydantic dataclass that a config file fills in. Unknown fields and wrong types are errors."""
