"""An open W&B run: what is sent to it, and what becomes of it when the server fails.

What is sent is decided by those who call this: `runs.attempt` for a run's summary, `runs.fold` for a stage,
`sweeps.final_report` for a sweep. This is the only module that imports wandb. Whatever W&B or its server does, a run
continues: without a key or a server it is offline, once the connection to it breaks this process does not try again,
and no call waits longer than `PATIENCE`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger
from wandb.sdk.artifacts.exceptions import WaitTimeoutError

from tlfw.records.record import Record
from tlfw.records.secret import masked, masked_arguments
from tlfw.tracking.connection import HEARD, Line, Mode, brief, has_login, silence, within

PATIENCE = 8.0
"""Seconds that beginning or ending a W&B run may take, or naming an artifact."""

WRITING_SECONDS = 60.0
"""That a busy disk has to take an offline run: nothing of it is sent, and all of it is wanted."""

UPLOAD_SECONDS = 600.0
"""How long the upload of an artifact may take, while the server answers."""


def settled(asked: str, files: str) -> Mode:
    """What the mode is here and now; the server is asked once per process, and a change said once.

    Args:
        asked: as the settings have it: `auto`, or a mode.
        files: where offline runs are left.
    """
    mode = HEARD[_asked() if asked == "auto" else asked]
    if mode in ("offline", "disabled"):
        return mode
    return mode if _LINE.works(_unusable, files) else "offline"


def begun(
    mode: Mode, place: Path, files: str, *, artifacts: bool, id: str, tags: Sequence[str], **kwargs: Any
) -> Tracked:
    """Begin a W&B run, or go on with the one of that `id`.

    Args:
        place: the folder for `wandb/` with its files.
        files: where offline runs are left.
        kwargs: what else `wandb.init` takes.
    """
    while mode != "disabled":
        try:
            return Tracked(
                _init(mode, place, id=id, tags=[tag[:64] for tag in tags], **kwargs), id, mode, files, artifacts
            )
        except Exception as problem:  # wandb raises many kinds, and none of them is worth a run
            if mode == "offline":
                _LINE.say(f"it is disabled: {brief(problem)}. Metrics are in the records alone")
                mode = "disabled"
            else:
                _LINE.lose(f"it is offline: {brief(problem)}", [files])
                mode = "offline"
                with contextlib.suppress(Exception):
                    wandb.teardown()  # it holds on to the run's id otherwise
    return Tracked(None, None, mode, files, artifacts)


def _init(mode: Mode, place: Path, *, config: Mapping[str, Any], **kwargs: Any) -> wandb.Run:
    place.mkdir(parents=True, exist_ok=True)
    _quiet()
    settings = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        init_timeout=PATIENCE,
        finish_timeout=WRITING_SECONDS if mode == "offline" else PATIENCE,
        finish_timeout_raises=True,
    )
    with masked_arguments():
        run = wandb.init(dir=place, mode=mode, resume="allow", settings=settings, config=masked(config), **kwargs)
    # As Lightning's logger does where it begins the run itself.
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """What a stage left, as W&B knows it.

    Attributes:
        name: of the artifact.
        file: the weights.
        run_id: the W&B run of the stage; None: it had none.
    """

    name: str
    file: Path
    run_id: str | None


def axes(record: Record) -> dict[str, Any]:
    """What runs of a sweep differ in and what they took, for W&B's panels: by what they group, and axes."""
    return {
        **record.paradigm,
        "backbone": record.backbone,
        "source": record.source,
        "target": record.target,
        "seed": record.seed,
        "labelled_images": record.images["target"]["train"] + record.images["target"]["val"],
        "random_features": "random_features" in record.labels,
        "images_seen": sum(stage["images_seen"] for stage in record.stages),
        "steps": sum(stage["steps"] for stage in record.stages),
    }


class Tracked:
    """An open W&B run, or nothing where tracking is disabled. None of its methods raises.

    Args:
        hint: where the files of offline runs are, for `wandb sync`.
    """

    def __init__(self, run: wandb.Run | None, id: str | None, mode: Mode, hint: str, artifacts: bool) -> None:
        self.id, self.mode = id, mode
        self._run, self._hint, self._artifacts, self._lost = run, hint, artifacts, False
        self._lineage: dict[str, Any] = {}
        self._dir = None if run is None else Path(run.settings.sync_dir).parent

    def logger(self, prefix: str) -> WandbLogger | bool:
        """What a Lightning trainer logs to, each metric as `prefix/metric`; False: nowhere."""
        return False if self._run is None else _Logger(experiment=self._run, prefix=prefix)

    def log(self, prefix: str, lines: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Log metrics of a stage that no Lightning trainer trained: (step, metrics), each as `prefix/metric`."""
        if self._run is not None:
            logger = _Logger(experiment=self._run, prefix=prefix)
            for step, metrics in lines:
                logger.log_metrics(metrics, step)

    def starts_from(self, weights: Weights | None) -> None:
        """Declare where the run begins: its W&B config names the artifact and the run that made it.

        Online the artifact is declared as used too, where the server has it. Offline W&B cannot
        resolve an artifact, so that the config, and the metadata of what the run itself leaves, is
        all there is.
        """
        run = self._run
        if run is None or weights is None or not self._artifacts:
            return
        self._lineage = {"starts_from": weights.name, "starts_from_run": weights.run_id}
        self._try("its config", lambda: run.config.update(self._lineage, allow_val_change=True))
        if self._online:
            self._try(f"artifact {weights.name}", lambda: run.use_artifact(f"{weights.name}:latest", type="model"))

    def keep(self, weights: Weights, metadata: Mapping[str, Any]) -> None:
        """Log a stage's weights as an artifact of type `model`, and wait for the upload as long as the server answers.

        Offline the file stays where it is until `wandb sync` reads it.

        Args:
            metadata: with `starts_from` and `starts_from_run` added, where they apply.
        """
        run = self._run
        if run is None or not self._artifacts:
            return
        artifact = wandb.Artifact(weights.name, type="model", metadata=_known(masked({**metadata, **self._lineage})))

        def log() -> None:
            # Without a copy in W&B's cache, which would double every checkpoint.
            artifact.add_file(str(weights.file.resolve()), weights.file.name, policy="immutable", skip_cache=True)
            run.log_artifact(artifact)

        logged, deadline = self._try(f"artifact {weights.name}", log), time.monotonic() + UPLOAD_SECONDS
        while logged and self._online:
            try:
                artifact.wait(timeout=round(PATIENCE))
                return
            except WaitTimeoutError:
                if why := silence(_server()) or (time.monotonic() > deadline and "an upload does not end"):
                    self._lose(why)
            except Exception as problem:
                self._stumble(f"artifact {weights.name}", problem)
                return

    def show(self, tables: Mapping[str, Sequence[Mapping[str, Any]]], pictures: Mapping[str, Path]) -> None:
        """Log tables, each a list of rows with the same columns, and pictures (PNG files), by name."""
        run = self._run
        if run is None:
            return

        def log() -> None:
            shown: dict[str, Any] = {name: wandb.Image(str(path)) for name, path in pictures.items()}
            for name, rows in tables.items():
                columns: list[str | int] = list(rows[0])
                data: list[Any] = [[row[str(column)] for column in columns] for row in rows]
                shown[name] = wandb.Table(columns=columns, data=data)
            run.log(shown)

        self._try("the report", log)

    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Write the summary and end the W&B run, so that the next one is not merged into it.

        Where not all could be sent in `PATIENCE` seconds, the files stay and the mode becomes `offline`.
        """
        run = self._run
        if run is None:
            return
        try:
            run.summary.update(_known(masked(summary)))
            run.finish(exit_code=int(failed))
            why = _unsent(run) if self._online else None
        except TimeoutError:
            why = f"not all was sent within {PATIENCE:g} s"
        except Exception as problem:
            why = brief(problem)
        if why and self._online:
            self._lose(why)
        if self._lost:
            self.mode = "offline"

    def facts(self) -> dict[str, Any]:
        """For the record. A run is `offline` until all of it was sent."""
        return {"id": self.id, "mode": self.mode, "dir": None if self._dir is None else str(self._dir)}

    @property
    def _online(self) -> bool:
        return self.mode in ("online", "shared") and not self._lost

    def _try(self, what: str, call: Callable[[], Any]) -> bool:
        """Whether a call ended well, and in time where a server has a part in it."""
        try:
            if self._online:
                within(PATIENCE, call)
            else:
                call()
        except Exception as problem:
            self._stumble(what, problem)
            return False
        return True

    def _stumble(self, what: str, problem: Exception) -> None:
        gone = self._online and (silence(_server()) or (isinstance(problem, TimeoutError) and str(problem)))
        if gone:
            self._lose(gone)
        else:
            _LINE.say(f"{what} was not logged: {brief(problem)}. The run continues")

    def _lose(self, why: str) -> None:
        assert self._run is not None
        self._lost = True
        own = f"--include-online {self._run.settings.sync_dir}"
        _LINE.lose(
            f"the connection to the server broke: {why}. What was not sent is kept, and runs are offline",
            [own, self._hint],
        )


class _Logger(WandbLogger):
    LOGGER_JOIN_CHAR = "/"

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        try:
            super().log_metrics(metrics, step)
        except Exception as problem:
            _LINE.say(f"metrics are not logged: {brief(problem)}. The run continues")


_LINE = Line()


def _quiet() -> None:
    """W&B says nothing of its own, and keeps its reports of errors, which delay the end of a process, to itself."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    wandb.setup(settings=wandb.Settings(silent=True))


def _asked() -> str:
    """What the environment, or else W&B's settings files (`wandb offline`), want."""
    if asked := os.environ.get("WANDB_MODE"):
        return asked
    with contextlib.suppress(Exception):
        _quiet()
        return str(wandb.setup().settings.mode)
    return "online"


def _server() -> str:
    return os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url


def _unusable() -> str | None:
    """Why there is no sense in trying to be online, or None."""
    try:
        _quiet()
        server, settings = _server(), wandb.setup().settings
    except Exception as problem:
        return brief(problem)
    known = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
    if not (any(map(os.environ.get, known)) or settings.api_key or settings.identity_token_file or has_login(server)):
        return "no API key is configured (wandb login)"
    why = silence(server)
    return f"{server} does not answer ({why})" if why else None


def _unsent(run: wandb.Run) -> str | None:
    """What W&B's uploader gave up for, according to its log; it tells nobody else."""
    fatal = "filestream: fatal error: "
    with contextlib.suppress(OSError, ValueError):
        for line in Path(run.settings.log_internal).read_text().splitlines():
            if fatal in line:
                return str(json.loads(line)["msg"]).removeprefix(fatal).split(" url=")[0]
    return None


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None}
