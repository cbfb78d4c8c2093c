"""Take questions through the DHT to the host that answers them.

Owns: what a lookup means for a question. Must not know: how lookups are solved, who is a node.
Apart from the other kernels, so that a plane without a DHT does not compile lookups (24 s).
"""

from __future__ import annotations

from typing import Any

from sim.world.agents.draws import QUERY_DELAY, QUERY_LOSS
from sim.world.agents.kernels import link_delay, lost_on_link
from sim.world.agents.kinds import LOOKUP_CAPABILITY, RE_HOME, REGISTRATION, RENEWAL
from sim.world.agents.resolve.kernels import fail
from sim.world.agents.state import ASKING, ROUTING
from sim.world.kernels import compiled, inlined, mix64, prefetch, push
from sim.world.routing.kernels import agent_key, capability_key, route
from sim.world.routing.parameters import FOUND

AHEAD_LOOKUPS = 2
"""How many lookups ahead memory is asked for: each takes microseconds."""


@compiled
def dht_pass(w: Any, B: Any, askers: Any) -> None:
    """Look up the hosts of all questions that were raised in this slice."""
    due = w.lines.due[ROUTING]
    count = w.lines.size[ROUTING]
    for i in range(count):
        if i + 3 * AHEAD_LOOKUPS < count:
            prefetch(w.q.row, due[i + 3 * AHEAD_LOOKUPS].slot)
        if B.constants[0].agents != 0:
            ask_ahead_for_nodes(w, B, due, i, count)
        look_up(w, B, askers, due[i].slot, due[i].time_ns)
    w.lines.size[ROUTING] = 0


@inlined
def ask_ahead_for_nodes(w: Any, B: Any, due: Any, i: int, count: int) -> None:
    """Ask memory for the nodes that coming lookups begin at and look for, step by step."""
    if i + 2 * AHEAD_LOOKUPS < count:
        r = w.q.row[due[i + 2 * AHEAD_LOOKUPS].slot]
        prefetch(B.node_of, r.following)
        if r.kind != LOOKUP_CAPABILITY:
            prefetch(B.node_of, r.key)
    if i + AHEAD_LOOKUPS < count:
        r = w.q.row[due[i + AHEAD_LOOKUPS].slot]
        prefetch(B.node, B.node_of[r.following])
        if r.kind != LOOKUP_CAPABILITY:
            prefetch(B.node, B.node_of[r.key])


@compiled
def look_up(w: Any, B: Any, askers: Any, query: int, t: int) -> None:
    """Find a question's host; it arrives there, or is lost, when the lookup has ended."""
    r, c, links = w.q.row[query], w.constants[0], w.links
    gateway = r.gateway
    source = askers.node[gateway]
    if source < 0:
        source = B.node_of[r.following]
    found = askers.found[0]
    if r.kind == LOOKUP_CAPABILITY:
        key = capability_key(B, r.key - c.agents)
        route(B, source, key, -1, t, r.ident, r.attempt, found)
    else:
        home = askers.home_region[w.contacts[r.key].region]
        route(B, source, agent_key(B, r.key), home, t, r.ident, r.attempt, found)
    host = found.host if found.outcome == FOUND else -1
    a = links.region[gateway]
    b = links.region[host] if host >= 0 else a
    sums = w.books.lookups[r.kind, a, b, found.outcome]
    sums[0] += 1
    sums[1] += found.depth
    sums[2] += found.rounds
    sums[3] += found.rpcs
    sums[4] += found.messages
    sums[5] += found.bytes
    sums[6] += found.crossings
    sums[7] += found.timeouts
    if host < 0:
        fail(w, query, t + found.delay_ns)
        return
    r.station = host
    r.work_ns = c.query_work_ns
    arrival = t + found.delay_ns
    if host != gateway:
        if lost_on_link(links, gateway, host, w.draw[QUERY_LOSS], r.ident, r.attempt) != 0:
            fail(w, query, t)
            return
        if B.constants[0].iterative and r.kind in (REGISTRATION, RENEWAL, RE_HOME):
            # What is to be stored goes out when the lookup is over; what is asked went with it.
            bits = mix64(w.draw[QUERY_DELAY], r.ident, r.attempt)
            arrival = t + found.back_ns + link_delay(links, gateway, host, bits)
    push(w.lines, ASKING, arrival, query, host, 0)
