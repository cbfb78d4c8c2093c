"""A search: random scenarios on supervised workers, failures shrunk and saved.

Owns which scenarios run where, when it is enough, and what is kept of a failure. Scenario k of a
seed is the same whoever runs it, so which scenarios fail depends on nothing but the seed; a search
by time finds the same, as far as it gets. Only which of several failures of one monitor is shrunk
may depend on how many workers there are. Must not know terminals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count, repeat
from pathlib import Path
from typing import Any

from sim.engine.run import graceful, rare_collections
from sim.monitor.binomial import interval_ppm, upper_bound_ppm
from sim.record.machine import cpu_time_ns
from sim.scenario.load import load_scenario
from sim.study.fuzz.draw import draw
from sim.study.fuzz.probe import Breach, probe
from sim.study.fuzz.shrink import shrink
from sim.study.fuzz.text import scenario_text
from sim.study.slots import HereSlot, ProcessSlot, Slot
from sim.study.supervise import Limits, Supervisor, supervise
from sim.study.unit import warm_up
from sim.study.workers import cores

BATCH = 10
"""Scenarios that a worker gets at once: about a second of work."""
COME_ABOUT = ("accountability", "liveness")
"""Monitors of what has to come about: only a network that heals owes it."""
BATCH_TIME_S = 600.0
"""Wall-clock time after which a worker has hung: a thousand times what a batch takes."""
MOST_FAILURES = 5
"""Different failures after which a search has enough: each costs a reduction."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a worker is sent: scenarios `first` to `first + count - 1` of a seed."""

    seed: int
    first: int
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Reduction:
    """What a worker is sent to shrink: a scenario, and the monitor that has to keep breaking."""

    number: int
    monitor: str
    plain: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A scenario that broke what it must not break. `plain` is shrunk once `probes` is not 0."""

    number: int
    monitor: str
    breaches: tuple[Breach, ...]
    plain: Mapping[str, Any]
    lines: int = 0
    probes: int = 0
    path: Path | None = None


@dataclass(slots=True)
class Tally:
    """What was run: `over` is the part in which safety was not to be expected, `conflicts` the
    part of that in which honest validators disagreed."""

    runs: int = 0
    over: int = 0
    conflicts: int = 0
    failed: int = 0
    failed_below: int = 0
    cpu_ns: int = 0

    def add(self, other: Tally) -> None:
        """Add up."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def below(self) -> int:
        """Scenarios within the limits, in which every invariant has to hold."""
        return self.runs - self.over

    @property
    def runs_per_cpu_minute(self) -> float:
        """Scenarios that a minute of one core runs."""
        return self.runs * 60e9 / self.cpu_ns if self.cpu_ns else 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a worker returns of a batch."""

    tally: Tally
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class FuzzProgress:
    """Where a search stands. `runs`: as many as are wanted, None where time decides."""

    tally: Tally
    runs: int | None
    failures: Sequence[Failure]
    shrinking: int
    elapsed_s: float
    workers: int


@dataclass(frozen=True, slots=True)
class Search:
    """What a search came to. `errors`: batches without a result, and why."""

    seed: int
    tally: Tally
    failures: tuple[Failure, ...]
    errors: tuple[str, ...]
    interrupted: bool
    wall_s: float

    @property
    def bound_ppm(self) -> int:
        """The chance of a violation below the limits is at most this, at 95 % confidence."""
        tally = self.tally
        return upper_bound_ppm(tally.failed_below, tally.below) if tally.below else 1_000_000

    @property
    def interval_ppm(self) -> tuple[int, int]:
        """The two-sided 95 % interval of that chance."""
        tally = self.tally
        return interval_ppm(tally.failed_below, tally.below) if tally.below else (0, 1_000_000)


@dataclass(slots=True)
class _Source:
    """The tasks of a search; see `sim.study.supervise.Source`."""

    seed: int
    first: int
    runs: int | None
    until_s: float | None
    most: int
    tally: Tally = field(default_factory=Tally)
    found: dict[str, Failure] = field(default_factory=dict)
    small: dict[str, Failure] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    given: int = 0

    def next(self) -> Batch | Reduction | None:
        for monitor, failure in self.found.items():
            if monitor not in self.small:
                self.small[monitor] = failure
                return Reduction(failure.number, monitor, failure.plain)
        late = self.until_s is not None and time.monotonic() >= self.until_s
        enough = self.runs is not None and self.given >= self.runs
        if late or enough or len(self.found) >= self.most:
            return None
        size = BATCH if self.runs is None else min(BATCH, self.runs - self.given)
        batch = Batch(self.seed, self.first + self.given, size)
        self.given += size
        return batch

    def done(self, task: Batch | Reduction, result: Ended | Failure) -> None:
        if isinstance(result, Failure):
            known = self.small[result.monitor]
            self.small[result.monitor] = replace(result, breaches=known.breaches)
            return
        self.tally.add(result.tally)
        for failure in result.failures:
            monitor = failure.monitor
            first = self.found.setdefault(monitor, failure)
            if failure.number < first.number and monitor not in self.small:
                self.found[monitor] = failure

    def failed(self, task: Batch | Reduction, reason: str) -> None:
        what = f"shrinking {task.monitor}" if isinstance(task, Reduction) else f"from {task.first}"
        self.errors.append(f"{what}: {reason}")


def get_ready() -> None:
    """Run a scenario with agents, so that all imports are there, and set those aside for good.

    Each look for garbage would go through them again, which takes as long as a scenario.
    """
    probe(next(each for each in map(draw, repeat(0), count()) if "agents" in each))
    warm_up()


def work(task: Batch | Reduction) -> Ended | Failure:
    """Run a batch, or shrink a failure; what workers are given."""
    return _reduced(task) if isinstance(task, Reduction) else _searched(task)


def _searched(batch: Batch) -> Ended:
    began = cpu_time_ns()
    with rare_collections():
        tally, failures = _probed(batch)
    tally.cpu_ns = cpu_time_ns() - began
    return Ended(tally, failures)


def _probed(batch: Batch) -> tuple[Tally, tuple[Failure, ...]]:
    tally, failures = Tally(), list[Failure]()
    for number in range(batch.first, batch.first + batch.count):
        plain = draw(batch.seed, number)
        found = probe(plain)
        tally.runs += 1
        tally.over += found.over
        tally.conflicts += found.conflicts
        if found.breaches:
            tally.failed += 1
            tally.failed_below += not found.over
            monitor = found.breaches[0].monitor
            failures.append(Failure(number, monitor, found.breaches, plain))
    return tally, tuple(failures)


def reduced(plain: Mapping[str, Any], monitor: str, number: int = 0) -> Failure:
    """Shrink a scenario in which `monitor` breaks."""
    start = dict(plain)
    if monitor != "liveness" and len(start["expect"]) > 1:
        start["expect"] = [c for c in start["expect"] if "liveness" not in c] or start["expect"]
    healed = monitor in COME_ABOUT
    with rare_collections():
        shrunk = shrink(start, lambda each: monitor in probe(each).monitors, healed=healed)
    return Failure(number, monitor, (), shrunk.plain, shrunk.lines, shrunk.probes)


def _reduced(task: Reduction) -> Failure:
    return reduced(task.plain, task.monitor, task.number)


def search(
    seed: int,
    *,
    runs: int | None = None,
    minutes: float | None = None,
    first: int = 0,
    workers: int | None = None,
    most_failures: int = MOST_FAILURES,
    out: Path | None = None,
    warm: Callable[[], None] = get_ready,
    progress: Callable[[FuzzProgress], None] | None = None,
) -> Search:
    """Run scenarios `first`, `first` + 1, ... of `seed` until a budget is spent.

    Budgets: `runs` scenarios, or `minutes` of wall clock; one of the two at least. Of scenarios
    that break the same monitor first, the first to be seen is shrunk, and saved as a file below
    `out` that `creto-sim run` alone reproduces; no new scenario is given out once `most_failures`
    monitors have broken. `workers`: processes, None for as many as there are cores, 0 for this one.
    `warm` is called in each worker before its first task. Ctrl-C ends the search where it stands.
    Raises ValueError without a budget, ExecutorLost where no worker lives, OSError for `out`.
    """
    if runs is None and minutes is None:
        raise ValueError("a search needs a budget: runs or minutes")
    with ExitStack() as stack:
        slots: list[Slot] = []
        if workers == 0:
            warm()
            slots.append(HereSlot())
        else:
            slots += [ProcessSlot(warm) for _ in range(workers or cores())]
        for slot in slots:
            stack.callback(slot.close)
        began = time.monotonic()
        until_s = None if minutes is None else began + 60 * minutes
        source = _Source(seed, first, runs, until_s, most_failures)

        def look(supervisor: Supervisor[Batch | Reduction, Ended | Failure]) -> None:
            if progress is not None:
                shrinking = sum(isinstance(task, Reduction) for task, _ in supervisor.in_hand)
                elapsed_s, failures = time.monotonic() - began, list(source.found.values())
                progress(
                    FuzzProgress(source.tally, runs, failures, shrinking, elapsed_s, len(slots))
                )

        with graceful() as stop:
            supervise(
                source,
                slots,
                work,
                limits=Limits(BATCH_TIME_S),
                stop=lambda: stop.requested,
                look=look,
            )
    failures = [_saved(seed, each, out) for each in _in_order(source)]
    return Search(
        seed,
        source.tally,
        tuple(failures),
        tuple(source.errors),
        stop.requested,
        time.monotonic() - began,
    )


def _in_order(source: _Source) -> list[Failure]:
    shrunk = [source.small.get(monitor, found) for monitor, found in source.found.items()]
    return sorted(shrunk, key=lambda failure: (failure.number, failure.monitor))


def _saved(seed: int, failure: Failure, out: Path | None) -> Failure:
    if out is None:
        return failure
    path = out / f"{failure.monitor}_{seed}_{failure.number}.yaml"
    return replace(failure, path=save(failure, path, seed))


def save(failure: Failure, path: Path, seed: int | None = None) -> Path:
    """Write a failure as a scenario file of its own; refuse to write what would not load."""
    plain = dict(failure.plain)
    plain.pop("name", None)
    origin = "" if seed is None else f", scenario {failure.number} of seed {seed}"
    plain["title"] = f"Found by fuzz: {failure.monitor}"
    plain["question"] = f"Does {failure.monitor} hold?"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(scenario_text(plain, [f"creto-sim fuzz{origin}"]), encoding="utf-8")
    load_scenario(path)
    return path
