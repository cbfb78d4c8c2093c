"""Voting weights from stake, reputation and uptime, capped by exact water-filling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.protocol.types import WeightTable

PPM = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightParameters:
    stake_ppm: int = 400_000
    reputation_ppm: int = 400_000
    uptime_ppm: int = 200_000
    cap_ppm: int = 150_000
    combine: str = "additive"


def effective_cap_ppm(positive: int, parameters: WeightParameters) -> int:
    raise NotImplementedError


def weight_table(
    stakes: Sequence[int],
    reputations: Sequence[int],
    uptimes: Sequence[int],
    parameters: WeightParameters,
) -> WeightTable:
    raise NotImplementedError
