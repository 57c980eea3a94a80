"""Weights & Biases: one W&B run for each run, and one for each stage that runs may share.

What is sent is decided by those who call this: `runs.run` for a run's summary, `runs.fold` for a stage,
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import wandb
from lightning.pytorch.loggers import WandbLogger
from pydantic import Field
from pydantic.dataclasses import dataclass
from wandb.sdk.artifacts.exceptions import WaitTimeoutError

from tlfw.errors import ConfigError
from tlfw.records.record import Record
from tlfw.records.secret import masked, masked_arguments
from tlfw.strictness import STRICT
from tlfw.tracking.connection import Line, brief, has_login, silence, within

Mode = Literal["online", "shared", "offline", "disabled"]

HEARD: Mapping[str, Mode] = {
    "online": "online", "run": "online", "shared": "shared", "offline": "offline", "dryrun": "offline",
    "disabled": "disabled",
}  # fmt: skip
"""What WANDB_MODE can say."""

PATIENCE = 8.0
"""Seconds that beginning or ending a W&B run may take, or naming an artifact."""

WRITING_SECONDS = 60.0
"""That a busy disk has to take an offline run: nothing of it is sent, and all of it is wanted."""

UPLOAD_SECONDS = 600.0
"""How long the upload of an artifact may take, while the server answers."""


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
        if self.mode in ("offline", "disabled"):
            return HEARD[self.mode]
        asked = HEARD[_asked() if self.mode == "auto" else self.mode]
        if asked in ("offline", "disabled"):
            return asked
        return asked if _LINE.works(_unusable, self._files(runs / "*")) else "offline"

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
        files = self._files(folder.parent / "*")
        mode = self.settle(folder.parent)
        while mode != "disabled":
            try:
                run = self._init(
                    mode,
                    folder,
                    id=id,
                    name=name,
                    group=group,
                    tags=[tag[:64] for tag in tags],
                    config=masked(config),
                    job_type=job_type,
                    notes=notes,
                )
                return Tracked(run, id, mode, files, self.artifacts)
            except Exception as problem:  # wandb raises many kinds, and none of them is worth a run
                if mode == "offline":
                    _LINE.say(f"it is disabled: {brief(problem)}. Metrics are in the records alone")
                    mode = "disabled"
                else:
                    _LINE.lose(f"it is offline: {brief(problem)}", [files])
                    mode = "offline"
                    with contextlib.suppress(Exception):
                        wandb.teardown()  # it holds on to the run's id otherwise
        return Tracked(None, None, mode, files, self.artifacts)

    def _init(self, mode: Mode, folder: Path, **kwargs: Any) -> wandb.Run:
        # Absolute: W&B's process, which writes the files, stays in the folder that it began in.
        place = (Path(self.dir).expanduser() if self.dir else folder).absolute()
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
            run = wandb.init(
                project=self.project,
                entity=self.entity,
                dir=place,
                mode=mode,
                resume="allow",
                settings=settings,
                **kwargs,
            )
        # As Lightning's logger does where it begins the run itself.
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return run

    def _files(self, place: Path) -> str:
        return f"{self.dir or place}/wandb/offline-run-*"


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
