"""The plane's DHT: its nodes, and the pass that takes questions through it.

Owns: when the routing learns who is up. Must not know: slices, what questions are for.
"""

from __future__ import annotations

import numpy as np

from sim.world.agents.dht.kernels import dht_pass
from sim.world.agents.dht.nodes import DhtNodes
from sim.world.agents.kinds import SECOND_NS
from sim.world.agents.state import World, bytes_of
from sim.world.routing.verdict import declare

_NEAR_NS = 4 * SECOND_NS
"""Time between two looks at all agents for those whose session is about to end."""


class DhtDirectory(DhtNodes):
    """Nodes and lookups. Who comes and goes is known from the next grid boundary on."""

    anyone = True
    """Whether any agent may have come or gone, not only those whose session was about to end."""
    _near = np.zeros(0, dtype=np.int64)
    _near_until_ns = 0

    def look_up(self, world: World) -> None:
        """Find the hosts of the questions that this slice raised."""
        dht_pass(world, self.bundle, self.askers)

    def look(self, world: World, boundary_ns: int) -> None:
        """Learn who is up at a grid boundary."""
        if not self.agents:
            self.look_at_hosts(world.down, boundary_ns)
            return
        session = world.people["session"]
        if self.anyone or boundary_ns > self._near_until_ns:
            members = np.arange(len(session))
            self._near_until_ns = boundary_ns + _NEAR_NS
            self._near = np.flatnonzero(session >> 1 <= self._near_until_ns)
            self.anyone = False
        else:
            members = self._near
        self.look_at((session[members] & 1).astype(np.uint8), members, boundary_ns)

    def shares_ppm(self) -> tuple[int, int]:
        """Return the shares of short buckets and of stale contacts that lookups met."""
        state = declare(self.bundle)
        return state.short_ppm, state.stale_ppm

    def memory_bytes(self) -> int:
        """Bytes of ids, rings and nodes."""
        return bytes_of(self.bundle, self.askers)
