"""Who is a node of the plane's DHT, and who of them is up.

Owns: members, the gateways' own nodes, what a grid boundary tells the routing about comings and
goings. Must not know: questions, how lookups are solved.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.world.agents.parameters import DHT_AGENTS, DHT_ROUTERS, Dht, PlaneParameters
from sim.world.agents.population import Neighbours, Population, past_sessions
from sim.world.chance import U64, Chance
from sim.world.kernels import records
from sim.world.network.regions import split_site
from sim.world.network.tables import NetworkTables
from sim.world.routing import nodes
from sim.world.routing.nodes import Bundle
from sim.world.routing.states import change_states, with_states


class Askers(NamedTuple):
    """Where a gateway's questions begin."""

    node: NDArray[np.int32]
    """By validator: its node of the DHT; -1: the asking agent's own."""
    home_region: NDArray[np.int16]
    """By region of agents: the routing's number of the region that serves them."""
    found: Any
    """Room for one lookup's result."""


class DhtNodes:
    """The plane's nodes: their tables, and who was up at the last grid boundary."""

    def __init__(
        self,
        parameters: PlaneParameters,
        network: NetworkTables,
        people: Population,
        keys: U64,
        chance: Chance,
    ) -> None:
        dht = parameters.directory.dht
        assert dht is not None
        self.agents = dht.nodes == DHT_AGENTS
        members = _members(parameters, dht, people)
        self.bundle: Bundle = nodes.build(
            dht.routing,
            members,
            parameters.node_region,
            network,
            chance,
            host_zone=dht.zones or None,
        )
        self._host = members.host
        if self.agents and parameters.sessions is not None:
            online = people.session & 1
            since_ns, before_ns = past_sessions(parameters.sessions, keys, online)
            order = self.bundle.member_of
            self.bundle = with_states(self.bundle, online[order], since_ns[order], before_ns[order])
        numbers: dict[str, int] = {}
        region_of = [numbers.setdefault(split_site(s)[0], len(numbers)) for s in network.regions]
        served_by = Neighbours(parameters, network.median_ns.tolist()).served_by
        self.askers = Askers(
            _own_nodes(parameters, dht, self.bundle),
            np.array([region_of[region] for region in served_by], dtype=np.int16),
            records(np.zeros(1, dtype=nodes.LOOKUP)),
        )

    def look_at(self, up: NDArray[Any], members: NDArray[Any], boundary_ns: int) -> None:
        """Note at a grid boundary that `members` are up (1) or not; others are as they were."""
        change_states(self.bundle, self.bundle.node_of[members], up, boundary_ns)

    def look_at_hosts(self, down: NDArray[np.uint8], boundary_ns: int) -> None:
        """Note which nodes' validators are down; for gateways and routers."""
        up = (down[self._host] == 0).astype(np.uint8)
        self.look_at(up, np.arange(len(up)), boundary_ns)


def _members(p: PlaneParameters, dht: Dht, people: Population) -> nodes.Members:
    if dht.nodes == DHT_AGENTS:
        delays = np.array([access.median_ns for access in p.access], dtype=np.int64)
        return nodes.agents(people.home, delays[people.access])
    if dht.nodes == DHT_ROUTERS:
        return nodes.routers(p.gateways, p.node_region, dht.per_region)
    return nodes.gateways(p.gateways)


def _own_nodes(p: PlaneParameters, dht: Dht, bundle: Bundle) -> NDArray[np.int32]:
    """Return each gateway's node: itself, a router that it hosts, else one of its region's."""
    own = np.full(len(p.node_region), -1, dtype=np.int32)
    if dht.nodes == DHT_AGENTS:
        return own
    if dht.nodes != DHT_ROUTERS:
        own[list(p.gateways)] = bundle.node_of
        return own
    first: dict[int, int] = {}
    place: dict[int, int] = {}
    for region in sorted({p.node_region[gateway] for gateway in p.gateways}):
        first[region] = len(first) * dht.per_region
    for gateway in p.gateways:
        region = p.node_region[gateway]
        turn = place.get(region, 0)
        place[region] = turn + 1
        own[gateway] = bundle.node_of[first[region] + turn % dht.per_region]
    return own
