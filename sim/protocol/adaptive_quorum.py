"""Quorum levels and the rule that moves between them: a pure function of the committed chain.

Owns thresholds and levels. Must not know blocks or signatures. Raising the quorum share q buys
safety (two certificates overlap in >= 2q-1 of the weight) and sells liveness (the chain moves while
Byzantine and offline weight is <= 1-q).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sim.protocol.weighted_voting import PPM

LEVELS = ((67, 100), (75, 100), (82, 100))
"""Quorum shares as exact ratios (phase7.md, "Adaptive Quorum Thresholds": 67 %, 75 %, 82 %)."""

TOP_LEVEL = len(LEVELS) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumParameters:
    """When the level moves. Pairs are (calls for level 1, calls for level 2), in ppm, ascending.

    byzantine_ppm: weight share proven Byzantine, summed over the window. timeouts_ppm: timeouts per
    committed block, over the window. missed_ppm: weight share that did not vote, mean of the
    window. A level goes down one step once the window calls for less and `cooldown_epochs` have
    passed since the last change. liveness_guard: take level L only while, in each epoch of the
    window, proven + missed share <= 1 - q_L - guard_margin_ppm.
    """

    initial_level: int = 0
    window_epochs: int = 2
    cooldown_epochs: int = 2
    byzantine_ppm: tuple[int, int] = (10_000, 50_000)
    timeouts_ppm: tuple[int, int] = (200_000, 500_000)
    missed_ppm: tuple[int, int] = (100_000, 200_000)
    liveness_guard: bool = False
    guard_margin_ppm: int = 20_000

    def __post_init__(self) -> None:
        if not 0 <= self.initial_level <= TOP_LEVEL:
            raise ValueError(f"initial_level {self.initial_level} must be within 0..{TOP_LEVEL}")
        if self.window_epochs < 1 or self.cooldown_epochs < 1:
            raise ValueError("window_epochs and cooldown_epochs must be at least 1")
        for name in ("byzantine_ppm", "timeouts_ppm", "missed_ppm"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} ({low}, {high}) must be positive and ascending")
        if self.guard_margin_ppm < 0:
            raise ValueError(f"guard_margin_ppm {self.guard_margin_ppm} must not be negative")


class EpochSignals(NamedTuple):
    """What one epoch's committed blocks say. Weights in units of that epoch's total_weight."""

    proven_weight: int
    total_weight: int
    timeouts: int
    """Views of the epoch that its chain skipped."""
    committed_blocks: int
    missed_weight: int


class LevelState(NamedTuple):
    level: int
    window: tuple[EpochSignals, ...] = ()
    """Newest last, at most `window_epochs`."""
    epochs_since_change: int = 0


def quorum_weight(total: int, level: int) -> int:
    """Return ceil(q W), the least weight of a certificate."""
    numerator, denominator = LEVELS[level]
    return -(-total * numerator // denominator)


def next_level(
    state: LevelState, signals: EpochSignals, parameters: QuorumParameters
) -> tuple[LevelState, str]:
    """Return the level of the next epoch and why.

    Up to what the window calls for at once; down one step a cooldown. Reasons: up:byzantine,
    up:timeouts, up:missed, down:calm, down:guard, hold:cooldown, hold:guard, steady.
    """
    window = (*state.window, signals)[-parameters.window_epochs :]
    called, cause = _called_level(window, parameters)
    allowed = called
    if parameters.liveness_guard:
        while allowed > 0 and not _guard_allows(allowed, window, parameters):
            allowed -= 1
    since = state.epochs_since_change + 1
    if allowed > state.level:
        return LevelState(allowed, window, 0), f"up:{cause}"
    guarded = allowed < called
    if allowed == state.level:
        return LevelState(state.level, window, since), "hold:guard" if guarded else "steady"
    if since < parameters.cooldown_epochs:
        return LevelState(state.level, window, since), "hold:cooldown"
    reason = "down:guard" if called >= state.level else "down:calm"
    return LevelState(state.level - 1, window, 0), reason


def _called_level(
    window: tuple[EpochSignals, ...], parameters: QuorumParameters
) -> tuple[int, str]:
    proven = sum(_share_ppm(s.proven_weight, s.total_weight) for s in window)
    blocks = sum(s.committed_blocks for s in window)
    timeouts = _share_ppm(sum(s.timeouts for s in window), max(1, blocks))
    missed = sum(_share_ppm(s.missed_weight, s.total_weight) for s in window) // len(window)
    measured = (
        (proven, parameters.byzantine_ppm, "byzantine"),
        (timeouts, parameters.timeouts_ppm, "timeouts"),
        (missed, parameters.missed_ppm, "missed"),
    )
    best, cause = 0, ""
    for value, thresholds, name in measured:
        level = sum(1 for threshold in thresholds if value >= threshold)
        if level > best:
            best, cause = level, name
    return best, cause


def _guard_allows(
    level: int, window: tuple[EpochSignals, ...], parameters: QuorumParameters
) -> bool:
    numerator, denominator = LEVELS[level]
    room = PPM * (denominator - numerator) // denominator - parameters.guard_margin_ppm
    return all(
        _share_ppm(s.proven_weight + s.missed_weight, s.total_weight) <= room for s in window
    )


def _share_ppm(part: int, whole: int) -> int:
    return part * PPM // whole if whole > 0 else 0
