"""The shapes of delay jitter: one committed integer quantile table for every pair of regions.

Owns: the standardised shifted lognormal, its sigma, the standard normal of models without
geography, the committed tables and how to regenerate them.
Must not know: which regions exist, what their medians are.
"""

from __future__ import annotations

import csv
import math
from functools import cache
from importlib import resources
from statistics import NormalDist

from sim.world.chance import TABLE_BITS

FIXED_POINT_BITS = 20
"""Shape values are in units of spread (p99 - p50) times 2**20: 0 at the median, 2**20 at p99."""

SIGMA_PERMILLE = 400
"""Sigma of the lognormal, in thousandths.

Shifted lognormals fitted to 420 AWS region pairs (April 2024) have sigma 0.126 / 0.269 / 1.00 at
p10 / p50 / p90 over pairs. The table serves all pairs at once, so sigma is the one whose standard
quantiles come nearest, by least squares, to the pooled quantile ratios of the median pair
(p10 0.988, p25 0.993, p75 1.011, p90 1.025, p99 1.051 over p50): 0.40, between the median and the
p90 of the fits, and a test repeats that fit.
"""

_NORMAL = NormalDist()
_Z99 = _NORMAL.inv_cdf(0.99)


def standard_quantile(p: float, sigma: float) -> float:
    """Return the shifted lognormal's p-quantile in units of (p99 - p50) above the median.

    X = base + exp(N(mu, sigma)) has (X_p - X_0.5) / (X_0.99 - X_0.5) =
    (exp(sigma z_p) - 1) / (exp(sigma z_0.99) - 1): base and mu cancel. `p` in (0, 1).
    """
    return math.expm1(sigma * _NORMAL.inv_cdf(p)) / math.expm1(sigma * _Z99)


def regenerate() -> list[int]:
    """Compute the quantile table that is committed as `data/jitter_shape.csv`.

    2**12 + 1 integers in fixed point 2**20. The quantile at 1 is infinite and the one at 0 is never
    met; the two ends are set so that linear interpolation keeps the mean of the first and of the
    last cell, hence of the whole distribution to within the curvature of the inner cells.
    """
    cells = 1 << TABLE_BITS
    sigma = SIGMA_PERMILLE / 1000
    inner = [standard_quantile(i / cells, sigma) for i in range(1, cells)]
    scale = math.expm1(sigma * _Z99)
    edge = _NORMAL.inv_cdf(1 - 1 / cells)
    growth = math.exp(sigma * sigma / 2) * cells
    first_mean = (growth * _NORMAL.cdf(-edge - sigma) - 1) / scale
    last_mean = (growth * _NORMAL.cdf(sigma - edge) - 1) / scale
    first = 2 * first_mean - inner[0]
    last = 2 * last_mean - inner[-1]
    return [round(value * (1 << FIXED_POINT_BITS)) for value in (first, *inner, last)]


def regenerate_normal() -> list[int]:
    """Compute the standard normal's table, `data/normal_shape.csv`: 2**20 is one deviation.

    Its ends keep the mean of the first and of the last cell, as above: density at the cell's edge,
    over the cell's probability.
    """
    cells = 1 << TABLE_BITS
    inner = [_NORMAL.inv_cdf(i / cells) for i in range(1, cells)]
    last = 2 * _NORMAL.pdf(inner[-1]) * cells - inner[-1]
    return [round(value * (1 << FIXED_POINT_BITS)) for value in (-last, *inner, last)]


@cache
def shape_table(name: str = "jitter") -> tuple[int, ...]:
    """Read a committed table: 2**12 + 1 non-decreasing integers, fixed point 2**20.

    `name`: jitter, or normal.
    """
    path = resources.files("sim.world.network") / "data" / f"{name}_shape.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(int(row["spread_q20"]) for row in csv.DictReader(lines))
