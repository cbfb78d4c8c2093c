"""Two runs or studies, replicate against replicate: paired differences with intervals.

Owns: what is paired with what. Points are paired by their settings, replicates by their number:
the same number means the same chance, so what both share cancels. Must not know: terminals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sim.record.runs import Run, RunError
from sim.record.summary import METRICS, Metric
from sim.study.overview import Results, Settings, metric_of, results_of
from sim.study.statistics.intervals import Interval, paired_interval


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of one point: right less left, over the pairs where both had something to measure.

    `unmeasured`: pairs where one side or both had not; they are in no figure here.
    """

    settings: Settings
    metric: Metric
    left_mean: float
    right_mean: float
    difference: Interval
    unmeasured: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.difference.lower > 0 or self.difference.upper < 0

    @property
    def relative(self) -> float | None:
        """The difference over the left mean; None where that is 0."""
        return self.difference.estimate / self.left_mean if self.left_mean else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences by point and metric. `equal`: (point, metric) rows whose pairs are all equal.

    `left_only`, `right_only`: points that have no partner. `unpaired`: whole replicates that the
    other side lacks.
    """

    differences: Sequence[Difference]
    equal: int
    left_only: Sequence[Settings]
    right_only: Sequence[Settings]
    pairs: int
    unpaired: int


def compare(
    left: Run, right: Run, metrics: Sequence[str] = (), confidence: float = 0.95
) -> Comparison:
    """Compare every metric, or those named, of every point that both have.

    Raises RunError where the seeds differ (then replicates of one number share nothing), where no
    point has a partner, or where no replicate is whole on both sides.
    """
    seeds = left.manifest["seed"], right.manifest["seed"]
    if seeds[0] != seeds[1]:
        raise RunError(
            f"seeds {seeds[0]} and {seeds[1]}: replicates of one number share no chance, so "
            f"they make no pairs; run {right.path.name} with --seed {seeds[0]}"
        )
    chosen = [metric_of(name) for name in metrics] or list(METRICS)
    ours, theirs = results_of(left), results_of(right)
    partners = {settings: point for point, settings in enumerate(right.settings)}
    shared = [(p, partners[s], s) for p, s in enumerate(left.settings) if s in partners]
    if not shared:
        raise RunError(f"no point in common: {_first(left)} against {_first(right)}")
    differences, equal, pairs = [], 0, 0
    for left_point, right_point, settings in shared:
        numbers = _paired(ours, left_point, theirs, right_point)
        pairs += len(numbers)
        for metric in chosen:
            found = _difference(
                settings,
                metric,
                [ours.by_place[left_point, number].result.metrics for number in numbers],
                [theirs.by_place[right_point, number].result.metrics for number in numbers],
                confidence,
            )
            if found is None:
                continue
            if found.difference.lower == found.difference.upper == 0:
                equal += 1
            else:
                differences.append(found)
    if not pairs:
        raise RunError("no replicate is whole on both sides")
    left_settings = dict.fromkeys(left.settings)
    return Comparison(
        differences,
        equal,
        [settings for settings in left.settings if settings not in partners],
        [settings for settings in right.settings if settings not in left_settings],
        pairs,
        len(ours.by_place) + len(theirs.by_place) - 2 * pairs,
    )


def _first(run: Run) -> str:
    words = ", ".join(f"{path} = {value}" for path, value in run.settings[0])
    return words or "no sweep"


def _paired(ours: Results, left_point: int, theirs: Results, right_point: int) -> list[int]:
    """Return the numbers of the replicates that are whole on both sides."""
    here = [number for point, number in sorted(ours.by_place) if point == left_point]
    return [number for number in here if (right_point, number) in theirs.by_place]


def _difference(
    settings: Settings,
    metric: Metric,
    left: Sequence[Mapping[str, int | None]],
    right: Sequence[Mapping[str, int | None]],
    confidence: float,
) -> Difference | None:
    """Compare one metric of one point; None where no pair has it on both sides."""
    both = [(a.get(metric.name), b.get(metric.name)) for a, b in zip(left, right, strict=True)]
    pairs = [(float(a), float(b)) for a, b in both if a is not None and b is not None]
    if not pairs:
        return None
    before, after = [a for a, _ in pairs], [b for _, b in pairs]
    difference = paired_interval(before, after, confidence)
    if len(pairs) == 1 and difference.estimate == 0:
        difference = Interval(0.0, 0.0, 0.0, confidence, 1)
    return Difference(
        settings,
        metric,
        sum(before) / len(before),
        sum(after) / len(after),
        difference,
        len(left) - len(pairs),
    )
