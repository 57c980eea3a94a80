"""What is ordered to have a task made: the words of its job, the key that it has to come to, and its entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from hydra.core.override_parser.types import Quote, QuotedString

from tlfw.records.ledger import Entry, Ledger
from tlfw.records.secret import masked
from tlfw.sweeps.task_graph import Agenda, Task

Whole = Callable[[Task], Sequence[str]]
"""From a task that is a whole run to the overrides of its job."""


@dataclasses.dataclass(frozen=True)
class Order:
    """A task that can be made now.

    Attributes:
        overrides: of its job.
        key: under which it was planned, and the ledger has it.
        name: for people, and the job's in a scheduler's queue.
        others: of further runs that the job makes; it is known by the first.
    """

    task: Task
    overrides: tuple[str, ...]
    key: str
    name: str
    others: tuple[Order, ...] = ()

    @property
    def until(self) -> str | None:
        """How far a run is brought; None: to its end."""
        return self.task.step.until if self.task.step else _until(self.overrides)

    @property
    def words(self) -> list[str]:
        """The overrides that its job is told, with the key that it has to come to."""
        return [*self.own_words, *([f"together=[{','.join(map(_listed, self.others))}]"] if self.others else [])]

    @property
    def own_words(self) -> list[str]:
        """The same without what the job makes besides."""
        return [*self.overrides, f"planned='{self.key}'"]

    @property
    def runs(self) -> tuple[Order, ...]:
        """Each of its runs by itself."""
        return tuple(
            dataclasses.replace(each, task=task, others=())
            for each, task in zip((self, *self.others), self.task.runs, strict=True)
        )


def _listed(order: Order) -> str:
    """The words of a run as one value of an override."""
    return f"[{','.join(QuotedString(word, Quote.single).with_quotes() for word in order.own_words)}]"


def _until(words: Sequence[str]) -> str | None:
    return next((word.removeprefix("until=") for word in words if word.startswith("until=")), None)


def order_of(agenda: Agenda, task: Task, whole: Whole | None = None) -> Order:
    """What is ordered to have a task made.

    Args:
        whole: what a job is told that makes a whole run; None: the candidate's overrides.
    """
    candidate = agenda.candidates[task.candidate]
    words = list(whole(task)) if whole and not task.step else list(candidate.overrides)
    names = [str(candidate.names.get(group, "custom")) for group in ("data_mix", "freeze_policy", "backbone")]
    seed = f"s{candidate.settings.get('seed')}"
    if task.step:
        words.append(f"until={task.step.until}")
        key, name = task.step.keys[0][1], f"{task.step.until}-{names[2]}-{seed}"
    elif until := _until(words):
        key = next(step.keys[0][1] for step in candidate.steps if step.until == until)
        name = "-".join([*names, seed])
    else:
        key, name = candidate.run_id, "-".join([*names, seed])
    others = tuple(order_of(agenda, other, whole) for other in task.runs[1:])
    return Order(task, tuple(words), key, f"{name}-{key[:12]}".replace("/", "."), others)


def enter(agenda: Agenda, ledger: Ledger) -> None:
    """Let each task of an agenda have its entry in the ledger, but for those that other drivers have submitted."""
    tasks = [task for wave in agenda.waves for task in wave]
    orders = [(each.task, each) for task in tasks for each in order_of(agenda, task).runs]
    makers = {key: order.key for task, order in orders if task.step for key in task.step.keys}
    for task, order in orders:
        before = ledger.entry(order.key)
        if before is not None and not before.ended and before.state != "waiting":
            continue
        candidate = agenda.candidates[task.candidate]
        ledger.write(
            Entry(
                key=order.key,
                name=order.name,
                until=task.step.until if task.step else None,
                overrides=masked(list(candidate.overrides)),
                needs=sorted({makers[key] for key in task.needs}),
                numerics=candidate.numerics,
                kept=before.kept if before else {},
            )
        )
