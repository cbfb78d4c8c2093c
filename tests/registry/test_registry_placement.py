"""Placement of shards: balance, distinct regions, minimal movement, and which replica is asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, DrawFn

from sim.world.registry import kernels
from sim.world.registry.placement import (
    Placement,
    coordinator,
    first_hosts,
    hand_over,
    hosts_array,
    place,
    repaired,
)


@st.composite
def fleets(draw: DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Gateways (ascending nodes) and the region of each node."""
    node_region = tuple(draw(st.lists(st.integers(0, 6), min_size=1, max_size=40)))
    nodes = range(len(node_region))
    gateways = draw(st.lists(st.sampled_from(nodes), min_size=1, unique=True))
    return tuple(sorted(gateways)), node_region


def regions_of(gateways: tuple[int, ...], node_region: tuple[int, ...]) -> int:
    return len({node_region[gateway] for gateway in gateways})


def copies(placement: Placement, gateways: tuple[int, ...]) -> dict[int, int]:
    return {gateway: sum(row.count(gateway) for row in placement) for gateway in gateways}


def test_first_hosts_come_from_each_region_in_turn() -> None:
    region = (0, 0, 0, 1, 1, 2)
    assert first_hosts(range(6), region, 4) == (0, 1, 3, 5)
    assert first_hosts(range(6), region, 5) == (0, 1, 3, 4, 5)
    assert first_hosts(range(6), region) == (0, 1, 2, 3, 4, 5)
    assert first_hosts(range(6), region, 8) == (0, 0, 1, 2, 3, 3, 4, 5)


@pytest.mark.parametrize(("gateways", "shards"), [((), 1), ((0,), 0)])
def test_nothing_to_host_is_refused(gateways: tuple[int, ...], shards: int) -> None:
    with pytest.raises(ValueError, match="registry needs"):
        first_hosts(gateways, (0,), shards)


@pytest.mark.parametrize("replicas", [0, 4])
def test_more_replicas_than_regions_are_refused(replicas: int) -> None:
    with pytest.raises(ValueError, match=r"gateways are in 3 regions.*ask for 1 to 3"):
        place((0, 1), range(6), (0, 0, 0, 1, 1, 2), replicas)


@settings(max_examples=200, deadline=None)
@given(fleets(), st.integers(1, 120), st.data())
def test_copies_are_on_distinct_regions_and_balanced(
    fleet: tuple[tuple[int, ...], tuple[int, ...]], shards: int, data: DataObject
) -> None:
    gateways, region = fleet
    replicas = data.draw(st.integers(1, regions_of(gateways, region)))
    first = first_hosts(gateways, region, shards)
    placement = place(first, gateways, region, replicas)
    assert place(first, gateways, region, replicas) == placement
    assert tuple(row[0] for row in placement) == first
    for row in placement:
        assert len(row) == replicas == len({region[host] for host in row})
        assert all(host in gateways for host in row)
    load = copies(placement, gateways)
    for one in sorted({region[g] for g in gateways}):
        inside = [count for gateway, count in load.items() if region[gateway] == one]
        assert max(inside) - min(inside) <= 1


def test_equal_regions_carry_equal_shares() -> None:
    """150 gateways in ten regions, 150 shards, three copies: three a gateway, exactly."""
    region = tuple(node % 10 for node in range(150))
    placement = place(first_hosts(range(150), region), range(150), region, 3)
    assert set(copies(placement, tuple(range(150))).values()) == {3}


def test_a_failed_regions_shards_spread_over_the_others() -> None:
    """What the gateways of one region served goes to all four other regions alike."""
    region = tuple(node % 5 for node in range(50))
    placement = place(first_hosts(range(50), region), range(50), region, 2)
    heirs = [region[row[1]] for row in placement if region[row[0]] == 0]
    counts = [heirs.count(one) for one in range(1, 5)]
    assert sum(counts) == 10
    assert max(counts) - min(counts) <= 1


@st.composite
def outages(draw: DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], Placement, list[list[int]]]:
    """A fleet, its placement, and who does not serve in each of a few situations."""
    gateways, region = draw(fleets())
    replicas = draw(st.integers(1, min(4, regions_of(gateways, region))))
    shards = draw(st.integers(1, 40))
    base = place(first_hosts(gateways, region, shards), gateways, region, replicas)
    gone = st.lists(st.sampled_from(gateways), unique=True, max_size=len(gateways))
    return gateways, region, base, draw(st.lists(gone, min_size=1, max_size=5))


@settings(max_examples=200, deadline=None)
@given(outages())
def test_repair_moves_no_more_than_it_must(
    case: tuple[tuple[int, ...], tuple[int, ...], Placement, list[list[int]]],
) -> None:
    """Through any history: rows stay valid, and only lacking or returning copies move."""
    gateways, region, base, situations = case
    current = base
    for down in [*situations, []]:
        after = repaired(current, base, gateways, region, down=down)
        moves = hand_over(current, after, [10] * len(base), 100, down=down)
        live_regions = len({region[g] for g in gateways if g not in down})
        expected = 0
        for old, new, home in zip(current, after, base, strict=True):
            if all(host in down for host in old):
                assert new == old
                continue
            assert len(new) == min(len(home), live_regions)
            assert len({region[host] for host in new}) == len(new)
            assert not any(host in down for host in new)
            back = [host for host in home if host not in down]
            assert list(new[: len(back)]) == back
            kept = [h for h in old if h not in down and (h in back or h in new)]
            expected += len(new) - len(kept)
        assert len(moves) == expected
        assert sum(move.size_bytes for move in moves) == expected * 1_000
        for move in moves:
            assert move.source in current[move.shard]
            assert move.source not in down
            assert move.target not in current[move.shard]
        current = after
    assert current == base


@settings(max_examples=200, deadline=None)
@given(outages())
def test_survivors_keep_their_copies_when_more_go(
    case: tuple[tuple[int, ...], tuple[int, ...], Placement, list[list[int]]],
) -> None:
    """While nobody returns, exactly the copies that are gone are made anew: the least possible."""
    gateways, region, base, situations = case
    current, down = base, []
    for more in situations:
        down = sorted({*down, *more})
        after = repaired(current, base, gateways, region, down=down)
        live_regions = len({region[g] for g in gateways if g not in down})
        for old, new, home in zip(current, after, base, strict=True):
            alive = [host for host in old if host not in down]
            if alive:
                assert set(alive) <= set(new)
                added = min(len(home), live_regions) - len(alive)
                assert len(set(new) - set(old)) == added
        current = after


def test_a_lost_gateway_is_replaced_in_its_region() -> None:
    region = (0, 0, 1, 1)
    base: Placement = ((0, 2), (1, 3))
    assert repaired(base, base, range(4), region, down=[0]) == ((2, 1), (1, 3))
    assert repaired(base, base, range(4), region, down=[0, 1]) == ((2,), (3,))


def test_who_leaves_in_order_hands_over_and_who_crashes_alone_takes_the_shard_along() -> None:
    region = (0, 0)
    base: Placement = ((0,), (1,))
    assert repaired(base, base, range(2), region, down=[0]) == base
    after = repaired(base, base, range(2), region, left=[0])
    assert after == ((1,), (1,))
    assert [tuple(m) for m in hand_over(base, after, [7, 9], 50)] == [(0, 0, 1, 7, 350)]
    assert repaired(base, base, range(2), region, left=[0, 1]) == base
    with pytest.raises(ValueError, match="nobody can hand over"):
        hand_over(base, after, [7, 9], 50, down=[0])


def test_substitutes_spread_inside_the_region() -> None:
    """Ten shards of one crashed gateway go to the nine others of its region, two at most."""
    region = (0,) * 10 + (1,) * 10
    base: Placement = tuple((0, 10 + shard) for shard in range(10))
    after = repaired(base, base, range(20), region, down=[0])
    load = copies(after, tuple(range(1, 10)))
    assert sorted(load.values()) == [1] * 8 + [2]


def test_hosts_as_an_array() -> None:
    array = hosts_array(((3, 1), (2,)), 2)
    assert array.tolist() == [[3, 1], [2, -1]]
    assert array.dtype == np.int32


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_choice_of_a_replica_is_the_same_compiled(data: DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    hosts = data.draw(st.permutations(range(10)))[:count]
    distance = data.draw(st.lists(st.integers(0, 5), min_size=10, max_size=10))
    down = data.draw(st.lists(st.booleans(), min_size=10, max_size=10))
    padded = np.array([*hosts, -1, -1], dtype=np.int32)
    table = np.array([distance], dtype=np.int64)
    region = np.arange(10, dtype=np.int32)
    flags = np.array(down, dtype=np.uint8)
    asked = []
    for attempt in range(2 * count):
        host = coordinator(hosts, [distance[h] for h in hosts], [down[h] for h in hosts], attempt)
        assert kernels.coordinator_of(padded, table, region, 0, flags, attempt) == host
        asked.append(host)
    serving = [host for host in hosts if not down[host]] or hosts
    assert sorted(asked[: len(serving)]) == sorted(serving)
    assert asked[0] == min(serving, key=lambda h: (distance[h], hosts.index(h)))
