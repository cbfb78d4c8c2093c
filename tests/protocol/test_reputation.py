"""Reputation: participation, offences, decay toward the prior, bounds, queries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.protocol.reputation_tracker import (
    Activity,
    ReputationParameters,
    at_epoch,
    decayed,
    genesis_reputation,
    history,
    score,
    top,
    update,
)

RULES = ReputationParameters()
PPM = 1_000_000


def after(start: int, activity: Activity, rules: ReputationParameters = RULES) -> int:
    return score(update(genesis_reputation([start], 1, rules), [activity], rules), 0)


@pytest.mark.parametrize(
    ("start", "activity", "expected"),
    [
        (500_000, Activity(10, 10, 0, 0), 520_000),
        (500_000, Activity(10, 10, 3, 0), 523_000),
        (500_000, Activity(10, 5, 0, 0), 490_000),  # (20,000 x 5 - 40,000 x 5) / 10
        (990_000, Activity(10, 10, 0, 0), 1_000_000),
        (20_000, Activity(10, 0, 0, 0), 10_000),
        (800_000, Activity(10, 10, 0, 1), 410_000),  # offences after the gain
        (800_000, Activity(10, 10, 0, 2), 205_000),
        (500_000, Activity(0, 0, 0, 0), 500_000),
    ],
)
def test_an_epoch_moves_the_score(start: int, activity: Activity, expected: int) -> None:
    assert after(start, activity) == expected


@pytest.mark.parametrize("half_life", [1, 2, 7, 30, 200])
@pytest.mark.parametrize("start", [1_000_000, 0])
def test_decay_halves_the_distance_in_a_half_life(half_life: int, start: int) -> None:
    rules = ReputationParameters(half_life_epochs=half_life)
    now = start
    for halvings in (1, 2, 3):
        now = decayed(now, half_life, rules)
        exact = 500_000 + (start - 500_000) / 2**halvings
        # Each epoch floors the distance once: at most one ppm an epoch, never past the prior.
        assert 0 <= (exact - now) * (1 if start > 500_000 else -1) <= halvings * half_life + 1


def test_decay_ends_at_the_prior_from_both_sides() -> None:
    assert decayed(1_000_000, 400, RULES) == 500_000
    assert decayed(0, 400, RULES) == 500_000


def test_only_who_is_no_member_climbs_back_by_waiting() -> None:
    low = 100_000
    assert after(low, Activity(0, 0, 0, 0)) == decayed(low, 1, RULES) > low
    assert after(low, Activity(10, 0, 0, 0)) == low - RULES.absence_loss_ppm
    high = 900_000
    idle = decayed(high, 1, RULES)
    assert after(high, Activity(10, 0, 0, 0)) == idle - RULES.absence_loss_ppm


activities = st.builds(
    lambda expected, missed, proposals, offences: Activity(
        expected, max(0, expected - missed), proposals, offences
    ),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 5),
    st.integers(0, 4),
)


@given(st.integers(0, PPM), st.lists(activities, max_size=20))
def test_scores_stay_between_floor_and_ceiling(start: int, run: list[Activity]) -> None:
    rules = ReputationParameters(floor_ppm=50_000, ceiling_ppm=900_000, history_epochs=4)
    state = genesis_reputation([start], 1, rules)
    for activity in run:
        state = update(state, [activity], rules)
        assert 50_000 <= state.scores[0] <= 900_000
        assert len(state.past) <= 4


@given(st.integers(0, PPM), activities)
def test_more_attendance_and_fewer_offences_never_hurt(start: int, activity: Activity) -> None:
    better = activity._replace(attended=activity.expected)
    assert after(start, better) >= after(start, activity)
    assert after(start, activity) >= after(start, activity._replace(offences=9))


def test_queries() -> None:
    rules = ReputationParameters(history_epochs=2)
    state = genesis_reputation([500_000, 600_000, 600_000], 1, rules)
    seen = [state.scores]
    for _ in range(3):
        state = update(state, [Activity(1, 1, 0, 0), *[Activity(1, 0, 0, 0)] * 2], rules)
        seen.append(state.scores)
    assert state.epoch == 4
    assert score(state, 0) == 560_000
    assert history(state, 0) == ((2, 520_000), (3, 540_000), (4, 560_000))
    assert top(state, 2) == ((0, 560_000), (1, seen[3][1]))
    assert [at_epoch(state, e) for e in range(1, 6)] == [None, *seen[1:], None]


def test_ties_rank_by_lowest_id() -> None:
    state = genesis_reputation([5, 500_000, 500_000], 1, RULES)
    assert [who for who, _ in top(state, 3)] == [1, 2, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"prior_ppm": 5},
        {"ceiling_ppm": PPM + 1},
        {"half_life_epochs": 0},
        {"history_epochs": 0},
        {"proposal_gain_ppm": -1},
        {"offence_loss_ppm": PPM + 1},
    ],
)
def test_impossible_rules_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"floor|half_life|gains"):
        ReputationParameters(**wrong)
