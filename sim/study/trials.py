"""One trial of a search: a study of one scenario, and what it says of all its replicates together.

Owns: finding the study that was run before, its verdict with what was missed, its loads by class.
Must not know: what is searched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sim.record.machine import versions
from sim.record.runs import Run, RunError, open_run
from sim.scenario.model import Scenario
from sim.study.overview import Results, results_of
from sim.study.saturation import ClassLoad, class_loads


@dataclass(frozen=True, slots=True)
class Figures:
    """What one replicate of a trial took and came to."""

    replicate: int
    verdict: str
    cpu_ns: int
    peak_memory_bytes: int
    metrics: dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Trial:
    """One amount, tried. `setting`: what is relieved, empty for the scenario as it is.

    `missed`: expectations that some replicate did not meet, with what was found. `loads`: by class,
    means over replicates; the busiest station is that of the worst one.
    """

    setting: str
    amount: int
    verdict: str
    missed: tuple[str, ...]
    runs: tuple[Figures, ...]
    loads: tuple[ClassLoad, ...]
    folder: str

    @property
    def held(self) -> bool:
        return self.verdict == "met"


def found_before(folder: Path, asked: Scenario) -> Run | None:
    """Return the study of this very scenario by these very sources, if there is one."""
    for path in sorted(folder.glob("*/manifest.json")):
        if path.parent.is_symlink():
            continue
        try:
            run = open_run(path.parent)
        except RunError:
            continue
        same = run.manifest["scenario"]["digest"] == asked.digest
        if same and run.manifest["versions"] == versions() and run.state != "running":
            return run
    return None


def trial_of(run: Run, asked: Scenario, amount: int, setting: str, root: Path) -> Trial:
    results = results_of(run)
    numbers = sorted(number for _, number in results.by_place)
    missed: dict[str, None] = {}
    runs = []
    for number in numbers:
        stored = results.by_place[0, number]
        result = stored.result
        for words, outcome, found in stored.lines:
            if outcome != "met":
                missed.setdefault(f"{words}: {found}", None)
        runs.append(
            Figures(
                number,
                result.verdict,
                result.cpu_ns,
                result.peak_memory_bytes,
                dict(result.metrics),
            )
        )
    if run.state != "complete":
        missed.setdefault(str(run.manifest.get("error", f"the run is {run.state}")), None)
    return Trial(
        setting,
        amount,
        run.verdict if run.state == "complete" else "inconclusive",
        tuple(missed),
        tuple(runs),
        _loads(run, asked, results),
        run.path.relative_to(root).as_posix(),
    )


def _loads(run: Run, asked: Scenario, results: Results) -> tuple[ClassLoad, ...]:
    """Return class loads over replicates: means, the peak of all, the worst one's station."""
    by_class: dict[tuple[str, str], list[ClassLoad]] = {}
    for point, number in sorted(results.by_place):
        for load in class_loads(run, asked, point, number):
            by_class.setdefault((load.station, load.lane), []).append(load)
    found = []
    for loads in by_class.values():
        worst = max(loads, key=lambda load: load.sustained_ppm)
        found.append(
            replace(
                worst,
                mean_ppm=sum(load.mean_ppm for load in loads) // len(loads),
                sustained_ppm=sum(load.sustained_ppm for load in loads) // len(loads),
                peak_ppm=max(load.peak_ppm for load in loads),
            )
        )
    return tuple(sorted(found, key=lambda load: -load.sustained_ppm))
