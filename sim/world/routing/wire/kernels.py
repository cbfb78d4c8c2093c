"""What messages between nodes cost, and how one path of a lookup is counted.

Owns: delays, bytes, crossings, the marks that keep paths disjoint.
Must not know: who is asked next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.world.kernels import inlined, jittered64, mix64, passed
from sim.world.routing.nodes import HOP_DRAW
from sim.world.routing.parameters import AIMED, DROP, HONEST

ATTEMPT_SHIFT, PATH_SHIFT = 20, 16
"""Delays are keyed by (ident, attempt << 20 | path << 16 | number of the message)."""
PATHS_A_LOOKUP = 8


@passed
def malice_of(B: Any, node: int) -> Any:
    """Return what a node does with the question of the running lookup."""
    malice = np.int64(B.node[node].malice)
    if malice >= AIMED:
        return malice - AIMED if B.constants[0].aimed != 0 else HONEST
    return malice


@passed
def reaches(B: Any, a: int, b: int) -> bool:
    """Say whether a question of node a, and the answer to it, pass between the hosts of both."""
    if B.constants[0].cuts == 0:
        return True
    x, y = B.node[a].host, B.node[b].host
    return B.cut[x, y] == 0 and B.cut[y, x] == 0


@passed
def answers_all_the_same(B: Any, asker: int, node: int) -> bool:
    """Say whether a node answers an asker although something is wrong with it or with links."""
    return B.node[node].up == 1 and malice_of(B, node) != DROP and reaches(B, asker, node)


@inlined
def answers(B: Any, asker: int, node: int) -> bool:
    """Say whether a node answers an asker at all. What is rare is not inlined: hops are many."""
    row = B.node[node]
    if row.up == 1 and row.malice == HONEST and B.constants[0].cuts == 0:
        return True
    return bool(answers_all_the_same(B, asker, node))


@inlined
def message_ns(B: Any, a: int, b: int, ident: int, number: int) -> int:
    """Draw the delay of a message from node a to node b."""
    x, y = B.node[a], B.node[b]
    bits = mix64(B.draw[HOP_DRAW], ident, number)
    wire_ns = jittered64(B.median_ns[x.site, y.site], B.spread_ns[x.site, y.site], B.shape, bits)
    return wire_ns + x.access_ns + y.access_ns


@inlined
def first_number(attempt: int, path: int) -> int:
    """Return the number of a path's first message."""
    return (attempt << ATTEMPT_SHIFT) | (path << PATH_SHIFT)


@inlined
def count_question(B: Any, a: int, b: int) -> None:
    """Count a question from a to b on the running path."""
    p = B.path[0]
    p.rpcs += 1
    p.messages += 1
    p.bytes += B.constants[0].rpc_bytes
    if B.node[a].region != B.node[b].region:
        p.crossings += 1


@inlined
def count_answer(B: Any, a: int, b: int, contacts: int) -> None:
    """Count an answer from b to a that names `contacts` nodes."""
    p, c = B.path[0], B.constants[0]
    p.messages += 1
    p.bytes += c.rpc_bytes + contacts * c.contact_bytes
    if B.node[a].region != B.node[b].region:
        p.crossings += 1


@inlined
def mark(B: Any, node: int, path: int) -> None:
    """Note that a node belongs to a path of the running lookup."""
    B.stamp[node] = B.constants[0].lookups * PATHS_A_LOOKUP + path


@inlined
def marked(B: Any, node: int) -> bool:
    """Say whether a node belongs to any path of the running lookup."""
    return B.stamp[node] >= B.constants[0].lookups * PATHS_A_LOOKUP


@inlined
def unmark(B: Any, node: int) -> None:
    """Let a node belong to no path."""
    B.stamp[node] = 0


@inlined
def others(B: Any, node: int, path: int) -> bool:
    """Say whether a node belongs to another path of the running lookup."""
    start = B.constants[0].lookups * PATHS_A_LOOKUP
    return B.stamp[node] >= start and B.stamp[node] != start + path


@inlined
def late(B: Any) -> bool:
    """Say whether the running path has missed its deadline."""
    deadline_ns = B.constants[0].deadline_ns
    return deadline_ns > 0 and B.path[0].delay_ns > deadline_ns
