"""Draw who writes to whom, and when: keyed hashes of (cell, place in the cell).

Owns: uniform, popular, community and regional destinations. Must not know: arrival processes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.world.agents.kinds import GRID_NS, PPM
from sim.world.chance import I64
from sim.world.kernel_cache import kept
from sim.world.kernels import (
    BLOCK,
    compiled,
    inlined,
    mix64,
    modulo64,
    prefetch,
    scaled64,
)

TIME, SOURCE, SIZE, THIN, PLACE, PEER, ALIAS = range(7)
"""What a draw of a message is for; the low digit of the hash's second word."""
PURPOSES = 8
LOW = np.uint64(0xFFFFFFFF)
ALIAS_MASK = (1 << 31) - 1


@inlined
def draw_of(key: Any, cell: int, i: int, purpose: int) -> Any:
    """Draw 64 bits for message `i` of a cell."""
    return mix64(key, cell, i * PURPOSES + purpose)


@compiled
def draw_times(key: Any, cell: int, times: Any) -> None:
    """Fill `times` with uniform nanoseconds in (start, end] of the cell."""
    start = cell * GRID_NS + 1
    for i in range(len(times)):
        times[i] = start + scaled64(draw_of(key, cell, i, TIME), GRID_NS)


@compiled
def draw_uniform(key: Any, cell: int, purpose: int, first: int, width: int, out: Any) -> None:
    """Fill `out` with uniform integers in [first, first + width)."""
    for i in range(len(out)):
        out[i] = first + scaled64(draw_of(key, cell, i, purpose), width)


@compiled
def draw_targets(
    key: Any,
    cell: int,
    source: Any,
    starts: Any,
    where: Any,
    mates: Any,
    ranks: Any,
    popular: Any,
    room: Any,
    target: Any,
) -> None:
    """Fill `target` for each `source`; nobody writes to itself: the next agent instead.

    `where`: (locality ppm, community ppm, members). `mates`, `ranks`: (factor, inverse, offset) of
    the permutations behind communities and popularity. `popular`: the popularity's alias table;
    empty: uniform. `starts`: first agent of each region and the number of all. `room`: uint64[2,
    BLOCK], where a block's draws are made before anything depends on them: many at a time.
    """
    agents = starts[len(starts) - 1]
    count = len(source)
    bits, far = room[0], room[1]
    r = 0
    for low in range(0, count, BLOCK):
        size = min(BLOCK, count - low)
        for j in range(size):
            far[j] = draw_of(key, cell, low + j, PLACE)
        for j in range(size):
            bits[j] = draw_of(key, cell, low + j, PEER)
        distant = 0
        for j in range(size):
            # Agents are ordered by region, and most senders come in order.
            while source[low + j] >= starts[r + 1]:
                r += 1
            while source[low + j] < starts[r]:
                r -= 1
            target[low + j] = starts[r] + scaled64(bits[j], starts[r + 1] - starts[r])
            place = scaled64(far[j], PPM)
            far[distant] = np.uint64(j)
            distant += place >= where[0]
        if len(popular) > 0:
            for k in range(distant):
                prefetch(popular, scaled64(bits[np.int64(far[k])], agents))
        for k in range(distant):
            at: Any = np.int64(far[k])
            i = low + at
            target[i] = distant_peer(
                key, cell, i, source[i], bits[at], agents, where, mates, ranks, popular
            )
        for i in range(low, low + size):
            if target[i] == source[i]:
                target[i] = (source[i] + 1) % agents


@inlined
def back(permutation: Any, y: int, modulus: int) -> int:
    """Undo a permutation of 0 .. modulus - 1, whose offset is one of them."""
    moved = y - permutation[2]
    if moved < 0:
        moved += modulus
    return modulo64(moved * permutation[1], modulus)


@inlined
def distant_peer(
    key: Any,
    cell: int,
    i: int,
    me: int,
    bits: Any,
    agents: int,
    where: Any,
    mates: Any,
    ranks: Any,
    popular: Any,
) -> int:
    """Return to whom `me` writes who does not stay in the own region."""
    if where[1] > 0 and scaled64(draw_of(key, cell, i, ALIAS), PPM) < where[1]:
        mine = (me * mates[0] + mates[2]) % agents
        first = mine - mine % where[2]
        other = first + scaled64(bits, min(where[2], agents - first))
        return back(mates, other, agents)
    rank = scaled64(bits, agents)
    if len(popular) == 0:
        return rank
    column = popular[rank]
    # The low half of the bits chose nothing yet.
    if np.int64(bits & LOW) >= column >> 31:
        rank = column & ALIAS_MASK
    return back(ranks, rank, agents)


@kept()
def alias_columns(scaled: Any, threshold: Any, alias: Any) -> None:
    """Fill Vose's alias table. `scaled`: probabilities times their number; overwritten."""
    n = len(scaled)
    small = np.empty(n, dtype=np.int32)
    large = np.empty(n, dtype=np.int32)
    smalls = 0
    larges = 0
    for i in range(n):
        if scaled[i] < 1.0:
            small[smalls] = i
            smalls += 1
        else:
            large[larges] = i
            larges += 1
    while smalls > 0 and larges > 0:
        smalls -= 1
        low = small[smalls]
        high = large[larges - 1]
        threshold[low] = np.int64(scaled[low] * 4294967296.0)
        alias[low] = high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            larges -= 1
            small[smalls] = high
            smalls += 1
    for i in range(larges):
        threshold[large[i]] = 4294967296
        alias[large[i]] = large[i]
    for i in range(smalls):
        threshold[small[i]] = 4294967296
        alias[small[i]] = small[i]


def alias_table(probabilities: NDArray[np.float64]) -> I64:
    """Build an alias table of threshold << 31 | alias: draw column i uniformly, take i if 32 bits
    < threshold[i], else alias[i]. Columns are fewer than 2**31.

    Source: M. Vose, "A linear algorithm for generating random numbers with a given
    distribution", IEEE Trans. Software Eng. 17(9), 1991.
    """
    count = len(probabilities)
    threshold = np.empty(count, dtype=np.int64)
    alias = np.empty(count, dtype=np.int32)
    alias_columns(probabilities * count, threshold, alias)
    return (threshold << 31) | alias
