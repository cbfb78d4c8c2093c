"""Run a scenario: every point and replicate, into one run directory, to one verdict.

Owns the order of things: make the directory, simulate, judge, close. Ctrl-C finishes the slice in
hand, flushes, and leaves a run that says `interrupted`; a second one stops at once.
"""

from __future__ import annotations

import gc
import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import polars as pl

from sim.engine.build import build
from sim.engine.persistence import kept_store
from sim.engine.plane_parameters import region_names
from sim.engine.plane_rows import VOCABULARIES
from sim.engine.world import World
from sim.monitor.verdict import Line, Verdict, combine, judge
from sim.record.digests import TableDigest
from sim.record.machine import cpu_time_ns, peak_memory_bytes
from sim.record.recorder import Recorder, Window
from sim.record.results import write_result
from sim.record.runs import ReplicateResult, RunWriter
from sim.record.summary import epoch_levels, metrics_of
from sim.record.tables import table_of
from sim.scenario.model import Scenario

Detail: TypeAlias = Literal["rounds", "blocks", "messages"]

_COLLECT_EVERY = 1_000_000
"""New containers between two looks for cycles; Python's own 700 costs a tenth of a run."""

TICK_NS = 250_000_000
"""Simulated time between two looks at Ctrl-C and two calls of the progress callback."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands. Times in ns; counts are those of the replicate in hand."""

    point: int
    points: int
    replicate: int
    replicates: int
    simulated_ns: int
    duration_ns: int
    blocks: int
    transactions: int
    messages: int
    """Agent messages delivered."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run came to. `path` holds its datasets; `state`: complete or interrupted."""

    path: Path
    state: str
    verdict: Verdict
    digest: str
    results: Sequence[ReplicateResult] = field(default_factory=tuple)
    wall_ns: int = 0
    cpu_ns: int = 0

    @property
    def exit_code(self) -> int:
        """0 met, 1 violated or missed, 3 inconclusive, 130 interrupted."""
        return 130 if self.state == "interrupted" else self.verdict.exit_code


class Stop:
    """Whether somebody asked to stop."""

    requested = False


class Place(NamedTuple):
    """Which replicate of which point, of how many."""

    point: int
    points: int
    replicate: int
    replicates: int


def run(
    scenario: Scenario,
    out: str | Path = "results",
    *,
    progress: Callable[[Progress], None] | None = None,
    started: Callable[[Path], None] | None = None,
    detail: Detail | None = None,
    command: Sequence[str] = (),
) -> RunOutcome:
    """Run every point and replicate of `scenario`, one after the other, in this process.

    Writes one run directory below `out`. `started(path)` is called once the directory is there,
    before the first event. `detail` replaces the scenario's own. Raises OSError where `out` cannot
    be written, and ValueError where the scenario says `until`: what decides that is a study
    (`sim.run_study`). Any error in a run leaves a directory in state `failed` with what had been
    flushed.
    """
    if scenario.until is not None:
        raise ValueError("`until` takes a study: sim.run_study, or creto-sim run")
    if detail is not None:
        scenario = replace(scenario, record=scenario.record.at(detail))
    points = scenario.points()
    wall, cpu = time.monotonic_ns(), cpu_time_ns()
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
    results: list[ReplicateResult] = []
    verdicts: list[Verdict] = []
    try:
        if started is not None:
            started(writer.path)
        with graceful() as stop:
            for point in points:
                for number in range(scenario.replicates):
                    if stop.requested:
                        break
                    place = Place(point.index, len(points), number, scenario.replicates)
                    folder = writer.replicate_path(point.index, number)
                    result, verdict = replicate(point.scenario, folder, place, progress, stop)
                    writer.add(result)
                    results.append(result)
                    verdicts.append(verdict)
    except BaseException as error:
        state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        writer.finish(state, error=error)
        raise
    state = "interrupted" if stop.requested else "complete"
    verdict = combine(verdicts)
    summary = {"title": scenario.title, "evidence": list(verdict.evidence)}
    digest = writer.finish(state, verdict=verdict.outcome, summary=summary)
    return RunOutcome(
        writer.path,
        state,
        verdict,
        digest,
        tuple(results),
        time.monotonic_ns() - wall,
        cpu_time_ns() - cpu,
    )


def window_of(scenario: Scenario) -> Window | None:
    """Return the stretch that a scenario keeps in more detail, as the recorder takes it."""
    asked = scenario.record.window
    return None if asked is None else Window(asked.from_ns, asked.to_ns, asked.detail)


def identity(scenario: Scenario, number: int) -> str:
    """Return a digest (hex) of what a replicate of one point depends on.

    How many replicates there are beside it is left out.
    """
    alone = replace(scenario, replicates=1, until=None, sweep=None)
    return hashlib.sha256(f"{alone.digest}/{number}".encode()).hexdigest()


def verdict_lines(verdict: Verdict) -> tuple[tuple[str, str, str], ...]:
    """Return the lines of a verdict as plain words."""
    return tuple((line.expectation, line.outcome, line.found) for line in verdict.lines)


def verdict_of(outcome: str, lines: Sequence[tuple[str, str, str]]) -> Verdict:
    """Make the verdict again that `verdict_lines` took apart."""
    return Verdict(outcome, tuple(Line(*line) for line in lines))


def replicate(
    scenario: Scenario,
    folder: Path,
    place: Place,
    progress: Callable[[Progress], None] | None,
    stop: Stop,
    *,
    until_ns: int | None = None,
    built: Callable[[World], None] | None = None,
) -> tuple[ReplicateResult, Verdict]:
    """Simulate one replicate of one point into `folder`, which it makes, and judge it.

    `until_ns`: end there, not with the scenario's duration; the verdict is then at best
    inconclusive. `built(world)` is called before the first event. `result.json` comes last: with it
    the folder is whole.
    """
    wall, cpu = time.monotonic_ns(), cpu_time_ns()
    vocabularies = {"region": region_names(scenario), **VOCABULARIES}
    asked_ns = scenario.duration_ns if until_ns is None else min(until_ns, scenario.duration_ns)
    with Recorder(
        folder,
        detail=scenario.record.detail,
        window=window_of(scenario),
        vocabularies=vocabularies,
    ) as recorder:
        with kept_store(scenario, folder) as store:
            world = build(scenario, place.replicate, recorder, store)
            if built is not None:
                built(world)
            now = simulate(world, asked_ns, stop, _reporter(world, place, progress))
            violations = world.close(now)
        for violation in violations:
            recorder.append_row("violations", **violation.row())
        tables = recorder.close()
    read = _reader(folder, tables)
    metrics = metrics_of(
        read,
        lost_messages=world.watch.lost_messages,
        routing_ppm=None if world.plane is None else world.plane.routing_ppm(),
    )
    verdict = judge(
        scenario.expect,
        violations=violations,
        metrics=metrics,
        levels=epoch_levels(read),
        complete=now >= scenario.duration_ns,
    )
    result = ReplicateResult(
        point=place.point,
        replicate=place.replicate,
        state="complete" if now >= asked_ns else "interrupted",
        verdict=verdict.outcome,
        simulated_ns=now,
        tables=tables,
        metrics=metrics,
        evidence=verdict.evidence,
        wall_ns=time.monotonic_ns() - wall,
        cpu_ns=cpu_time_ns() - cpu,
        peak_memory_bytes=peak_memory_bytes(),
    )
    write_result(folder, result, verdict_lines(verdict), identity(scenario, place.replicate))
    return result, verdict


def simulate(world: World, duration_ns: int, stop: Stop, report: Callable[[int], None]) -> int:
    """Run `world` until `duration_ns` or until asked to stop; return the time reached."""
    now = 0
    with rare_collections():
        world.start()
        report(now)
        while now < duration_ns and not stop.requested:
            now = min(now + TICK_NS, duration_ns)
            world.advance(now)
            report(now)
    return now


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let Python look for reference cycles seldom: cores and deliveries make none.

    What is built lives as long as the run and is set aside (`gc.freeze`), unless the process has
    set its imports aside for good: then many runs are to come, and each one's world has to go.
    """
    before = gc.get_threshold()
    gc.collect()
    alone = gc.get_freeze_count() == 0
    if alone:
        gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if alone:
            gc.unfreeze()


def _reporter(
    world: World, place: Place, progress: Callable[[Progress], None] | None
) -> Callable[[int], None]:
    def report(now_ns: int) -> None:
        if progress is not None:
            progress(
                Progress(
                    *place,
                    simulated_ns=now_ns,
                    duration_ns=world.scenario.duration_ns,
                    blocks=world.observer.blocks_committed,
                    transactions=world.observer.transactions_committed,
                    messages=world.delivered,
                )
            )

    return report


def _reader(folder: Path, tables: Mapping[str, TableDigest]) -> Callable[[str], pl.LazyFrame]:
    """Return how to read a finished replicate's tables, those without rows included."""

    def read(name: str) -> pl.LazyFrame:
        path = folder / f"{name}.parquet"
        if path.is_dir():
            return pl.concat([pl.scan_parquet(part) for part in sorted(path.glob("*.parquet"))])
        if path.exists():
            return pl.scan_parquet(path)
        return pl.LazyFrame(schema=table_of(name).schema)

    return read


@contextmanager
def graceful() -> Iterator[Stop]:
    """Let the first Ctrl-C ask to stop and the second one interrupt; main thread only."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: object) -> None:
        stop.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
