"""Where compliance happens: hosts by region, and messages between them on the run's own network.

Owns: who answers for a region, what a message of compliance meets (link rules, loss, delay, who is
down) and what encryption in transit costs both ends. Must not know: what is said.

These messages are few and small next to consensus: they are not queued on the links, and their
bytes are not in the table `traffic` (their CPU time is in `stations`).
"""

from __future__ import annotations

from sim.engine.loop import Loop
from sim.engine.node import Node
from sim.scenario.compliance import Transit
from sim.world.chance import Chance, mix
from sim.world.network.links import Links, added_ns, stopped
from sim.world.network.tables import NetworkTables

_KIB = 1024


class Places:
    """Hosts of regions, and the ways between them."""

    def __init__(
        self,
        *,
        env: Loop,
        nodes: list[Node],
        regions: list[str],
        tables: NetworkTables,
        links: Links,
        transit: Transit,
        chance: Chance,
    ) -> None:
        self._env = env
        self.nodes = nodes
        self.regions = regions
        """Of each validator."""
        self._tables = tables
        self._links = links
        self._transit = transit
        self._key = chance.key("compliance/messages")
        self._sent = 0
        self._hosts: dict[str, list[Node]] = {}
        for node, region in zip(nodes, regions, strict=True):
            self._hosts.setdefault(region, []).append(node)

    def host(self, region: str) -> Node | None:
        """Return the first validator of a region that is up; None during an outage."""
        return next((node for node in self._hosts.get(region, ()) if node.up), None)

    def send(
        self, source: Node | None, target: Node | None, size_bytes: int, *, fresh: bool = False
    ) -> int | None:
        """Return how long a message takes from `source`, now; None where it does not arrive.

        `fresh`: over a new connection, with its handshake. Both ends are charged; who receives it
        has to be up still when it arrives, which the caller sees to.
        """
        if source is None or target is None or not source.up or not target.up:
            return None
        now = self._env.now
        self._sent += 1
        work = self.work_ns(size_bytes, fresh=fresh)
        left = source.cpu.serve(now, work)
        if source is target:
            return left - now
        bits, more = mix(self._key, self._sent), mix(self._key, self._sent, 1)
        verdict = self._links.judge(source.id, target.id, now, bits)
        if stopped(verdict):
            return None
        if self._tables.lost(source.region, target.region, more):
            return None
        opened = target.cpu.serve(now, work) - now
        delay = self._tables.delay_ns(source.region, target.region, bits)
        return left - now + delay + added_ns(verdict) + opened

    def work_ns(self, size_bytes: int, *, fresh: bool) -> int:
        """Return what sealing or opening a message costs one end."""
        records = -(-size_bytes * self._transit.per_kib_ns // _KIB)
        return records + (self._transit.handshake_ns if fresh else 0)

    def log_on(self, region: str) -> None:
        """Charge the handshake of a session to the host of a region (`*`: any), if one is up."""
        anywhere = (node for node in self.nodes if node.up)
        host = next(anywhere, None) if region == "*" else self.host(region)
        if host is not None and self._transit.handshake_ns:
            host.cpu.serve(self._env.now, self._transit.handshake_ns)
