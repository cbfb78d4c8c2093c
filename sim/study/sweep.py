"""Studies: every point and replicate of a scenario, on many workers, to one run directory.

Owns: which units there are, in which order they go out, when a point has enough replicates, and
how a study that ended early is taken up again. The directory is that of any run, and so are its
digests: they depend neither on the number nor on the kind of workers. Common random numbers: the
chance of a replicate is that of (seed, replicate), whatever the point. Must not know: terminals.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sim.engine.run import (
    Detail,
    Place,
    RunOutcome,
    Stop,
    graceful,
    identity,
    verdict_of,
    window_of,
)
from sim.monitor.verdict import Line, Verdict, combine
from sim.record.machine import cpu_time_ns
from sim.record.results import StoredResult, read_result
from sim.record.runs import ReplicateResult, Run, RunError, RunWriter, open_run
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from sim.study.slots import HereSlot, ProcessSlot, Slot, dask_slots
from sim.study.stopping import next_target
from sim.study.supervise import Account, Limits, Supervisor, supervise
from sim.study.unit import STAGING, Unit, simulate_unit, simulated_ns_of, warm_up
from sim.study.workers import MemoryBudget, available_memory_bytes, cores

_GRACE_S = 5.0
"""What a worker gets beyond a unit's time limit to end it by itself, which says where it was."""


@dataclass(frozen=True, slots=True)
class InHand:
    """A unit that runs. `elapsed_s`: wall-clock time since it was given out."""

    point: int
    replicate: int
    simulated_ns: int
    duration_ns: int
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """Where a study stands. `units` may still grow under `until`; `kept`: done before a resume."""

    points: int
    units: int
    done: int
    failed: int
    kept: int
    by_point: Sequence[tuple[int, int]]
    """(ended, wanted) replicates of each point."""
    in_hand: Sequence[InHand]
    workers: int
    broken: int
    """Workers that died, each replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who runs units.

    `count`: processes here, None for as many as there are cores and memory, 0 for this process
    alone. `scheduler`: address of a Dask scheduler instead. `time_limit_s`: wall-clock time of a
    unit, after which it has failed. `attempts`: workers that a unit may cost before it has failed.
    """

    count: int | None = None
    scheduler: str | None = None
    time_limit_s: float | None = None
    attempts: int = 3


class Sweep:
    """The units of a study as a source of tasks; see `sim.study.supervise.Source`."""

    def __init__(
        self, scenario: Scenario, writer: RunWriter, time_limit_s: float | None = None
    ) -> None:
        self.scenario = scenario
        self.points = scenario.points()
        self.results: dict[tuple[int, int], StoredResult] = {}
        self.failures: dict[tuple[int, int], str] = {}
        self.kept = 0
        self.budget = MemoryBudget([p.scenario for p in self.points], available_memory_bytes())
        self._writer = writer
        self._time_limit_s = time_limit_s
        self._wanted = [scenario.replicates] * len(self.points)
        self._issued = [0] * len(self.points)
        self._first = 0  # no earlier point has units to give out

    @property
    def wanted(self) -> Sequence[int]:
        """Replicates of each point, as far as is decided."""
        return tuple(self._wanted)

    def keep(self, found: dict[tuple[int, int], StoredResult]) -> None:
        """Take results that are there already; called once, before the first unit goes out."""
        self.results |= found
        self.kept = len(found)
        for point in range(len(self.points)):
            self._settle(point)

    def next(self) -> Unit | None:
        for index in range(self._first, len(self.points)):
            point = self.points[index]
            while self._issued[index] < self._wanted[index]:
                number = self._issued[index]
                self._issued[index] += 1
                if (index, number) not in self.results:
                    place = Place(index, len(self.points), number, self._wanted[index])
                    folder = self._writer.replicate_path(index, number)
                    root = self._writer.path
                    inside = folder.relative_to(root)
                    return Unit(point.scenario, place, root.resolve(), inside, self._time_limit_s)
            self._first = index + 1
        return None

    def done(self, task: Unit, result: StoredResult) -> None:
        place = task.place
        self.results[place.point, place.replicate] = result
        self.budget.saw(task.scenario, result.result.peak_memory_bytes)
        self._settle(place.point)

    def failed(self, task: Unit, reason: str) -> None:
        place = task.place
        self.failures[place.point, place.replicate] = reason
        self._settle(place.point)

    def _settle(self, point: int) -> None:
        """Decide on more replicates of a point once all that were wanted have ended."""
        until = self.scenario.until
        while until is not None:
            places = [(point, number) for number in range(self._wanted[point])]
            if not all(p in self.results or p in self.failures for p in places):
                return
            target = next_target(self.values(point, until.summary_name), until)
            if target is None:
                return
            self._wanted[point] = target
            self._first = min(self._first, point)

    def values(self, point: int, metric: str) -> list[float | None]:
        """Return a metric of each replicate of a point, None where there is no value."""
        found: list[float | None] = []
        for number in range(self._wanted[point]):
            stored = self.results.get((point, number))
            value = None if stored is None else stored.result.metrics.get(metric)
            found.append(None if value is None else float(value))
        return found

    def outcomes(self) -> Iterator[tuple[ReplicateResult, Verdict]]:
        """Yield what each unit that ended came to, in order."""
        for place in sorted([*self.results, *self.failures]):
            stored = self.results.get(place)
            if stored is not None:
                yield stored.result, verdict_of(stored.result.verdict, stored.lines)
                continue
            line = Line("the replicate runs to its end", "inconclusive", self.failures[place])
            verdict = Verdict("inconclusive", (line,))
            failed = ReplicateResult(
                *place, "failed", verdict.outcome, 0, {}, evidence=verdict.evidence
            )
            yield failed, verdict

    def progress(self, supervisor: Supervisor[Unit, StoredResult]) -> StudyProgress:
        """Say where the study stands."""
        ended = [0] * len(self.points)
        for point, _ in [*self.results, *self.failures]:
            ended[point] += 1
        in_hand = [
            InHand(
                unit.place.point,
                unit.place.replicate,
                simulated_ns_of(unit),
                unit.scenario.duration_ns,
                seconds,
            )
            for unit, seconds in supervisor.in_hand
        ]
        return StudyProgress(
            points=len(self.points),
            units=sum(self._wanted),
            done=len(self.results),
            failed=len(self.failures),
            kept=self.kept,
            by_point=tuple(zip(ended, self._wanted, strict=True)),
            in_hand=in_hand,
            workers=supervisor.account.slots,
            broken=supervisor.account.broken,
        )


def run_study(
    scenario: Scenario,
    out: str | Path = "results",
    *,
    workers: Workers = Workers(),
    progress: Callable[[StudyProgress], None] | None = None,
    started: Callable[[Path], None] | None = None,
    detail: Detail | None = None,
    command: Sequence[str] = (),
) -> RunOutcome:
    """Run every point and replicate of `scenario` on `workers`; write one directory below `out`.

    As `sim.run`, with the same digests. Where `until` is set, points get more replicates. A unit
    that fails leaves the study `failed`, its verdict inconclusive at best, and everybody else's
    results whole; Ctrl-C gives up the units in hand and leaves it `interrupted`. Both, and a study
    whose process died, can be taken up by `resume_study`.

    Raises ExecutorLost (no scheduler, no workers left) and OSError (the disk).
    """
    if detail is not None:
        scenario = replace(scenario, record=scenario.record.at(detail))
    points = scenario.points()
    with _slots(workers, scenario) as slots:
        writer = RunWriter.start(
            Path(out),
            scenario_name=scenario.name,
            scenario_text=scenario.to_yaml(),
            scenario_digest=scenario.digest,
            seed=scenario.seed,
            detail=scenario.record.detail,
            command=command,
            points=None if scenario.sweep is None else len(points),
            replicates=scenario.replicates,
            settings=tuple(point.settings for point in points),
            window=window_of(scenario),
        )
        sweep = Sweep(scenario, writer, workers.time_limit_s)
        return _run(sweep, writer, slots, workers, progress, started)


def resume_study(
    path: str | Path,
    *,
    workers: Workers = Workers(),
    progress: Callable[[StudyProgress], None] | None = None,
    started: Callable[[Path], None] | None = None,
) -> RunOutcome:
    """Run what a study that died, failed or was interrupted still lacks.

    Kept is every replicate that is whole: its `result.json` is of this scenario, point and
    replicate, and its tables give the digests that are stated there. All else runs again. Raises
    RunError where there is nothing to resume, or where other versions made it; and as `run_study`.
    """
    where = Path(path)
    # `latest` will be pointed at the run again, so the run has to go by its own name.
    run = open_run(where.parent / where.readlink() if where.is_symlink() else where)
    scenario = load_scenario(run.path / "scenario.yaml")
    if scenario.digest != run.manifest["scenario"]["digest"]:
        raise RunError(f"{run.path.name}: scenario.yaml is not the scenario of the manifest")
    with _slots(workers, scenario) as slots:
        writer = RunWriter.resume(run)
        sweep = Sweep(scenario, writer, workers.time_limit_s)
        return _run(sweep, writer, slots, workers, progress, started, run)


def _run(
    sweep: Sweep,
    writer: RunWriter,
    slots: Sequence[Slot],
    workers: Workers,
    progress: Callable[[StudyProgress], None] | None,
    started: Callable[[Path], None] | None,
    before: Run | None = None,
) -> RunOutcome:
    """Supervise the units that are left, then close the directory."""
    wall, cpu = time.monotonic_ns(), cpu_time_ns()
    staging = writer.path / STAGING

    def width() -> int:
        if len(sweep.results) == sweep.kept and _compiles(sweep.scenario):
            return 1  # or every worker would compile the same kernels at once
        return len(slots) if workers.scheduler is not None else sweep.budget.units()

    def look(supervisor: Supervisor[Unit, StoredResult]) -> None:
        if progress is not None:
            progress(sweep.progress(supervisor))

    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        if before is not None:
            sweep.keep(whole_replicates(before, sweep.scenario))
        if started is not None:
            started(writer.path)
        with graceful() as stop:
            account = supervise(
                sweep,
                slots,
                simulate_unit,
                limits=Limits(workers.time_limit_s, workers.attempts, _GRACE_S),
                stop=lambda: stop.requested,
                width=width,
                look=look,
            )
            for slot in slots:
                slot.close()
        if stop.requested:
            # A worker may have ended its unit whole after it was given up.
            sweep.results |= whole_replicates(open_run(writer.path), sweep.scenario)
    except BaseException as error:
        for result, _ in sweep.outcomes():
            writer.add(result)
        writer.finish(
            "interrupted" if isinstance(error, KeyboardInterrupt) else "failed", error=error
        )
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return _finish(sweep, writer, stop, account, (wall, cpu))


def _finish(
    sweep: Sweep, writer: RunWriter, stop: Stop, account: Account, start: tuple[int, int]
) -> RunOutcome:
    """Close the directory of a study whose units have ended, or were given up."""
    outcomes = list(sweep.outcomes())
    for result, _ in outcomes:
        writer.add(result)
    verdict = combine([verdict for _, verdict in outcomes])
    state, error = "complete", None
    if sweep.failures:
        (point, number), reason = min(sweep.failures.items())
        more = f", and {len(sweep.failures) - 1} more" if len(sweep.failures) > 1 else ""
        state, error = "failed", f"point {point}, replicate {number}: {reason}{more}"
    if stop.requested:
        state = "interrupted"
    supervision: dict[str, Any] = {
        "workers": account.slots,
        "workers_died": account.broken,
        "units_run": account.tasks,
        "units_kept": sweep.kept,
        "units_overdue": account.overdue,
        "occupancy_ppm": round(account.occupancy * 1_000_000),
    }
    summary = {
        "title": sweep.scenario.title,
        "evidence": list(verdict.evidence),
        "supervision": supervision,
    }
    digest = writer.finish(state, verdict=verdict.outcome, summary=summary, error=error)
    wall, cpu = start
    return RunOutcome(
        writer.path,
        state,
        verdict,
        digest,
        tuple(result for result, _ in outcomes),
        time.monotonic_ns() - wall,
        cpu_time_ns() - cpu,
    )


def whole_replicates(run: Run, scenario: Scenario) -> dict[tuple[int, int], StoredResult]:
    """Return the replicates of `run` that need not run again; clear the folders of the others."""
    points = scenario.points()
    most = scenario.replicates if scenario.until is None else scenario.until.max_replicates
    found = {}
    for point, number in run.replicates():
        folder = run.folder(point, number)
        stored = None
        if point < len(points) and number < most:
            stored = _whole(run, point, number, identity(points[point].scenario, number))
        if stored is None:
            shutil.rmtree(folder)
        else:
            found[point, number] = stored
    return found


def _whole(run: Run, point: int, number: int, expected: str) -> StoredResult | None:
    from sim.record.compare import damaged_tables

    try:
        stored = read_result(run.folder(point, number))
    except RunError:
        return None
    if stored is None or stored.identity != expected or stored.result.state != "complete":
        return None
    return None if damaged_tables(run, point, number, stored.result.tables) else stored


def _compiles(scenario: Scenario) -> bool:
    """Whether the agents' kernels have still to be compiled on this machine."""
    if scenario.agents is None:
        return False
    from sim.world.kernel_cache import compiled_before

    return not compiled_before()


@contextmanager
def _slots(workers: Workers, scenario: Scenario) -> Iterator[Sequence[Slot]]:
    """Open the slots that `workers` ask for; close them whatever happens."""
    with ExitStack() as stack:
        slots: list[Slot] = []
        if workers.scheduler is not None:
            found, end = dask_slots(workers.scheduler)
            stack.callback(end)
            slots += found
        elif workers.count == 0:
            slots.append(HereSlot())
        else:
            scenarios = [point.scenario for point in scenario.points()]
            most = scenario.replicates if scenario.until is None else scenario.until.max_replicates
            budget = MemoryBudget(scenarios, available_memory_bytes())
            count = workers.count or min(cores(), budget.most())
            slots += [ProcessSlot(warm_up) for _ in range(min(count, len(scenarios) * most))]
        for slot in slots:
            stack.callback(slot.close)
        yield slots
