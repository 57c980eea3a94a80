"""`python -m tlfw.devices.agent FOLDER …`: PyTorch's agent, which starts the ranks and ends all where one dies.

A signal is nothing to it. A person's Ctrl-C and a cluster's SIGTERM reach every process of a job; the ranks end when
they have saved, and the agent would kill them before that.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

DEATHS = "deaths.json"
"""Which ranks failed: their numbers, exit codes (negative: a signal's number), and times, in a list."""

BLOCKED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}


def main() -> None:
    """Start the ranks that the arguments after the folder ask for, as `torch.distributed.run` takes them, and wait."""
    # Before torch is imported, whose threads take this over, as the ranks do.
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as run

    folder, *arguments = sys.argv[1:]
    try:
        run(arguments)
    except ChildFailedError as problem:
        died = [[rank, failure.exitcode, failure.timestamp] for rank, failure in problem.failures.items()]
        Path(folder, DEATHS).write_text(json.dumps(died))
        sys.exit(1)


if __name__ == "__main__":
    main()
