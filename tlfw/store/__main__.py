"""`python -m tlfw.store`: what is in the store, whether it is whole, and what of it can go."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlfw.errors import ConfigError
from tlfw.records.claim import GAP_SECONDS, STALE_SECONDS
from tlfw.store import SHOWN, Entry, Held, Leftover, Store, size
from tlfw.store.entry import WHAT
from tlfw.store.seal import damage

UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
OWN = ("kind", "key", "when", "tlfw", "bytes")
"""What an entry says of itself that other columns show, or none."""


def ls(store: Store) -> None:
    """A row an entry, the latest used last."""
    entries = sorted(store.entries(), key=lambda entry: entry.used)
    table = Table(title=None)
    for column in ("kind", "key", "size", "last used", "made by"):
        table.add_column(column, justify="right" if column in ("size", "last used") else "left", overflow="fold")
    for entry in entries:
        cells = [entry.kind, entry.key[:SHOWN], size(entry.bytes), f"{_age(entry.used)} ago", _told(entry)]
        table.add_row(*map(Text, cells))  # names may hold what rich would take for its markup
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    if entries:
        console.print(table)
    print(f"{_count(entries)}, {size(sum(entry.bytes for entry in entries))}")


def rm(store: Store, prefixes: Sequence[str]) -> None:
    """Remove the entries whose keys begin so.

    Raises:
        ConfigError: one of them is no entry's, or several entries'; nothing was removed. Or an entry is
            being made; the others were removed.
    """
    entries = store.entries()
    chosen: dict[str, Entry] = {}
    for given in prefixes:
        prefix = given.removesuffix("…")
        found = [e for e in entries if prefix and (e.key.startswith(prefix) or f"{e.kind}/{e.key}".startswith(prefix))]
        if len(found) != 1:
            many = f"begins {len(found)} keys: {', '.join(e.name for e in found[:3])}" + " …" * (len(found) > 3)
            raise ConfigError(
                given or "KEY",
                f"it {many if found else 'begins no key'} in {store.root}.",
                "Give more of it." if found else "python -m tlfw.store ls shows those there are.",
            )
        chosen[found[0].key] = found[0]
    held = []
    for entry in chosen.values():
        try:
            _remove(store, entry)
            print(f"removed {entry.name}, {size(entry.bytes)}: {_told(entry)}")
        except Held:
            held.append(entry.name)
    if held:
        raise ConfigError(", ".join(held), "a process is making it, or uses it.", "Stop that first, or wait.")


def gc(store: Store, older_than: float, delete: bool) -> None:
    """Name what was not used for so many seconds, and what dead processes left; remove it if asked to.

    Checkpoints of what is unfinished count as used when they were last written; other leftovers go at any age.
    """
    limit = time.time() - older_than
    going: list[Entry | Leftover] = [entry for entry in store.entries() if entry.used <= limit]
    going += [left for left in store.leftovers() if not left.needed or left.used <= limit]
    total = count = 0
    for each in _of_nobody(store, going):
        told = _told(each) if isinstance(each, Entry) else WHAT[each.what]
        try:
            if delete and isinstance(each, Leftover):
                store.sweep(each)
            elif delete and store.used(each.kind, each.key) <= limit:  # still, after some time
                store.remove(each.kind, each.key)
            elif delete:
                continue
        except Held:
            continue
        total, count = total + each.bytes, count + 1
        print(f"{each.kind}/{each.key[:SHOWN]}  {size(each.bytes)}, last used {_age(each.used)} ago: {told}")
    end = "removed" if delete else "to be removed: --delete does it"
    print(f"{count} {'folder' if count == 1 else 'folders'}, {size(total)}, {end}")


def _of_nobody(store: Store, going: Sequence[Entry | Leftover]) -> Iterator[Entry | Leftover]:
    """Those that no living process has claimed. Whether one on another machine lives has to be watched for a while."""
    first = {(each.kind, each.key): store.holder(each.kind, each.key) for each in going}
    for each in going:
        if first[each.kind, each.key] is None:
            yield each
    watched = {name for name, holder in first.items() if holder and not holder.here}
    if watched:
        print(f"watching for {STALE_SECONDS:.0f} s whether processes on other machines live", flush=True)
    end = time.monotonic() + STALE_SECONDS + GAP_SECONDS
    while watched and time.monotonic() < end:
        time.sleep(1)
        for name in sorted(watched):
            now, before = store.holder(*name), first[name]
            if now is None:
                yield from (each for each in going if (each.kind, each.key) == name)
            if now is None or before is None or now.seen != before.seen:
                watched.remove(name)


def _remove(store: Store, entry: Entry) -> None:
    """Also where a process on another machine has claimed it and died."""
    try:
        store.remove(entry.kind, entry.key)
    except Held as problem:
        if not problem.elsewhere:
            raise
        store.remove(entry.kind, entry.key, STALE_SECONDS + GAP_SECONDS)


def verify(store: Store, delete: bool) -> int:
    """Read everything, name what is damaged, and remove it if asked to: -> how many entries are."""
    entries, bad = store.entries(), 0
    for entry in entries:
        folder = store.place(entry.kind, entry.key)
        if not (wrong := damage(folder)) or not os.path.lexists(folder):  # another process has just removed it
            continue
        bad += 1
        done = ""
        if delete:
            try:
                store.remove(entry.kind, entry.key)
                done = "; removed"
            except Held:
                done = "; a process is making it again, or uses it"
        print(f"{entry.name} is damaged ({wrong}){done}")
    for left in store.leftovers():
        if left.what in ("claim", "lock", "use", "used"):
            continue
        print(f"{left.kind}/{left.key[:SHOWN]}  {size(left.bytes)}: {WHAT[left.what]}")
    print(f"{_count(entries)}, {bad} damaged")
    return bad


def _told(entry: Entry) -> str:
    if not entry.made_by:
        return "unknown: it is damaged"
    return ", ".join(
        str(value) if name in ("stage", "backbone", "data_mix") else f"{name} {_plain(value)}"
        for name, value in entry.made_by.items()
        if name not in OWN
    )


def _plain(value: object) -> str:
    return " + ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _count(entries: Sequence[object]) -> str:
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"


def _age(then: float) -> str:
    passed = max(time.time() - then, 0)
    for unit in ("d", "h", "m"):
        if passed >= UNITS[unit]:
            return f"{passed // UNITS[unit]:.0f} {unit}"
    return f"{passed:.0f} s"


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text)
    if match is None:
        raise ConfigError("--older-than", f"{text!r} is no age.", "Use a number and m, h, d or w: 30d.")
    return float(match[1]) * UNITS[match[2]]


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--store", metavar="DIR", type=Path, default=Path("outputs/store"), help="(%(default)s)")
    parser = argparse.ArgumentParser(prog="python -m tlfw.store", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("ls", parents=[place], help="list the entries, and what made each")
    one = commands.add_parser("rm", parents=[place], help="remove entries; what needs them makes them again")
    one.add_argument("keys", metavar="KEY", nargs="+", help="as much of a key's beginning as no other shares")
    some = commands.add_parser(
        "gc", parents=[place], help="show what was not used for long, and what killed processes left"
    )
    some.add_argument("--older-than", metavar="AGE", default="30d", help="90m, 12h, 30d or 8w (%(default)s)")
    some.add_argument("--delete", action="store_true", help="remove it")
    every = commands.add_parser("verify", parents=[place], help="read everything; exit code 1 if some is damaged")
    every.add_argument("--delete", action="store_true", help="remove what is damaged")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Do what is asked; what a person can mend is one message."""
    chosen = _arguments(given)
    store = Store(chosen.store.expanduser())
    try:
        if not store.root.is_dir():
            raise ConfigError("--store", f"there is no folder {store.root.absolute()}.", "Give a store's folder.")
        match chosen.command:
            case "ls":
                ls(store)
            case "rm":
                rm(store, chosen.keys)
            case "gc":
                gc(store, _seconds(chosen.older_than), chosen.delete)
            case "verify":
                if verify(store, chosen.delete):
                    sys.exit(1)
    except (ConfigError, OSError) as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
