"""The agents' use of links, handed out cell by cell, so that lanes can lend what is left.

Owns: which cell is open. Must not know: the loans, and the lanes of others.
"""

from __future__ import annotations

from sim.world.agents.kinds import GRID_NS
from sim.world.agents.lanes.kernels import book_running
from sim.world.agents.state import CELLS, World
from sim.world.chance import I64


class LinkUse:
    """Bits by cell, for a plane whose links are metered."""

    def __init__(self) -> None:
        self._open = 0
        """The first cell that was not handed out."""

    def take(self, world: World, now_ns: int) -> I64:
        """Return the bits sent in the cell that ends now, int64[2, nodes]: up, down.

        Must be called at every boundary of the grid: raises ValueError at any other time, or
        where a cell was left out.
        """
        if now_ns != (self._open + 1) * GRID_NS:
            raise ValueError(f"use of links is due at {(self._open + 1) * GRID_NS}, not {now_ns}")
        book_running(world, -1, now_ns)
        column = world.use.bits[:, :, self._open % CELLS]
        taken = column.copy()
        column[:] = 0
        self._open += 1
        return taken

    def crash(self, world: World, node: int, now_ns: int) -> None:
        """Keep what a node that goes down has sent; take back what was booked for later cells."""
        cell = (now_ns - 1) // GRID_NS
        if cell < self._open:
            # It struck right after a boundary, at which all was booked and handed out.
            world.use.bits[:, node, :] = 0
            return
        book_running(world, node, now_ns)
        sent = world.use.bits[:, node, cell % CELLS].copy()
        world.use.bits[:, node, :] = 0
        world.use.bits[:, node, cell % CELLS] = sent
