"""One path of an iterative lookup: the asker keeps a shortlist and asks alpha nodes at a time.

Owns: the shortlist, questions in flight, termination. Must not know: tables, what a message costs.

Source: Maymounkov and Mazieres, "Kademlia", IPTPS 2002, section 2.3: ask the closest node of the k
closest heard of that has not been asked, up to alpha at once; end when the k closest that are not
known to be silent have answered. A new question goes out as soon as a slot is free. The first time
that the owner is asked it answers for the record; the lookup goes on until it ends, which costs
questions but no latency.
"""

from __future__ import annotations

from typing import Any

from sim.world.kernels import compiled, inlined
from sim.world.routing.malice.kernels import colluders
from sim.world.routing.nodes import SHORTLIST_FACTOR
from sim.world.routing.parameters import (
    FOUND,
    HONEST,
    NOT_FOUND,
    POISON,
    POISONED,
    TIMED_OUT,
)
from sim.world.routing.tables.kernels import closer_alive, known, ring_number
from sim.world.routing.wire.kernels import (
    answers,
    count_answer,
    count_question,
    first_number,
    malice_of,
    mark,
    marked,
    message_ns,
    others,
)

UNASKED, ASKED, ANSWERED, SILENT = range(4)


@inlined
def hear(B: Any, heard: int, place: int, distance: Any, node: int, depth: int) -> Any:
    """Add a node to the shortlist, sorted by distance, unless it is there.

    `place`: where to look from; nodes are heard of in order of distance. Return the shortlist's
    length and the place of the node.
    """
    rows = B.heard
    while place < heard and rows[place].distance < distance:
        place += 1
    limit = SHORTLIST_FACTOR * B.constants[0].k
    if place >= limit or (place < heard and rows[place].distance == distance):
        return heard, place
    heard = min(heard + 1, limit)
    for j in range(heard - 1, place, -1):
        rows[j] = rows[j - 1]
    row = rows[place]
    row.distance = distance
    row.node = node
    row.status = UNASKED
    row.depth = depth
    row.arrive_ns = 0
    return heard, place


@inlined
def next_unasked(B: Any, heard: int) -> int:
    """Return the closest unasked of the k closest that are not silent, by place; -1: none."""
    closest = 0
    for i in range(heard):
        status = B.heard[i].status
        if status == UNASKED:
            return i
        if status != SILENT:
            closest += 1
            if closest == B.constants[0].k:
                return -1
    return -1


@inlined
def ask(B: Any, source: int, place: int, now_ns: int, wave: int, ident: int, number: int) -> Any:
    """Send a question; return (when it is answered or given up, whether it is answered)."""
    p, row = B.path[0], B.heard[place]
    row.status = ASKED
    number += 2 * p.rpcs
    count_question(B, source, row.node)
    p.rounds = max(p.rounds, wave)
    if not answers(B, source, row.node):
        return now_ns + B.constants[0].rpc_timeout_ns, 0
    row.arrive_ns = now_ns + message_ns(B, source, row.node, ident, number)
    return row.arrive_ns + message_ns(B, row.node, source, ident, number + 1), 1


@inlined
def earliest(B: Any, flying: int) -> int:
    """Return the flight that ends first; of several the one that began first."""
    best = 0
    for i in range(1, flying):
        a, b = B.flights[i], B.flights[best]
        if a.finish_ns < b.finish_ns or (a.finish_ns == b.finish_ns and a.number < b.number):
            best = i
    return best


@inlined
def settle(B: Any, heard: int, distance: Any, status: int) -> None:
    """Note how a question ended, unless closer nodes have pushed it off the shortlist."""
    for i in range(heard):
        if B.heard[i].distance == distance:
            B.heard[i].status = status
            return


@inlined
def learn(
    B: Any, heard: int, source: int, y: int, key: Any, outer: int, t_ns: int, path: int, depth: int
) -> int:
    """Take in what y answers; return the shortlist's length."""
    c = B.constants[0]
    lies = c.malicious != 0 and malice_of(B, y) == POISON
    if lies:
        count = colluders(B, key, c.k)
    else:
        count = known(B, y, key, outer, t_ns, c.k)
    count_answer(B, source, y, count)
    place = 0
    for i in range(count):
        row = B.liars[i] if lies else B.known[i]
        node = row.node
        if node == source or (c.disjoint_paths > 1 and others(B, node, path)):
            continue
        heard, place = hear(B, heard, place, row.distance, node, depth)
    return heard


@compiled
def run_ring(
    B: Any,
    source: int,
    key: Any,
    outer: int,
    t_ns: int,
    ident: int,
    number: int,
    path: int,
    heard: int,
) -> int:
    """Ask until the k closest heard of have answered, in rings up to `outer`.

    Return the shortlist's length; `back_ns` of the path is the time at which this ends.
    """
    p, c = B.path[0], B.constants[0]
    now_ns, wave, flying = p.back_ns, p.rounds + 1, 0
    while True:
        while flying < c.alpha:
            place = next_unasked(B, heard)
            if place < 0:
                break
            f, row = B.flights[flying], B.heard[place]
            f.number, f.node, f.depth, f.wave = p.rpcs, row.node, row.depth, wave
            if c.disjoint_paths > 1:
                mark(B, row.node, path)
            f.finish_ns, f.alive = ask(B, source, place, now_ns, wave, ident, number)
            flying += 1
        if flying == 0 or (c.deadline_ns > 0 and now_ns > c.deadline_ns):
            break
        first = earliest(B, flying)
        f = B.flights[first]
        now_ns, wave = f.finish_ns, f.wave + 1
        node, depth, alive = f.node, f.depth, f.alive
        flying -= 1
        B.flights[first] = B.flights[flying]
        distance = B.node[node].ident ^ key
        if alive == 1:
            settle(B, heard, distance, ANSWERED)
            heard = learn(B, heard, source, node, key, outer, t_ns, path, depth + 1)
        else:
            settle(B, heard, distance, SILENT)
            p.timeouts += 1
    p.back_ns = now_ns
    return heard


@compiled
def begin_ring(B: Any, source: int, key: Any, outer: int, t_ns: int, path: int, heard: int) -> int:
    """Take the asker's own contacts into the shortlist; return its length.

    With d paths each takes every d-th of them, so that first contacts differ. Who has answered
    about an inner ring is asked again about the outer one.
    """
    c = B.constants[0]
    kept = 0
    for i in range(heard):
        if B.heard[i].status != SILENT:
            B.heard[kept] = B.heard[i]
            B.heard[kept].status = UNASKED
            kept += 1
    heard = kept
    count = known(B, source, key, outer, t_ns, c.k)
    place = 0
    for i in range(count):
        row = B.known[i]
        if c.disjoint_paths > 1:
            if path == 0 and i % c.disjoint_paths != 0 and not marked(B, row.node):
                mark(B, row.node, i % c.disjoint_paths)
            if i % c.disjoint_paths != path or others(B, row.node, path):
                continue
        heard, place = hear(B, heard, place, row.distance, row.node, 1)
    return heard


@compiled
def run_path(
    B: Any, source: int, key: Any, goal: int, t_ns: int, ident: int, attempt: int, path: int
) -> None:
    """Run one path from `source` to the ring of kind `goal`; leave its result in `path`."""
    p, c = B.path[0], B.constants[0]
    number = first_number(attempt, path)
    outer, heard = c.inner, 0
    while True:
        heard = begin_ring(B, source, key, outer, t_ns, path, heard)
        heard = run_ring(B, source, key, outer, t_ns, ident, number, path, heard)
        if outer == goal or (c.deadline_ns > 0 and p.back_ns > c.deadline_ns):
            break
        outer -= 1
    p.ring = outer
    judge(B, source, key, heard)
    cut_short = c.deadline_ns > 0 and p.back_ns > c.deadline_ns
    if cut_short and (p.outcome != FOUND or p.delay_ns > c.deadline_ns or outer != goal):
        p.outcome = TIMED_OUT


@compiled
def judge(B: Any, source: int, key: Any, heard: int) -> None:
    """Find the owner: the closest honest node that answered, the asker itself included.

    Found: that node is one of the k closest live nodes of the ring. A malicious node that is closer
    keeps its record to itself; without an honest holder the lookup is poisoned. With several paths
    the asker counts only where nobody alive is closer: none of them sees all that answered.
    """
    p, c = B.path[0], B.constants[0]
    ring = ring_number(B.node[source], p.ring, c.regions)
    own = B.node[source].ident ^ key
    counts = c.disjoint_paths == 1 or closer_alive(B, ring, source, key, 1) == 0
    lied = False
    p.owner, p.depth, p.delay_ns = source, 0, 0
    for i in range(heard):
        row = B.heard[i]
        if row.status != ANSWERED:
            continue
        if counts and row.distance > own:
            break
        if c.malicious != 0 and malice_of(B, row.node) != HONEST:
            lied = True
            continue
        p.owner, p.depth, p.delay_ns = row.node, row.depth, row.arrive_ns
        break
    p.outcome = POISONED if lied else NOT_FOUND
    if (counts or p.owner != source) and closer_alive(B, ring, p.owner, key, c.k) < c.k:
        p.outcome = FOUND
