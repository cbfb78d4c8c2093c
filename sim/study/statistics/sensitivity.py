"""Which settings matter: Sobol indices of a metric over ranges of settings.

Owns: the indices with their intervals. Must not know: how points are drawn (`sweep: {sobol: ...}`
of the scenario does that) or run; `sobol_of` reads what a study came to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sim.record.runs import Run, RunError
from sim.scenario.load import load_scenario
from sim.scenario.sweep import Sobol
from sim.study.overview import metric_of, results_of
from sim.study.statistics.intervals import F64, Interval, checked
from sim.world.chance import Chance


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Sobol indices of one setting.

    `first`: share of the metric's variance that the setting explains by itself; `total`: that it
    takes part in, interactions included. Both with bootstrap intervals.
    """

    path: str
    first: Interval
    total: Interval


def sobol_indices(
    values: ArrayLike,
    paths: Sequence[str],
    *,
    chance: Chance,
    confidence: float = 0.95,
    resamples: int = 999,
) -> list[Sensitivity]:
    """Return the indices from the metric at each point of a Sobol sweep, in its order.

    Estimators of `scipy.stats.sobol_indices` (Saltelli 2010); bootstrap intervals (percentiles)
    over base points.
    Raises ValueError where the metric is constant: nothing is there to be explained.
    """
    flat = np.asarray(values, dtype=np.float64)
    count = len(paths)
    base, rest = divmod(flat.size, count + 2)
    if rest or not np.isfinite(flat).all():
        raise ValueError(f"{flat.size} values for {count} settings: base x {count + 2}, all finite")
    if np.ptp(flat) == 0:
        raise ValueError("the metric is the same at every point: no setting matters")
    blocks = flat.reshape(count + 2, base)
    # Percentiles over resampled base points; SciPy's own bootstrap (BCa) has no answer where a
    # setting has no effect at all.
    random = chance.stream("study/sobol/bootstrap")
    picks = random.integers(base, size=(resamples, base))
    around = np.array([_estimates(blocks[:, pick]) for pick in picks if np.ptp(blocks[:, pick])])
    side = (1 - checked(confidence)) / 2
    low, high = np.quantile(around, [side, 1 - side], axis=0)
    first, total = (
        [
            Interval(float(e), float(a), float(b), confidence, base)
            for e, a, b in zip(estimates, low[kind], high[kind], strict=True)
        ]
        for kind, estimates in enumerate(_estimates(blocks))
    )
    return [Sensitivity(*row) for row in zip(paths, first, total, strict=True)]


def _estimates(blocks: F64) -> F64:
    """Return first and total indices (two rows) from blocks A, B, AB_1, ...; one row a block."""
    from scipy.stats import sobol_indices as estimated

    given = {
        "f_A": blocks[0][None, :],
        "f_B": blocks[1][None, :],
        "f_AB": blocks[2:][:, None, :],
    }
    found = estimated(func=given, n=blocks.shape[1])
    return np.array([found.first_order, found.total_order], dtype=np.float64)


def sobol_of(run: Run, metric: str, confidence: float = 0.95) -> list[Sensitivity]:
    """Return the indices of a metric from a study with `sweep: {sobol: ...}`: means of replicates.

    Raises RunError where the study has another sweep, and where a point has no value: the design
    is whole or nothing.
    """
    name = metric_of(metric).name
    swept = load_scenario(run.path / "scenario.yaml").sweep
    if not isinstance(swept, Sobol):
        raise RunError(f"{run.path.name}: no `sweep: {{sobol: ...}}`, so it has no indices")
    results = results_of(run)
    settings: Sequence[Mapping[str, str]] = [dict(point) for point in run.settings]
    means = []
    for point in range(len(settings)):
        values = [value for value in results.values(point, name) if value is not None]
        if not values:
            raise RunError(f"point {point} has no value of {name}: indices take all of the design")
        means.append(float(np.mean(values)))
    chance = Chance(int(run.manifest["seed"]), 0)
    try:
        return sobol_indices(means, list(settings[0]), chance=chance, confidence=confidence)
    except ValueError as error:
        raise RunError(f"{run.path.name}: {error}") from None
