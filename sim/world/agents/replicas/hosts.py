"""Who hosts which shard now: what a grid boundary finds out about nodes that are down.

Owns: the placement in force and the bill of its changes. Must not know: messages, questions.
"""

from __future__ import annotations

import numpy as np

from sim.world.agents.build import base_hosts
from sim.world.agents.changes import ShardLoss
from sim.world.agents.draws import SHARD
from sim.world.agents.parameters import PlaneParameters
from sim.world.agents.replicas.kernels import forget_missed, lose_shards
from sim.world.agents.state import World
from sim.world.agents.tables import MOVED_IN, TAKEN_OVER
from sim.world.chance import I64, mix_array
from sim.world.registry.placement import hand_over, hosts_array, repaired


class Hosts:
    """The hosts of all shards; a node that is down for longer than the timeout is replaced."""

    def __init__(self, parameters: PlaneParameters) -> None:
        self._p = parameters
        self._base = self._current = base_hosts(parameters)
        self._record_bytes = parameters.directory.record_bytes
        self._down_since_ns = np.zeros(len(parameters.node_region), dtype=np.int64)

    def crashed(self, world: World, node: int, now_ns: int) -> None:
        """Note since when a node is down; call it before the node counts as down."""
        if not world.down[node]:
            self._down_since_ns[node] = now_ns

    def look(self, world: World, boundary_ns: int) -> None:
        """Learn at a grid boundary who is known to be down; let others take over."""
        known = world.registry.known_down
        if not (world.down.any() or known.any()):
            return
        waited = boundary_ns - self._down_since_ns >= self._p.directory.timeout_ns
        found = (world.down != 0) & waited
        if np.array_equal(found, known != 0):
            return
        known[:] = found
        if self._p.directory.replicas > 1:
            self._rebalance(world, boundary_ns)

    def lose(self, world: World, change: ShardLoss, now_ns: int) -> None:
        """Let hosts lose their copies; those that others hold are made anew, and billed."""
        hosts = world.registry.hosts
        struck = np.zeros(len(hosts), dtype=np.uint8)
        nodes = np.zeros(len(self._p.node_region), dtype=np.uint8)
        nodes[list(change.nodes)] = 1
        hit = np.isin(hosts, change.nodes)
        for shard in change.shards:
            struck[shard] = int(hit[shard].any()) + int(hit[shard][hosts[shard] >= 0].all())
        lose_shards(world, struck, nodes, now_ns)
        records = self._records(world, now_ns)
        for shard in np.flatnonzero(struck == 1).tolist():
            for host in hosts[shard][hit[shard]].tolist():
                size = int(records[shard])
                world.books.registry[host, MOVED_IN] += (size, size * self._record_bytes)

    def _rebalance(self, world: World, boundary_ns: int) -> None:
        p, before = self._p, self._current
        down = np.flatnonzero(world.registry.known_down).tolist()
        after = repaired(before, self._base, p.gateways, p.node_region, down=down)
        records = self._records(world, boundary_ns).tolist()
        events = world.books.registry
        for move in hand_over(before, after, records, self._record_bytes, down=down):
            events[move.target, TAKEN_OVER, 0] += 1
            events[move.target, MOVED_IN] += (move.records, move.size_bytes)
        changed = np.array([a != b for a, b in zip(before, after, strict=True)], dtype=np.uint8)
        world.registry.hosts[:] = hosts_array(after, p.directory.replicas)
        forget_missed(world, changed)
        self._current = after

    def _records(self, world: World, now_ns: int) -> I64:
        """Count the records of each shard: agents that are registered."""
        agents = np.flatnonzero(world.people["lease_until_ns"] > now_ns)
        bits = mix_array(int(world.draw[SHARD]), agents)
        shards = len(self._current)
        shard = ((bits >> np.uint64(32)) * np.uint64(shards)) >> np.uint64(32)
        return np.bincount(shard.astype(np.int64), minlength=shards)
