"""Who leads: a pure function of beacon, weights and view."""

from __future__ import annotations

from collections import Counter

import pytest

from sim.protocol.pacemaker import ConsensusParameters, Pacemaker, leader, members
from sim.protocol.types import EpochParameters, WeightTable


def epoch(weights: tuple[int, ...], beacon: bytes = b"b" * 32) -> EpochParameters:
    total = sum(weights)
    quorum = -(-total * 67 // 100)
    table = WeightTable(weights, total)
    return EpochParameters(1, b"r" * 32, 0, table, 0, quorum, total - quorum, beacon)


def test_weighted_leaders_come_up_in_proportion_and_strangers_never() -> None:
    weights = (100, 0, 300, 600)
    views = 20_000
    count = Counter(leader(epoch(weights), view, "weighted") for view in range(views))
    assert count[1] == 0
    for who, weight in enumerate(weights):
        share = weight / 1_000
        band = 5 * (views * share * (1 - share)) ** 0.5
        assert abs(count[who] - views * share) <= band


def test_round_robin_gives_every_member_its_turn() -> None:
    chosen = [leader(epoch((5, 0, 1, 9, 2)), view, "round_robin") for view in range(40)]
    for start in range(0, 40, 4):
        assert sorted(chosen[start : start + 4]) == [0, 2, 3, 4]


def test_the_beacon_decides() -> None:
    one, other = epoch((1,) * 50), epoch((1,) * 50, b"c" * 32)
    for kind in ("weighted", "round_robin"):
        differ = [v for v in range(50) if leader(one, v, kind) != leader(other, v, kind)]
        assert len(differ) > 40


def test_a_memo_changes_nothing() -> None:
    first, again = epoch((3, 1, 4, 1, 5)), epoch((3, 1, 4, 1, 5))
    forward = [leader(first, v, "weighted") for v in range(6_000)]
    backward = [leader(again, v, "weighted") for v in reversed(range(6_000))]
    assert forward == backward[::-1]
    assert members(first) == (0, 1, 2, 3, 4)


def test_the_timer_backs_off_by_views_and_repetitions_up_to_its_limit() -> None:
    parameters = ConsensusParameters(
        timer_base_ns=1_000,
        timer_backoff_ppm=2_000_000,
        timer_max_ns=10_000,
        min_block_interval_ns=7,
    )
    pace = Pacemaker(parameters, epoch((1, 1, 1, 1)))
    pace.enter(1, progress=True)
    assert pace.delay_ns() == 1_007
    pace.expired += 1
    assert pace.delay_ns() == 2_007
    for view in range(2, 9):
        pace.enter(view, progress=False)
    assert pace.delay_ns() == 10_007
    pace.enter(9, progress=True)
    assert pace.delay_ns() == 1_007


@pytest.mark.parametrize(
    "bad",
    [
        {"leader": "oldest"},
        {"on_safety_violation": "ignore"},
        {"timer_base_ns": 0},
        {"timer_max_ns": 1},
        {"timer_backoff_ppm": 999_999},
    ],
)
def test_impossible_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        ConsensusParameters(**bad)  # type: ignore[arg-type]
