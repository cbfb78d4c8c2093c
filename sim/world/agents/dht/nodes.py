"""Who is a node of the plane's DHT, and who of them is up.

Owns: members, the gateways' own nodes, what a grid boundary tells the routing about comings and
goings, which nodes are whose. Must not know: questions, how lookups are solved.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.world.agents.changes import LinkChange
from sim.world.agents.owned import chosen
from sim.world.agents.parameters import (
    DHT_AGENTS,
    DHT_ROUTERS,
    Chosen,
    Dht,
    Malice,
    PlaneParameters,
)
from sim.world.agents.population import Neighbours, Population, past_sessions
from sim.world.chance import I64, U64, Chance, mix_array
from sim.world.kernels import records
from sim.world.network.regions import split_site
from sim.world.network.tables import NetworkTables
from sim.world.routing import nodes
from sim.world.routing.nodes import Bundle
from sim.world.routing.parameters import AIMED, HONEST
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
        site = np.asarray(parameters.node_region)
        region = people.region if self.agents else site[members.host]
        self._assaults = Assaults(parameters, dht, members, region, people, chance)
        self.bundle: Bundle = nodes.build(
            dht.routing,
            members,
            parameters.node_region,
            network,
            chance,
            host_zone=dht.zones or None,
            ids=self._assaults.ids,
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

    def cut(self, change: LinkChange) -> None:
        """Note which hosts reach which; what else happens to a link is its messages' own."""
        nodes.cut_off(self.bundle, change.sources, change.targets, blocked=change.blocked)

    def attack(self, on: Collection[int]) -> None:
        """Let the nodes that assaults own misbehave: those of the assaults that are `on`."""
        self.bundle = self._assaults.applied(self.bundle, on)

    def look_at_hosts(self, down: NDArray[np.uint8], boundary_ns: int) -> None:
        """Note which nodes' validators are down; for gateways and routers."""
        up = (down[self._host] == 0).astype(np.uint8)
        self.look_at(up, np.arange(len(up)), boundary_ns)


class Assaults:
    """What assaults on the DHT own and aim at; `ids`: by member, None where nobody moved any."""

    def __init__(
        self,
        p: PlaneParameters,
        dht: Dht,
        members: nodes.Members,
        region: NDArray[Any],
        people: Population,
        chance: Chance,
    ) -> None:
        self._found = {
            place: assault
            for place, assault in enumerate(p.assaults)
            if isinstance(assault, Malice)
        }
        self._agents = members.agents
        self._shift = np.uint64(64 - dht.routing.id_bits)
        self._key = chance.key(f"routing/{nodes.PURPOSES[nodes.AGENT_KEY]}")
        self.ids: U64 | None = None
        if not self._found:
            return
        ids = nodes.own_ids(dht.routing, members, chance)
        self._owned = {
            place: self._chosen(assault.who, ids, (region, members.host), chance, place)
            for place, assault in self._found.items()
        }
        self._victims = {
            place: chosen(
                assault.victims,
                people.region,
                people.home,
                chance.key(f"agents/assault/{place}/victims"),
            )
            for place, assault in self._found.items()
            if assault.victims is not None
        }
        for place, assault in self._found.items():
            if assault.adjacent:
                self.ids = ids = self._moved(ids, place)
        self._aims = {place: self._keys(who, ids) for place, who in self._victims.items()}

    def _chosen(
        self,
        who: Chosen,
        ids: U64,
        where: tuple[NDArray[Any], NDArray[Any]],
        chance: Chance,
        place: int,
    ) -> I64:
        """Return the members that an assault owns."""
        if who.near is None:
            return chosen(who, *where, chance.key(f"agents/assault/{place}"))
        near = np.array([who.near])
        order = np.argsort(ids ^ self._keys(near, ids), kind="stable")
        # Where agents are nodes, the one that is meant is not its own attacker.
        others = order[order != who.near] if self._agents else order
        return np.sort(others[: who.random])

    def _keys(self, agents: I64, ids: U64) -> U64:
        """Return the keys of agents."""
        if self._agents:
            return ids[agents]
        return (mix_array(self._key, agents) >> self._shift) << self._shift

    def _moved(self, ids: U64, place: int) -> U64:
        """Give the owned members the free ids next to the victims' keys, to each in turn."""
        victims = self._victims[place]
        taken = np.sort(ids)
        moved, given = ids.copy(), dict[int, None]()
        if self._agents:
            self._owned[place] = np.setdiff1d(self._owned[place], victims)
        steps = [0] * len(victims)
        keys = self._keys(victims, ids).tolist()
        for turn, member in enumerate(self._owned[place].tolist()):
            victim = turn % len(victims)
            while True:
                steps[victim] += 1
                ident = keys[victim] ^ (steps[victim] << int(self._shift))
                spot = int(np.searchsorted(taken, np.uint64(ident)))
                if ident not in given and (spot == len(taken) or int(taken[spot]) != ident):
                    break
            given[ident] = None
            moved[member] = ident
        return moved

    def applied(self, bundle: Bundle, on: Collection[int]) -> Bundle:
        """Return the bundle with the assaults that are on; plain malice goes before aimed."""
        malice = np.zeros(len(bundle.node), dtype=np.uint8)
        planted = np.zeros(len(bundle.node), dtype=np.bool_)
        aims, planted_ppm = [np.zeros(0, dtype=np.uint64)], 0
        for place in sorted(place for place in self._found if place in on):
            assault, own = self._found[place], bundle.node_of[self._owned[place]]
            code = assault.malice
            if place in self._aims:
                code |= AIMED
                aims.append(self._aims[place])
            before = malice[own]
            weaker = (before == HONEST) | ((before >= AIMED) & (code < AIMED))
            malice[own[weaker]] = code
            if assault.planted_ppm:
                planted[own] = True
                planted_ppm = max(planted_ppm, assault.planted_ppm)
        return nodes.with_malice(
            bundle, malice, aims=np.concatenate(aims), planted=planted, planted_ppm=planted_ppm
        )


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
