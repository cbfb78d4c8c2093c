"""Reputation: a score a validator, moved once an epoch by what the chain saw of it.

Owns scores and their history. Must not know stake or blocks. Scores are ppm, decay is fixed-point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from sim.protocol.types import ValidatorId
from sim.protocol.weighted_voting import PPM

_FIXED = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ReputationParameters:
    """How scores move, all in ppm but for the epochs.

    attendance_gain_ppm / absence_loss_ppm: for all / none of an epoch's blocks attended, pro rata.
    proposal_gain_ppm: a committed proposal. offence_loss_ppm: fraction lost by each proven offence.
    half_life_epochs: an inactive score halves its distance to `prior_ppm` in so many epochs.
    All values are assumptions: phase7.md names the rules (behaviour, decay), not the figures.
    """

    prior_ppm: int = 500_000
    half_life_epochs: int = 8
    floor_ppm: int = 10_000
    ceiling_ppm: int = PPM
    attendance_gain_ppm: int = 20_000
    absence_loss_ppm: int = 40_000
    proposal_gain_ppm: int = 1_000
    offence_loss_ppm: int = 500_000
    history_epochs: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.floor_ppm <= self.prior_ppm <= self.ceiling_ppm <= PPM:
            raise ValueError(
                f"need 0 <= floor {self.floor_ppm} <= prior {self.prior_ppm} "
                f"<= ceiling {self.ceiling_ppm} <= {PPM}"
            )
        if self.half_life_epochs < 1 or self.history_epochs < 1:
            raise ValueError("half_life_epochs and history_epochs must be at least 1")
        moves = (self.attendance_gain_ppm, self.absence_loss_ppm, self.proposal_gain_ppm)
        if min(moves) < 0 or not 0 <= self.offence_loss_ppm <= PPM:
            raise ValueError("gains and losses must not be negative, nor a loss above the whole")


class Activity(NamedTuple):
    """What an epoch saw of one validator; `expected` 0: it was no member."""

    expected: int
    attended: int
    proposals: int
    offences: int


class ReputationState(NamedTuple):
    epoch: int
    """The epoch in which `scores` are in force."""
    scores: tuple[int, ...]
    past: tuple[tuple[int, tuple[int, ...]], ...]
    """(epoch, scores) of earlier epochs, oldest first, at most `history_epochs`."""


def genesis_reputation(
    scores: Sequence[int], epoch: int, parameters: ReputationParameters
) -> ReputationState:
    """Return the first state, scores clamped to floor and ceiling."""
    return ReputationState(epoch, tuple(_clamp(s, parameters) for s in scores), ())


def update(
    state: ReputationState, activities: Sequence[Activity], parameters: ReputationParameters
) -> ReputationState:
    """Close the epoch: return the scores of the next. One activity a validator, by index."""
    scores = tuple(
        _moved(score, activity, parameters)
        for score, activity in zip(state.scores, activities, strict=True)
    )
    past = (*state.past, (state.epoch, state.scores))[-parameters.history_epochs :]
    return ReputationState(state.epoch + 1, scores, past)


def decayed(score: int, epochs: int, parameters: ReputationParameters) -> int:
    """Return `score` after `epochs` epochs of inactivity: exponential toward the prior."""
    for _ in range(epochs):
        distance = score - parameters.prior_ppm
        kept = abs(distance) * _decay_factor(parameters.half_life_epochs) >> _FIXED
        score = parameters.prior_ppm + (kept if distance >= 0 else -kept)
    return score


def score(state: ReputationState, validator: ValidatorId) -> int:
    """Return the score in force. Errors: IndexError for an unknown validator."""
    return state.scores[validator]


def history(state: ReputationState, validator: ValidatorId) -> tuple[tuple[int, int], ...]:
    """Return (epoch, score) pairs, oldest first, the one in force last."""
    known = (*state.past, (state.epoch, state.scores))
    return tuple((epoch, scores[validator]) for epoch, scores in known)


def top(state: ReputationState, count: int) -> tuple[tuple[ValidatorId, int], ...]:
    """Return the `count` best (validator, score), best first, ties by lowest id."""
    ranked = sorted(enumerate(state.scores), key=lambda pair: (-pair[1], pair[0]))
    return tuple(ranked[:count])


def at_epoch(state: ReputationState, epoch: int) -> tuple[int, ...] | None:
    """Return the scores in force in `epoch`, None when it is not (or no longer) known."""
    return dict((*state.past, (state.epoch, state.scores))).get(epoch)


def _moved(score: int, activity: Activity, parameters: ReputationParameters) -> int:
    """An absent member cannot climb by decay: its score falls toward the prior, never rises."""
    expected, attended, proposals, offences = activity
    if attended == 0 and proposals == 0:
        idle = decayed(score, 1, parameters)
        score = idle if expected == 0 else min(score, idle)
    if expected:
        gain = parameters.attendance_gain_ppm * attended
        score += (gain - parameters.absence_loss_ppm * (expected - attended)) // expected
    score += parameters.proposal_gain_ppm * proposals
    for _ in range(offences):
        score = score * (PPM - parameters.offence_loss_ppm) // PPM
    return _clamp(score, parameters)


def _clamp(score: int, parameters: ReputationParameters) -> int:
    return min(max(score, parameters.floor_ppm), parameters.ceiling_ppm)


@lru_cache(maxsize=64)
def _decay_factor(half_life_epochs: int) -> int:
    """2^(-1/h) in units of 2^-32: the integer h-th root of 2^(32 h - 1), by bisection."""
    goal = 1 << (_FIXED * half_life_epochs - 1)
    low, high = 0, 1 << _FIXED
    while high - low > 1:
        middle = (low + high) >> 1
        if middle**half_life_epochs <= goal:
            low = middle
        else:
            high = middle
    return low
