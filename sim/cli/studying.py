"""`resume`, `compare`, `show` of a run: studies, taken up and looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from sim.cli.outcome import INCONCLUSIVE, MET, UsageError
from sim.cli.screen import console, verdict
from sim.cli.study_screen import (
    difference_table,
    index_table,
    point_table,
    study_progress,
    supervision_line,
)
from sim.record.runs import Run, open_run
from sim.scenario.quantities import DURATION, QuantityError

if TYPE_CHECKING:
    from sim.engine.run import RunOutcome
    from sim.study.sweep import StudyProgress, Workers


def workers_of(
    count: int | None, scheduler: str | None, time_limit: str | None, attempts: int
) -> Workers:
    """Return who runs units, as asked on the command line."""
    from sim.study.sweep import Workers

    if scheduler is not None and count is not None:
        raise UsageError("--scheduler and --workers: the cluster has the workers that it has")
    limit_s = None
    if time_limit is not None:
        try:
            limit_s = DURATION.parse(time_limit) / 1e9
        except QuantityError as error:
            raise UsageError(f"--time-limit {time_limit}: {error}") from None
        if limit_s <= 0:
            raise UsageError("--time-limit: a run takes longer than no time")
    return Workers(count=count, scheduler=scheduler, time_limit_s=limit_s, attempts=attempts)


def supervised(
    go: Callable[[Callable[[StudyProgress], None] | None, Callable[[Path], None]], RunOutcome],
    quiet: bool,
    introduce: Callable[[Console], None] = lambda _: None,
) -> int:
    """Run or resume a study by `go(progress, started)`; show it; return the exit code."""
    from sim.study.slots import ExecutorLost

    path: list[Path] = []
    screen = console()

    def started(where: Path) -> None:
        path.append(where)
        if not quiet:
            screen.print(str(where), soft_wrap=True, markup=False)
            introduce(screen)

    try:
        if quiet:
            outcome = go(None, started)
            print(outcome.path)
            return outcome.exit_code
        with study_progress(screen) as progress:
            outcome = go(progress, started)
    except ExecutorLost as error:
        hint = f"; creto-sim resume {path[0]} goes on" if path else ""
        raise UsageError(f"{error}{hint}") from None
    _tell(screen, outcome)
    return outcome.exit_code


def _tell(screen: Console, outcome: RunOutcome) -> None:
    run = open_run(outcome.path)
    verdict(screen, outcome)
    line = supervision_line(run.summary["supervision"])
    screen.print(Text(line, style="dim"), soft_wrap=True)
    _points(screen, run, (), 0.95)
    if "error" in run.manifest:
        screen.print(f"failed: {run.manifest['error']}", soft_wrap=True, markup=False)
    if outcome.state != "complete":
        screen.print(f"to go on: creto-sim resume {outcome.path}", soft_wrap=True, markup=False)
    screen.print(str(outcome.path), soft_wrap=True, markup=False)


def resume(path: Path, workers: Workers, quiet: bool) -> int:
    """Run what a study still lacks; return the exit code of its verdict."""
    from sim.study.sweep import resume_study

    return supervised(
        lambda progress, started: resume_study(
            path, workers=workers, progress=progress, started=started
        ),
        quiet,
    )


def show_run(path: Path, metrics: Sequence[str], confidence: float) -> int:
    """Print what a run or a study came to, point by point."""
    run = open_run(path)
    screen = console()
    screen.print(f"{run.path}: {run.state}, {run.verdict}", soft_wrap=True, markup=False)
    _points(screen, run, metrics, confidence)
    if len(run.settings) == 1:
        _directory(screen, run)
    _indices(screen, run, metrics, confidence)
    return MET


def _indices(screen: Console, run: Run, metrics: Sequence[str], confidence: float) -> None:
    """Print which settings matter, where the study has a Sobol sweep that is whole."""
    from sim.scenario.errors import ScenarioErrors
    from sim.study.swept import Study, is_sobol

    try:
        study = Study(run, metrics, confidence)
    except (ScenarioErrors, OSError):  # of another version: the points above are all there is
        return
    if is_sobol(study):
        index_table(screen, study, confidence)


def _directory(screen: Console, run: Run) -> None:
    """Print what the first replicate's directory shows, if it has one."""
    from sim.study.directory import hot_hosts, table_state
    from sim.study.overview import results_of

    stored = results_of(run).by_place.get((0, 0))
    if stored is None or not stored.result.metrics.get("lookups"):
        return
    state = table_state(stored.result.metrics)
    if state is not None:
        screen.print(state, soft_wrap=True, markup=False)
    found = hot_hosts(run, 0, 0)
    named = ", ".join(
        f"{host.node} ({host.share_ppm / 10_000:.2f} %, {host.peak_per_s:,} a second at most)"
        for host in found
    )
    screen.print(f"hottest hosts of the registry: {named}", soft_wrap=True, markup=False)


def _points(screen: Console, run: Run, metrics: Sequence[str], confidence: float) -> None:
    from sim.study.overview import metric_of, overview, results_of

    chosen = [metric_of(name) for name in metrics or _asked(run)]
    rows = overview(run, [metric.name for metric in chosen], confidence)
    if not metrics:
        chosen = [m for m in chosen if any(row.means[m.name] is not None for row in rows)]
    point_table(screen, rows, {metric.name: metric.unit for metric in chosen}, confidence)
    for (point, number), why in sorted(results_of(run).damaged.items()):
        line = f"point {point}, replicate {number} is left out: {why}"
        screen.print(line, soft_wrap=True, markup=False)
    if run.state in ("died", "interrupted", "failed"):
        line = f"the run {_ENDS[run.state]}; creto-sim resume {run.path} runs what is missing"
        screen.print(line, soft_wrap=True, markup=False)


_ENDS = {"died": "died", "interrupted": "was interrupted", "failed": "failed"}


def _asked(run: Run) -> Sequence[str]:
    """Return the metrics that the scenario names, or the headlines."""
    from sim.scenario.errors import ScenarioErrors
    from sim.scenario.load import load_scenario
    from sim.study.overview import HEADLINES, metrics_asked

    try:
        scenario = load_scenario(run.path / "scenario.yaml")
    except (ScenarioErrors, OSError):  # of another version: the results can be read all the same
        return HEADLINES
    return metrics_asked(scenario)[:4]


def compare_runs(left: Path, right: Path, metrics: Sequence[str], confidence: float) -> int:
    """Print paired differences; exit 3 where the sides have no whole replicate to compare."""
    from sim.study.compare import compare

    runs = open_run(left), open_run(right)
    found = compare(*runs, metrics, confidence)
    screen = console()
    for side, run in zip("AB", runs, strict=True):
        screen.print(f"{side}: {run.path} ({run.state})", soft_wrap=True, markup=False)
    difference_table(screen, found, confidence)
    return MET if found.differences or found.equal else INCONCLUSIVE
