"""Quorum: exact limits, overlap, pinned weights, and the rule that moves the level."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.protocol.adaptive_quorum import (
    LEVELS,
    EpochSignals,
    LevelState,
    QuorumParameters,
    next_level,
    quorum_weight,
)
from sim.protocol.types import WEIGHT_UNIT
from sim.protocol.weighted_voting import PPM, WeightParameters, weight_table

# n, then for 67 / 75 / 82 %: votes needed, most Byzantine nodes for safety, most faulty for
# liveness. Formula: need = ceil(q n); safety 2 need - n - 1; liveness n - need.
LIMITS = [
    (4, ((3, 1, 1), (3, 1, 1), (4, 3, 0))),
    (7, ((5, 2, 2), (6, 4, 1), (6, 4, 1))),
    (10, ((7, 3, 3), (8, 5, 2), (9, 7, 1))),
    (50, ((34, 17, 16), (38, 25, 12), (41, 31, 9))),
    (100, ((67, 33, 33), (75, 49, 25), (82, 63, 18))),
    (150, ((101, 51, 49), (113, 75, 37), (123, 95, 27))),
]


@pytest.mark.parametrize(("n", "rows"), LIMITS)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_equal_weights_need_exactly_so_many_votes(
    n: int, rows: tuple[tuple[int, int, int], ...], level: int
) -> None:
    table = weight_table([5] * n, [PPM] * n, [PPM] * n, WeightParameters())
    quorum, one = quorum_weight(table.total, level), table.weights[0]
    need, safety, liveness = rows[level]
    assert need * one >= quorum
    assert (need - 1) * one < quorum
    # Two certificates share 2 need - n members; all of them must lie for a conflict.
    assert 2 * need - n == safety + 1
    assert (n - liveness) * one >= quorum > (n - liveness - 1) * one


@given(st.integers(1, 2 * WEIGHT_UNIT), st.sampled_from([0, 1, 2]))
def test_quorum_is_the_least_integer_that_reaches_the_share(total: int, level: int) -> None:
    share = Fraction(*LEVELS[level])
    quorum = quorum_weight(total, level)
    assert quorum >= share * total > quorum - 1
    assert 2 * quorum - total >= (2 * share - 1) * total  # overlap: 34, 50, 64 %
    assert total - quorum <= (1 - share) * total  # who may be silent: 33, 25, 18 %


def test_drift_of_seven_per_mille_takes_the_overlap_under_one_third() -> None:
    """Why an epoch pins its weights: certificates of two tables may share less than a third.

    A thousand equal stakes. 0.7 % of the weight moves from validators that vote for A only to
    validators that vote for B only; A is judged by the old table and B by the new one.
    """
    n, shared, moved = 1000, 333, 7000
    only_a, only_b = range(337), range(670, 1000)
    p = WeightParameters(stake_ppm=PPM, reputation_ppm=0, uptime_ppm=0)
    drifted = [1000] * n
    for i in range(moved):
        drifted[only_a[i % len(only_a)]] -= 1
        drifted[only_b[i % len(only_b)]] += 1
    old = weight_table([1000] * n, [0] * n, [0] * n, p)
    new = weight_table(drifted, [0] * n, [0] * n, p)
    both = range(337, 337 + shared)
    moved_share = sum(max(0, b - a) for a, b in zip(old.weights, new.weights, strict=True))
    assert moved_share * 1000 <= 7 * WEIGHT_UNIT

    def weight(weights: tuple[int, ...], *groups: range) -> int:
        return sum(weights[i] for group in groups for i in group)

    # Unpinned: both reach the quorum of "their" table, with less than a third in common, so
    # that liars of less than a third of the weight break safety.
    assert weight(old.weights, only_a, both) >= quorum_weight(old.total, 0)
    assert weight(new.weights, only_b, both) >= quorum_weight(new.total, 0)
    assert 3 * weight(old.weights, both) < old.total
    # Pinned: by the old table B is no certificate; it needs 34 % in common.
    assert weight(old.weights, only_b, both) < quorum_weight(old.total, 0)


CALM = EpochSignals(0, PPM, 0, 10, 0)


def proven(ppm: int) -> EpochSignals:
    return CALM._replace(proven_weight=ppm)


def missed(ppm: int) -> EpochSignals:
    return CALM._replace(missed_weight=ppm)


def timeouts(count: int) -> EpochSignals:
    return CALM._replace(timeouts=count)


@pytest.mark.parametrize(
    ("signals", "level", "reason"),
    [
        (CALM, 0, "steady"),
        (proven(9_999), 0, "steady"),
        (proven(10_000), 1, "up:byzantine"),
        (proven(49_999), 1, "up:byzantine"),
        (proven(50_000), 2, "up:byzantine"),
        (timeouts(1), 0, "steady"),
        (timeouts(2), 1, "up:timeouts"),
        (timeouts(5), 2, "up:timeouts"),
        (missed(99_999), 0, "steady"),
        (missed(100_000), 1, "up:missed"),
        (missed(200_000), 2, "up:missed"),
        (EpochSignals(10_000, PPM, 5, 10, 100_000), 2, "up:timeouts"),
        (EpochSignals(10_000, PPM, 2, 10, 100_000), 1, "up:byzantine"),
    ],
)
def test_level_goes_up_at_once(signals: EpochSignals, level: int, reason: str) -> None:
    state, why = next_level(LevelState(0), signals, QuorumParameters())
    assert (state.level, why) == (level, reason)


def test_window_sums_proven_weight_and_forgets_it() -> None:
    p = QuorumParameters(window_epochs=2, cooldown_epochs=1)
    trace = []
    state = LevelState(0)
    for signals in (proven(5_000), proven(5_000), CALM, CALM, CALM):
        state, why = next_level(state, signals, p)
        trace.append((state.level, why))
    assert trace == [
        (0, "steady"),
        (1, "up:byzantine"),
        (0, "down:calm"),
        (0, "steady"),
        (0, "steady"),
    ]
    assert len(state.window) == 2


def test_down_one_level_a_cooldown() -> None:
    p = QuorumParameters(window_epochs=1, cooldown_epochs=3)
    state, _ = next_level(LevelState(0), proven(50_000), p)
    trace = []
    for _ in range(8):
        state, why = next_level(state, CALM, p)
        trace.append((state.level, why))
    hold = "hold:cooldown"
    assert trace == [
        (2, hold),
        (2, hold),
        (1, "down:calm"),
        (1, hold),
        (1, hold),
        (0, "down:calm"),
        (0, "steady"),
        (0, "steady"),
    ]


@pytest.mark.parametrize(
    ("lost_ppm", "level", "reason"),
    [
        (160_000, 2, "up:missed"),  # 0.16 <= 1 - 0.82 - 0.02
        (160_001, 1, "up:missed"),  # level 2 would stall at two points more
        (230_000, 1, "up:missed"),  # 0.23 <= 1 - 0.75 - 0.02
        (230_001, 0, "hold:guard"),
    ],
)
def test_guard_refuses_a_level_that_the_present_could_not_serve(
    lost_ppm: int, level: int, reason: str
) -> None:
    p = QuorumParameters(missed_ppm=(100_000, 150_000), liveness_guard=True)
    state, why = next_level(LevelState(0), missed(lost_ppm), p)
    assert (state.level, why) == (level, reason)
    unguarded, _ = next_level(
        LevelState(0), missed(lost_ppm), QuorumParameters(missed_ppm=(100_000, 150_000))
    )
    assert unguarded.level == 2


def test_guard_steps_down_while_the_chain_still_moves() -> None:
    p = QuorumParameters(window_epochs=1, cooldown_epochs=1, liveness_guard=True)
    state, why = next_level(LevelState(2), EpochSignals(50_000, PPM, 0, 10, 120_000), p)
    assert (state.level, why) == (1, "down:guard")


signal = st.builds(
    EpochSignals,
    proven_weight=st.integers(0, 300_000),
    total_weight=st.just(PPM),
    timeouts=st.integers(0, 20),
    committed_blocks=st.integers(1, 10),
    missed_weight=st.integers(0, 400_000),
)
rules = st.builds(
    QuorumParameters,
    initial_level=st.integers(0, 2),
    window_epochs=st.integers(1, 4),
    cooldown_epochs=st.integers(1, 4),
    liveness_guard=st.booleans(),
)


@given(rules, st.lists(signal, min_size=1, max_size=25))
def test_steps_down_are_single_and_a_cooldown_apart(
    p: QuorumParameters, run: list[EpochSignals]
) -> None:
    states = [LevelState(p.initial_level)]
    for signals in run:
        states.append(next_level(states[-1], signals, p)[0])
    changed = 0
    for epoch, (old, new) in enumerate(pairwise(states), start=1):
        if new.level < old.level:
            assert new.level == old.level - 1
            assert epoch - changed >= p.cooldown_epochs
        if new.level != old.level:
            changed = epoch
        assert len(new.window) <= p.window_epochs


@given(rules, st.lists(signal, max_size=5), signal, st.data())
def test_worse_signals_never_lower_an_unguarded_level(
    p: QuorumParameters, past: list[EpochSignals], last: EpochSignals, data: st.DataObject
) -> None:
    p = QuorumParameters(
        initial_level=p.initial_level,
        window_epochs=p.window_epochs,
        cooldown_epochs=p.cooldown_epochs,
    )
    state = LevelState(p.initial_level)
    for signals in past:
        state, _ = next_level(state, signals, p)
    worse = last._replace(
        proven_weight=last.proven_weight + data.draw(st.integers(0, PPM // 10)),
        timeouts=last.timeouts + data.draw(st.integers(0, 10)),
        missed_weight=last.missed_weight + data.draw(st.integers(0, PPM // 10)),
    )
    assert next_level(state, worse, p)[0].level >= next_level(state, last, p)[0].level


@given(rules, st.lists(signal, min_size=1, max_size=10))
def test_guard_never_lets_the_level_rise_beyond_its_room(
    p: QuorumParameters, run: list[EpochSignals]
) -> None:
    state = LevelState(p.initial_level)
    for signals in run:
        before = state
        state, _ = next_level(before, signals, p)
        if p.liveness_guard and state.level > before.level:
            room = 1 - Fraction(*LEVELS[state.level]) - Fraction(p.guard_margin_ppm, PPM)
            for each in state.window:
                assert Fraction(each.proven_weight + each.missed_weight, PPM) <= room


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial_level": 3},
        {"window_epochs": 0},
        {"cooldown_epochs": 0},
        {"byzantine_ppm": (0, 1)},
        {"timeouts_ppm": (5, 4)},
        {"guard_margin_ppm": -1},
    ],
)
def test_impossible_rules_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        QuorumParameters(**wrong)  # type: ignore[arg-type]
