"""Entry gateways: fewer, fuller batches between regions for more time and work inside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sim.world.agents import changes, kinds
from sim.world.agents import parameters as p
from sim.world.agents.plane import AgentPlane
from sim.world.agents.tables import Drained
from sim.world.chance import Chance
from tests.agents.cases import MS, PPM, SECOND, basic, network

RELAY = p.Relay(
    station=p.Station(servers=2, work_ns=20_000),
    uplink=p.Link(bits_per_s=10**8),
    downlink=p.Link(bits_per_s=10**8),
)
SIX = {
    "placement": (300, 300),
    "node_region": (0, 0, 0, 1, 1, 1),
    "gateways": (0, 1, 2, 3, 4, 5),
    "traffic": (
        p.Traffic(
            kind=kinds.MESSAGE,
            arrivals=p.Poisson(rate_nhz=3 * 10**9),
            size_bytes=5_000,
            signature_bytes=4_627,
            ratio_ppm=400_000,
        ),
    ),
    "ingress": p.Station(servers=4, work_ns=20_000),
    "egress": p.Station(servers=4, work_ns=10_000),
    "batch": p.Batch(count=100, size_bytes=10**6, age_ns=10 * MS),
    "count_batches": True,
    "store": p.Store(messages_per_agent=10**6),
}


def made(relay: p.Relay | None, **more: Any) -> AgentPlane:
    return AgentPlane(basic(**{**SIX, **more}, relay=relay), network(2), Chance(5, 0))


def settled(plane: AgentPlane) -> Drained:
    """Let agents talk for two seconds and leave, and what they said arrive or be kept."""
    plane.advance(2 * SECOND)
    plane.apply(changes.Disconnect(share_ppm=PPM, back_ns=60 * SECOND))
    plane.advance(8 * SECOND)
    counters = plane.counters()
    assert sum(counters.in_flight) == 0
    assert counters.conserved()
    return plane.drain(final=True)


def sums(found: Drained, leg: int, across: bool) -> tuple[int, int, int]:
    """Sum batches, messages and bytes of a leg, between regions or inside them."""
    table = found.batches
    chosen = (table["leg"] == leg) & ((table["source"] != table["target"]) == across)
    batches, messages, size = (
        int(table[n][chosen].sum()) for n in ("batches", "messages", "bytes")
    )
    return batches, messages, size


def median_ns(found: Drained) -> float:
    samples = found.samples
    across = samples["source_region"] != samples["target_region"]
    return float(np.median((samples["finished_ns"] - samples["created_ns"])[across]))


def test_an_entry_saves_headers_between_regions_and_costs_time() -> None:
    """Paired: the same messages cross, so bytes differ by the headers of the batches spared."""
    straight, relayed = settled(made(None)), settled(made(RELAY))
    direct, entered = sums(straight, 0, True), sums(relayed, 0, True)
    assert direct[1] == entered[1] > 1_500
    assert entered[0] < 0.7 * direct[0]
    assert direct[2] - entered[2] == 64 * (direct[0] - entered[0])
    assert direct[2] > 4_600 * direct[1]  # Signatures do not compress.
    # What stays inside its region goes straight in either case.
    assert sums(straight, 0, False) == sums(relayed, 0, False)
    assert sums(relayed, 1, True) == (0, 0, 0)
    assert sums(straight, 1, False) == (0, 0, 0)
    extra = median_ns(relayed) - median_ns(straight)
    assert (
        2 * MS < extra < 15 * MS
    )  # Two thirds wait for a second batch, 10 ms at most, and travel.


def test_a_third_has_arrived_where_it_enters_and_the_rest_is_worked_on() -> None:
    """Three gateways a region: each is its own agents' entry as often as another's."""
    found = settled(made(RELAY))
    crossed, onward = sums(found, 0, True)[1], sums(found, 1, False)[1]
    assert onward / crossed == pytest.approx(2 / 3, abs=0.04)
    relay = found.stations["class"] == kinds.STATIONS.index("relay")
    assert found.stations["served"][relay].sum() == onward
    assert found.stations["busy_ns"][relay].sum() == 20_000 * onward


def test_each_gateway_enters_a_region_at_one_place() -> None:
    plane = made(RELAY)
    plane.advance(SECOND)
    rows = plane._world.b.row
    used = rows["count"] > 0
    far = used & (rows["leg"] == 0) & ((rows["gateway"] < 3) != (rows["host"] < 3))
    pairs = sorted(set(zip(rows["gateway"][far].tolist(), rows["host"][far].tolist(), strict=True)))
    assert len({gateway for gateway, _ in pairs}) == len(pairs)


def test_a_crashed_entry_is_tried_anew_and_then_gone_around() -> None:
    """Lost as at any gateway that is down; known to be down after the lookup timeout."""
    directory = replace(basic().directory, shards=(0, 4), timeout_ns=100 * MS)
    straight = made(None, directory=directory)
    straight.advance(SECOND)
    straight.apply(changes.NodeDown(3))
    straight.advance(6 * SECOND)
    plane = made(RELAY, directory=directory)
    plane.advance(SECOND)
    plane.apply(changes.NodeDown(3))
    plane.advance(SECOND + 100 * MS)
    early = plane.drain(final=True).traffic
    lost = early["reason"] == kinds.GATEWAY_DOWN
    assert early["messages"][lost].sum() > 20
    plane.advance(6 * SECOND)
    found = plane.drain(final=True)
    entered = found.batches
    late = (entered["second"] >= 2) & (entered["leg"] == 0)
    assert entered["batches"][late].sum() > 0
    stations = found.stations
    busy = (stations["class"] == kinds.STATIONS.index("relay")) & (stations["node"] == 3)
    assert stations["served"][busy & (stations["second"] >= 2)].sum() == 0
    # Dropped are those that meet node 3 at one end or the other at each try, relays or not.
    unlucky, dropped = sum(straight.counters().dropped), sum(plane.counters().dropped)
    assert unlucky > 200
    assert dropped == pytest.approx(unlucky, rel=0.05)


def test_relays_slow_down_with_their_node_and_refuse_what_is_too_much() -> None:
    tight = replace(RELAY, station=p.Station(servers=1, work_ns=MS, queue=3))
    plane = made(tight)
    plane.apply(changes.Throttle(node=4, service_ppm=50 * PPM))
    plane.advance(2 * SECOND)
    found = plane.drain(final=True)
    traffic, stations = found.traffic, found.stations
    slow = (stations["class"] == kinds.STATIONS.index("relay")) & (stations["node"] == 4)
    assert stations["busy_ns"][slow].sum() == 50 * MS * stations["served"][slow].sum() > 0
    full = traffic["reason"] == kinds.RELAY_FULL
    assert traffic["messages"][full].sum() > 50


def test_without_relays_nothing_is_kept_for_them() -> None:
    plain, relaying = made(None)._world, made(RELAY)._world
    assert plain.pairs.shape == (1, 6, 6)
    assert relaying.lines.due.shape[0] == plain.lines.due.shape[0] + 6
