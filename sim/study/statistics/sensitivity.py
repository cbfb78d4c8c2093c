"""Which settings matter: Sobol indices of a metric over ranges of settings.

Owns: the points that a sweep has to run for that (Saltelli's design on scrambled Sobol points), and
the indices with their intervals. Must not know: how points are run; `sobol_sweep` makes a scenario
that any study can run, `sobol_of` reads what it came to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from sim.record.runs import Run, RunError
from sim.scenario.model import Scenario
from sim.scenario.sweep import Zip
from sim.study.overview import metric_of, results_of
from sim.study.statistics.intervals import F64, Interval, checked
from sim.world.chance import Chance


@dataclass(frozen=True, slots=True)
class Range:
    """A setting and the values that it may take, all equally likely between the two ends.

    `unit` follows the number in the scenario's YAML (`ms`, `%`); `whole` rounds to integers.
    """

    path: str
    low: float
    high: float
    unit: str = ""
    whole: bool = False

    def value(self, share: float) -> str | int | Decimal:
        """Return the YAML value at a share of the way from the low to the high end."""
        amount = self.low + share * (self.high - self.low)
        if self.whole:
            # Each integer from low to high has the same share of the way.
            number = int(self.low + share * (self.high - self.low + 1))
            amount = min(int(self.high), number)
            return f"{int(amount)} {self.unit}" if self.unit else int(amount)
        exact = Decimal(f"{amount:.6f}")
        return f"{exact} {self.unit}" if self.unit else exact


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Sobol indices of one setting.

    `first`: share of the metric's variance that the setting explains by itself; `total`: that it
    takes part in, interactions included. Both with bootstrap intervals.
    """

    path: str
    first: Interval
    total: Interval


def sobol_design(settings: int, base: int, chance: Chance) -> F64:
    """Return base x (settings + 2) points in the unit cube, block by block: A, B, then A with the
    i-th column of B for each i.

    `base` is a power of two, for which Sobol points are balanced; ValueError otherwise. Source:
    Saltelli et al., "Variance based sensitivity analysis of model output", Comput. Phys. Commun.
    181 (2010); Owen, "Scrambling Sobol' and Niederreiter-Xing points", J. Complexity 14 (1998).
    """
    from scipy.stats import qmc

    if settings < 1 or base < 2 or base & (base - 1):
        raise ValueError(f"a design takes settings and a power of two of base points: {base}")
    stream = chance.stream("study/sobol")
    points = qmc.Sobol(2 * settings, scramble=True, rng=stream).random(base)
    a, b = points[:, :settings], points[:, settings:]
    blocks = [a, b]
    for index in range(settings):
        mixed = a.copy()
        mixed[:, index] = b[:, index]
        blocks.append(mixed)
    return np.concatenate(blocks)


def sobol_indices(
    values: ArrayLike,
    paths: Sequence[str],
    *,
    chance: Chance,
    confidence: float = 0.95,
    resamples: int = 999,
) -> list[Sensitivity]:
    """Return the indices from the metric at each point of `sobol_design`, in its order.

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


def sobol_sweep(scenario: Scenario, ranges: Sequence[Range], base: int) -> Scenario:
    """Return `scenario` with a sweep over the design: base x (settings + 2) points.

    The design is drawn by the scenario's seed, so the same call gives the same points. Run it with
    `sim.run_study`. Raises ValueError where it has a sweep already, or a range is empty.
    """
    if scenario.sweep is not None:
        raise ValueError("the scenario has a sweep already")
    if not ranges or not all(each.low < each.high for each in ranges):
        raise ValueError("a range goes from a low to a higher value")
    design = sobol_design(len(ranges), base, Chance(scenario.seed, 0))
    axes = tuple(
        (each.path, tuple(each.value(float(share)) for share in design[:, index]))
        for index, each in enumerate(ranges)
    )
    swept = replace(scenario, sweep=Zip(zip=axes))
    swept.points()  # raises ValueError where some point is no valid scenario
    return swept


def sobol_of(run: Run, metric: str, confidence: float = 0.95) -> list[Sensitivity]:
    """Return the indices of a metric from a study of `sobol_sweep`: means over replicates.

    Raises RunError where a point has no value: the design is whole or nothing.
    """
    name = metric_of(metric).name
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
