"""One path of a recursive lookup: each node forwards to the closest contact that acknowledges.

Owns: the choice of the next hop, where a path ends, whether that was right.
Must not know: tables, what a message costs.

Silent contacts (dead, cut off, or dropping) cost a timeout at the node that tried them, which then
tries the next closest. A poisoner acknowledges and forwards to the colluder closest to the key,
which answers in the owner's place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.world.kernels import compiled, inlined, leading_zeros
from sim.world.routing.contacts.kernels import node_at
from sim.world.routing.malice.kernels import colluders
from sim.world.routing.parameters import (
    FOUND,
    HONEST,
    NOT_FOUND,
    POISON,
    POISONED,
    TIMED_OUT,
)
from sim.world.routing.tables.kernels import (
    alone,
    bucket_contacts,
    closer_alive,
    digit_of,
    nearest,
    ring_number,
    seen_from,
    table_of,
)
from sim.world.routing.wire.kernels import (
    answers,
    count_question,
    first_number,
    late,
    malice_of,
    mark,
    message_ns,
    others,
    reaches,
    unmark,
)

NOBODY, LATE = -1, -2
"""What `next_hop` returns where no contact is closer, or the deadline has passed."""
_TAKEN = np.uint64(0xFFFFFFFFFFFFFFFF)


@inlined
def move(B: Any, a: int, b: int, ident: int, number: int) -> None:
    """Forward the question from a to b, which takes it."""
    p = B.path[0]
    number += p.rpcs
    count_question(B, a, b)
    p.delay_ns += message_ns(B, a, b, ident, number)
    p.depth += 1


@compiled
def try_contacts(B: Any, x: int, count: int, key: Any, ident: int, number: int, path: int) -> Any:
    """Try the contacts in `found`, closest first; return the one that takes the question."""
    p, c = B.path[0], B.constants[0]
    for i in range(count):
        B.distance[i] = B.ids[B.found[i]] ^ key
    for _ in range(count):
        best = 0
        for i in range(1, count):
            if B.distance[i] < B.distance[best]:
                best = i
        B.distance[best] = _TAKEN
        node = node_at(B, B.found[best])
        if c.disjoint_paths > 1 and others(B, node, path):
            continue
        if answers(B, x, node):
            move(B, x, node, ident, number)
            return LATE if late(B) else node
        count_question(B, x, node)
        p.timeouts += 1
        p.delay_ns += c.rpc_timeout_ns
        if late(B):
            return LATE
    return NOBODY


@inlined
def next_hop(
    B: Any, x: int, key: Any, outer: int, t_ns: int, ident: int, number: int, path: int
) -> Any:
    """Forward the question from x to a node that is closer to `key`; return it, NOBODY or LATE."""
    c = B.constants[0]
    own = B.node[x].ident
    if own == key:
        return NOBODY
    table = table_of(B, x, t_ns)
    level = leading_zeros(own ^ key) // c.b
    while True:
        mine, wanted = digit_of(own, level, c.b), digit_of(key, level, c.b)
        for step in range(mine ^ wanted):
            count, ring = bucket_contacts(B, x, level, wanted ^ step, outer, table)
            if count == 0:
                continue
            facing = seen_from(own, key, level, c.b, wanted ^ step)
            position = nearest(B, B.rings[ring], count, facing, (level + 1) * c.b)
            node = node_at(B, position)
            if (c.disjoint_paths == 1 or not others(B, node, path)) and answers(B, x, node):
                move(B, x, node, ident, number)
                return LATE if late(B) else node
            node = try_contacts(B, x, count, key, ident, number, path)
            if node != NOBODY:
                return node
        level += 1
        if alone(B, x, level, outer):
            return NOBODY


@inlined
def run_path(
    B: Any, source: int, key: Any, goal: int, t_ns: int, ident: int, attempt: int, path: int
) -> None:
    """Run one path from `source` to the ring of kind `goal`; leave its result in `path`."""
    p, c = B.path[0], B.constants[0]
    number = first_number(attempt, path)
    x = source
    outer = c.inner
    p.outcome = NOT_FOUND
    first = -1
    while True:
        node = next_hop(B, x, key, outer, t_ns, ident, number, path)
        if node == LATE:
            p.outcome = TIMED_OUT
            break
        if node == NOBODY:
            if outer == goal:
                break
            outer -= 1
            continue
        if c.disjoint_paths > 1:
            mark(B, node, path)
            if first < 0:
                first = node
        x = node
        if c.malicious != 0 and malice_of(B, x) == POISON:
            deceive(B, x, key, ident, number)
            p.outcome = POISONED
            break
    p.ring = outer
    p.rounds = min(1, p.rpcs)
    p.back_ns = p.delay_ns
    p.owner = x
    if p.outcome == NOT_FOUND:
        # Where a path ends another one may end too, unless it began there.
        if c.disjoint_paths > 1 and x != first and x != source:
            unmark(B, x)
        if c.malicious != 0 and x != source and malice_of(B, x) != HONEST:
            p.outcome = POISONED
        elif closer_alive(B, ring_number(B.node[x], outer, c.regions), x, key, 1) == 0:
            p.outcome = FOUND


@inlined
def deceive(B: Any, x: int, key: Any, ident: int, number: int) -> None:
    """Let a poisoner forward to the live colluder that is closest to the key."""
    if colluders(B, key, 1) == 1:
        liar = B.liars[0].node
        if liar != x and reaches(B, x, liar):
            move(B, x, liar, ident, number)
