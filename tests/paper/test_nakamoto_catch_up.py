"""An attacker who mines in secret catches up with z confirmations as often as the papers say.

[N] Nakamoto: "Bitcoin: A Peer-to-Peer Electronic Cash System", 2008, section 11: its table.
[R] Rosenfeld: "Analysis of Hashrate-Based Double Spending", arXiv:1402.2009.

Both branches grow in the real block tree, and its fork choice says who is ahead. Nakamoto takes the
honest chain to need exactly its expected time for z blocks, so that the attacker's progress is
Poisson; where both arrive at random it is negative binomial, which gives Rosenfeld's figures. A
draw level counts as caught up, in both.
"""

from __future__ import annotations

from math import sqrt

import pytest

from sim.study.theory import nakamoto, rosenfeld
from sim.study.validation.parts import caught_up

TABLE = {(0.1, 1): 0.2045873, (0.1, 2): 0.0509779, (0.3, 5): 0.1773523, (0.3, 10): 0.0416605}
"""[N], section 11: P for q = 0.1 at z = 1, 2 and for q = 0.3 at z = 5, 10."""
TRIALS = 2_000
SIGMAS = 4.5


def within(found: float, expected: float) -> bool:
    return abs(found - expected) < SIGMAS * sqrt(expected * (1 - expected) / TRIALS)


@pytest.mark.parametrize(("q", "z"), TABLE)
def test_the_table_follows_from_its_formula(q: float, z: int) -> None:
    assert round(nakamoto(q, z), 7) == TABLE[q, z]


@pytest.mark.parametrize(("q", "z"), TABLE)
def test_a_steady_honest_chain_is_caught_as_in_the_table(q: float, z: int) -> None:
    assert within(caught_up(q, z, TRIALS, poisson=True), TABLE[q, z])


@pytest.mark.parametrize(("q", "z"), [(0.1, 2), (0.3, 5)])
def test_two_poisson_processes_race_as_rosenfeld_says(q: float, z: int) -> None:
    assert within(caught_up(q, z, TRIALS, poisson=False), rosenfeld(q, z))


@pytest.mark.parametrize(("q", "z"), [(0.1, 1), (0.1, 2), (0.3, 5)])
def test_the_bands_tell_one_confirmation_more_or_less(q: float, z: int) -> None:
    assert not within(nakamoto(q, z - 1), TABLE[q, z])
    assert not within(nakamoto(q, z + 1), TABLE[q, z])
