"""Implicit tables: ranges of sorted ids, the contacts of a bucket, who is closest to a key.

Owns: what a node knows. Must not know: how a lookup uses it, what a message costs.

A bucket of node x at level l for digit d is the range of ids in a ring that share l digits with x
and have d next. Its contacts are the first k distinct keyed positions of that range whose node was
alive when x's table was filled; all of the range if it holds no more than k.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.world.kernels import compiled, inlined, leading_zeros, mix64, modulo64, prefetch
from sim.world.routing.contacts.kernels import (
    alive,
    draw_alive,
    draw_positions,
    moment_of,
    node_at,
    prefer_own_region,
)
from sim.world.routing.malice.kernels import plant
from sim.world.routing.nodes import (
    BUCKETS,
    CONTACT_DRAW,
    CONTACTS,
    REFRESH_DRAW,
    SHORT,
    STALE,
)

_ZERO, _ONE, _ALL = np.uint64(0), np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)

PERIOD_SHIFT, LEVEL_SHIFT, KIND_SHIFT = 18, 10, 8
"""A bucket's draws are keyed by period << 18 | level << 10 | kind << 8 | digit."""


@inlined
def bound(ids: Any, low: int, high: int, value: Any) -> int:
    """Return the first position in low .. high whose id is at least `value`."""
    while high - low > 8:
        middle = (low + high) >> 1
        if ids[middle] < value:
            low = middle + 1
        else:
            high = middle
    while low < high and ids[low] < value:
        low += 1
    return low


@compiled
def span(ring: Any, ids: Any, cells: Any, value: Any, bits: int) -> Any:
    """Return the positions first, end of a ring's ids that share `bits` bits with `value`."""
    if bits <= 0:
        return ring.first, ring.last
    prefix = value >> np.uint64(64 - bits)
    if bits <= ring.bits:
        up = np.uint64(ring.bits - bits)
        cell = ring.cells + np.int64(prefix << up)
        return np.int64(cells[cell]), np.int64(cells[cell + (1 << np.int64(up))])
    cell = ring.cells + np.int64(value >> np.uint64(64 - ring.bits))
    low, high = np.int64(cells[cell]), np.int64(cells[cell + 1])
    start = prefix << np.uint64(64 - bits)
    low = bound(ids, low, high, start)
    last = start | ((_ONE << np.uint64(64 - bits)) - _ONE)
    while high > low and ids[high - 1] > last:
        high -= 1
    return low, high


@inlined
def digit_of(value: Any, level: int, b: int) -> Any:
    """Return a digit of an id: b bits, fewer at the end."""
    width = min(b, 64 - level * b)
    return np.int64(
        (value >> np.uint64(64 - level * b - width)) & ((_ONE << np.uint64(width)) - _ONE)
    )


@inlined
def with_digit(value: Any, level: int, b: int, digit: int) -> Any:
    """Return an id's first `level` digits, then `digit`, then anything."""
    width = min(b, 64 - level * b)
    shift = np.uint64(64 - level * b - width)
    mask = ((_ONE << np.uint64(width)) - _ONE) << shift
    return (value & ~mask) | (np.uint64(digit) << shift)


@inlined
def seen_from(own: Any, key: Any, level: int, b: int, digit: int) -> Any:
    """Return a bucket's prefix followed by the bits of the key: it orders the bucket as `key` does.

    For distances within a range only the bits that its ids do not share matter.
    """
    bits = min(64, (level + 1) * b)
    low = (_ONE << np.uint64(64 - bits)) - _ONE if bits < 64 else _ZERO
    return (with_digit(own, level, b, digit) & ~low) | (key & low)


@inlined
def ring_number(node: Any, kind: int, regions: int) -> Any:
    """Return the ring of a kind to which a node belongs."""
    if kind == 0:
        return 0
    if kind == 1:
        return 1 + np.int64(node.region)
    return 1 + regions + np.int64(node.zone)


@inlined
def table_of(B: Any, x: int, t_ns: int) -> Any:
    """Return (number of the refresh period, when the table was last filled, its moment) of a node.

    A node that has come since its last refresh has filled its table on coming.
    """
    node, refresh_ns = B.node[x], B.constants[0].refresh_ns
    phase = modulo64(mix64(B.draw[REFRESH_DRAW], node.ident, 0), refresh_ns)
    period = (t_ns + phase) // refresh_ns
    filled_ns = period * refresh_ns - phase
    if node.up == 1 and node.since_ns > filled_ns:
        filled_ns = node.since_ns
    return period, filled_ns, moment_of(filled_ns)


@inlined
def contacts(B: Any, x: int, kind: int, bucket: int, first: int, end: int, table: Any) -> int:
    """Write the positions of a bucket's contacts into `found`; return how many.

    `bucket`: level << 10 | digit. `table`: (period, when it was filled). `first`, `end`: its range.
    """
    c = B.constants[0]
    size = end - first
    count = 0
    if size <= c.k:
        for position in range(first, end):
            B.found[count] = position
            count += alive(B, position, table)
    else:
        code = (table[0] << PERIOD_SHIFT) | bucket | (kind << KIND_SHIFT)
        begun = mix64(B.draw[CONTACT_DRAW], B.node[x].ident, code)
        near = c.proximity != 0 and kind == 0 and c.regions > 1
        draws = 2 * c.k if near else c.k
        if c.changed == 0:
            count = draw_positions(B, begun, first, size, draws)
        else:
            count = draw_alive(B, begun, first, size, draws, table)
        if near:
            count = prefer_own_region(B, x, count)
    if c.planted_ppm > 0:
        code = (table[0] << PERIOD_SHIFT) | bucket | (kind << KIND_SHIFT)
        plant(B, x, code, count, first, end)
    B.tally[BUCKETS] += 1
    B.tally[CONTACTS] += count
    B.tally[SHORT] += np.int64(count < min(c.k, size))
    if c.changed != 0:
        for i in range(count):
            B.tally[STALE] += 1 - (np.int64(B.states[B.found[i]] & 1))
    return count


@inlined
def bucket_contacts(B: Any, x: int, level: int, digit: int, outer: int, table: Any) -> Any:
    """Write the contacts of a bucket of the innermost ring that has any; return (how many, ring).

    `outer`: kind of the outermost ring that may be looked at.
    """
    c = B.constants[0]
    node = B.node[x]
    value = with_digit(node.ident, level, c.b, digit)
    bits = min(64, (level + 1) * c.b)
    kind = c.inner
    while kind >= outer:
        number = ring_number(node, kind, c.regions)
        first, end = span(B.rings[number], B.ids, B.cells, value, bits)
        if end > first:
            count = contacts(B, x, kind, (level << LEVEL_SHIFT) | digit, first, end, table)
            if count > 0:
                return count, number
        kind -= 1
    return 0, 0


@inlined
def nearest(B: Any, ring: Any, count: int, key: Any, bits: int) -> Any:
    """Return the position in `found` whose id is closest to `key`; all share `bits` bits with it.

    Their range is halved with the prefix index, which stays in the cache where ids do not, until
    one is left or the index is too coarse to tell. The first step goes as deep as two to four of
    `count` can be expected.
    """
    deep = bits + 62 - leading_zeros(np.uint64(count))
    left: Any = 0
    if bits < deep <= ring.bits:
        first, end = span(ring, B.ids, B.cells, key, deep)
        for i in range(count):
            position = B.found[i]
            B.near[left] = position
            left += np.int64((position >= first) & (position < end))
    if left == 0:
        for i in range(count):
            B.near[i] = B.found[i]
        left = count
    else:
        bits = deep
        # One of these few is who is asked: its row is on its way while it is singled out.
        for i in range(left):
            prefetch(B.node, node_at(B, B.near[i]))
    while left > 1 and bits < ring.bits:
        bits += 1
        first, end = span(ring, B.ids, B.cells, key, bits)
        inside = 0
        for i in range(left):
            if first <= B.near[i] < end:
                B.near[inside] = B.near[i]
                inside += 1
        if inside > 0:
            left = inside
        else:
            # None on the key's side: the other side's closest is looked for as if it were.
            key ^= _ONE << np.uint64(64 - bits)
    best = B.near[0]
    if left > 1:
        least = B.ids[best] ^ key
        for i in range(1, left):
            position = B.near[i]
            distance = B.ids[position] ^ key
            if distance < least:
                best, least = position, distance
    return best


@inlined
def alone(B: Any, x: int, level: int, outer: int) -> bool:
    """Say whether no other node of a ring shares `level` digits with x."""
    c = B.constants[0]
    if level * c.b >= 64:
        return True
    node = B.node[x]
    ring = B.rings[ring_number(node, outer, c.regions)]
    first, end = span(ring, B.ids, B.cells, node.ident, level * c.b)
    return end - first <= 1


@compiled
def closer_alive(B: Any, ring: int, x: int, key: Any, limit: int) -> Any:
    """Count the live nodes of a ring that are closer to `key` than x, up to `limit`."""
    ident = B.node[x].ident
    row = B.rings[ring]
    changed = B.constants[0].changed != 0
    count: Any = 0
    rest = ident ^ key
    while rest != _ZERO and count < limit:
        bit = leading_zeros(rest)
        first, end = span(row, B.ids, B.cells, ident, bit)
        if end - first <= 1:
            break
        first, end = span(row, B.ids, B.cells, ident ^ (_ONE << np.uint64(63 - bit)), bit + 1)
        if changed:
            for position in range(first, end):
                count += np.int64(B.states[position] & 1)
                if count >= limit:
                    break
        else:
            count += end - first
        rest &= (_ONE << np.uint64(63 - bit)) - _ONE
    return min(count, limit)


@compiled
def closest(B: Any, ring: int, key: Any) -> Any:
    """Return the live node of a ring that is closest to `key`; -1 without any."""
    row = B.rings[ring]
    bits = row.bits
    first, end = span(row, B.ids, B.cells, key, bits)
    while True:
        best: Any = -1
        least = _ALL
        for position in range(first, end):
            distance = B.ids[position] ^ key
            if (best < 0 or distance < least) and B.states[position] & 1 == 1:
                best, least = node_at(B, position), distance
        # Who shares more bits with the key is closer, so a hit in a range is final.
        if best >= 0 or bits == 0:
            return best
        bits -= 1
        first, end = span(row, B.ids, B.cells, key, bits)


@compiled
def known(B: Any, y: int, key: Any, outer: int, t_ns: int, want: int) -> int:
    """Write the contacts of y that are closest to `key` into `known`, sorted; return how many.

    First the buckets whose ids are closer to the key than y, from the top down, then the others
    from the bottom up: that is the order of distance, so only a bucket's contacts need sorting.
    """
    c = B.constants[0]
    ident = B.node[y].ident
    table = table_of(B, y, t_ns)
    level = leading_zeros(ident ^ key) // c.b if ident != key else 0
    count = 0
    while not alone(B, y, level, outer):
        mine, wanted = digit_of(ident, level, c.b), digit_of(key, level, c.b)
        for step in range(mine ^ wanted):
            count = add_known(B, y, key, level, wanted ^ step, outer, table, count)
            if count >= want:
                return want
        level += 1
    while level > 0:
        level -= 1
        mine, wanted = digit_of(ident, level, c.b), digit_of(key, level, c.b)
        for step in range((mine ^ wanted) + 1, 1 << min(c.b, 64 - level * c.b)):
            count = add_known(B, y, key, level, wanted ^ step, outer, table, count)
            if count >= want:
                return want
    return count


@inlined
def add_known(
    B: Any, y: int, key: Any, level: int, digit: int, outer: int, table: Any, count: int
) -> int:
    """Append a bucket's contacts to `known`, sorted among themselves; return the new count."""
    more, _ = bucket_contacts(B, y, level, digit, outer, table)
    start = count
    for i in range(more):
        position = B.found[i]
        distance = B.ids[position] ^ key
        j = count
        while j > start and B.known[j - 1].distance > distance:
            B.known[j].distance = B.known[j - 1].distance
            B.known[j].node = B.known[j - 1].node
            j -= 1
        B.known[j].distance = distance
        B.known[j].node = node_at(B, position)
        count += 1
    return count
