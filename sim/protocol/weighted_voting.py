"""Voting weights from stake, reputation and uptime, capped by exact water-filling.

Owns the weight rule. Must not know epochs, blocks, or who earned what. Integers only: every share
is a ratio of integers until the last floor, so equal inputs give equal weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.protocol.types import WEIGHT_UNIT, WeightTable

PPM = 1_000_000
"""Parts per million: shares, scores and fractions are integers of this unit."""

COMBINE = ("additive", "stake_multiplied")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightParameters:
    """How weights are made. Coefficients and cap: ppm; the coefficients add up to 1,000,000.

    Defaults: 40 % stake, 40 % reputation, 20 % uptime (phase7.md, "Weighted Voting System"), cap
    15 % a node (design section 3). `additive` sums shares of the whole; `stake_multiplied` takes
    reputation and uptime (ppm) as factors on stake, so that splitting a stake gains nothing.
    """

    stake_ppm: int = 400_000
    reputation_ppm: int = 400_000
    uptime_ppm: int = 200_000
    cap_ppm: int = 150_000
    combine: str = "additive"

    def __post_init__(self) -> None:
        coefficients = (self.stake_ppm, self.reputation_ppm, self.uptime_ppm)
        if min(coefficients) < 0 or sum(coefficients) != PPM:
            raise ValueError(f"weight coefficients {coefficients} must be >= 0 and add up to {PPM}")
        if not 0 < self.cap_ppm <= PPM:
            raise ValueError(f"cap_ppm {self.cap_ppm} must be within 1..{PPM}")
        if self.combine not in COMBINE:
            raise ValueError(f"combine {self.combine!r} must be one of {COMBINE}")


def effective_cap_ppm(positive: int, parameters: WeightParameters) -> int:
    """Return the cap that can hold: max(cap, 1/n) for n positive shares, rounded up to ppm.

    Below 1/n no split of the whole respects the cap (at 15 %: fewer than seven validators).
    """
    if positive <= 0:
        raise ValueError(f"no cap for {positive} positive shares")
    return max(parameters.cap_ppm, -(-PPM // positive))


def weight_table(
    stakes: Sequence[int],
    reputations: Sequence[int],
    uptimes: Sequence[int],
    parameters: WeightParameters,
) -> WeightTable:
    """Return integer weights floor(10^9 x capped share) by validator index, and their sum.

    stakes: stake units; reputations, uptimes: ppm; equal lengths, none negative. Stake 0 is no
    member: weight 0, and its reputation and uptime count nowhere. A component that is 0 for all
    members is left out and the others keep their proportions. No members: all weights 0.
    """
    if not len(stakes) == len(reputations) == len(uptimes):
        raise ValueError(f"lengths differ: {len(stakes)}, {len(reputations)}, {len(uptimes)}")
    members = [i for i, stake in enumerate(stakes) if stake > 0]
    columns = [[values[i] for i in members] for values in (stakes, reputations, uptimes)]
    if members and min(map(min, columns)) < 0:
        raise ValueError("reputation and uptime must not be negative")
    if parameters.combine == "additive":
        raw = _additive(columns, parameters)
    else:
        raw = _stake_multiplied(columns, parameters)
    weights = [0] * len(stakes)
    for i, weight in zip(members, _water_fill(raw, parameters.cap_ppm), strict=True):
        weights[i] = weight
    return WeightTable(tuple(weights), sum(weights))


def _additive(columns: list[list[int]], parameters: WeightParameters) -> list[int]:
    """Numerators of c_s s/S + c_r r/R + c_u u/U over the common denominator S R U."""
    coefficients = (parameters.stake_ppm, parameters.reputation_ppm, parameters.uptime_ppm)
    sums = [sum(column) or 1 for column in columns]
    whole = sums[0] * sums[1] * sums[2]
    s, r, u = (c * (whole // total) for c, total in zip(coefficients, sums, strict=True))
    return [s * a + r * b + u * c for a, b, c in zip(*columns, strict=True)]


def _stake_multiplied(columns: list[list[int]], parameters: WeightParameters) -> list[int]:
    base = parameters.stake_ppm * PPM
    r, u = parameters.reputation_ppm, parameters.uptime_ppm
    return [a * (base + r * b + u * c) for a, b, c in zip(*columns, strict=True)]


def _water_fill(raw: list[int], cap_ppm: int) -> list[int]:
    """Cap each share at c = max(cap, 1/n), scale the rest to what is left, until none exceeds.

    With the k largest at c, the next may stay iff raw x (1 - k c) / rest <= c; that test is exact
    in integers (c = a / b). Equal shares end up together: if one of two equals exceeds, removing
    it leaves the other exceeding. Clamping and renormalising instead would lift the clamped ones
    back over the cap.
    """
    positive = sum(1 for value in raw if value > 0)
    if positive == 0:
        return [0] * len(raw)
    a, b = (cap_ppm, PPM) if cap_ppm * positive >= PPM else (1, positive)
    rest = sum(raw)
    left = b  # b x (1 - k c)
    limit = None  # the least raw share that is capped
    for value in sorted(raw, reverse=True):
        if value * left <= a * rest:
            break
        limit, rest, left = value, rest - value, left - a
    capped = WEIGHT_UNIT * a // b
    scale, whole = WEIGHT_UNIT * left, b * rest
    return [capped if limit is not None and v >= limit else v * scale // whole for v in raw]
