"""Dissemination: everyone is reached once, and nobody is favoured."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world.chance import Chance
from sim.world.network.dissemination import gossip_peers, star_order, tree

KEY = Chance(5, 0).key("test/dissemination")
MEMBERS = st.lists(st.integers(0, 400), unique=True, min_size=2, max_size=60)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(MEMBERS, st.integers(0, 2**40))
def test_star_order_is_a_permutation_of_whatever_order_came_in(
    members: list[int], message: int
) -> None:
    order = star_order(members, KEY, message)
    assert sorted(order) == sorted(members)
    assert star_order(members[::-1], KEY, message) == order


def test_star_order_favours_no_place() -> None:
    """Each of 20 members is first, and last, as often as any other: chi-square, 19 degrees."""
    members, rounds = list(range(20)), 8_000
    for place in (0, 10, 19):
        counts = Counter(star_order(members, KEY, message)[place] for message in range(rounds))
        expected = rounds / 20
        chi = sum((counts[m] - expected) ** 2 / expected for m in members)
        # Mean 19, variance 38: five standard deviations.
        assert chi < 19 + 5 * math.sqrt(38)


def test_star_order_changes_with_message_and_key() -> None:
    members = list(range(30))
    assert star_order(members, KEY, 1) != star_order(members, KEY, 2)
    assert star_order(members, KEY, 1) != star_order(members, KEY + 1, 1)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(MEMBERS, st.integers(1, 9), st.integers(0, 2**40))
def test_a_tree_reaches_everyone_exactly_once(
    members: list[int], fanout: int, message: int
) -> None:
    root = members[0]
    children = tree(members, root, fanout, KEY, message)
    reached, frontier, depth = Counter([root]), [root], 0
    while frontier:
        frontier = [child for node in frontier for child in children.get(node, [])]
        reached.update(frontier)
        depth += bool(frontier)
    assert reached == Counter(members)
    assert all(0 < len(below) <= fanout for below in children.values())
    places, level = 1, 0
    while places < len(members):
        level += 1
        places += fanout**level
    assert depth == level


def test_relaying_in_a_tree_falls_to_everyone() -> None:
    members, rounds, fanout = list(range(21)), 4_000, 4
    relays: Counter[int] = Counter()
    for message in range(rounds):
        relays.update(node for node in tree(members, 0, fanout, KEY, message) if node != 0)
    # 21 places, fanout 4: the root and places 1 to 4 relay, so 4 of the 20 others do.
    expected = rounds * 4 / 20
    sigma = math.sqrt(rounds * 0.2 * 0.8)
    assert all(abs(relays[node] - expected) < 5 * sigma for node in members[1:])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(MEMBERS, st.integers(1, 9), st.integers(0, 2**40))
def test_gossip_peers_are_distinct_others(members: list[int], fanout: int, message: int) -> None:
    node = members[-1]
    peers = gossip_peers(members, node, fanout, KEY, message)
    assert len(peers) == len(dict.fromkeys(peers)) == min(fanout, len(members) - 1)
    assert node not in peers
    assert all(peer in members for peer in peers)


def test_gossip_misses_as_many_as_theory_says() -> None:
    """The missed share solves r = exp(-fanout (1 - r)) once the rumour has taken off."""
    count, fanout, rounds = 150, 3, 60
    members = list(range(count))
    missed = []
    for message in range(rounds):
        seen, frontier = {0: True}, [0]
        while frontier:
            heard = [
                peer
                for node in frontier
                for peer in gossip_peers(members, node, fanout, KEY, message)
            ]
            frontier = [peer for peer in dict.fromkeys(heard) if peer not in seen]
            seen.update(dict.fromkeys(frontier, True))
        missed.append(count - len(seen))
    share = 0.06
    for _ in range(100):
        share = math.exp(-fanout * (1 - share))
    mean = sum(missed) / rounds
    error = math.sqrt(sum((m - mean) ** 2 for m in missed) / (rounds - 1) / rounds)
    # Finite n moves the mean by less than one member.
    assert abs(mean - share * count) < 4.5 * error + 1


def test_neighbours_choose_independently() -> None:
    members = list(range(50))
    chosen = [tuple(gossip_peers(members, node, 3, KEY, 9)) for node in members]
    assert len(dict.fromkeys(chosen)) > 45


def test_a_fanout_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="fanout 0"):
        tree([1, 2], 1, 0, KEY, 0)
    with pytest.raises(ValueError, match="fanout 0"):
        gossip_peers([1, 2], 1, 0, KEY, 0)
