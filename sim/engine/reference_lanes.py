"""The reference's meter of links: every transmission as an interval, summed by grid cell on demand.

Owns: what each node's uplink and downlink carried when. Must not know: columns, who borrows.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.world.agents.kinds import GRID_NS, NEVER
from sim.world.agents.state import CELLS

UP, DOWN = range(2)


@dataclass(eq=False, slots=True)
class Sending:
    """Bits on one link from `start_ns` to `end_ns`; nothing is sent from `cut_ns` on.

    `last_cell`: what would be sent in later cells is booked to this one.
    """

    way: int
    node: int
    start_ns: int
    end_ns: int
    bits: int
    last_cell: int = NEVER
    cut_ns: int = NEVER

    def part(self, cell: int) -> int:
        """Return the bits sent in a cell, rounded up."""
        begin_ns, end_ns = cell * GRID_NS, (cell + 1) * GRID_NS
        if begin_ns >= self.cut_ns or cell > self.last_cell:
            return 0
        if cell == self.last_cell:
            booked = sum(self._within(c) for c in range(self.start_ns // GRID_NS, cell))
            return max(0, self.bits - booked)
        return self._within(cell, min(end_ns, self.cut_ns))

    def _within(self, cell: int, until_ns: int = NEVER) -> int:
        begin_ns = max(self.start_ns, cell * GRID_NS)
        end_ns = min(self.end_ns, (cell + 1) * GRID_NS, until_ns)
        return max(0, -(-self.bits * (end_ns - begin_ns) // (self.end_ns - self.start_ns)))


class MeterReference:
    """All transmissions that a cell still to come may have a part of."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self.sendings: list[Sending] = []

    def sends(self, sending: Sending) -> None:
        self.sendings.append(sending)

    def reserve(
        self, way: int, node: int, start_ns: int, end_ns: int, size_bytes: int, cell: int
    ) -> None:
        """Note a transmission that is fixed in `cell`, ahead of its time."""
        last = cell + CELLS - 2
        self.sends(Sending(way, node, start_ns, end_ns, size_bytes * 8, last))

    def crash(self, node: int, now_ns: int) -> None:
        """Cut what a node is sending; what was reserved for it counts to the end of the cell."""
        edge_ns = -(-now_ns // GRID_NS) * GRID_NS
        for sending in self.sendings:
            if sending.node == node:
                cut_ns = now_ns if sending.last_cell == NEVER else edge_ns
                sending.cut_ns = min(sending.cut_ns, cut_ns)

    def take(self, now_ns: int) -> list[list[int]]:
        """Return the bits by way and node in the cell that ends now."""
        cell = now_ns // GRID_NS - 1
        found = [[0] * self.nodes, [0] * self.nodes]
        for sending in self.sendings:
            found[sending.way][sending.node] += sending.part(cell)
        # Booked to a last cell or sent beyond now: either way its end is still to come.
        self.sendings = [sending for sending in self.sendings if sending.end_ns > now_ns]
        return found
