"""Gateways' caches with single flight, questions to the registry's hosts, answers.

Owns: cache entries and queries. Must not know: batches, egress, what messages are for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.world.agents.draws import (
    ANSWER_DELAY,
    ANSWER_LOSS,
    CACHE,
    QUERY_DELAY,
    QUERY_LOSS,
    SHARD,
)
from sim.world.agents.kernels import (
    bucket64,
    count_latency,
    draw_ways,
    leased_at,
    link_delay,
    lose,
    verdict,
)
from sim.world.agents.kinds import (
    ALL_REGISTRATIONS,
    GATEWAY_REGISTRATIONS,
    GRID_NS,
    LOOKUP_CAPABILITY,
    LOOKUP_FAILED,
    MESSAGE,
    MOVED,
    NEVER,
    RE_HOME,
    RE_HOME_ID_BIT,
    REGISTRATION,
    RENEWAL,
)
from sim.world.agents.replicas.kernels import (
    confirming,
    coordinator,
    missed_copies,
    read,
    row_of,
    wait_for_quorum,
)
from sim.world.agents.state import (
    ASKING,
    CONFIRMING,
    DELAY,
    FAILING,
    KEY,
    LOSS,
    PENDING,
    PLACE,
    RESOLVED,
    ROUTING,
    SHARDED,
    UNPUBLISHED,
    WRITES,
)
from sim.world.agents.stations.kernels import Ends, arrive, refused, start_waiting
from sim.world.agents.tables import FAILED_QUORUM, LIMITED, READ, WRITE
from sim.world.kernels import (
    BLOCK,
    SLOT,
    TIME_SHIFT,
    ask_ahead,
    give_back,
    inlined,
    mix64,
    passed,
    prefetch,
    push,
    scaled64,
    take_by_station,
    take_due,
    take_free,
)
from sim.world.registry.kernels import admit_registration


@passed
def draw_questions(w: Any, keys: Any, low: int, high: int, gateway: int) -> None:
    """Make the draws of what `keys` [low, high), a block, may ask at a gateway, many at a time;
    and ask memory for the cache's entries."""
    c, drawn, count = w.constants[0], w.drawn, high - low
    for j in range(count):
        r = w.m.row[keys[low + j] & SLOT]
        writes = r.kind == REGISTRATION or r.kind == RENEWAL
        key = r.source if writes else max(r.target, 0)
        drawn[KEY, j] = np.uint64(key + (c.agents if r.kind == LOOKUP_CAPABILITY else 0))
        if r.kind == MESSAGE and (r.secondary if r.attempt & 1 else r.home) == gateway:
            prefetch(w.contacts, r.target)
    for j in range(min(count, w.q.left[0])):
        prefetch(w.q.row, w.q.free[w.q.left[0] - 1 - j])
    place, shard = w.draw[CACHE], w.draw[SHARD]
    for j in range(count):
        drawn[PLACE, j] = mix64(place, drawn[KEY, j], 0)
    if c.cache_slots > 0 and w.cache_first[gateway] >= 0:
        for j in range(count):
            prefetch(w.cache, w.cache_first[gateway] + scaled64(drawn[PLACE, j], c.cache_slots))
    draw_ways(drawn, w.m.row, keys, low, count, w.draw[QUERY_LOSS], w.draw[QUERY_DELAY])
    for j in range(count):
        drawn[KEY, j] = mix64(shard, drawn[KEY, j], 0)


@inlined
def ask(w: Any, slot: int, gateway: int, t: int, j: int) -> None:
    """Let a message at `gateway` ask at `t`: from the cache, with others, or the registry.

    `j`: its place among the block of `draw_questions`.
    """
    r, c = w.m.row[slot], w.constants[0]
    cached = r.kind not in (REGISTRATION, RENEWAL)
    key = r.target if cached else r.source
    if r.kind == LOOKUP_CAPABILITY:
        key += c.agents
    entry = -1
    tally = w.books.tally
    tally[1] += 1
    if cached and c.cache_slots > 0:
        entry = w.cache_first[gateway] + scaled64(w.drawn[PLACE, j], c.cache_slots)
        known = w.cache[entry]
        # Who was told that its receiver has moved does not trust the cache.
        if known.key == key and r.reason != MOVED:
            pending = known.state == PENDING
            if t < known.asked_ns + c.cache_ttl_ns and (not pending or t < known.known_ns):
                tally[2] += 1
                if pending:
                    wait_for(w.q, r, known.query, slot, t)
                else:
                    if c.re_home:
                        r.home, r.secondary = known.home, known.secondary
                    push(w.lines, RESOLVED, max(t, known.known_ns), slot, gateway, known.state)
                return
            tally[3] += 1
    query = new_query(w.q, r, gateway, t, key, entry)
    wait_for(w.q, r, query, slot, t)
    if entry >= 0:
        known = w.cache[entry]
        known.key = key
        known.asked_ns = t
        known.known_ns = NEVER
        known.state = PENDING
        known.query = query
    shard = scaled64(w.drawn[KEY, j], len(w.registry.hosts))
    send_query(w, query, t, shard, w.drawn[LOSS, j], w.drawn[DELAY, j])


@inlined
def send_query(w: Any, query: int, t: int, shard: int, loss: Any, delay: Any) -> None:
    """Send a question to its coordinator at `t`, or let the DHT find it.

    `loss`, `delay`: the draws of its way.
    """
    r, c, links = w.q.row[query], w.constants[0], w.links
    if c.dht:
        push(w.lines, ROUTING, t, query, r.gateway, 0)
        return
    gateway = r.gateway
    host = coordinator(w, shard, gateway, r.attempt)
    r.station = host
    r.work_ns = c.query_work_ns
    a, b = links.region[gateway], links.region[host]
    asked = w.books.asked[r.kind, a, b]
    asked[0] += 1
    if host == gateway:
        asked[1] += 1
        push(w.lines, ASKING, t, query, host, 0)
        return
    if verdict(links, gateway, host, loss) != 0:
        fail(w, query, t)
    else:
        push(w.lines, ASKING, t + link_delay(links, gateway, host, delay), query, host, 0)


@passed
def consider_move(w: Any, slot: int, gateway: int, t: int) -> None:
    """Move a sender whose home is known to be down to `gateway`, to which it came."""
    r = w.m.row[slot]
    agent, record = w.contacts[r.source], w.registry.records[r.source]
    if t < record.moving_until_ns or not w.registry.known_down[agent.home]:
        return
    if gateway != agent.secondary or gateway == agent.home or not leased_at(w, r.source, t):
        return
    record.moving_until_ns = NEVER
    query = new_query(w.q, r, gateway, t, r.source, -1)
    w.q.row[query].kind = RE_HOME
    ident = r.ident | RE_HOME_ID_BIT
    w.q.row[query].ident = ident
    loss = mix64(w.draw[QUERY_LOSS], ident, r.attempt)
    delay = mix64(w.draw[QUERY_DELAY], ident, r.attempt)
    send_query(w, query, t, row_of(w, r.source), loss, delay)


@passed
def limited(w: Any, slot: int, gateway: int, t: int) -> bool:
    """Refuse a registration that exceeds a limit; take tokens where it passes."""
    registry = w.registry
    verdict = admit_registration(
        registry.gateway_due_ns, registry.registry_due_ns, registry.steps, gateway, t
    )
    if verdict == 0:
        return False
    w.books.registry[gateway, LIMITED, 0] += 1
    lose(w.m, w.lines, slot, t, GATEWAY_REGISTRATIONS if verdict == 1 else ALL_REGISTRATIONS)
    return True


@inlined
def new_query(q: Any, leader: Any, gateway: int, t: int, key: int, entry: int) -> int:
    """Take a free query for a message, its leader."""
    query = take_free(q)
    r = q.row[query]
    r.ident = leader.ident
    r.attempt = leader.attempt
    r.kind = leader.kind
    r.gateway = gateway
    r.following = leader.source
    r.asked_ns = t
    r.key = key
    r.entry = entry
    r.waiters = -1
    r.waiting = 0
    r.found = 1
    r.live = 1
    return query


@inlined
def wait_for(q: Any, r: Any, query: int, slot: int, t: int) -> None:
    """Add a message to those that a query will wake."""
    r.arrival_ns = t
    r.following = q.row[query].waiters
    q.row[query].waiters = slot
    q.row[query].waiting += 1


@inlined
def owns_entry(q: Any, cache: Any, query: int) -> bool:
    """Say whether the query's cache entry is still its own and open."""
    r = q.row[query]
    if r.entry < 0:
        return False
    known = cache[r.entry]
    mine = known.query == query and known.key == r.key
    return mine and known.state == PENDING and known.asked_ns == r.asked_ns


@passed
def fail(w: Any, query: int, t: int) -> None:
    """Note a query's loss at `t`; its gateway notices later."""
    r = w.q.row[query]
    notice = max(r.asked_ns + w.constants[0].lookup_timeout_ns, t + GRID_NS)
    if owns_entry(w.q, w.cache, query):
        w.cache[r.entry].known_ns = notice
    if r.kind == RE_HOME:
        w.registry.records[r.key].moving_until_ns = notice
    push(w.lines, FAILING, notice, query, 0, 0)


@passed
def release_query(q: Any, query: int) -> None:
    """Put a query's row back."""
    q.row[query].live = 0
    give_back(q, query)


@passed
def shard_pass(w: Any, t0: int, t1: int) -> None:
    """Serve the queries that reach shards; act on what is served and answer."""
    lines, row, o = w.lines, w.q.row, w.order
    hosts = len(w.down)
    count = take_by_station(lines, ASKING, row, t0, t1, hosts, o)
    n = take_due(lines, SHARDED, t0, t1, w.ends)
    for host in range(hosts):
        station, free = w.shard.state[host], w.shard.free_ns[host]
        ends = Ends(w.ends, lines, SHARDED, host, t0, t1)
        for i in range(o.first[host], o.first[host + 1]):
            ask_ahead(row, o.keys, i, count)
            query, t = o.keys[i] & SLOT, t0 + (o.keys[i] >> TIME_SHIFT)
            n = arrive(station, free, row, query, t, w.down[host], ends, n)
            if n < 0:
                n = refused(n)
                fail(w, query, t)
        act_on(w, start_waiting(station, free, row, t1, ends, n), t0)
        n = 0
    if w.registry.hosts.shape[1] > 1:
        n = take_due(lines, CONFIRMING, t0, t1, w.ends)
        for j in range(n):
            query, t = w.ends[j] & SLOT, t0 + (w.ends[j] >> TIME_SHIFT)
            r = row[query]
            loss = mix64(w.draw[ANSWER_LOSS], r.ident, r.attempt)
            reply(w, query, t, loss, mix64(w.draw[ANSWER_DELAY], r.ident, r.attempt))


@passed
def act_on(w: Any, n: int, t0: int) -> None:
    """Act on the first `n` of `ends`, whose services end, in that order."""
    keys, drawn, row, leases = w.ends, w.drawn, w.q.row, w.constants[0].leases
    for low in range(0, n, BLOCK):
        count = min(BLOCK, n - low)
        for j in range(count):
            r = row[keys[low + j] & SLOT]
            prefetch(w.cache, max(r.entry, 0))
            if leases and r.kind != LOOKUP_CAPABILITY:
                prefetch(w.contacts, r.key)
        draw_ways(drawn, row, keys, low, count, w.draw[ANSWER_LOSS], w.draw[ANSWER_DELAY])
        for j in range(count):
            key = keys[low + j]
            t = t0 + (key >> TIME_SHIFT)
            act(w, key & SLOT, t, drawn[LOSS, j], drawn[DELAY, j])


@inlined
def act(w: Any, query: int, t: int, loss: Any, delay: Any) -> None:
    """Read or write at the coordinator, whose service ends at `t`, and wait for its quorum.

    `loss`, `delay`: the draws of the answer's way.
    """
    r, c = w.q.row[query], w.constants[0]
    writes = r.kind in (REGISTRATION, RENEWAL, RE_HOME)
    w.books.registry[r.station, WRITE if writes else READ, 0] += 1
    wait = 0
    if c.quorum_writes if writes else c.quorum_reads:
        wait = wait_for_quorum(w, query)
        if wait < 0:
            w.books.registry[r.station, FAILED_QUORUM, 0] += 1
            fail(w, query, t)
            return
    if writes:
        r.home = confirming(w, wait) if c.quorum_writes else 0
    if not writes and r.kind != LOOKUP_CAPABILITY and (c.leases or c.recorded or c.lies):
        read(w, query, t, wait)
    if wait > 0:
        push(w.lines, CONFIRMING, t + wait, query, r.station, 0)
    else:
        reply(w, query, t, loss, delay)


@inlined
def reply(w: Any, query: int, t: int, loss: Any, delay: Any) -> None:
    """Send an answer at `t`; a write is acknowledged by it."""
    r, lines = w.q.row[query], w.lines
    writes = r.kind in (REGISTRATION, RENEWAL, RE_HOME)
    if writes:
        r.missed = missed_copies(w, r.key, r.station) if w.constants[0].recorded else 0
        push(lines, WRITES, t, query, 0, 0)
    back = t
    if r.station != r.gateway:
        if verdict(w.links, r.station, r.gateway, loss) != 0:
            fail(w, query, t)
            return
        back += link_delay(w.links, r.station, r.gateway, delay)
    region = w.links.region
    took = bucket64(back - r.asked_ns)
    a, b = region[r.gateway], region[r.station]
    count_latency(w.books, 1, w.books.answers, r.kind, a, b, took)
    w.books.answered[r.kind, a, b] += 1
    if owns_entry(w.q, w.cache, query):
        known = w.cache[r.entry]
        known.known_ns = back
        known.state = r.found
        known.home, known.secondary = r.home, r.secondary
    wake(w, r, back)
    if writes:
        r.waiters = -1
        r.waiting = 0
        r.live = UNPUBLISHED
    else:
        release_query(w.q, query)


@inlined
def wake(w: Any, query: Any, t: int) -> None:
    """Let those who wait for a query know its answer at `t`, none before it asked."""
    slot, moves = query.waiters, w.constants[0].re_home
    if query.waiting == 1 and not moves:
        # Who asked first asked before: its row need not be touched.
        push(w.lines, RESOLVED, t, slot, query.gateway, query.found)
        return
    while slot >= 0:
        waiter = w.m.row[slot]
        if moves and waiter.kind == MESSAGE:
            waiter.home, waiter.secondary = query.home, query.secondary
        woken_ns = max(t, waiter.arrival_ns)
        push(w.lines, RESOLVED, woken_ns, slot, query.gateway, query.found)
        slot = waiter.following


@passed
def fail_pass(w: Any, t0: int, t1: int) -> None:
    """Lose the messages whose lookup is noticed to have failed in (t0, t1]."""
    count = take_due(w.lines, FAILING, t0, t1, w.ends)
    for i in range(count):
        query = w.ends[i] & SLOT
        lose_waiters(w.m, w.q, w.lines, query, t0 + (w.ends[i] >> TIME_SHIFT), LOOKUP_FAILED)
        release_query(w.q, query)


@passed
def lose_waiters(m: Any, q: Any, lines: Any, query: int, t: int, reason: int) -> None:
    """Lose all messages that wait for a query."""
    slot = q.row[query].waiters
    while slot >= 0:
        following = m.row[slot].following
        lose(m, lines, slot, t, reason)
        slot = following
    q.row[query].waiters = -1
    q.row[query].waiting = 0


@passed
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
