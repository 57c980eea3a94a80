"""Where metrics go: the settings of Weights & Biases, and the door to a W&B run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from tlfw.errors import ConfigError
from tlfw.strictness import STRICT
from tlfw.tracking.connection import HEARD, Mode

if TYPE_CHECKING:
    from tlfw.tracking.tracked import Tracked


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tracking:
    """Where metrics go.

    Args:
        mode: `auto`: what WANDB_MODE says, which is `online` unless set. `online`: online if a key is
            configured and the server answers, otherwise offline. `offline`: files that `wandb sync`
            can send later. `disabled`: nowhere. All but `auto` win over WANDB_MODE.
        project, entity: W&B's; null: W&B's own settings.
        dir: the folder for `wandb/` with W&B's files; null: each run's own folder.
        artifacts: whether the weights of every stage are uploaded as W&B artifacts.

    Raises:
        ConfigError: `auto`, and WANDB_MODE says what nobody knows.
    """

    mode: Literal["auto", "online", "offline", "disabled"]
    project: str | None = Field(default="tlfw", min_length=1)
    entity: str | None = Field(default=None, min_length=1)
    dir: str | None = Field(default=None, min_length=1)
    artifacts: bool = False

    def __post_init__(self) -> None:
        asked = os.environ.get("WANDB_MODE")
        if self.mode == "auto" and asked and asked not in HEARD:
            raise ConfigError("WANDB_MODE", f"it is {asked!r}.", f"Set it to one of {', '.join(HEARD)}, or not at all.")

    def settle(self, runs: Path) -> Mode:
        """What the mode is here and now; the server is asked once per process, and a change said once.

        Args:
            runs: the folder of all runs, for the hint how to send them later.
        """
        from tlfw.tracking.tracked import settled  # wandb and Lightning take seconds

        return settled(self.mode, self._files(runs / "*"))

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
        notes: str | None = None,
    ) -> Tracked:
        """Begin a W&B run, or go on with the one of that `id`. Its files go to `folder/wandb`, or to `dir/wandb`."""
        from tlfw.tracking.tracked import begun

        return begun(
            self.settle(folder.parent),
            # Absolute: W&B's process, which writes the files, stays in the folder that it began in.
            (Path(self.dir).expanduser() if self.dir else folder).absolute(),
            self._files(folder.parent / "*"),
            artifacts=self.artifacts,
            project=self.project,
            entity=self.entity,
            id=id,
            name=name,
            group=group,
            tags=tags,
            config=config,
            job_type=job_type,
            notes=notes,
        )

    def _files(self, place: Path) -> str:
        return f"{self.dir or place}/wandb/offline-run-*"
