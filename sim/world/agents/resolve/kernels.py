"""Gateways' caches with single flight, questions to the registry's hosts, answers.

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
)
from sim.world.agents.kernels import bucket64, leased_at, link_delay, lose, lost_on_link
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
    wait_for_quorum,
)
from sim.world.agents.state import (
    ASKING,
    CONFIRMING,
    FAILING,
    PENDING,
    RESOLVED,
    ROUTING,
    SHARDED,
    UNPUBLISHED,
    WRITES,
)
from sim.world.agents.stations.kernels import Ends, arrive, refused, start_waiting
from sim.world.agents.tables import FAILED_QUORUM, LIMITED, READ, ROUTE_FOUND, WRITE
from sim.world.kernels import (
    AHEAD_TOO,
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


@inlined
def ask_ahead_for_entry(w: Any, r: Any, gateway: int) -> None:
    """Ask memory for the cache entry that a message will look at."""
    c = w.constants[0]
    if c.cache_slots > 0 and r.target >= 0:
        key = r.target + (c.agents if r.kind == LOOKUP_CAPABILITY else 0)
        place = scaled64(mix64(w.draw[CACHE], key, 0), c.cache_slots)
        prefetch(w.cache, w.cache_first[gateway] + place)


@inlined
def ask(w: Any, slot: int, gateway: int, t: int) -> None:
    """Let a message at `gateway` ask at `t`: from the cache, with others, or the registry."""
    r, c = w.m.row[slot], w.constants[0]
    cached = r.kind not in (REGISTRATION, RENEWAL)
    key = r.target if cached else r.source
    if r.kind == LOOKUP_CAPABILITY:
        key += c.agents
    entry = -1
    tally = w.books.tally
    tally[1] += 1
    if cached and c.cache_slots > 0:
        entry = w.cache_first[gateway]
        entry += scaled64(mix64(w.draw[CACHE], key, 0), c.cache_slots)
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
    send_query(w, query, t)


@passed
def send_query(w: Any, query: int, t: int) -> None:
    """Send a question to its coordinator at `t`, or let the DHT find it."""
    r, c, links = w.q.row[query], w.constants[0], w.links
    if c.dht:
        push(w.lines, ROUTING, t, query, r.gateway, 0)
        return
    gateway = r.gateway
    host = coordinator(w, r.key, gateway, r.attempt)
    r.station = host
    r.work_ns = c.query_work_ns
    a, b = links.region[gateway], links.region[host]
    sums = w.books.lookups[r.kind, a, b, ROUTE_FOUND]
    sums[0] += 1
    if host == gateway:
        push(w.lines, ASKING, t, query, host, 0)
        return
    for i in range(1, 5):
        sums[i] += 1
    sums[5] += c.query_bytes
    sums[6] += a != b
    if lost_on_link(links, gateway, host, w.draw[QUERY_LOSS], r.ident, r.attempt) != 0:
        fail(w, query, t)
    else:
        bits = mix64(w.draw[QUERY_DELAY], r.ident, r.attempt)
        push(w.lines, ASKING, t + link_delay(links, gateway, host, bits), query, host, 0)


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
    w.q.row[query].ident = r.ident | RE_HOME_ID_BIT
    send_query(w, query, t)


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
        for i in range(o.first[host], o.first[host + 1] + 1):
            if i < o.first[host + 1]:
                ask_ahead(row, o.keys, i, count)
                if i + AHEAD_TOO < count:
                    ask_ahead_for_answer(w, row[o.keys[i + AHEAD_TOO] & SLOT])
                query, t = o.keys[i] & SLOT, t0 + (o.keys[i] >> TIME_SHIFT)
                n = arrive(station, free, row, query, t, w.down[host], ends, n)
                if n < 0:
                    n = refused(n)
                    fail(w, query, t)
            else:
                n = start_waiting(station, free, row, t1, ends, n)
            for j in range(n):
                act(w, w.ends[j] & SLOT, t0 + (w.ends[j] >> TIME_SHIFT))
            n = 0
    if w.registry.hosts.shape[1] > 1:
        n = take_due(lines, CONFIRMING, t0, t1, w.ends)
        for j in range(n):
            reply(w, w.ends[j] & SLOT, t0 + (w.ends[j] >> TIME_SHIFT))


@inlined
def ask_ahead_for_answer(w: Any, query: Any) -> None:
    """Ask memory for what the answer to a query will touch."""
    if query.entry >= 0:
        prefetch(w.cache, query.entry)
    if w.constants[0].leases and query.kind != LOOKUP_CAPABILITY:
        prefetch(w.contacts, query.key)


@inlined
def act(w: Any, query: int, t: int) -> None:
    """Read or write at the coordinator, whose service ends at `t`, and wait for its quorum."""
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
        reply(w, query, t)


@inlined
def reply(w: Any, query: int, t: int) -> None:
    """Send an answer at `t`; a write is acknowledged by it."""
    r, lines = w.q.row[query], w.lines
    writes = r.kind in (REGISTRATION, RENEWAL, RE_HOME)
    if writes:
        r.missed = missed_copies(w, r.key, r.station) if w.constants[0].recorded else 0
        push(lines, WRITES, t, query, 0, 0)
    back = t
    if r.station != r.gateway:
        key = w.draw[ANSWER_LOSS]
        if lost_on_link(w.links, r.station, r.gateway, key, r.ident, r.attempt) != 0:
            fail(w, query, t)
            return
        bits = mix64(w.draw[ANSWER_DELAY], r.ident, r.attempt)
        back += link_delay(w.links, r.station, r.gateway, bits)
    region = w.links.region
    took = bucket64(back - r.asked_ns)
    w.books.answers[r.kind, region[r.gateway], region[r.station], took] += 1
    w.books.answered[r.kind, region[r.gateway], region[r.station]] += 1
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
