"""The one-hop directory: direct-mapped caches with single flight, queries to shards, answers.

Owns: cache entries and queries. Must not know: batches, egress, what messages are for.
"""

from __future__ import annotations

from typing import Any

from sim.world.agents.draws import (
    ANSWER_DELAY,
    ANSWER_LOSS,
    CACHE,
    QUERY_DELAY,
    QUERY_LOSS,
    SHARD,
)
from sim.world.agents.kernels import link_delay, lose, lost_on_link
from sim.world.agents.kinds import (
    GRID_NS,
    LOOKUP_CAPABILITY,
    LOOKUP_FAILED,
    NEVER,
    REGISTRATION,
    RENEWAL,
)
from sim.world.agents.state import ASKING, FAILING, PENDING, RESOLVED, SHARDED, UNASKED, WRITES
from sim.world.kernels import (
    AHEAD_TOO,
    SLOT,
    ask_ahead,
    compiled,
    give_back,
    inlined,
    mix64,
    prefetch,
    push,
    scaled64,
    take_due,
    take_free,
)


@inlined
def ask_ahead_for_entry(w: Any, r: Any) -> None:
    """Ask memory for the cache entry that a message will look at."""
    c = w.constants[0]
    if c.cache_slots > 0 and r.target >= 0:
        key = r.target + (c.agents if r.kind == LOOKUP_CAPABILITY else 0)
        place = scaled64(mix64(w.draw[CACHE], key, 0), c.cache_slots)
        prefetch(w.cache, w.cache_first[r.station] + place)


@inlined
def ask(w: Any, slot: int, t: int) -> None:
    """Let a message at its gateway ask at `t`: from the cache, with others, or the registry."""
    r, c = w.m.row[slot], w.constants[0]
    cached = r.kind not in (REGISTRATION, RENEWAL)
    key = r.target if cached else r.source
    if r.kind == LOOKUP_CAPABILITY:
        key += c.agents
    entry = -1
    tally = w.books.tally
    tally[1] += 1
    if cached and c.cache_slots > 0:
        entry = w.cache_first[r.station]
        entry += scaled64(mix64(w.draw[CACHE], key, 0), c.cache_slots)
        known = w.cache[entry]
        if known.key == key:
            pending = known.state == PENDING
            if t < known.asked_ns + c.cache_ttl_ns and (not pending or t < known.known_ns):
                tally[2] += 1
                if pending:
                    wait_for(w.q, r, known.query, slot, t)
                else:
                    r.reason = known.state
                    push(w.lines, RESOLVED, max(t, known.known_ns), slot)
                return
            tally[3] += 1
    query = new_query(w.q, r, t, key, entry)
    wait_for(w.q, r, query, slot, t)
    if entry >= 0:
        known = w.cache[entry]
        known.key = key
        known.asked_ns = t
        known.known_ns = NEVER
        known.state = PENDING
        known.query = query
    host = w.shards[scaled64(mix64(w.draw[SHARD], key, 0), len(w.shards))]
    w.q.row[query].station = host
    w.q.row[query].work_ns = c.query_work_ns
    gateway = r.station
    if host == gateway:
        push(w.lines, ASKING, t, query)
    elif lost_on_link(w.links, gateway, host, mix64(w.draw[QUERY_LOSS], r.ident, r.attempt)) != 0:
        fail(w.q, w.cache, c, w.lines, query, t)
    else:
        bits = mix64(w.draw[QUERY_DELAY], r.ident, r.attempt)
        push(w.lines, ASKING, t + link_delay(w.links, gateway, host, bits), query)


@inlined
def new_query(q: Any, leader: Any, t: int, key: int, entry: int) -> int:
    """Take a free query for a message, its leader."""
    query = take_free(q)
    r = q.row[query]
    r.ident = leader.ident
    r.attempt = leader.attempt
    r.kind = leader.kind
    r.gateway = leader.station
    r.asked_ns = t
    r.key = key
    r.entry = entry
    r.waiters = -1
    r.found = 1
    r.live = 1
    return query


@inlined
def wait_for(q: Any, r: Any, query: int, slot: int, t: int) -> None:
    """Add a message to those that a query will wake."""
    r.arrival_ns = t
    r.following = q.row[query].waiters
    q.row[query].waiters = slot


@inlined
def owns_entry(q: Any, cache: Any, query: int) -> bool:
    """Say whether the query's cache entry is still its own and open."""
    r = q.row[query]
    if r.entry < 0:
        return False
    known = cache[r.entry]
    mine = known.query == query and known.key == r.key
    return mine and known.state == PENDING and known.asked_ns == r.asked_ns


@compiled
def fail(q: Any, cache: Any, c: Any, lines: Any, query: int, t: int) -> None:
    """Note a query's loss at `t`; its gateway notices later."""
    r = q.row[query]
    notice = max(r.asked_ns + c.lookup_timeout_ns, t + GRID_NS)
    if owns_entry(q, cache, query):
        cache[r.entry].known_ns = notice
    push(lines, FAILING, notice, query)


@compiled
def release_query(q: Any, query: int) -> None:
    """Put a query's row back."""
    q.row[query].live = 0
    give_back(q, query)


@compiled
def answer_pass(w: Any, t0: int, t1: int) -> None:
    """Send the answers of services that end in (t0, t1]; wake who waits at their arrival."""
    c, lines, keys = w.constants[0], w.lines, w.keys
    for i in range(lines.size[UNASKED]):
        refused = lines.due[UNASKED, i]
        fail(w.q, w.cache, c, lines, refused.slot, refused.time_ns)
    lines.size[UNASKED] = 0
    count = take_due(lines, SHARDED, t0, t1, keys)
    for i in range(count):
        ask_ahead(w.q.row, keys, i, count)
        if i + AHEAD_TOO < count:
            r = w.q.row[keys[i + AHEAD_TOO] & SLOT]
            prefetch(w.m.row, r.waiters)
            if r.entry >= 0:
                prefetch(w.cache, r.entry)
        query = keys[i] & SLOT
        t = t0 + (keys[i] >> 32)
        r = w.q.row[query]
        if r.kind in (REGISTRATION, RENEWAL):
            push(lines, WRITES, t, r.key)
        elif c.leases and r.kind != LOOKUP_CAPABILITY and t >= w.people[r.key].lease_until_ns:
            r.found = 0
        back = t
        if r.station != r.gateway:
            bits = mix64(w.draw[ANSWER_LOSS], r.ident, r.attempt)
            if lost_on_link(w.links, r.station, r.gateway, bits) != 0:
                fail(w.q, w.cache, c, lines, query, t)
                continue
            bits = mix64(w.draw[ANSWER_DELAY], r.ident, r.attempt)
            back += link_delay(w.links, r.station, r.gateway, bits)
        if owns_entry(w.q, w.cache, query):
            w.cache[r.entry].known_ns = back
            w.cache[r.entry].state = r.found
        slot = r.waiters
        while slot >= 0:
            waiter = w.m.row[slot]
            waiter.reason = r.found
            push(lines, RESOLVED, max(back, waiter.arrival_ns), slot)
            slot = waiter.following
        release_query(w.q, query)


@compiled
def fail_pass(w: Any, t0: int, t1: int) -> None:
    """Lose the messages whose lookup is noticed to have failed in (t0, t1]."""
    count = take_due(w.lines, FAILING, t0, t1, w.keys)
    for i in range(count):
        query = w.keys[i] & SLOT
        lose_waiters(w.m, w.q, w.lines, query, t0 + (w.keys[i] >> 32), LOOKUP_FAILED)
        release_query(w.q, query)


@compiled
def lose_waiters(m: Any, q: Any, lines: Any, query: int, t: int, reason: int) -> None:
    """Lose all messages that wait for a query."""
    slot = q.row[query].waiters
    while slot >= 0:
        following = m.row[slot].following
        lose(m, lines, slot, t, reason)
        slot = following
    q.row[query].waiters = -1


@compiled
def crash_resolve(w: Any, node: int, now_ns: int, reason: int) -> None:
    """Lose what waits for answers at a crashed gateway, and empty its cache."""
    for query in range(len(w.q.row)):
        if w.q.row[query].live and w.q.row[query].gateway == node:
            lose_waiters(w.m, w.q, w.lines, query, now_ns, reason)
    first = w.cache_first[node]
    if first >= 0:
        for entry in range(first, first + w.constants[0].cache_slots):
            w.cache[entry].key = -1
            w.cache[entry].query = -1
