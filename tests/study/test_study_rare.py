"""Rare events against exactly known cases."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from sim.study.statistics.rare import exact_shortfall, quorum_shortfall
from sim.study.statistics.splitting import LateWeight, pilot_levels, split
from sim.study.theory import shortfall_in_time
from sim.world.chance import Chance

VALIDATORS = 150
LATE = 0.118
"""Chance at which more than a third of 150 are late with about 1e-12: see the test."""


def binomial_tail(n: int, p: float, more_than: int) -> float:
    return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(more_than + 1, n + 1))


def test_a_third_of_150_equal_validators_late_is_one_in_1e12() -> None:
    exact = binomial_tail(VALIDATORS, LATE, 50)
    assert 0.5e-12 < exact < 2e-12
    found = quorum_shortfall(
        [1] * VALIDATORS, [LATE] * VALIDATORS, 50, chance=Chance(1, 0), draws=100_000
    )
    assert found.interval.estimate == pytest.approx(exact, rel=0.05)
    assert found.interval.covers(exact)
    assert found.relative_error < 0.05
    assert 0.3 < found.hits / 100_000 < 0.7
    assert exact_shortfall([1] * VALIDATORS, [LATE] * VALIDATORS, 50) == pytest.approx(
        exact, rel=1e-12
    )


def test_unequal_weights_and_chances_agree_with_convolution() -> None:
    random = np.random.default_rng(3)
    weights = random.integers(1, 40, 60)
    late = random.uniform(0.001, 0.08, 60)
    late[:2] = 1.0  # Byzantine
    late[2] = 0.0
    over = int(weights.sum()) // 3
    exact = exact_shortfall(weights, late, over)
    assert 1e-14 < exact < 1e-4
    found = quorum_shortfall(weights, late, over, chance=Chance(2, 0), draws=50_000)
    assert found.interval.covers(exact)
    assert found.relative_error < 0.1


def test_convolution_agrees_with_every_subset() -> None:
    weights, late = [5, 3, 2, 7, 1], [0.1, 0.5, 0.25, 0.02, 0.9]
    total = 0.0
    for bits in range(2**5):
        chosen = [bool(bits >> i & 1) for i in range(5)]
        chance = np.prod([p if is_late else 1 - p for is_late, p in zip(chosen, late, strict=True)])
        if sum(w for w, is_late in zip(weights, chosen, strict=True) if is_late) > 8:
            total += float(chance)
    assert exact_shortfall(weights, late, 8) == pytest.approx(total, rel=1e-12)


@pytest.mark.slow
def test_the_interval_of_tilting_covers_as_often_as_it_says() -> None:
    exact = binomial_tail(40, 0.02, 10)
    covered = sum(
        quorum_shortfall(
            [1] * 40, [0.02] * 40, 10, chance=Chance(seed, 0), draws=2000
        ).interval.covers(exact)
        for seed in range(1000)
    )
    assert 0.93 <= covered / 1000 <= 0.97


def test_what_is_not_rare_and_what_cannot_be() -> None:
    often = quorum_shortfall([1] * 10, [0.5] * 10, 3, chance=Chance(1, 0), draws=20_000)
    assert often.tilt == 0
    assert often.interval.covers(binomial_tail(10, 0.5, 3))
    never = quorum_shortfall([1] * 10, [0.5] * 10, 10, chance=Chance(1, 0))
    assert (never.interval.estimate, never.interval.upper) == (0, 0)
    all_of_them = quorum_shortfall([1] * 10, [0.01] * 10, 9, chance=Chance(1, 0), draws=50_000)
    assert all_of_them.interval.estimate == pytest.approx(1e-20, rel=1e-3)
    uneven = quorum_shortfall([1000, 1], [0.01, 0.01], 1000, chance=Chance(1, 0), draws=20_000)
    assert uneven.interval.estimate == pytest.approx(1e-4, rel=1e-3)
    assert exact_shortfall([3, 4], [0.5, 0.5], -1) == 1
    with pytest.raises(ValueError, match="positive integers"):
        quorum_shortfall([0.5], [0.1], 1, chance=Chance(1, 0))
    with pytest.raises(ValueError, match="between 0 and 1"):
        quorum_shortfall([1], [1.1], 0, chance=Chance(1, 0))


def test_splitting_agrees_with_the_exact_chain_of_equal_validators() -> None:
    exact = shortfall_in_time(12, 0.001, 0.03, 8, 300)
    assert 1e-10 < exact < 1e-9
    process = LateWeight([1] * 12, 0.001, 0.03)
    found = split(process, 8, 300, chance=Chance(5, 0), effort=500, repetitions=25)
    assert found.interval.covers(exact)
    assert found.interval.estimate == pytest.approx(exact, rel=0.4)
    # 500 paths and 25 repetitions: set after a first run, as what this effort buys.
    assert found.interval.relative_width < 0.9
    assert len(found.levels) >= 3
    assert found.levels[-1] == 8


def test_splitting_is_unbiased_whatever_the_levels() -> None:
    exact = shortfall_in_time(10, 0.05, 0.4, 4, 20)
    process = LateWeight([1] * 10, 0.05, 0.4)
    for levels in ([], [1], [0, 1, 2, 3], [2, 3]):
        found = split(process, 4, 20, chance=Chance(9, 0), effort=800, levels=levels)
        assert found.interval.lower * 0.8 <= exact <= found.interval.upper * 1.2
        assert found.levels == (*levels, 4)


@pytest.mark.slow
def test_the_interval_of_splitting_covers_as_often_as_it_says() -> None:
    exact = shortfall_in_time(8, 0.02, 0.3, 3, 20)
    process = LateWeight([1] * 8, 0.02, 0.3)
    covered = sum(
        split(process, 3, 20, chance=Chance(seed, 0), effort=200, levels=[0, 1, 2]).interval.covers(
            exact
        )
        for seed in range(200)
    )
    # 0.95, give or take 1.9 and 2.6 binomial deviations of 200 trials.
    assert 0.92 <= covered / 200 <= 0.99


def test_byzantine_weight_counts_from_the_start() -> None:
    process = LateWeight([1] * 8, 0.02, 0.3, byzantine=2)
    exact = shortfall_in_time(8, 0.02, 0.3, 3, 20)
    found = split(process, 5, 20, chance=Chance(4, 0), effort=2000)
    assert found.interval.lower * 0.8 <= exact <= found.interval.upper * 1.2


def test_a_target_that_nobody_can_reach_is_not_claimed_impossible() -> None:
    process = LateWeight([1] * 4, 1e-6, 0.9)
    found = split(process, 3, 3, chance=Chance(1, 0), effort=10, repetitions=2, levels=[])
    assert (found.interval.estimate, found.interval.upper) == (0.0, np.inf)
    with pytest.raises(ValueError, match="levels must rise"):
        split(process, 3, 3, chance=Chance(1, 0), levels=[2, 1])


def test_pilot_levels_let_about_a_fifth_go_on() -> None:
    process = LateWeight([1] * 40, 0.02, 0.3)
    levels = pilot_levels(process, 14, 50, 2000, Chance(1, 0).stream("test"))
    assert levels == sorted(set(levels))
    assert 2 <= len(levels) <= 14
    assert levels[-1] < 14
