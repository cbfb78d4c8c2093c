"""Draw the contacts of a bucket: distinct keyed positions of a range, of nodes that were alive.

Owns: the order of draws, who counts as alive, whom proximity prefers.
Must not know: which range a bucket is, how a lookup uses contacts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.world.kernels import compiled, inlined, prefetch
from sim.world.routing.states import MOMENT_LAST, MOMENT_SHIFT, MOMENT_ZERO

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_LOW, _6, _63 = np.uint64(0xFFFFFFFF), np.uint64(6), np.uint64(63)

TRIES = 16
"""Draws for a bucket are bounded by this many times k; then it stays under-filled."""


@inlined
def node_at(B: Any, position: int) -> Any:
    """Return the node at a position; the world's ring comes first and holds them in order."""
    return position if position < B.constants[0].nodes else np.int64(B.at[position])


@inlined
def alive_at(node: Any, t_ns: int) -> bool:
    """Say whether a node was alive; what lies before its last two states counts as absence."""
    if t_ns >= node.since_ns:
        return node.up == 1
    return t_ns >= node.before_ns and node.up == 0


@inlined
def moment_of(t_ns: int) -> int:
    """Return a time's moment, as in `states.words_of`."""
    return min(max((t_ns >> MOMENT_SHIFT) + MOMENT_ZERO, 0), MOMENT_LAST)


@inlined
def alive(B: Any, position: int, table: Any) -> int:
    """Say (1 or 0) whether the node at a position was alive when `table` was filled.

    Told by a word, of which a cache holds sixteen times as many as rows, and without a branch;
    where the moments do not decide, the row is looked at.
    """
    word = np.int64(B.states[position])
    since, before, moment = (word >> 1) & MOMENT_LAST, word >> 16, table[2]
    if moment in (since, before):
        return int(alive_at(B.node[node_at(B, position)], table[1]))
    now = np.int64(moment > since)
    then = np.int64(moment > before)
    up = word & 1
    return int((now & up) | ((1 - now) & then & (1 - up)))


@inlined
def drawn_before(B: Any, count: int, position: int) -> bool:
    """Say whether a position is among those drawn, and mark it."""
    place = np.uint64(position)
    word, bit = (place >> _6) & _63, _ONE << (place & _63)
    if B.seen[word] & bit != _ZERO:
        for i in range(count):
            if B.found[i] == position:
                return True
    B.seen[word] |= bit
    return False


@inlined
def halves(begun: Any, number: int) -> Any:
    """Draw the 64 bits from which two positions are taken, high half first: `chance.proceed`."""
    z = begun + np.uint64(number + 1) * _GOLDEN
    z = (z ^ (z >> _30)) * _M1
    z = (z ^ (z >> _27)) * _M2
    return z ^ (z >> _31)


@inlined
def drawn_distinct(B: Any, begun: Any, first: int, size: int, want: int) -> bool:
    """Draw `want` positions into `found`; say whether they are certainly distinct.

    Without branches: of 20 positions two fall on one of 4,096 marks in 4.5 % of all cases, and only
    then does `draw_positions` look closely.
    """
    length = np.uint64(size)
    for pair in range((want + 1) >> 1):
        bits = halves(begun, pair)
        B.found[2 * pair] = first + np.int64(((bits >> _32) * length) >> _32)
        B.found[2 * pair + 1] = first + np.int64(((bits & _LOW) * length) >> _32)
    B.seen[:] = _ZERO
    double = _ZERO
    for i in range(want):
        position = np.uint64(B.found[i])
        word, bit = (position >> _6) & _63, _ONE << (position & _63)
        double |= B.seen[word] & bit
        B.seen[word] |= bit
    return double == _ZERO


@inlined
def draw_positions(B: Any, begun: Any, first: int, size: int, draws: int) -> int:
    """Write distinct positions into `found`, where nobody has ever come or gone; say how many.

    Those met in the first `draws` draws, or in as many more as it takes to meet k.
    """
    if drawn_distinct(B, begun, first, size, draws):
        return draws
    B.seen[:] = _ZERO
    return more_positions(B, begun, first, size, draws, 0, 0, (0, 0, 0))


@inlined
def draw_alive(B: Any, begun: Any, first: int, size: int, draws: int, table: Any) -> int:
    """Do as `draw_positions`, among the nodes that were alive when `table` was filled.

    `draws` draws, half as many more where k are enough, are looked at together and without
    branches, so that memory is asked for all of their nodes at once; hardly ever more are needed.
    """
    c = B.constants[0]
    length = np.uint64(size)
    pairs = ((draws if draws > c.k else draws + (draws >> 1)) + 1) >> 1
    for pair in range(pairs):
        bits = halves(begun, pair)
        one = first + np.int64(((bits >> _32) * length) >> _32)
        other = first + np.int64(((bits & _LOW) * length) >> _32)
        prefetch(B.states, one)
        prefetch(B.states, other)
        B.near[2 * pair] = one
        B.near[2 * pair + 1] = other
    living: Any = 0
    for i in range(2 * pairs):
        position = B.near[i]
        B.found[living] = position
        living += alive(B, position, table)
    B.seen[:] = _ZERO
    enough = living if draws > c.k else c.k
    count: Any = 0
    for i in range(living):
        position = B.found[i]
        if count < enough and not drawn_before(B, count, position):
            B.found[count] = position
            count += 1
    if count >= c.k:
        return count
    return more_positions(B, begun, first, size, draws, 2 * pairs, count, table)


@compiled
def more_positions(
    B: Any, begun: Any, first: int, size: int, draws: int, draw: int, count: int, table: Any
) -> int:
    """Go on from draw number `draw`, `count` positions being found and marked in `seen`."""
    c = B.constants[0]
    length = np.uint64(size)
    while draw < TRIES * c.k and (count < c.k or draw < draws):
        bits = halves(begun, draw >> 1)
        half = bits & _LOW if draw & 1 else bits >> _32
        position = first + np.int64((half * length) >> _32)
        draw += 1
        if c.changed != 0 and alive(B, position, table) == 0:
            continue
        if not drawn_before(B, count, position):
            B.found[count] = position
            count += 1
    return count


@inlined
def prefer_own_region(B: Any, x: int, count: int) -> int:
    """Keep k of the positions drawn: those of x's region first, else in the order of draws.

    Only the world's ring has several regions, and there a position is a node.
    """
    k = B.constants[0].k
    if count <= k:
        return count
    region = B.region[x]
    own: Any = 0
    rest: Any = 0
    for i in range(count):
        position = B.found[i]
        here = np.int64(B.region[position] == region)
        B.near[own] = position
        B.found[rest] = position
        own += here
        rest += 1 - here
    for i in range(k - own):
        B.near[own + i] = B.found[i]
    for i in range(k):
        B.found[i] = B.near[i]
    return k
