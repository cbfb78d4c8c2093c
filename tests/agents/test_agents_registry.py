"""What copies are for: a region that goes down, records that move, answers that lag."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.world.agents import changes, kinds
from sim.world.agents import parameters as p
from sim.world.agents.plane import AgentPlane
from sim.world.agents.tables import (
    MOVED_IN,
    RE_HOMED,
    READ,
    STALE,
    TAKEN_OVER,
)
from sim.world.chance import Chance
from tests.agents.cases import MS, SECOND, basic, network

REGIONS = 4
NODES = 12


def plane(**directory: object) -> AgentPlane:
    """Four regions of three gateways; 400 agents register and renew all the time."""
    chosen = replace(
        basic().directory,
        shards=tuple(range(NODES)),
        station=p.Station(servers=2, work_ns=MS // 10),
        lease_ns=20 * SECOND,
        timeout_ns=300 * MS,
        **directory,  # type: ignore[arg-type]
    )
    traffic = {t.kind: t for t in basic().traffic}
    renew = replace(traffic[kinds.RENEWAL], arrivals=p.Poisson(rate_nhz=2 * 10**9))
    ask = replace(traffic[kinds.LOOKUP_ID], arrivals=p.Poisson(rate_nhz=4 * 10**9))
    parameters = basic(
        placement=(100,) * REGIONS,
        node_region=tuple(node % REGIONS for node in range(NODES)),
        gateways=tuple(range(NODES)),
        traffic=(renew, ask, traffic[kinds.MESSAGE]),
        directory=chosen,
    )
    return AgentPlane(parameters, network(REGIONS), Chance(7, 0))


def region(number: int) -> list[int]:
    return [node for node in range(NODES) if node % REGIONS == number]


def events(source: AgentPlane) -> dict[int, tuple[int, int]]:
    """Return (count, bytes) of each registry event."""
    table = source.drain(final=True).registry
    found: dict[int, tuple[int, int]] = {}
    for event, count, size in zip(table["event"], table["count"], table["bytes"], strict=True):
        before = found.get(int(event), (0, 0))
        found[int(event)] = (before[0] + int(count), before[1] + int(size))
    return found


@pytest.mark.parametrize("gone", range(REGIONS))
def test_no_region_takes_a_registration_with_it_that_a_quorum_has(gone: int) -> None:
    source = plane(replicas=3, quorum_writes=True)
    source.advance(1_030 * MS)
    for node in region(gone):
        source.apply(changes.NodeDown(node))
    source.advance(3 * SECOND)
    for node in region(gone):
        source.apply(changes.NodeUp(node))
    source.advance(4 * SECOND)
    assert source.lost_writes() == {}
    assert source.counters().conserved()


@pytest.mark.parametrize("gone", range(REGIONS))
def test_a_host_that_acknowledges_alone_takes_what_it_has_not_sent_on(gone: int) -> None:
    source = plane(replicas=3, replication_lag_ns=400 * MS)
    source.advance(1_030 * MS)
    for node in region(gone):
        source.apply(changes.NodeDown(node))
    lost = source.lost_writes()
    assert set(lost) <= set(region(gone))
    # 100 agents renew twice a second and nearest hosts write: 0.4 s of that, 80 on average.
    assert 35 < sum(lost.values()) < 130
    source.advance(2 * SECOND)
    assert source.lost_writes() == lost


def test_copies_without_a_lag_have_left_when_the_host_crashes() -> None:
    source = plane(replicas=3)
    source.advance(1_030 * MS)
    for node in region(0):
        source.apply(changes.NodeDown(node))
    assert source.lost_writes() == {}


def test_a_host_cut_off_from_all_others_takes_its_writes_with_it() -> None:
    source = plane(replicas=3)
    here, there = tuple(region(0)), tuple(n for n in range(NODES) if n % REGIONS)
    source.advance(1_000 * MS)
    source.apply(changes.LinkChange(sources=here, targets=there, blocked=True))
    source.advance(1_500 * MS)
    for node in here:
        source.apply(changes.NodeDown(node))
    assert sum(source.lost_writes().values()) > 40


def test_copies_that_a_cut_held_back_leave_when_it_ends() -> None:
    source = plane(replicas=3)
    here, there = tuple(region(0)), tuple(n for n in range(NODES) if n % REGIONS)
    source.advance(1_000 * MS)
    source.apply(changes.LinkChange(sources=here, targets=there, blocked=True))
    source.advance(1_500 * MS)
    source.apply(changes.LinkChange(sources=here, targets=there))
    for node in here:
        source.apply(changes.NodeDown(node))
    assert source.lost_writes() == {}


def test_others_take_over_what_was_down_for_longer_than_the_timeout() -> None:
    source = plane(replicas=2, record_bytes=1_000)
    source.advance(1_000 * MS)
    source.apply(changes.NodeDown(0))
    source.advance(1_200 * MS)
    assert TAKEN_OVER not in events(source)
    source.advance(1_400 * MS)
    found = events(source)
    # Node 0 hosts its own shard and a copy of another or two; about 400 / 12 records each.
    assert 1 <= found[TAKEN_OVER][0] <= 3
    records, size = found[MOVED_IN]
    assert 10 * found[TAKEN_OVER][0] <= records <= 60 * found[TAKEN_OVER][0]
    assert size == 1_000 * records
    source.apply(changes.NodeUp(0))
    source.advance(2 * SECOND)
    assert events(source)[TAKEN_OVER] == found[TAKEN_OVER]


def test_agents_move_once_their_gateway_is_known_to_be_down_and_stay() -> None:
    source = plane(replicas=2, re_home=True)
    source.advance(500 * MS)
    homes = source._world.contacts["home"].copy()
    source.apply(changes.NodeDown(0))
    source.advance(4 * SECOND)
    moved = events(source)[RE_HOMED][0]
    left = int((homes == 0).sum())
    assert moved > left * 0.9
    assert int((source._world.contacts["home"] == 0).sum()) == left - moved
    source.apply(changes.NodeUp(0))
    source.advance(6 * SECOND)
    assert RE_HOMED not in events(source)
    assert source.counters().conserved()


def test_the_share_of_stale_answers_grows_with_the_lag() -> None:
    shares = []
    for lag_ns in (0, 200 * MS, 2 * SECOND):
        source = plane(replicas=3, replication_lag_ns=lag_ns, cache_slots=0)
        source.advance(6 * SECOND)
        found = events(source)
        shares.append(found.get(STALE, (0, 0))[0] / found[READ][0])
    assert shares[0] < 0.1 < shares[1] < 0.4 < shares[2] < 0.7


def test_a_quorum_of_readers_and_writers_never_answers_stale_for_long() -> None:
    """Two of three have each write when it is in force, and a reader asks two of three."""
    source = plane(replicas=3, quorum_reads=True, quorum_writes=True, cache_slots=0)
    source.advance(4 * SECOND)
    assert STALE not in events(source)
