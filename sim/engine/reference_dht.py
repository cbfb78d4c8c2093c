"""The reference's DHT: lookups by the readable program, one process a question.

Owns: how a question finds its host in a DHT. Must not know: columns, compiled lookups.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import TYPE_CHECKING, Any

import simpy

from sim.engine.reference_parts import Lost, Query
from sim.world.agents import draws, kinds
from sim.world.agents.dht.nodes import DhtNodes
from sim.world.agents.kinds import WRITING
from sim.world.chance import mix
from sim.world.routing.parameters import FOUND, ITERATIVE, OUTCOMES
from sim.world.routing.paths import Lookup, Paths

if TYPE_CHECKING:
    from sim.engine.reference import Reference

Steps = Generator[simpy.Event, Any, None]


class DhtReference:
    """All nodes, and the lookups among them."""

    def __init__(self, plane: Reference) -> None:
        self.plane, self.p, self.env = plane, plane.p, plane.env
        dht = plane.p.directory.dht
        assert dht is not None
        self.iterative = dht.routing.style == ITERATIVE
        self.nodes = DhtNodes(plane.p, plane.network, plane.people, plane.purposes, plane.chance)
        self.paths = Paths(self.nodes.bundle)

    def attack(self, on: Collection[int]) -> None:
        """Let owned nodes misbehave."""
        self.nodes.attack(on)
        self.paths = Paths(self.nodes.bundle)

    def find(self, query: Query, gateway: int) -> Steps:
        """Look the host of a question up, and go there."""
        plane, region = self.plane, self.p.node_region
        found = self._look_up(query, gateway)
        host = found.host if found.outcome == FOUND else -1
        pair = (region[gateway], region[host if host >= 0 else gateway])
        counts = (found.depth, found.rounds, found.rpcs, found.messages, found.bytes)
        sums = (*counts, found.crossings, found.timeouts)
        plane.ledgers.lookup(query, self.env.now, found.outcome, pair, sums)
        plane.ledgers.note(f"dht_{OUTCOMES[found.outcome]}")
        plane.ledgers.note("dht_far" if found.depth > 1 else "dht_near")
        if host < 0:
            plane.ledgers.note("dht_failed")
            yield self.env.timeout(found.delay_ns)
            raise Lost(kinds.LOOKUP_FAILED)
        query.host = host
        takes_ns = found.delay_ns
        if host != gateway:
            place = (query.ident, query.attempt)
            bits = mix(plane.keys[draws.QUERY_LOSS], *place)
            reason = plane.links.verdict(gateway, host, bits)
            if reason is not None:
                raise Lost(reason)
            if self.iterative and query.kind in WRITING:
                bits = mix(plane.keys[draws.QUERY_DELAY], *place)
                takes_ns = found.back_ns + plane.links.delay_ns(gateway, host, bits)
        yield self.env.timeout(takes_ns)

    def _look_up(self, query: Query, gateway: int) -> Lookup:
        nodes, paths, now = self.nodes, self.paths, self.env.now
        source = int(nodes.askers.node[gateway])
        if source < 0:
            source = int(nodes.bundle.node_of[query.source])
        if query.kind == kinds.LOOKUP_CAPABILITY:
            key, home = paths.capability_key(query.key - self.p.agents), -1
        else:
            key = paths.agent_key(query.key)
            home = int(nodes.askers.home_region[int(self.plane.people.region[query.key])])
        return paths.route(source, key, home, now, query.ident, query.attempt)

    def look(self, boundary_ns: int) -> None:
        """Learn who is up at a grid boundary."""
        rows, nodes = self.nodes.bundle.node, self.nodes
        for member, node in enumerate(nodes.bundle.node_of.tolist()):
            if nodes.agents:
                up = self.plane.online(member)
            else:
                up = not self.plane.down[int(rows["host"][node])]
            if bool(rows["up"][node]) != up:
                rows["before_ns"][node] = rows["since_ns"][node]
                rows["since_ns"][node] = boundary_ns
                rows["up"][node] = up
                nodes.bundle.constants["changed"] = 1
                self.plane.ledgers.note("dht_came" if up else "dht_went")
