"""Baselines under f liars and bad links: never two blocks at a height, and life after the heal.

Leaders are drawn: HotStuff needs four honest leaders in a row to commit, so with four validators in
turn and one of them down it never would.
"""

from __future__ import annotations

import pytest

from tests.protocol.baselines.cluster import KINDS, Cluster, Twins, troubled
from tests.protocol.harness import MS

SECOND = 1_000 * MS
TROUBLE_NS = 6 * SECOND
NAMES = sorted(KINDS)


def searched(kind: str, seed: int, liars: int, count: int) -> Cluster:
    """Run through trouble and a while beyond it."""
    first = seed % count
    who = [(first + i) % count for i in range(liars)]
    link = troubled(seed, TROUBLE_NS, count)
    cluster = Cluster(kind, count, seed=seed, liars=who, link=link)
    cluster.start()
    cluster.run(TROUBLE_NS)
    return cluster


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", NAMES)
def test_f_liars_of_n_break_neither_safety_nor_life(kind: str, seed: int) -> None:
    count, liars = ((4, 1), (7, 2))[seed % 2]
    cluster = searched(kind, seed, liars, count)
    assert cluster.conflicts(cluster.honest) == []
    before = cluster.heights(cluster.honest)
    cluster.run(TROUBLE_NS + 12 * SECOND)
    assert cluster.conflicts(cluster.honest) == []
    after = cluster.heights(cluster.honest)
    # Everybody catches up with whoever was ahead, and the chain grows further.
    assert min(after) >= max(before) + 5, (before, after)


@pytest.mark.parametrize("kind", NAMES)
def test_f_twins_of_n_cannot_part_the_rest_and_f_plus_one_can(kind: str) -> None:
    """Two quorums of n - f share more than f: one twin of four is not enough, two are."""
    held = Twins(kind, 4, both=[3]).start()
    held.run(8 * SECOND)
    assert held.conflicts(held.honest) == []
    parted = Twins(kind, 4, both=[2, 3]).start()
    parted.run(20 * SECOND)
    assert parted.conflicts(parted.honest)


@pytest.mark.parametrize("kind", NAMES)
def test_a_quorum_one_smaller_is_unsafe(kind: str) -> None:
    """n - f is the least that serves: with n - f - 1 votes a single twin parts the rest."""
    cluster = Twins(kind, 5, both=[4], quorum=3).start()
    cluster.run(20 * SECOND)
    assert cluster.conflicts(cluster.honest)


@pytest.mark.parametrize("kind", NAMES)
def test_everybody_commits_where_nothing_is_wrong(kind: str) -> None:
    cluster = Cluster(kind, 7).start()
    cluster.run(5 * SECOND)
    heights = cluster.heights()
    assert min(heights) >= 8, heights
    assert max(heights) - min(heights) <= 2
    assert cluster.conflicts() == []


@pytest.mark.parametrize("kind", NAMES)
def test_a_crashed_validator_comes_back_and_catches_up(kind: str) -> None:
    cluster = Cluster(kind, 4).start()
    cluster.run(2 * SECOND)
    cluster.crash(1)
    cluster.run(6 * SECOND)
    while_down = cluster.heights()
    assert max(while_down) > while_down[1] + 2
    cluster.restart(1)
    cluster.run(12 * SECOND)
    heights = cluster.heights()
    assert heights[1] >= max(while_down)
    assert heights[1] >= max(heights) - 2
    assert cluster.conflicts() == []


@pytest.mark.parametrize("kind", NAMES)
def test_what_does_not_verify_counts_for_nothing(kind: str) -> None:
    """A liar without the keys of others cannot make a quorum of its own voice."""
    cluster = Cluster(kind, 4, link=lambda s, r, m, now: 10 * MS if s == 0 else None)
    cluster.start()
    cluster.run(4 * SECOND)
    assert cluster.heights() == [0, 0, 0, 0]


def test_hotstuff_in_turn_with_one_of_four_down_never_commits() -> None:
    """A block needs certificates of three adjacent views, the last collected by the fourth."""
    cluster = Cluster("hotstuff", 4, leaders="round_robin").start()
    cluster.crash(1)
    cluster.run(20 * SECOND)
    assert max(cluster.heights()) == 0
    drawn = Cluster("hotstuff", 4).start()
    drawn.crash(1)
    drawn.run(20 * SECOND)
    assert min(drawn.heights([0, 2, 3])) >= 5
