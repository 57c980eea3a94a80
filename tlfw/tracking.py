"""Weights & Biases: one W&B run for each run, and one for each stage that runs may share.

The only room that imports wandb.
"""

from __future__ import annotations

import dataclasses
import netrc
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import wandb
from lightning.pytorch.loggers import WandbLogger
from pydantic import Field
from pydantic.dataclasses import dataclass

from tlfw.strict import STRICT

Mode = Literal["online", "offline", "disabled"]

SERVER_SECONDS = 3.0
"""How long the server may take to answer before a run goes on offline."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tracking:
    """Where metrics go.

    Args:
        mode: `auto`: online if a key is configured and the server answers, otherwise offline.
            `offline`: files that `wandb sync` can send later. `disabled`: nowhere.
        project, entity: W&B's; null: W&B's own settings.
    """

    mode: Literal["auto", "offline", "disabled"]
    project: str | None = Field(default="tlfw", min_length=1)
    entity: str | None = Field(default=None, min_length=1)

    def settle(self, runs: Path) -> Mode:
        """What the mode is here and now; asked once per process, and said once.

        Args:
            runs: the folder of all runs, for the hint how to send them later.
        """
        if self.mode != "auto":
            return self.mode
        return _reachable(os.environ.get("WANDB_MODE"), runs)

    def open(
        self,
        *,
        id: str,
        name: str,
        group: str | None,
        tags: Sequence[str],
        config: Mapping[str, Any],
        folder: Path,
        job_type: str,
    ) -> Tracked:
        """Begin a W&B run, or go on with the one of that `id`. Its files go to `folder/wandb`."""
        mode = self.settle(folder.parent)
        if mode == "disabled":
            return Tracked(None, None, mode, folder)
        folder.mkdir(parents=True, exist_ok=True)
        logger = _Logger(
            id=id,
            name=name,
            project=self.project,
            entity=self.entity,
            save_dir=folder,
            group=group,
            tags=[tag[:64] for tag in tags],
            config=dict(config),
            job_type=job_type,
            mode=mode,
            settings=wandb.Settings(silent=True, console="off", disable_git=True, init_timeout=30),
        )
        assert logger.experiment is not None
        return Tracked(logger, id, mode, folder)


class _Logger(WandbLogger):
    LOGGER_JOIN_CHAR = "/"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Lightning still passes it, and wandb warns of it.
        self._wandb_init.pop("anonymous", None)


@dataclasses.dataclass(frozen=True)
class Tracked:
    """An open W&B run, or nothing where tracking is disabled."""

    _logger: _Logger | None
    id: str | None
    mode: Mode
    folder: Path

    def logger(self, prefix: str) -> WandbLogger | bool:
        """What a Lightning trainer logs to, each metric as `prefix/metric`; False: nowhere."""
        if self._logger is None:
            return False
        self._logger._prefix = prefix
        return self._logger

    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Write the summary and end the W&B run, so that the next one is not merged into it."""
        if self._logger is None:
            return
        run = self._logger.experiment
        run.summary.update({key: value for key, value in summary.items() if value is not None})
        run.finish(exit_code=int(failed))

    def facts(self) -> dict[str, Any]:
        """For the record."""
        where = str(self.folder / "wandb") if self._logger else None
        return {"id": self.id, "mode": self.mode, "dir": where}


@cache
def _reachable(asked: str | None, runs: Path) -> Mode:
    if asked in ("offline", "dryrun"):
        return "offline"
    if asked == "disabled":
        return "disabled"
    server = os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url
    if not _has_key(server):
        why = "no API key is configured (wandb login)"
    elif problem := _silence(server):
        why = f"{server} does not answer ({problem})"
    else:
        return "online"
    print(f"W&B is offline: {why}. Send the runs later with: wandb sync {runs}/*/wandb/offline-run-*", flush=True)
    return "offline"


def _has_key(server: str) -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        host = server.split("//")[-1].split("/")[0]
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _silence(server: str) -> str | None:
    """Why the server does not answer, or None if it does; any HTTP status is an answer."""
    try:
        urllib.request.urlopen(server, timeout=SERVER_SECONDS).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as problem:
        return str(getattr(problem, "reason", problem))
    return None
