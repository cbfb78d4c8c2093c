"""Keyed draws of the agent plane: one key a purpose, scalar forms of what kernels inline.

Owns: the list of purposes, session and think-time tables.
Must not know: slices, stages.
"""

from __future__ import annotations

import math

import numpy as np

from sim.world.agents.kinds import GRID_NS, PPB
from sim.world.chance import TABLE_BITS, U64, Chance, interpolate, mix

PURPOSES = (
    "access.delay",
    "access.loss",
    "query.delay",
    "query.loss",
    "answer.delay",
    "answer.loss",
    "transit.delay",
    "transit.loss",
    "last.delay",
    "last.loss",
    "retry",
    "shard",
    "cache",
    "copy.delay",
    "copy.loss",
    "copy.order",
    "sample",
    "session",
    "think",
    "return",
    "disconnect",
    "population",
    "replica.trip",
    "replica.copy",
    "session.past",
    "entry",
    "relay.delay",
    "relay.loss",
)
(
    ACCESS_DELAY,
    ACCESS_LOSS_DRAW,
    QUERY_DELAY,
    QUERY_LOSS,
    ANSWER_DELAY,
    ANSWER_LOSS,
    TRANSIT_DELAY,
    TRANSIT_LOSS,
    LAST_DELAY,
    LAST_LOSS,
    RETRY,
    SHARD,
    CACHE,
    COPY_DELAY,
    COPY_LOSS,
    COPY_ORDER,
    SAMPLE,
    SESSION,
    THINK,
    RETURN,
    DISCONNECT,
    POPULATION,
    REPLICA_TRIP,
    REPLICA_COPY,
    SESSION_PAST,
    ENTRY,
    RELAY_DELAY,
    RELAY_LOSS,
) = range(len(PURPOSES))

_CELLS = 1 << TABLE_BITS
_TABLE_UNIT_NS = 1_000
"""Durations are tabled in microseconds: steps of heavy tails in ns exceed 2**47."""
_LONGEST_UNITS = 1 << 46

Table = tuple[int, ...]


def keys_of(chance: Chance) -> U64:
    """Return the key of each purpose, uint64[len(PURPOSES)]."""
    return np.array([chance.key(f"agents/{name}") for name in PURPOSES], dtype=np.uint64)


def below(bits: int, ppb: int) -> bool:
    """Say whether an event of probability `ppb` / 10**9 happens at 64 uniform bits."""
    return (bits >> 32) * PPB >> 32 < ppb


def scaled(bits: int, bound: int) -> int:
    """Map 64 uniform bits to 0 .. bound - 1 (bound below 2**31)."""
    return ((bits >> 32) * bound) >> 32


def jittered(median_ns: int, spread_ns: int, shape: list[int], bits: int) -> int:
    """One-way delay: median plus the spread times the jitter's quantile. At least 1 ns."""
    return max(1, median_ns + (spread_ns * interpolate(shape, bits) >> 20))


def duration_ns(table: list[int], bits: int) -> int:
    """Read a duration table (microseconds) at 64 uniform bits. At least one grid cell."""
    return max(GRID_NS, interpolate(table, bits) * _TABLE_UNIT_NS)


def think_ns(table: list[int], key: int, agent: int, number: int) -> int:
    """Draw the think time before an agent's closed-loop transaction `number`."""
    return duration_ns(table, mix(key, agent, number))


def weibull_table(shape: float, scale_ns: float) -> Table:
    """Quantiles of a Weibull, in microseconds; the last cell keeps the mean of its tail.

    Raises ValueError where the tail exceeds 2**46 microseconds (two years).
    """
    low = -np.log1p(-np.arange(_CELLS) / _CELLS)
    quantiles = scale_ns * low ** (1.0 / shape)
    tail = np.linspace(low[-1], low[-1] + 80.0, 80_001)
    mean = np.trapezoid(scale_ns * tail ** (1.0 / shape) * np.exp(low[-1] - tail), tail)
    return _table(quantiles, float(mean))


def weibull_residual_table(shape: float, scale_ns: float) -> Table:
    """Quantiles of a Weibull's residual life in equilibrium, in microseconds.

    Density (1 - F(t)) / mean: Cox, "Renewal Theory", 1962, section 5.1.
    """
    points = np.exp(np.linspace(math.log(1e-14), math.log(800.0), 400_001))
    density = np.exp(-points) * points ** (1.0 / shape)
    steps = np.diff(np.log(points)) * 0.5 * (density[1:] + density[:-1])
    cumulative = np.concatenate(([0.0], np.cumsum(steps)))
    cumulative /= cumulative[-1]
    lives = scale_ns * points ** (1.0 / shape)
    quantiles = np.interp(np.arange(_CELLS) / _CELLS, cumulative, lives)
    quantiles[0] = 0.0
    inside = cumulative >= (_CELLS - 1) / _CELLS
    weights = np.diff(cumulative[inside])
    middles = 0.5 * (lives[inside][1:] + lives[inside][:-1])
    return _table(quantiles, float((weights * middles).sum() / weights.sum()))


def exponential_table(mean_ns: int) -> Table:
    """Quantiles of an exponential, in microseconds."""
    return weibull_table(1.0, float(mean_ns))


def _table(quantiles: np.ndarray[tuple[int], np.dtype[np.float64]], tail_mean: float) -> Table:
    last = max(2.0 * tail_mean - float(quantiles[-1]), float(quantiles[-1]))
    values = [round(float(q) / _TABLE_UNIT_NS) for q in quantiles] + [round(last / _TABLE_UNIT_NS)]
    if values[-1] > _LONGEST_UNITS:
        years = values[-1] * _TABLE_UNIT_NS / (365 * 86_400 * 10**9)
        raise ValueError(f"durations up to {years:.0f} years: raise the shape or lower the scale")
    return tuple(values)


def weibull_mean_ns(shape: float, scale_ns: float) -> float:
    """Mean of a Weibull."""
    return scale_ns * math.gamma(1.0 + 1.0 / shape)
