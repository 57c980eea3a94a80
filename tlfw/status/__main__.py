"""`python -m tlfw.status`: how far a sweep is, from any machine that sees its folder."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tlfw.errors import ConfigError
from tlfw.escape import printable
from tlfw.records.ledger import FOLDER
from tlfw.records.plan_file import FILE
from tlfw.records.secret import masked
from tlfw.status.cancelling import cancel
from tlfw.status.row import RESULTS
from tlfw.status.status_table import below, counts, line, lines, screen, summary, table
from tlfw.status.sweep_reader import Overview, SweepReader
from tlfw.status.time_left import time_left

SWEEPS = Path("outputs/sweeps")

PAUSE_SECONDS = 3.0
"""Between two looks of `--watch`."""

DONE, NOT_DONE, UNUSABLE, GOING = 0, 1, 2, 3
"""Exit codes. What argparse cannot use is 2 as well."""

CODES = """exit code:
  0  all is done, or diverged, which is a result
  1  something failed, was interrupted or blocked, or nobody conducts the sweep any more
  2  the arguments are wrong: there is no such sweep
  3  it is going on
  With --cancel: 0 if all could be cancelled, else 1."""


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tlfw.status",
        description=__doc__,
        epilog=CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sweep", metavar="SWEEP", help="a sweep's folder, outputs/sweeps/NAME, or its NAME")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--watch", action="store_true", help="look again and again until all has ended; Ctrl-C ends it")
    one.add_argument("--json", action="store_true", help="the same for programs: one JSON object")
    one.add_argument("--cancel", action="store_true", help="cancel the sweep's jobs, and what waits")
    return parser.parse_args(given)


def place(given: str, sweeps: Path = SWEEPS) -> Path:
    """The folder that is meant: as it is given, else the sweep of that name."""
    folder = Path(given).expanduser()
    named = sweeps / given
    if not (folder / FILE).exists() and not (folder / FOLDER).exists() and len(folder.parts) == 1 and named.is_dir():
        return named
    return folder


def code(overview: Overview) -> int:
    """The exit code that says how far a sweep is."""
    if overview.going:
        return GOING
    return DONE if all(row.state in RESULTS for row in overview.rows) else NOT_DONE


def as_json(overview: Overview) -> str:
    """One object: the sweep, counts of its tasks by state, what is estimated, notes, and all that is known of each."""
    estimate = time_left(overview.rows, overview.at)
    facts = {
        "schema": 1,
        "sweep": overview.name,
        "at": overview.at,
        "going": overview.going,
        "driven": overview.driven,
        "exit_code": code(overview),
        "tasks": len(overview.rows),
        "states": counts(overview.rows),
        "time_left": None if estimate is None else dataclasses.asdict(estimate),
        "notes": list(overview.notes),
        "rows": [row.facts() for row in overview.rows],
    }
    return json.dumps(masked(facts), indent=1)


def show(overview: Overview) -> None:
    """Print it once: a table on a terminal, else lines of which nothing is cut."""
    console = Console()
    if console.is_terminal:
        console.print(table(overview.rows, now=overview.at))
        for text in below(overview, why=True):
            console.print(Text(text))
        return
    for row in overview.rows:
        print(line(row, overview.at))
    print("\n".join(below(overview, why=False)), flush=True)


def watch(reader: SweepReader) -> Overview:
    """Look until all has ended, or a person has seen enough: -> what was seen last."""
    overview = reader.read()
    console = Console()
    if not console.is_terminal:
        show(overview)
        with contextlib.suppress(KeyboardInterrupt):
            while overview.going:
                time.sleep(PAUSE_SECONDS)
                before, overview = overview, reader.read()
                if changed := lines(before.rows, overview.rows, overview.at):
                    print("\n".join([*changed, summary(overview.rows, overview.at)]), flush=True)
        return overview
    live = Live(screen(overview, console), console=console, auto_refresh=False, transient=True)
    with contextlib.suppress(KeyboardInterrupt), live:
        while overview.going:
            time.sleep(PAUSE_SECONDS)
            overview = reader.read()
            live.update(screen(overview, console), refresh=True)
    show(overview)
    return overview


def _cancel(folder: Path, overview: Overview) -> int:
    found = cancel(folder, overview.rows)
    jobs, waiting = ("job" if found.jobs == 1 else "jobs"), ("task" if found.waiting == 1 else "tasks")
    print(f"{found.jobs} {jobs} cancelled, and {found.waiting} {waiting} that had not begun")
    for name, why in found.left.items():
        print(printable(masked(f"not cancelled: {name}: {why}")))
    return NOT_DONE if found.left else DONE


def main(given: Sequence[str] | None = None) -> None:
    """Show, watch or cancel a sweep; the exit code says how far it is."""
    chosen = _arguments(given)
    folder = place(chosen.sweep)
    reader = SweepReader(folder)
    try:
        if chosen.watch:
            overview = watch(reader)
        else:
            overview = reader.read()
            if chosen.cancel:
                sys.exit(_cancel(folder, overview))
            if chosen.json:
                print(as_json(overview))
            else:
                show(overview)
        sys.exit(code(overview))
    except (ConfigError, OSError) as problem:
        if isinstance(problem, BrokenPipeError):  # whoever read the output (`| head`) is gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(NOT_DONE)
        print(printable(str(problem), keep="\n"), file=sys.stderr)
        sys.exit(UNUSABLE)
    except KeyboardInterrupt:
        sys.exit(NOT_DONE)


if __name__ == "__main__":
    main()
