"""Whom malicious nodes name, in whose tables they stand, which keys they aim at.

Owns: the search among malicious nodes, planted contacts and aims. Must not know: tables, paths.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.world.kernels import compiled, inlined, mix64, passed, scaled64
from sim.world.routing.nodes import PLANTED_DRAW
from sim.world.routing.parameters import PPM

_ZERO, _ONE, _32, _LOW = np.uint64(0), np.uint64(1), np.uint64(32), np.uint64(0xFFFFFFFF)


@inlined
def insert(rows: Any, count: int, limit: int, distance: Any, node: int) -> int:
    """Insert a node into rows sorted by distance, of which `limit` are kept; return how many."""
    i = count
    while i > 0 and rows[i - 1].distance > distance:
        i -= 1
    if i >= limit:
        return count
    count = min(count + 1, limit)
    for j in range(count - 1, i, -1):
        rows[j].distance = rows[j - 1].distance
        rows[j].node = rows[j - 1].node
    rows[i].distance = distance
    rows[i].node = node
    return count


@compiled
def colluders(B: Any, key: Any, want: int) -> int:
    """Write the `want` live malicious nodes that are closest to `key` into `liars`, sorted."""
    total = len(B.bad)
    bits = 64
    while True:
        # Positions of those that share `bits` bits with the key.
        low, high = 0, total
        if bits > 0:
            start = (key >> np.uint64(64 - bits)) << np.uint64(64 - bits)
            last = start | ((_ONE << np.uint64(64 - bits)) - _ONE if bits < 64 else _ZERO)
            low = bad_bound(B, start)
            high = low
            while high < total and B.node[B.bad[high]].ident <= last:
                high += 1
        if high - low >= want or bits == 0:
            count = 0
            for i in range(low, high):
                node = np.int64(B.bad[i])
                if B.node[node].up == 1:
                    count = insert(B.liars, count, want, B.node[node].ident ^ key, node)
            if count == want or bits == 0:
                return count
        bits -= 1


@passed
def is_aimed(B: Any, key: Any) -> bool:
    """Say whether a key is aimed at."""
    low, high = 0, len(B.aims)
    while low < high:
        middle = (low + high) >> 1
        if B.aims[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low < len(B.aims) and B.aims[low] == key


@passed
def plant(B: Any, x: int, code: int, count: int, first: int, end: int) -> None:
    """Replace some of the contacts of x in `found` by planted nodes of their range, if it has any.

    `code`: of the bucket's draws. Keyed by contact. One planted node may stand for several: it lies
    about its ids too.
    """
    low = planted_bound(B.planted, first)
    room = planted_bound(B.planted, end) - low
    if room == 0:
        return
    begun = mix64(B.draw[PLANTED_DRAW], B.node[x].ident, code)
    for i in range(count):
        bits = mix64(begun, B.ids[B.found[i]], 0)
        if scaled64(bits, PPM) < B.constants[0].planted_ppm:
            B.found[i] = B.planted[low + np.int64(((bits & _LOW) * np.uint64(room)) >> _32)]


@inlined
def planted_bound(planted: Any, position: int) -> int:
    """Return how many planted nodes lie before a position."""
    low, high = 0, len(planted)
    while low < high:
        middle = (low + high) >> 1
        if planted[middle] < position:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def bad_bound(B: Any, value: Any) -> int:
    """Return the first malicious node whose id is at least `value`, by place in `bad`."""
    low, high = 0, len(B.bad)
    while low < high:
        middle = (low + high) >> 1
        if B.node[B.bad[middle]].ident < value:
            low = middle + 1
        else:
            high = middle
    return low
