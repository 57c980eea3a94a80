"""What must not be written down: keys and passwords, wherever a text that is kept could hold one."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

MASK = "***"
SHORTEST = 8
"""Characters; a shorter value would also be found in words that mean something else."""

_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)$", re.IGNORECASE)
_IN_A_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def masked(value: Any) -> Any:
    """The same value with `***` in the place of every secret in its texts, however deep they lie.

    A secret is the value of an environment variable that is called `…KEY`, `…TOKEN`, `…SECRET`,
    `…PASSWORD`, `…PASSPHRASE` or `…CREDENTIALS`, and what stands before the `@` of a URL.

    Args:
        value: text, or mappings and lists of it; mappings come back as dicts, sequences as lists.
    """
    secrets = sorted(
        (text for name, text in os.environ.items() if _NAMES.search(name) and len(text) >= SHORTEST),
        key=len,
        reverse=True,
    )
    return _masked(value, secrets)


def _masked(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return _IN_A_URL.sub(MASK, value)
    if isinstance(value, Mapping):
        return {_masked(key, secrets): _masked(each, secrets) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(each, secrets) for each in value]
    return value


@contextlib.contextmanager
def masked_arguments() -> Iterator[None]:
    """While it lasts, whoever looks at the command line of this process sees it masked."""
    kept, sys.argv = sys.argv, masked(sys.argv)
    try:
        yield
    finally:
        sys.argv = kept
