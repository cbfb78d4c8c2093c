"""Confidence intervals of means, differences, proportions and quantiles over replicates.

Owns: how an estimate gets its interval. Replicates are independent draws; records within one run
are not: see `steady`. Must not know: what the figures are of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.monitor.binomial import PPM, interval_ppm

F64 = NDArray[np.float64]


MANY_TRIALS = 400
"""Trials up to which bounds are made of integers."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate from `n` values and the interval that covers the truth `confidence` of times.

    The ends are NaN where n says nothing about the spread, and infinite where an interval has no
    end on that side.
    """

    estimate: float
    lower: float
    upper: float
    confidence: float
    n: int

    @property
    def width(self) -> float:
        return self.upper - self.lower

    @property
    def half_width(self) -> float:
        return self.width / 2

    @property
    def relative_width(self) -> float:
        """Width over the absolute estimate; infinite around 0, unless the width is 0 too."""
        if self.width == 0:
            return 0.0
        return self.width / abs(self.estimate) if self.estimate else float("inf")

    def covers(self, value: float) -> bool:
        return self.lower <= value <= self.upper


def checked(confidence: float) -> float:
    """Return a confidence; ValueError unless it lies strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1: {confidence}")
    return confidence


def t_quantile(probability: float, degrees: float) -> float:
    """Return Student's t quantile; `degrees` of freedom need not be whole."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _flat(values: ArrayLike) -> F64:
    flat = np.asarray(values, dtype=np.float64)
    if flat.ndim != 1 or flat.size == 0 or not np.isfinite(flat).all():
        raise ValueError("an interval takes at least one value, all of them finite, in one row")
    return flat


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the mean with its t interval; one value has no ends (NaN).

    Exact for normal values, close for others where n is some tens and the skew is mild. Source:
    "Student", "The probable error of a mean", Biometrika 6 (1908).
    """
    flat = _flat(values)
    checked(confidence)
    mean = float(flat.mean())
    if flat.size == 1:
        return Interval(mean, float("nan"), float("nan"), confidence, 1)
    if flat.min() == flat.max():
        return Interval(mean, mean, mean, confidence, flat.size)
    reach = t_quantile((1 + confidence) / 2, flat.size - 1)
    half = reach * float(flat.std(ddof=1)) / sqrt(flat.size)
    return Interval(mean, mean - half, mean + half, confidence, flat.size)


def paired_interval(left: ArrayLike, right: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the mean of right less left, pair by pair, with its t interval.

    Pairs that share their chance (common random numbers) leave the noise that they share out of
    the difference. Raises ValueError where the lengths differ. Source: Law, "Simulation Modeling
    and Analysis", 5th ed., section 10.2.1.
    """
    ours, theirs = _flat(left), _flat(right)
    if ours.size != theirs.size:
        raise ValueError(f"{ours.size} values cannot be paired with {theirs.size}")
    return mean_interval(theirs - ours, confidence)


def proportion_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return a proportion with its exact (Clopper-Pearson) interval, in steps of 1e-6.

    The bounds are those of `sim.monitor.binomial`, rounded outwards; ValueError as there. Beyond
    `MANY_TRIALS` they are quantiles of the beta distribution in floats, a step wider at each end:
    integers of as many digits take minutes.
    """
    level = checked(confidence)
    if trials <= MANY_TRIALS:
        lower, upper = interval_ppm(successes, trials, round(level * PPM))
    else:
        lower, upper = _beta_bounds_ppm(successes, trials, level)
    return Interval(successes / trials, lower / PPM, upper / PPM, confidence, trials)


def _beta_bounds_ppm(successes: int, trials: int, level: float) -> tuple[int, int]:
    """Return Clopper and Pearson's bounds: quantiles of beta distributions. Source: as there."""
    from scipy.special import betaincinv

    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials}")
    side, failures = (1 - level) / 2, trials - successes
    lower = float(betaincinv(successes, failures + 1, side)) if successes else 0.0
    upper = float(betaincinv(successes + 1, failures, 1 - side)) if failures else 1.0
    return max(0, int(lower * PPM) - 1), min(PPM, int(upper * PPM) + 2)


def quantile_ranks(n: int, q: float, confidence: float = 0.95) -> tuple[int, int]:
    """Return the ranks (from 1) of the two order statistics that bracket the q-quantile.

    Rank 0 stands for minus infinity and n + 1 for infinity: too few values for that side. Each
    side fails with a chance of at most (1 - confidence) / 2, whatever the distribution: the number
    of values below the quantile is binomial (n, q). Source: David and Nagaraja, "Order
    Statistics", 3rd ed., section 7.1.
    """
    from scipy.special import bdtr

    if n < 1 or not 0 < q < 1:
        raise ValueError(f"a quantile takes n >= 1 and 0 < q < 1: n = {n}, q = {q}")
    side = (1 - checked(confidence)) / 2
    # P(B <= k) for k = 0..n-1. Lower rank l fails when B < l, i.e. B <= l - 1; upper rank u when
    # B >= u.
    below = bdtr(np.arange(n, dtype=np.float64), n, q)
    lower = int(np.searchsorted(below, side, side="right"))
    upper = int(np.searchsorted(below, 1 - side, side="left")) + 1
    return lower, upper


def quantile_interval(values: ArrayLike, q: float, confidence: float = 0.95) -> Interval:
    """Return the sample q-quantile (the smallest value that a share q does not exceed).

    With its distribution-free interval between order statistics; an end is infinite where n is
    too small for it (`quantile_ranks`). For independent values.
    """
    flat = np.sort(_flat(values))
    lower, upper = quantile_ranks(flat.size, q, confidence)
    rank = min(flat.size, max(1, int(np.ceil(q * flat.size - 1e-9))))
    return Interval(
        float(flat[rank - 1]),
        float(flat[lower - 1]) if lower >= 1 else float("-inf"),
        float(flat[upper - 1]) if upper <= flat.size else float("inf"),
        confidence,
        flat.size,
    )


def measured(values: Sequence[float | None]) -> tuple[list[float], int]:
    """Part what was measured from how many replicates had nothing to measure."""
    there = [float(value) for value in values if value is not None]
    return there, len(values) - len(there)
