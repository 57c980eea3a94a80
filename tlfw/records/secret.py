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

NOT_SECRET = frozenset(("disabled", "required", "optional", "anonymous", "keychain", "kerberos", "negotiate"))
"""Values that say how to log in, and are words of other settings too."""

# The first may end any name (PGPASSWORD); the others are words: a MONKEY is no key, and PWD is a folder.
_NAMES = re.compile(
    r"((TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|(API|ACCESS|PRIVATE|SECRET|AUTH|MASTER|SIGNING)_?KEY)S?"
    r"|(^|[_.-])(KEYS?|PASS|PAT|AUTH|CREDS?|JWT|BEARER|COOKIE)|[_.-]PWD|(SSH|PG|DB)PASS)"
    r"([_.-]?(ID|B64|BASE64|JSON|VALUE|\d+))?$",
    re.IGNORECASE,
)
_IN_A_QUERY = re.compile(
    r"(?<=[?&])((?:[\w.-]*(?:token|secret|passw(?:or)?d|signature|credential)|(?:[\w.-]*[_.-])?(?:api|access)?"
    r"(?:key|pwd|sig|auth))=)[^&#\s\"'<>]+",
    re.IGNORECASE,
)
_IN_A_URL = re.compile(
    # A password may hold an @ or a /. All up to the last @ is taken for one, unless it begins as a port does.
    r"(?<=://)(?:[^/?#\s\"<>:]*:(?!\d{1,5}(?:[/?#\s\"<>]|$))(?:(?!://)[^\s\"<>])*|[^/?#@\s\"<>]+)(?=@)"
)


def masked(value: Any) -> Any:
    """The same value with `***` in the place of every secret in its texts, however deep they lie.

    A secret is the value of an environment variable that is called `…TOKEN`, `…SECRET`, `…PASSWORD`, `…PASSPHRASE`,
    `…CREDENTIALS`, `…API_KEY`, or by a last word `KEY`, `PASS`, `PAT`, `AUTH`, `PWD` and the like; what stands before
    the `@` of a URL; and the values of such names in its query.

    Args:
        value: text, or mappings and lists of it; mappings come back as dicts, sequences as lists.
    """
    found = {text for name, text in os.environ.items() if _NAMES.search(name) and _is_secret(text)}
    found |= {repr(text)[1:-1] for text in found}  # as errors quote it
    return _masked(value, sorted(found, key=len, reverse=True))


def _is_secret(text: str) -> bool:
    return len(text) >= SHORTEST and text.lower() not in NOT_SECRET


def _masked(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        if "://" not in value:
            return value
        return _IN_A_QUERY.sub(rf"\1{MASK}", _IN_A_URL.sub(MASK, value))
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
