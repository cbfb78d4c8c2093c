"""Bits that agents put on each node's links, by cell of the 100 ms grid.

Owns: how a transmission is shared out to the cells that it spans: in proportion to time, each part
rounded up. Must not know: who lends capacity to whom.
"""

from __future__ import annotations

from typing import Any

from sim.world.agents.kinds import GRID_NS
from sim.world.agents.state import CELLS, DOWN, DOWNLINKED, LEG, UP, UPLINKED
from sim.world.kernels import compiled, inlined, passed


@inlined
def part_of(bits: int, start: int, end: int, low: int, high: int) -> int:
    """Bits of a transmission (start, end] that are sent in (low, high], at most a cell of time."""
    low, high = max(low, start), min(high, end)
    if high <= low:
        return 0
    return (bits * (high - low) + end - start - 1) // (end - start)


@compiled
def book_ahead(
    booked: Any, way: int, node: int, start: int, end: int, bits: int, present: int
) -> None:
    """Book a transmission whose end is known to the cells that it will span.

    `present`: the cell of the present. What lies further ahead than cells are kept goes to the last
    of them, as if what is handed in then were sent then: a lane so far behind lends nothing anyway.
    """
    left = bits
    cell, last = start // GRID_NS, present + CELLS - 2
    while cell < last and cell * GRID_NS < end:
        part = part_of(bits, start, end, cell * GRID_NS, (cell + 1) * GRID_NS)
        booked[way, node, cell % CELLS] += part
        cell += 1
        left -= part
    if left > 0:
        booked[way, node, last % CELLS] += left


@inlined
def book_through(use: Any, way: int, node: int, b: Any, end: int, t0: int) -> None:
    """Book what a batch that is through at `end` has sent in the cell of the slice from `t0`."""
    lane = way + 2 * b.leg
    start = max(b.arrival_ns, use.through_ns[lane, node])
    cell = t0 // GRID_NS
    bits = part_of(b.size_bytes * 8, start, end, cell * GRID_NS, end)
    use.bits[way, node, cell % CELLS] += bits
    use.through_ns[lane, node] = end


@passed
def book_line(w: Any, way: int, line: int, node: int, now_ns: int) -> None:
    """Book what batches that are being sent have sent by now in the cell that ends or is cut now.

    `node` -1: of all nodes.
    """
    use, lines = w.use, w.lines
    cell = (now_ns - 1) // GRID_NS
    for i in range(lines.size[line]):
        entry = lines.due[line, i]
        at, b = entry.station, w.b.row[entry.slot]
        if node < 0 or at == node:
            start = max(b.arrival_ns, use.through_ns[way + 2 * b.leg, at])
            bits = b.size_bytes * 8
            sent = part_of(bits, start, entry.time_ns, cell * GRID_NS, now_ns)
            use.bits[way, at, cell % CELLS] += sent


@compiled
def book_running(w: Any, node: int, now_ns: int) -> None:
    """Book what is being sent on uplinks and downlinks; see `book_line`."""
    book_line(w, UP, UPLINKED, node, now_ns)
    book_line(w, DOWN, DOWNLINKED, node, now_ns)
    if w.constants[0].relays:
        book_line(w, UP, UPLINKED + LEG, node, now_ns)
        book_line(w, DOWN, DOWNLINKED + LEG, node, now_ns)
