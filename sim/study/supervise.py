"""Supervise tasks on slots until all have ended, one way or another.

Owns: that no task is lost when a worker dies (its slot is rebuilt, the task goes out again, a
bounded number of times), that none runs for ever (a time limit), and that a request to stop takes
effect at once. Must not know: what tasks do. Order of results is the order in which they came:
who needs another one sorts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from sim.study.slots import ExecutorLost, Slot

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")
Gathered = TypeVar("Gathered", contravariant=True)

_HOPELESS = 4
"""Workers that may die in a row, in units of those that all slots' tasks may cost."""
LOOK_EVERY_S = 0.2
"""Wall-clock time between two looks at time limits, at Ctrl-C and at the screen."""


class Source(Protocol[T, Gathered]):
    """Where tasks come from and results go to; both happen in the supervising thread."""

    def next(self) -> T | None:
        """Return the next task; None where there is none until some result has come."""
        ...

    def done(self, task: T, result: Gathered) -> None:
        """Take a result, which may lead to further tasks."""
        ...

    def failed(self, task: T, reason: str) -> None:
        """Take note that a task has no result, and why."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """`time_s`: wall-clock time of a task, None for any; `attempts`: workers it may cost.

    `grace_s`: what a task gets beyond its time to end by itself, before its worker is ended.
    """

    time_s: float | None = None
    attempts: int = 3
    grace_s: float = 0.0


@dataclass(slots=True)
class Account:
    """What the supervision saw. `busy_s`: time that slots had a task, added up over slots."""

    tasks: int = 0
    broken: int = 0
    overdue: int = 0
    busy_s: float = 0.0
    wall_s: float = 0.0
    slots: int = 0

    @property
    def occupancy(self) -> float:
        """Share of the slots' time during which they had a task, 0 to 1."""
        return self.busy_s / (self.wall_s * self.slots) if self.wall_s else 0.0


@dataclass(slots=True, eq=False)
class _Running(Generic[T]):
    task: T
    slot: Slot
    future: Future[Any]
    since: float


class Supervisor(Generic[T, R]):
    """Run the tasks of a source through `work` on `slots`. See `supervise`."""

    def __init__(
        self,
        source: Source[T, R],
        slots: Sequence[Slot],
        work: Callable[[T], R],
        limits: Limits,
        width: Callable[[], int],
    ) -> None:
        self.account = Account(slots=len(slots))
        self._source = source
        self._free = list(slots)
        self._work = work
        self._limits = limits
        self._width = width
        self._running: list[_Running[T]] = []
        self._again: list[T] = []
        self._broken: dict[T, int] = {}
        self._in_a_row = 0

    @property
    def in_hand(self) -> list[tuple[T, float]]:
        """Tasks that run, with the wall-clock time since they were given out, seconds."""
        now = time.monotonic()
        return [(each.task, now - each.since) for each in self._running]

    def run(self, stop: Callable[[], bool], look: Callable[[], None]) -> Account:
        """Return when every task has ended, or soon after `stop()` turned true.

        `look()` is called several times a second. Raises what a task raised as OSError (the disk
        is full, a folder is gone: the next task would fare no better) and ExecutorLost.
        """
        started = time.monotonic()
        try:
            while not stop():
                self._give_out()
                look()
                if not self._running:
                    break
                futures = [each.future for each in self._running]
                wait(futures, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
                self._collect()
                self._end_overdue()
        finally:
            self.account.wall_s = time.monotonic() - started
            for each in self._running:
                self.account.busy_s += time.monotonic() - each.since
        return self.account

    def _give_out(self) -> None:
        while self._free and len(self._running) < max(1, self._width()):
            task = self._again.pop(0) if self._again else self._source.next()
            if task is None:
                return
            slot = self._free.pop(0)
            since = time.monotonic()
            try:
                future = slot.submit(self._work, task)
            except Exception as error:
                # A worker that died while idle shows only now; the task is not to blame.
                self._again.insert(0, task)
                if not slot.broken_by(error):
                    raise
                self._rebuild(slot)
                continue
            self._running.append(_Running(task, slot, future, since))

    def _collect(self) -> None:
        ended = [each for each in self._running if each.future.done()]
        self._running = [each for each in self._running if not each.future.done()]
        for each in ended:
            self.account.busy_s += time.monotonic() - each.since
            error = _error_of(each.future)
            if error is None:
                self._free.append(each.slot)
                self.account.tasks += 1
                self._in_a_row = 0
                self._source.done(each.task, each.future.result())
            elif each.slot.broken_by(error):
                self._rebuild(each.slot)
                if self._count_broken(each.task):
                    self._again.append(each.task)
            elif isinstance(error, OSError) and not isinstance(error, TimeoutError):
                raise error
            else:
                self._free.append(each.slot)
                self._source.failed(each.task, f"{type(error).__name__}: {error}")

    def _count_broken(self, task: T) -> bool:
        """Charge a task with a worker's death; False where it has cost too many."""
        self._broken[task] = self._broken.get(task, 0) + 1
        if self._broken[task] < self._limits.attempts:
            return True
        self._source.failed(task, f"its worker died {self._broken[task]} times")
        return False

    def _rebuild(self, slot: Slot) -> None:
        self.account.broken += 1
        self._in_a_row += 1
        if self._in_a_row > _HOPELESS * self._limits.attempts * self.account.slots:
            raise ExecutorLost(f"{self._in_a_row} workers died in a row, without one result")
        slot.rebuild()
        self._free.append(slot)

    def _end_overdue(self) -> None:
        limit = self._limits.time_s
        if limit is None:
            return
        now = time.monotonic()
        for each in self._running:
            if not each.slot.ready():
                each.since = now
        overdue = [
            each for each in self._running if now - each.since > limit + self._limits.grace_s
        ]
        self._running = [each for each in self._running if each not in overdue]
        for each in overdue:
            self.account.overdue += 1
            self.account.busy_s += now - each.since
            each.slot.rebuild()
            self._free.append(each.slot)
            self._source.failed(each.task, f"longer than its time limit, {limit:g} s")


def _error_of(future: Future[Any]) -> BaseException | None:
    if future.cancelled():
        return FutureCancelledError("cancelled")
    return future.exception()


class FutureCancelledError(Exception):
    """A task that somebody cancelled: its worker, or the cluster, is gone."""


def supervise(
    source: Source[T, R],
    slots: Sequence[Slot],
    work: Callable[[T], R],
    *,
    limits: Limits = Limits(),
    stop: Callable[[], bool] = lambda: False,
    width: Callable[[], int] | None = None,
    look: Callable[[Supervisor[T, R]], None] = lambda _: None,
) -> Account:
    """Run every task that `source` gives; tasks are hashable, and distinct.

    `width()`: how many may run at once, which may fall when tasks turn out to need more memory;
    None for all slots. `stop` and `look`: see `Supervisor.run`. The slots are left open.
    """
    supervisor = Supervisor(source, slots, work, limits, width or (lambda: len(slots)))
    return supervisor.run(stop, lambda: look(supervisor))
