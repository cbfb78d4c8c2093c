"""Replay: a stretch of a recorded run once more, message by message, and the proof that it is it.

Owns: which stretch, the run of it (from the start, with the recorded scenario and seed, up to the
first whole second after the stretch), and the comparison of every table that both runs keep.
Must not know: how a stretch is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import polars as pl

from sim.engine.run import Place, Progress, RunOutcome, graceful, replicate, window_of
from sim.monitor.verdict import combine
from sim.record.machine import cpu_time_ns
from sim.record.runs import Run, RunError, RunWriter
from sim.record.tables import table_of
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from sim.scenario.quantities import DURATION
from sim.scenario.recording import RecordWindow

SECOND_NS = 1_000_000_000

WindowDetail: TypeAlias = Literal["blocks", "messages"]


class Stretch(NamedTuple):
    """From one instant of one replicate to another, both included."""

    point: int
    replicate: int
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Sameness:
    """What the comparison of a replay with its run came to.

    `rows`: rows of the run's tables that the stretch meets; `different`: a line a table whose rows
    differ; `left_out`: tables with
    rows, but without a time by which they could be told.
    """

    tables: int
    rows: int
    different: tuple[str, ...]
    left_out: tuple[str, ...]


def first_violation(
    run: Run, *, point: int | None = None, replicate: int | None = None
) -> Stretch | None:
    """Return the window of the earliest violation of the first replicate that has one."""
    rows = run.table("violations", point=point, replicate=replicate).collect()
    if rows.is_empty():
        return None
    row = rows.sort("point", "replicate", "time_ns", "monitor").row(0, named=True)
    return Stretch(row["point"], row["replicate"], row["window_from_ns"], row["window_to_ns"])


def recorded_scenario(run: Run) -> Scenario:
    """Return the scenario of a run; RunError where the file is not what the manifest says."""
    scenario = load_scenario(run.path / "scenario.yaml")
    if scenario.digest != run.manifest["scenario"]["digest"]:
        raise RunError(f"{run.path.name}: scenario.yaml is not the scenario of the manifest")
    return scenario


def replay(
    run: Run,
    stretch: Stretch,
    *,
    detail: WindowDetail = "messages",
    progress: Callable[[Progress], None] | None = None,
    started: Callable[[Path], None] | None = None,
    command: Sequence[str] = (),
) -> RunOutcome:
    """Run a stretch of `run` again at more detail, into a new run directory beside it.

    The directory is one of the same points and replicates that holds this replicate alone, up to
    its end. Raises RunError for a stretch that the run has not, and as `sim.run`.
    """
    recorded = recorded_scenario(run)
    _check(run, recorded, stretch)
    window = RecordWindow(from_ns=stretch.from_ns, to_ns=stretch.to_ns, detail=detail)
    kept = recorded.record.detail
    asked = recorded.record
    if kept not in ("messages", detail):
        asked = replace(recorded.record, window=window)
    scenario = replace(recorded, record=asked)
    end_ns = min(-(-stretch.to_ns // SECOND_NS) * SECOND_NS, recorded.duration_ns)
    points = scenario.points()
    facts = {**stretch._asdict(), "run": run.path.resolve().name, "end_ns": end_ns}
    writer = RunWriter.start(
        run.path.resolve().parent.parent,
        scenario_name=str(run.manifest["scenario"]["name"]),
        scenario_text=scenario.to_yaml(),
        scenario_digest=scenario.digest,
        seed=scenario.seed,
        detail=kept,
        command=command,
        points=None if scenario.sweep is None else len(points),
        replicates=int(run.manifest["replicates"]),
        settings=tuple(point.settings for point in points),
        window=window_of(scenario),
        replay=facts,
    )
    cpu = cpu_time_ns()
    place = Place(stretch.point, 1, stretch.replicate, 1)
    folder = writer.replicate_path(stretch.point, stretch.replicate)
    one = points[stretch.point].scenario
    try:
        if started is not None:
            started(writer.path)
        with graceful() as stop:
            told = _alone(progress, end_ns)
            result, verdict = replicate(one, folder, place, told, stop, until_ns=end_ns)
            writer.add(result)
    except BaseException as error:
        state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        writer.finish(state, error=error)
        raise
    summary = {"title": scenario.title, "evidence": list(verdict.evidence)}
    digest = writer.finish(result.state, verdict=verdict.outcome, summary=summary)
    return RunOutcome(
        writer.path,
        result.state,
        combine([verdict]),
        digest,
        (result,),
        result.wall_ns,
        cpu_time_ns() - cpu,
    )


def _alone(
    progress: Callable[[Progress], None] | None, end_ns: int
) -> Callable[[Progress], None] | None:
    """Tell of the replay as of a run of one replicate that ends where the replay does."""
    if progress is None:
        return None

    def tell(seen: Progress) -> None:
        progress(replace(seen, point=0, replicate=0, duration_ns=end_ns))

    return tell


def _check(run: Run, scenario: Scenario, stretch: Stretch) -> None:
    points = scenario.points()
    if not 0 <= stretch.point < len(points):
        raise RunError(f"{run.path.name}: no point {stretch.point}; there are {len(points)}")
    there = [number for point, number in run.replicates() if point == stretch.point]
    if stretch.replicate not in there:
        known = ", ".join(map(str, there)) or "none"
        raise RunError(
            f"{run.path.name}: no replicate {stretch.replicate} of point {stretch.point}; "
            f"there are {known}"
        )
    if not 0 <= stretch.from_ns <= stretch.to_ns:
        raise RunError("a stretch ends after it has begun")
    if stretch.from_ns >= scenario.duration_ns:
        raise RunError(
            f"{DURATION.format(stretch.from_ns)} is not before the end of the run, "
            f"{DURATION.format(scenario.duration_ns)}"
        )


# -- is it the same? ------------------------------------------------------------------------------

_INSTANTS = {
    "blocks": ("proposed_ns", "certified_ns", "committed_ns", "quorum_committed_ns"),
    "alerts": ("fired_ns", "resolved_ns"),
    "rollouts": ("began_ns", "new_ns", "seen_ns", "aborted_ns", "back_ns"),
}
"""Instants of which the first tells whether a row belongs, and what lies after the end is open."""
_LATER = {
    "blocks": ("status",),
    "alerts": ("worst",),
    "violations": ("count",),
    "rollouts": ("outcome", "reached", "reached_weight_ppm", "cause", "what"),
}
"""Columns that what comes after the stretch may still change."""


def sameness(run: Run, replayed: Run) -> Sameness:
    """Compare the rows that the stretch meets in every table that both runs keep.

    Rows by the second are compared for each whole second that the stretch touches. Raises RunError
    where `replayed` is no replay.
    """
    facts = replayed.replay_of
    if facts is None:
        raise RunError(f"{replayed.path.name}: not a replay")
    stretch = Stretch(**{name: facts[name] for name in Stretch._fields})
    rows, different, left_out, compared = 0, [], [], 0
    for name in replayed.tables():
        if name not in run.tables() or name == "runs":
            continue
        end_ns = facts["end_ns"]
        open_ = _still_open(run, stretch, end_ns) if name == "rounds" else None
        ours, theirs = (_cut(each, name, stretch, end_ns, open_) for each in (run, replayed))
        if ours is None or theirs is None:
            if _rows(run, name, stretch) or _rows(replayed, name, stretch):
                left_out.append(name)
            continue
        compared += 1
        rows += ours.height
        if not ours.equals(theirs):
            extra, lost = _unlike(theirs, ours), _unlike(ours, theirs)
            different.append(f"{name}: {lost.height} rows of the run only, {extra.height} new")
    return Sameness(compared, rows, tuple(different), tuple(left_out))


def _rows(run: Run, name: str, stretch: Stretch) -> int:
    frame = run.table(name, point=stretch.point, replicate=stretch.replicate)
    return frame.collect().height


def _unlike(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    return left.join(right, on=left.columns, how="anti")


def _cut(
    run: Run, name: str, stretch: Stretch, end_ns: int, still_open: pl.LazyFrame | None
) -> pl.DataFrame | None:
    """Return the rows of a table that the stretch meets, as they stood at `end_ns`, sorted.

    `still_open`: keys of rows that are left out. None where rows say nothing about time.
    """
    columns = table_of(name).names
    frame = run.table(name, point=stretch.point, replicate=stretch.replicate)
    meets = _meets(run, name, stretch, end_ns)
    if meets is None:
        return None
    dropped = _LATER.get(name, ())
    open_ns = [
        pl.when(pl.col(c) > end_ns).then(-1).otherwise(pl.col(c)).alias(c)
        for c in _INSTANTS.get(name, ())[1:]
    ]
    kept = [c for c in columns if c not in dropped]
    found = frame.filter(meets).with_columns(open_ns).select(kept)
    if still_open is not None:
        keys = table_of(name).keys
        found = found.join(still_open, on=keys, how="anti")
    return found.collect().sort(kept)


def _meets(run: Run, name: str, stretch: Stretch, end_ns: int) -> pl.Expr | None:
    """Return which rows of a table belong to the stretch; None where nothing tells."""
    table = table_of(name)
    inside = (stretch.from_ns, stretch.to_ns)
    if name in _INSTANTS:
        return pl.col(_INSTANTS[name][0]).is_between(*inside)
    if name == "rounds":
        return pl.col("first_ns").is_between(*inside)
    if name == "epochs":
        return pl.col("started_ns").is_between(*inside)
    if name == "validators":
        return pl.col("epoch").is_in(_epochs(run, stretch))
    if table.names[0] == "second":
        seconds = pl.col("second")
        began = seconds >= stretch.from_ns // SECOND_NS
        return began & (seconds * SECOND_NS < stretch.to_ns) & ((seconds + 1) * SECOND_NS <= end_ns)
    first, last = table.span
    if first not in table.names:
        return None
    began, ended = pl.col(first), pl.col(last)
    return (ended >= stretch.from_ns) & (began <= stretch.to_ns) & (ended <= end_ns)


def _still_open(run: Run, stretch: Stretch, end_ns: int) -> pl.LazyFrame:
    """Return the views, as keys of `rounds`, that somebody entered after the end."""
    rows = run.table("rounds", point=stretch.point, replicate=stretch.replicate)
    return rows.filter(pl.col("last_ns") > end_ns).select(table_of("rounds").keys)


def _epochs(run: Run, stretch: Stretch) -> list[int]:
    rows = run.table("epochs", point=stretch.point, replicate=stretch.replicate)
    began = pl.col("started_ns").is_between(stretch.from_ns, stretch.to_ns)
    return [int(e) for e in rows.filter(began).collect()["epoch"]]
