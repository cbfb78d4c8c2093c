"""The performance table of the source document, row by row: limit, figure, how it was found.

Owns: the rows and their limits, what counts as reached, the dataset. Must not know: terminals.

A row is `measured` (wall-clock time on this machine) or `simulated` (from runs or drawn losses, the
same on any machine).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import polars as pl

from sim.record.machine import platform_facts, versions
from sim.record.runs import Run
from sim.record.store import write_frame, write_json
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from sim.study import limits, recovery
from sim.study.overview import results_of
from sim.study.recovery import RPO_NS, RTO_NS
from sim.world.crypto.suites import available_suites

Kind: TypeAlias = Literal["measured", "simulated"]
Verdict: TypeAlias = Literal["met", "missed", "open"]

MS = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
WEIGHTS_NS = MS
AGGREGATION_NS = 10 * MS
FORKS_NS = 5 * SECOND
QUERY_NS = 100 * MS
AGENT_QUERY_NS = 10 * MS
LOSSES = 2_000
"""Losses drawn for the rows of recovery: 95 % of them are known within 1 %."""
AGENTS, VALIDATORS = 1_000_000, 150
WIDTHS = (2, 10, 500)
"""Branches among which 1,000 blocks are shared out: one fork, some, and hardly anything else."""


@dataclass(frozen=True, slots=True)
class Row:
    """One target. `limit` and `value` are in `unit`; `value` is None where there is none.

    `part`: which of several ways to do what the target names. `note`: what the figure is.
    """

    target: str
    part: str
    limit: int
    unit: Literal["ns", "agents"]
    value: int | None
    kind: Kind
    verdict: Verdict
    note: str


def _time(target: str, part: str, limit_ns: int, found_ns: int, note: str) -> Row:
    verdict: Verdict = "met" if found_ns < limit_ns else "missed"
    return Row(target, part, limit_ns, "ns", found_ns, "measured", verdict, note)


def weight_rows() -> Iterator[Row]:
    """Measure the weights of 150 validators, by both rules."""
    for combine in ("additive", "stake_multiplied"):
        found = limits.weigh(combine)
        yield _time(
            "weighted vote calculation",
            combine,
            WEIGHTS_NS,
            limits.median_ns(found.times_ns),
            f"{limits.VALIDATORS} validators, median of {len(found.times_ns)}",
        )


def signature_rows() -> Iterator[Row]:
    """Measure 100 signatures verified and aggregated: each installed suite, each way."""
    threads = max(2, os.cpu_count() or 2)
    for name, suite in available_suites().items():
        ways: list[tuple[limits.Way, int]] = [("at once", 1), ("as they come", 1)]
        if suite.releases_gil:
            ways.insert(1, ("at once", threads))
        for way, count in ways:
            found = limits.aggregate(name, way, count)
            lead = "last of 100 to certificate" if way == "as they come" else "verify all 100"
            yield _time(
                "multi-signature, 100",
                f"{name}, {way}" + (f", {count} threads" if count > 1 else ""),
                AGGREGATION_NS,
                limits.median_ns(found.times_ns),
                f"{lead}; median of {limits.ROUNDS}",
            )


def fork_rows() -> Iterator[Row]:
    """Measure forks detected and resolved among 1,000 blocks."""
    for width in WIDTHS:
        found = limits.fork(width)
        note = "found, chosen, finalised, reconciled"
        part = f"{limits.BLOCKS:,} blocks, {width} branches"
        yield _time("fork detection", part, FORKS_NS, found.elapsed_ns, note)


def query_rows() -> Iterator[Row]:
    """Measure questions to an audit log of a million records."""
    found = limits.query_audit()
    yield _time(
        "compliance query",
        f"{found.records:,} records",
        QUERY_NS,
        limits.p99_ns(found.times_ns),
        f"99 % of {len(found.times_ns)} questions",
    )


MEASURED: tuple[Callable[[], Iterator[Row]], ...] = (
    weight_rows,
    signature_rows,
    fork_rows,
    query_rows,
)


def agent_rows(run: Run | None) -> Iterator[Row]:
    """Read a million agents on 150 validators off a run; open without one.

    Only a run that is complete, with at least so many agents on at most so many validators and an
    expectation met on every line, reaches the target.
    """
    target, query = "agent capacity", "agent query"
    place = f"on {VALIDATORS} validators"
    if run is None:
        note = "not run: leave --skip-agents out, or give --run"
        yield Row(target, place, AGENTS, "agents", None, "simulated", "open", note)
        yield Row(query, "p99, own region", AGENT_QUERY_NS, "ns", None, "simulated", "open", note)
        return
    scenario = load_scenario(run.path / "scenario.yaml")
    agents = 0 if scenario.agents is None else scenario.agents.count
    validators = scenario.validators.count
    name = f"{run.path.parent.name}/{run.path.name}"
    fits = agents >= AGENTS and validators <= VALIDATORS
    note = f"{run.verdict}, {validators} validators: {name}"
    verdict: Verdict = "met" if run.verdict == "met" and fits else "missed"
    if run.state != "complete":
        verdict, note = "open", f"{run.state}: {name}"
    yield Row(target, place, AGENTS, "agents", agents, "simulated", verdict, note)
    found = _metric(run, "directory_region_latency_p99_ns")
    reached: Verdict = "open"
    if found is not None and verdict != "open":
        reached = "met" if found <= AGENT_QUERY_NS else "missed"
    note = f"{agents:,} agents, {name}"
    yield Row(query, "p99, own region", AGENT_QUERY_NS, "ns", found, "simulated", reached, note)


def _metric(run: Run, name: str) -> int | None:
    """Return the worst value of a metric over a run's replicates."""
    results = results_of(run).by_place.values()
    values = [value for r in results if (value := r.result.metrics.get(name)) is not None]
    return max(values, default=None)


def recovery_rows(topology: Scenario) -> Iterator[Row]:
    """Draw losses of a topology's regions: what 95 % of them recover within, and lose at most.

    A topology without copies elsewhere loses records for good: its second row is missed.
    """
    drawn = recovery.recoveries(topology, LOSSES).filter(scope="region")
    gone = pl.max_horizontal("chain_lost_ns", "records_lost_ns")
    parts = (
        ("RTO", RTO_NS, drawn["rto_ns"].to_list()),
        ("RPO", RPO_NS, drawn.select(gone).to_series().to_list()),
    )
    kept = drawn["records_lost_ns"].min() != -1
    for part, limit, times in parts:
        value = recovery.quantile(times, 0.95) if part == "RTO" or kept else None
        verdict: Verdict = "met" if value is not None and value <= limit else "missed"
        note = f"95 % of {len(times):,} losses of a region, {topology.name}"
        yield Row("multi-region recovery", part, limit, "ns", value, "simulated", verdict, note)


def exit_code(rows: Sequence[Row]) -> int:
    """Return 1 where a row is missed, 3 where one is open, else 0."""
    if any(row.verdict == "missed" for row in rows):
        return 1
    return 3 if any(row.verdict == "open" for row in rows) else 0


def write(rows: Sequence[Row], folder: Path, run: Run | None) -> list[Path]:
    """Write the rows and the machine that they were found on; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame([asdict(row) for row in rows], schema_overrides={"value": pl.Int64})
    facts: Mapping[str, object] = {
        "platform": platform_facts(),
        "versions": versions(),
        "load_average": list(os.getloadavg()),  # wall-clock rows are slower among neighbours
        "run": None if run is None else {"name": run.path.name, "digest": run.digest},
    }
    write_frame(folder / "targets.parquet", frame)
    write_json(folder / "targets.json", facts)
    return [folder / "targets.parquet", folder / "targets.json"]
