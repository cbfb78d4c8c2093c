"""Quorum levels and the rule that moves between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

LEVELS = ((67, 100), (75, 100), (82, 100))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumParameters:
    initial_level: int = 0
    window_epochs: int = 2
    cooldown_epochs: int = 2
    byzantine_ppm: tuple[int, int] = (10_000, 50_000)
    timeouts_ppm: tuple[int, int] = (200_000, 500_000)
    missed_ppm: tuple[int, int] = (100_000, 200_000)
    liveness_guard: bool = False
    guard_margin_ppm: int = 20_000


class EpochSignals(NamedTuple):
    proven_weight: int
    total_weight: int
    timeouts: int
    committed_blocks: int
    missed_weight: int


class LevelState(NamedTuple):
    level: int
    window: tuple[EpochSignals, ...] = ()
    epochs_since_change: int = 0


def quorum_weight(total: int, level: int) -> int:
    raise NotImplementedError


def next_level(
    state: LevelState, signals: EpochSignals, parameters: QuorumParameters
) -> tuple[LevelState, str]:
    raise NotImplementedError
