"""`metrics`: write a run as OpenMetrics and say what is in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sim.cli.outcome import MET
from sim.cli.screen import console, progress_of

FILE = "metrics.txt"


def write_metrics(path: Path, to: Path | None, point: int, replicate: int) -> int:
    """Simulate the replicate again, write its figures; return the exit code."""
    from sim.record.runs import open_run
    from sim.study.openmetrics import exposition, figures

    run = open_run(path)
    screen = console()
    with progress_of(screen) as report:
        found = figures(run, point=point, number=replicate, progress=report)
    stamp = str(run.manifest["started_utc"])
    started = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    file = run.path / FILE if to is None else to
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(exposition(found, started), encoding="utf-8")
    metrics = len(dict.fromkeys(series.metric.name for series in found.series))
    screen.print(
        f"{metrics} metrics, {len(found.series)} series, {len(found.ends_ns)} seconds from {stamp}",
        markup=False,
    )
    if found.silent:
        names = ", ".join(metric.name for metric in found.silent)
        screen.print(f"nothing of these in the run: {names}", markup=False)
    screen.print(f"wrote {file}", markup=False, soft_wrap=True)
    screen.print(
        f"into Prometheus: promtool tsdb create-blocks-from openmetrics {file} DATA",
        markup=False,
        soft_wrap=True,
    )
    return MET
