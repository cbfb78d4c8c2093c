"""Chained HotStuff under the attacks of Bamboo: 32 replicas, b of them leading badly.

Gai, Farahbakhsh, Niu, Feng, Beschastnikh, Duan: "Dissecting the Performance of Chained-BFT", ICDCS
2021, arXiv:2103.00777: chain growth rate, the share of proposed blocks that are committed.

Leaders are drawn, each replica alike, so with a = b / 32 both figures have closed forms, (1 - a)^2
under forking and 1 - a under silence (`sim.study.theory`). What was published lies within 0.013 of
both. The bands are 4.5 standard errors of the closed forms' own laws, known before any run.
"""

from __future__ import annotations

import pytest

from sim.study.validation.worlds import (
    BAMBOO,
    Attacked,
    expected_growth,
    growth,
    growth_error,
)

SIGMAS = 4.5


def check(attack: Attacked, byzantine: int, blocks: int) -> None:
    found, settled = growth(attack, byzantine, blocks)
    expected, _ = expected_growth(attack, byzantine)
    band = SIGMAS * growth_error(attack, byzantine, settled)
    assert abs(found - expected) <= band, (found, expected, band)
    published = BAMBOO[attack][byzantine]
    assert abs(found - published) <= band, (found, published, band)


def test_published_figures_are_near_the_closed_forms() -> None:
    for attack, curve in BAMBOO.items():
        for byzantine, published in curve.items():
            assert abs(expected_growth(attack, byzantine)[0] - published) <= 0.013


def test_without_attackers_every_block_is_committed() -> None:
    assert growth("forking", 0, 300)[0] == BAMBOO["forking"][0] == BAMBOO["silence"][0]


@pytest.mark.parametrize("b", [4, 10])
def test_forking_costs_the_two_blocks_above_the_lock(b: int) -> None:
    check("forking", b, 900)


def test_silence_costs_the_block_whose_votes_nobody_collects() -> None:
    check("silence", 8, 500)


@pytest.mark.slow
@pytest.mark.parametrize("b", [2, 4, 6, 8, 10])
def test_the_curve_of_forking(b: int) -> None:
    check("forking", b, 6_000)


@pytest.mark.slow
@pytest.mark.parametrize("b", [2, 4, 6, 8])
def test_the_curve_of_silence(b: int) -> None:
    check("silence", b, 4_000)


def test_the_attacks_are_told_apart_by_the_band() -> None:
    """A quarter of the leaders: 0.56 and 0.75 are many errors apart even in the short runs."""
    assert 2 * SIGMAS * growth_error("silence", 8, 900) < 0.75 - 0.5625
