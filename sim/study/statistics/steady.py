"""Steady state from one long run: where the warm-up ends, and an interval from what follows.

Owns: MSER-5 truncation and overlapping batch means. Records within a run depend on each other, so
the t interval over them would be far too narrow. Must not know: what the series is of.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt, sqrt

import numpy as np
from numpy.typing import ArrayLike

from sim.study.statistics.intervals import Interval, checked, t_quantile

BATCH = 5
"""Values a batch: the 5 of MSER-5."""
LEAST_VALUES = 100
"""Values below which neither method says anything (20 batches of five)."""


class NoSteadyState(Exception):
    """A series that is too short, or that had not settled when it ended."""


@dataclass(frozen=True, slots=True)
class Steady:
    """What is left of a series: values from `start` on. `mean`: its interval."""

    start: int
    mean: Interval


def mser5(values: ArrayLike) -> int:
    """Return how many values of a series are warm-up, a multiple of five.

    The truncation that leaves the mean of what remains with the least standard error, over batch
    means of five; ties go to the shortest. Raises NoSteadyState for fewer than 100 values, and
    where the best truncation takes half of the series or more: then the whole of it may be
    warm-up. Source: White, Cobb, Spratt, "A comparison of five steady-state truncation heuristics
    for simulation", WSC 2000; the limit of half: Hoad, Robinson, Davies, "Automating warm-up
    length estimation", J. Oper. Res. Soc. 61 (2010).
    """
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or series.size < LEAST_VALUES:
        raise NoSteadyState(f"{series.size} values; truncation takes {LEAST_VALUES}")
    batches = series[: series.size // BATCH * BATCH].reshape(-1, BATCH).mean(axis=1)
    # From the back: count, sum and sum of squares of all batches from d on. Shifted by the mean,
    # so that the squares don't eat the digits.
    shifted = (batches - batches.mean())[::-1]
    count = np.arange(1, batches.size + 1)
    total, squares = np.cumsum(shifted), np.cumsum(shifted * shifted)
    error = ((squares - total * total / count) / (count * count))[::-1]
    # The last few batches agree by chance alone, so they are no candidates (Hoad et al.: five).
    best = int(np.argmin(np.maximum(error[:-5], 0.0)))
    if best >= batches.size // 2:
        raise NoSteadyState(
            f"the best truncation takes {best * BATCH} of {series.size} values: the series had not "
            "settled; run it longer"
        )
    return best * BATCH


def overlapping_batch_means(
    values: ArrayLike, confidence: float = 0.95, batch: int | None = None
) -> Interval:
    """Return the mean of a steady series with an interval that allows for its correlation.

    `batch`: values a batch, None for the square root of n; long against the correlation, or the
    interval is too narrow. All n - batch + 1 overlapping batches give the variance, on
    3/2 (n / batch - 1) degrees of freedom. Raises NoSteadyState for fewer than 100 values. Source:
    Meketon and Schmeiser, "Overlapping batch means: something for nothing?", WSC 1984.
    """
    series = np.asarray(values, dtype=np.float64)
    checked(confidence)
    n = series.size
    if series.ndim != 1 or n < LEAST_VALUES:
        raise NoSteadyState(f"{n} values; batch means take {LEAST_VALUES}")
    size = isqrt(n) if batch is None else batch
    if not 1 <= size <= n // 2:
        raise ValueError(f"batches of {size} values out of {n}: from 1 to {n // 2}")
    mean = float(series.mean())
    sums = np.concatenate(([0.0], np.cumsum(series - mean)))
    means = (sums[size:] - sums[:-size]) / size
    variance = size * float((means * means).sum()) / ((n - size + 1) * (n - size))
    reach = t_quantile((1 + confidence) / 2, 1.5 * (n / size - 1))
    half = reach * sqrt(variance)
    return Interval(mean, mean - half, mean + half, confidence, n)


def steady_mean(values: ArrayLike, confidence: float = 0.95) -> Steady:
    """Drop the warm-up (MSER-5) and return the mean of the rest (overlapping batch means)."""
    series = np.asarray(values, dtype=np.float64)
    start = mser5(series)
    return Steady(start, overlapping_batch_means(series[start:], confidence))
