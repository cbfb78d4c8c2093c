"""Chances like 1e-12 from 1e5 draws: a quorum falls short because too much weight is late.

Owns: exponential tilting for validators that are late independently of each other. For chances that
build up over time see `splitting`. Must not know: why a validator is late; a measured share, or an
assumed one, comes in, and the result is as good as the independence is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from sim.study.statistics.intervals import F64, Interval, checked, t_quantile
from sim.world.chance import Chance

_MOST_TILT = 1e9
_PIECE = 1 << 13
"""Draws at once: 10 MB at 150 validators."""


@dataclass(frozen=True, slots=True)
class RareEstimate:
    """A small chance. `tilt`: of the draws, a unit of weight; 0 where the event is not rare.

    `hits`: draws in which the event occurred, which tilting makes about half of them.
    """

    interval: Interval
    tilt: float
    hits: int

    @property
    def relative_error(self) -> float:
        """Half the interval over the estimate."""
        return self.interval.relative_width / 2


def quorum_shortfall(
    weights: ArrayLike,
    late: ArrayLike,
    more_than: int,
    *,
    chance: Chance,
    draws: int = 100_000,
    confidence: float = 0.95,
) -> RareEstimate:
    """Estimate P(late weight > `more_than`), each validator late by itself with chance `late[i]`.

    `weights`: positive integers; `late`: chances from 0 to 1 (1: Byzantine or down, its weight is
    always missing). A quorum Q of W falls short where more than W - Q is late. Draws come from the
    exponentially tilted law whose mean lies on the boundary, each counted with its likelihood
    ratio: unbiased, with a relative error that hardly grows as the event gets rarer. The interval
    is Student's over draws. Raises ValueError for weights or chances that are none. Source:
    Asmussen and Glynn, "Stochastic Simulation" (2007), section VI.2; Siegmund, "Importance
    sampling in the Monte Carlo study of sequential tests", Ann. Statist. 4 (1976).
    """
    masses, chances = _checked(weights, late)
    checked(confidence)
    if draws < 2:
        raise ValueError(f"an interval takes at least two draws: {draws}")
    if more_than >= int(masses.sum()) or float(masses[chances > 0].sum()) <= more_than:
        return RareEstimate(Interval(0.0, 0.0, 0.0, confidence, draws), 0.0, 0)
    scale = float(masses.max())
    shares = masses / scale
    tilt = _tilt(shares, chances, (more_than + 1) / scale)
    log_mass = float(np.logaddexp(_log(1 - chances), _log(chances) + tilt * shares).sum())
    tilted = _tilted(shares, chances, tilt)
    random = chance.stream("study/quorum_shortfall")
    total = squares = 0.0
    hits = 0
    for start in range(0, draws, _PIECE):
        count = min(_PIECE, draws - start)
        is_late = random.random((count, masses.size)) < tilted
        weight = is_late @ masses
        ratio = np.exp(log_mass - tilt * (weight[weight > more_than] / scale))
        total += float(ratio.sum())
        squares += float((ratio * ratio).sum())
        hits += ratio.size
    mean = total / draws
    spread = sqrt(max(0.0, squares / draws - mean * mean) * draws / (draws - 1))
    half = t_quantile((1 + confidence) / 2, draws - 1) * spread / sqrt(draws)
    interval = Interval(mean, max(0.0, mean - half), min(1.0, mean + half), confidence, draws)
    return RareEstimate(interval, tilt / scale, hits)


def exact_shortfall(weights: ArrayLike, late: ArrayLike, more_than: int) -> float:
    """Return P(late weight > `more_than`) by convolution: exact up to rounding, for small weights.

    Takes `more_than` + 1 floats a validator: the equal weights of a textbook, or weights in per
    mille, not those in units of 1e-9. All terms are positive, so that the tail keeps its digits.
    """
    masses, chances = _checked(weights, late)
    if more_than < 0:
        return 1.0
    held = np.zeros(more_than + 1)
    held[0] = 1.0
    over = 0.0
    for mass, p in zip(masses.astype(np.int64), chances, strict=True):
        moved = held * p
        kept = held * (1 - p)
        over += float(moved[max(0, more_than + 1 - mass) :].sum())
        if mass <= more_than:
            kept[mass:] += moved[: more_than + 1 - mass]
        held = kept
    return over


def _checked(weights: ArrayLike, late: ArrayLike) -> tuple[F64, F64]:
    masses = np.asarray(weights, dtype=np.float64)
    chances = np.asarray(late, dtype=np.float64)
    if masses.ndim != 1 or masses.shape != chances.shape or masses.size == 0:
        raise ValueError("one weight and one chance a validator, in two rows of one length")
    if (masses < 1).any() or (masses != np.floor(masses)).any() or masses.sum() > 2**53:
        raise ValueError("weights are positive integers with a sum of at most 2^53")
    if not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError("a chance lies between 0 and 1")
    return masses, chances


def _log(chances: F64) -> F64:
    with np.errstate(divide="ignore"):  # of a chance of 0
        return np.asarray(np.log(chances), dtype=np.float64)


def _tilted(shares: F64, chances: F64, tilt: float) -> F64:
    """Return p e^(tw) / (1 - p + p e^(tw)); by the log odds, for the power may overflow."""
    from scipy.special import expit

    return np.asarray(expit(_log(chances) - _log(1 - chances) + tilt * shares), dtype=np.float64)


def _tilt(shares: F64, chances: F64, boundary: float) -> float:
    """Return the tilt that puts the mean late weight on the boundary; 0 where it is above."""
    from scipy.optimize import brentq

    def excess(tilt: float) -> float:
        return float((shares * _tilted(shares, chances, tilt)).sum()) - boundary

    if excess(0.0) >= 0:
        return 0.0
    high = 1.0
    while excess(high) < 0:
        high *= 2
        if high > _MOST_TILT:  # the boundary is all that can be late: its mean is never quite there
            return high
    return float(brentq(excess, 0.0, high))
