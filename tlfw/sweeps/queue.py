"""Tasks that a scheduler makes: each is submitted as soon as what it needs is there, the longest way to the end first.

The driver may die: what it knows is in the ledger, and whoever runs the same command goes on from there.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tlfw.cluster import executor as cluster
from tlfw.cluster.executor import Executor, Seen
from tlfw.errors import Diverged, LauncherFailed, Pruned
from tlfw.records.ledger import SILENT_SECONDS, Entry, Ledger, State
from tlfw.records.record import Record, Status, now
from tlfw.records.secret import masked
from tlfw.signals import deferred
from tlfw.sweeps.launch import Given, JobFailed, JobLost
from tlfw.sweeps.order import Order
from tlfw.sweeps.task_graph import Agenda, Task

GRACE_SECONDS = 15.0
"""How long a job may be gone before its entry says how it ended: folders of a network are late."""

UNKNOWN_SECONDS = 120.0
"""How long a scheduler may know nothing of a job that it took."""

ANSWER_SECONDS = 3600.0
"""How long a scheduler may not answer at all."""

SUBMITTING_SECONDS = 60.0
"""How long another driver may take from claiming a submission to writing down its job."""

TRIES = 3
"""Submissions in a row of a task that was ended from outside, each time before anything was kept."""


NOT_SEEN = Seen("unknown", "no scheduler knows its job")


AS_NEW: Mapping[str, Any] = {
    **dict.fromkeys(("error", "result", "stage", "step", "steps", "images_per_second", "seconds_left", "began")),
    "reused": False,
}
"""What an earlier job said of a task, as it is before a new one begins."""


@dataclasses.dataclass
class _AtWork:
    """A task that was submitted, by this driver or by another.

    Attributes:
        gone: since when the scheduler says that its job has ended, on this process's clock; None: it has not.
        in_vain: how often it was submitted in a row without keeping anything.
        waits_for: why the scheduler does not begin its job, as far as that was said.
    """

    order: Order
    number: int
    job: str | None
    gone: float | None = None
    in_vain: int = 0
    waits_for: str = ""


class Queue:
    """Makes tasks by the jobs of a scheduler.

    Args:
        job: what is submitted for a task.
        weight: how long the way from a task to the end of all that needs it is; longer ones go first.
        at_most: jobs that are submitted at a time.
        record: the record of a run, by its id.
        look: called now and then while jobs are waited for.
    """

    def __init__(
        self,
        executor: Executor,
        ledger: Ledger,
        job: Callable[[Order], Callable[[], None]],
        weight: Callable[[Task], float],
        at_most: int,
        record: Callable[[str], Record | None],
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self.look = look
        self.executor, self.ledger, self.job = executor, ledger, job
        self.weight, self.at_most, self.record = weight, at_most, record
        self.waiting: list[Order] = []
        self.at_work: dict[str, _AtWork] = {}
        self.asked = 0.0
        self.silent: float | None = None
        self.known: list[tuple[Order, Given]] = []
        self.since = now()

    def submit(self, orders: Sequence[Order]) -> None:
        self.waiting += orders
        self.waiting.sort(key=lambda order: -self.weight(order.task))

    def ended(self) -> Sequence[tuple[Order, Given]]:
        while True:
            while self.waiting and len(self.at_work) < self.at_most:
                self._begin(self.waiting.pop(0))
            found = [*self._look(), *self.known]  # in this order: a look may find what is known already
            self.known = []
            if found:
                if not (self.waiting or self.at_work):
                    self.executor.close()
                return found
            self.look()
            cluster.wait(min(1.0, self.executor.patience))

    @property
    def jobs(self) -> list[str]:
        """The ids of the jobs that go on if this process ends."""
        return sorted(each.job for each in self.at_work.values() if each.job)

    def _begin(self, order: Order) -> None:
        """Submit a task, or wait for the job that another driver has submitted for it."""
        last = self.ledger.submission(order.key)
        job = None
        if last is not None:
            job = last.job or self.executor.find(order.name)
            young = job is None and self.ledger.submission_seconds(order.key, last.number) < SUBMITTING_SECONDS
            alive = last.executor == self.executor.kind and job is not None and self._lives(job)
            if alive and job and last.job is None:
                self.ledger.submitted(order.key, last.number, job)
            if young or alive:
                self.at_work[order.key] = _AtWork(order, last.number, job)
                print(f"{order.name}: job {job} is at it already\n" * alive, end="", flush=True)
                return
        entry = self._entry(order)
        ended = entry.ended and entry.since > self.since  # by another driver's job, or by `tlfw.status --cancel`
        if ended and (result := self._result(order, entry)):
            self.known.append((order, result))
        elif last is not None and last.executor == self.executor.kind and (ended or last.at > self.since):
            self.at_work[order.key] = _AtWork(order, last.number, job)  # what it died of is judged as of an own job
        else:
            self._submit(order, 0 if last is None else last.number + 1)

    def _lives(self, job: str) -> bool:
        return self.executor.seen([job]).get(job, NOT_SEEN).phase in ("alive", "no answer")

    def _submit(self, order: Order, number: int, in_vain: int = 0) -> None:
        """Submit a task, unless another driver is quicker."""
        with deferred():  # a signal does not come between a job and its id
            if not self.ledger.claim_submission(order.key, number, self.executor.kind):
                self.at_work[order.key] = _AtWork(order, number, None)
                return
            entry = self._entry(order)
            self.ledger.write(entry.changed(state="submitted", **AS_NEW))
            try:
                job = self.executor.submit(self.job(order), order.name)
            except Exception as problem:
                self.ledger.refused(order.key, number)
                self.ledger.write(entry)
                if not isinstance(problem, LauncherFailed) or not self.at_work:
                    raise
                # A limit of the scheduler, say, which lets in another job when one of these has ended.
                self.at_most = len(self.at_work)
                self.waiting.insert(0, order)
                print(f"{problem}; it is asked again when one of {self.at_most} has ended", flush=True)
                return
            self.ledger.submitted(order.key, number, job)
        self.at_work[order.key] = _AtWork(order, number, job, in_vain=in_vain)

    def _entry(self, order: Order) -> Entry:
        return self.ledger.entry(order.key) or Entry(
            key=order.key, name=order.name, until=order.until, overrides=masked(list(order.overrides))
        )

    def _look(self) -> list[tuple[Order, Given]]:
        """The tasks that have ended. The ledger is read each time, and the scheduler is asked now and then."""
        found: list[tuple[Order, Given]] = []
        doubtful: list[_AtWork] = []
        for each in list(self.at_work.values()):
            entry = self._entry(each.order)
            over = entry.ended and entry.state != "interrupted" and self._is_of(each, entry)
            if over and (result := self._result(each.order, entry)):
                found.append((each.order, result))
                del self.at_work[each.order.key]
            else:
                doubtful.append(each)
        moment = time.monotonic()
        if found or moment - self.asked < self.executor.patience:
            return found
        self.asked = moment
        for each in doubtful:
            if each.job is None and (last := self.ledger.submission(each.order.key)):
                each.job = last.job or self.executor.find(each.order.name)
        seen = self.executor.seen([each.job for each in doubtful if each.job])
        for each in doubtful:
            if result := self._judge(each, seen.get(each.job or "", NOT_SEEN), moment):
                found.append((each.order, result))
        return found

    def _is_of(self, each: _AtWork, entry: Entry) -> bool:
        """Whether what an entry says is of the job that is at work.

        As long as another driver has not said which job it submitted, it may be of an earlier one.
        """
        last = None if each.job else self.ledger.submission(each.order.key)
        return each.job is not None or (last is not None and last.at != "" and entry.since > last.at)

    def _wait_for_an_answer(self, seen: Seen, moment: float) -> None:
        """Nothing can be made of a scheduler that does not answer; jobs go on meanwhile.

        Raises:
            LauncherFailed: it has not answered for long.
        """
        if self.silent is None:
            self.silent = moment
            print(f"{seen.text}: jobs go on, and it is asked again", flush=True)
        if moment - self.silent > ANSWER_SECONDS:
            raise LauncherFailed(
                f"{seen.text} for {ANSWER_SECONDS / 60:.0f} minutes. Jobs go on; the same command waits for them."
            )

    def _result(self, order: Order, entry: Entry) -> Given | None:
        """What an entry says of a task that has ended; None: its record cannot be read yet."""
        if order.others:
            found = [self._result(each, self._entry(each)) for each in order.runs]
            return None if None in found else Given([each.value for each in found if each])
        why = entry.error or entry.state
        if entry.state == "done":
            if order.until:
                return Given(dict(entry.result or {}))
            record = self.record(order.key)
            return None if record is None else Given((record, entry.reused))
        if entry.state in ("diverged", "pruned"):
            return Given(Diverged(why) if entry.state == "diverged" else Pruned(why))
        return Given(JobFailed(why, "interrupted" if entry.state == "interrupted" else "failed"))

    def _judge(self, each: _AtWork, seen: Seen, moment: float) -> Given | None:
        """What to make of what the scheduler says of a task's job: nothing yet, another submission, or an end."""
        if seen.phase == "no answer":
            self._wait_for_an_answer(seen, moment)
            return None
        self.silent = None
        if seen.phase == "alive":
            each.gone = None
            if seen.waits_for and seen.waits_for != each.waits_for:
                print(f"{each.order.name}: job {each.job} does not begin: {seen.text}", flush=True)
            each.waits_for = seen.waits_for
            return None
        last = self.ledger.submission(each.order.key)
        if last is not None and last.number > each.number:  # another driver has submitted it again
            before = self.ledger.submission(each.order.key, each.number)
            each.in_vain = 0 if before and dict(last.kept) != dict(before.kept) else each.in_vain + 1
            each.number, each.job, each.gone = last.number, last.job, None
            return None
        each.gone = moment if each.gone is None else each.gone
        entry = self._entry(each.order)
        silent = self.ledger.silent_seconds(each.order.key)
        if seen.phase == "unknown" and entry.state == "running" and silent < SILENT_SECONDS:
            return None  # it says itself that it lives, whatever the scheduler's commands say
        # A task that is done is not failed because its record comes late.
        patience = UNKNOWN_SECONDS if seen.phase == "unknown" or entry.state == "done" else GRACE_SECONDS
        if moment - each.gone < (patience if silent < patience or seen.phase == "unknown" else self.executor.patience):
            return None
        progress = last is not None and dict(entry.kept) != dict(last.kept)
        in_vain = 0 if progress else each.in_vain + 1
        again = (
            each.job is None  # whoever was about to submit it has died
            or seen.phase == "preempted"
            or ((seen.phase == "timed out" or entry.state == "requeued") and progress)
        )
        del self.at_work[each.order.key]
        record = None if each.order.until else self.record(each.order.key)
        if record is not None and record.ended and record.ended > self.since:  # its entry was taken away
            self.ledger.write(entry.changed(state=record.status, error=record.error))
            return Given((record, False))
        if again and in_vain < TRIES:
            print(f"{each.order.name}: job {each.job} ended ({seen.text}); it is submitted again", flush=True)
            self._submit(each.order, last.number + 1 if last else 0, in_vain)
            return None
        state: State = "interrupted" if seen.phase == "cancelled" or entry.state == "interrupted" else "failed"
        limit = "; the time limit was reached before anything was kept: give a job more time"
        why = f"its job {each.job} ended without a result ({seen.text}){limit * (seen.phase == 'timed out')}"
        self.ledger.write(entry.changed(state=state, error=why))
        status: Status = "interrupted" if state == "interrupted" else "failed"
        return Given(JobLost(why, status))


def weights(agenda: Agenda, cost: Callable[[Task], float]) -> Mapping[Task, float]:
    """Of each task, the length of the longest way from its beginning to the end of all that needs it.

    Args:
        cost: of a task by itself.
    """
    tasks = [task for wave in agenda.waves for task in wave]
    found: dict[Task, float] = {}
    for task in reversed(tasks):
        keys = set(task.step.keys) if task.step else set()
        after = [found[other] for other in found if not keys.isdisjoint(other.needs)]
        found[task] = cost(task) + max(after, default=0.0)
    return found
