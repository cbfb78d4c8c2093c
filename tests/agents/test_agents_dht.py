"""Questions that find their host through a DHT: what stays inside a region, what time they take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.world.agents import changes, kinds
from sim.world.agents import parameters as p
from sim.world.agents.plane import AgentPlane
from sim.world.agents.tables import ROUTE_FOUND
from sim.world.chance import Chance
from sim.world.routing.parameters import (
    HIERARCHICAL,
    ITERATIVE,
    KADEMLIA,
    RECURSIVE,
    RoutingParameters,
)
from tests.agents.cases import MS, SECOND, basic, network

REGIONS = 3
NODES = 6


def plane(*, locality_ppm: int = 0, sessions: p.Sessions | None = None, **dht: int) -> AgentPlane:
    """Three regions of two gateways; 300 agents send messages."""
    nodes = dht.pop("nodes", p.DHT_AGENTS)
    routing = RoutingParameters(**({"k": 8, "deadline_ns": 5 * SECOND} | dht))  # type: ignore[arg-type]
    message = replace(
        basic().traffic[kinds.MESSAGE],
        destinations=p.Destinations(locality_ppm=locality_ppm),
    )
    parameters = basic(
        placement=(100,) * REGIONS,
        node_region=tuple(node % REGIONS for node in range(NODES)),
        gateways=tuple(range(NODES)),
        traffic=(message,),
        directory=replace(
            basic().directory,
            shards=tuple(range(NODES)),
            dht=p.Dht(routing=routing, nodes=nodes, per_region=5),
            cache_slots=0,
            timeout_ns=5 * SECOND,
        ),
        sessions=sessions,
    )
    return AgentPlane(parameters, network(REGIONS), Chance(3, 0))


def lookups(source: AgentPlane) -> dict[str, int]:
    table = source.drain(final=True).lookups
    found = table["outcome"] == ROUTE_FOUND
    sums = {name: int(column.sum()) for name, column in table.items()}
    return sums | {"found": int(table["lookups"][found].sum())}


@pytest.mark.parametrize("nodes", [p.DHT_GATEWAYS, p.DHT_ROUTERS, p.DHT_AGENTS])
def test_an_agent_of_the_own_region_is_found_without_leaving_it(nodes: int) -> None:
    source = plane(locality_ppm=1_000_000, kind=HIERARCHICAL, nodes=nodes)
    source.advance(3 * SECOND)
    sums = lookups(source)
    assert sums["found"] == sums["lookups"] > 700
    assert sums["crossings"] == 0
    assert sums["messages"] > 0


def test_one_ring_for_all_crosses_for_most() -> None:
    source = plane(locality_ppm=1_000_000, kind=KADEMLIA, proximity=0)
    source.advance(3 * SECOND)
    sums = lookups(source)
    assert sums["found"] == sums["lookups"] > 700
    # Two contacts in three are elsewhere, and a lookup takes two or three hops.
    assert sums["crossings"] > sums["lookups"]


@pytest.mark.parametrize("style", [RECURSIVE, ITERATIVE])
def test_contacts_that_are_gone_cost_their_timeout(style: int) -> None:
    sessions = p.Sessions(
        on_shape_micro=1_000_000,
        on_scale_ns=2 * SECOND,
        off_shape_micro=1_000_000,
        off_scale_ns=2 * SECOND,
    )
    churned = plane(kind=KADEMLIA, style=style, sessions=sessions, rpc_timeout_ns=50 * MS)
    calm = plane(kind=KADEMLIA, style=style, rpc_timeout_ns=50 * MS)
    for source in (churned, calm):
        source.advance(4 * SECOND)
    assert calm.routing_ppm() == (0, 0)
    short, stale = churned.routing_ppm() or (0, 0)
    assert short > 100_000
    assert stale > 100_000
    assert lookups(calm)["timeouts"] == 0
    sums = lookups(churned)
    assert sums["timeouts"] > sums["lookups"] // 4


def test_a_gateway_that_crashes_leaves_the_dht_and_comes_back() -> None:
    source = plane(kind=KADEMLIA, nodes=p.DHT_GATEWAYS)
    source.advance(250 * MS)
    source.apply(changes.NodeDown(0))
    source.advance(320 * MS)
    assert source._dht is not None
    rows = source._dht.bundle.node
    down = np.flatnonzero(rows["up"] == 0)
    assert rows["host"][down].tolist() == [0]
    assert rows["since_ns"][down].tolist() == [300 * MS]
    source.apply(changes.NodeUp(0))
    source.advance(1_000 * MS)
    assert rows["up"].all()
