"""`python -m tlfw.report`: which way of transferring is best, what each costs, and whether the difference is real."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tlfw.errors import ConfigError
from tlfw.report import PAGE, folder_for, report


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tlfw.report", description=__doc__)
    parser.add_argument(
        "places",
        metavar="FOLDER",
        nargs="+",
        type=Path,
        help="a sweep's folder (outputs/sweeps/NAME), a run's (outputs/runs/NAME-KEY), or one that holds runs' folders",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="where the report goes (the first sweep's folder, else ./report)"
    )
    parser.add_argument(
        "--metric", metavar="NAME", help="what is judged by (as the sweeps were asked for, else accuracy)"
    )
    parser.add_argument("--margin", metavar="SIZE", help="the smallest difference that matters, such as 1%%")
    parser.add_argument(
        "--compare", metavar="FIELD,…", help="fields whose values make rows of their own, such as freeze_policy.n"
    )
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Write the report and say what it says; what a person can mend is one message."""
    chosen = _arguments(given)
    places = [place.expanduser() for place in chosen.places]
    out = folder_for(places) if chosen.out is None else chosen.out.expanduser()
    try:
        from tlfw.report.gather import Wanted

        wanted = Wanted(
            metric=chosen.metric,
            margin=chosen.margin,
            compare=None if chosen.compare is None else tuple(chosen.compare.split(",")),
        )
        findings = report(places, out, wanted)
        from tlfw.report.documents.terminal import show

        show(findings, [out / PAGE, out / "report.json", out / "leaderboard.csv"])
    except (ConfigError, OSError) as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
