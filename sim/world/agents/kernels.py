"""Steps that every stage of the agent plane takes: offer, lose, finish, think, send.

Owns: what happens to one message at one time. Must not know: the order of stages, batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.world.agents.draws import ACCESS_DELAY, ACCESS_LOSS_DRAW, SAMPLE, THINK
from sim.world.agents.kinds import (
    ACCESS_LOSS,
    DELIVERED,
    GRID_NS,
    LOOKUP_ID,
    LOOP_ID_BIT,
    MESSAGE,
    PPB,
    PPM,
)
from sim.world.agents.population import LEASED, ONLINE, UNSURE
from sim.world.agents.state import (
    ADMISSION,
    ATTEMPT,
    DELAY,
    DELIVERED_COLUMN,
    DROPPED_COLUMN,
    IDENT,
    LOSS,
    LOST,
)
from sim.world.agents.tables import BUCKETS, SUB_BITS
from sim.world.kernels import (
    SLOT,
    below64,
    compiled,
    give_back,
    inlined,
    interpolate64,
    jittered64,
    leading_zeros,
    mix64,
    passed,
    prefetch,
    push,
    scaled64,
    take_free,
)


@inlined
def online_at(w: Any, agent: int, t: int) -> bool:
    """Say whether an agent is online at `t`; it toggles at most once a slice, and first."""
    marks = w.contacts[agent].marks
    if marks & UNSURE:
        session = w.people[agent].session
        return (session & 1 == 1) != (session >> 1 <= t)
    return (marks & ONLINE) != 0


@inlined
def leased_at(w: Any, agent: int, t: int) -> bool:
    """Say whether an agent's lease lasts beyond `t`, which is within the slice."""
    return (w.contacts[agent].marks & LEASED) != 0 or t < w.people[agent].lease_until_ns


@inlined
def book(traffic: Any, r: Any, column: int) -> None:
    """Count a message in the running second."""
    traffic[r.kind, r.source_region, r.target_region, column, 0] += 1
    traffic[r.kind, r.source_region, r.target_region, column, 1] += r.size_bytes


@inlined
def lose(m: Any, lines: Any, slot: int, t: int, reason: int) -> None:
    """End an attempt."""
    m.row[slot].reason = reason
    push(lines, LOST, t, slot, 0, 0)


@inlined
def bucket64(value: int) -> int:
    """`tables.bucket_of`, compiled."""
    shift = 63 - leading_zeros(np.uint64((value >> SUB_BITS) | 1))
    return min((shift << SUB_BITS) + (value >> shift), BUCKETS - 1)


@inlined
def count_latency(
    books: Any, table: int, counts: Any, kind: int, source: int, target: int, bucket: int
) -> None:
    """Count a latency, in a while: each count is another cache line, which is asked for now."""
    regions = books.traffic.shape[1]
    pair = (np.int64(kind) * regions + np.int64(source)) * regions + np.int64(target)
    place = pair * BUCKETS + bucket
    prefetch(counts, place)
    books.octaves[table, pair] |= 1 << (bucket >> SUB_BITS)
    n = books.uncounted[table]
    books.pending[table, n] = place
    books.uncounted[table] = n + 1
    if n + 1 == books.pending.shape[1]:
        count_pending(books.pending[table], n + 1, counts)
        books.uncounted[table] = 0


@passed
def count_pending(places: Any, count: int, counts: Any) -> None:
    """Make the first `count` of the counts that `count_latency` has put off."""
    for i in range(count):
        counts[places[i]] += 1


@inlined
def finish(w: Any, slot: int, t: int, outcome: int) -> None:
    """End a message: DELIVERED or dropped for a reason. Its row is free after this."""
    r, books = w.m.row[slot], w.books
    if outcome == DELIVERED:
        book(books.traffic, r, DELIVERED_COLUMN)
        took = bucket64(t - r.created_ns)
        count_latency(books, 0, books.latency, r.kind, r.source_region, r.target_region, took)
    else:
        book(books.traffic, r, DROPPED_COLUMN + outcome)
    ppm = w.constants[0].sample_ppm
    if ppm > 0 and scaled64(mix64(w.draw[SAMPLE], r.ident, 0), PPM) < ppm:
        sample = books.samples[books.tally[0]]
        books.tally[0] += 1
        sample[0] = r.ident
        sample[1] = r.kind
        sample[2] = r.source
        sample[3] = r.target
        sample[4] = r.source_region
        sample[5] = r.target_region
        sample[6] = r.created_ns
        sample[7] = t
        sample[8] = outcome
        sample[9] = r.attempt + 1
        sample[10] = r.size_bytes
    if r.ident & LOOP_ID_BIT:
        think(w.people, w.draw, w.think_table, w.thinkers, r.source, t)
    give_back(w.m, slot)


@passed
def think(people: Any, draw: Any, table: Any, thinkers: Any, agent: int, t: int) -> None:
    """Let a closed-loop agent begin to think at `t`."""
    number = int(people[agent].sequence)
    people[agent].sequence = number + 1
    wait = interpolate64(table, mix64(draw[THINK], agent, number)) * 1000
    push(thinkers, 0, t + max(GRID_NS, wait), agent, 0, 0)


@inlined
def new_message(
    m: Any, contacts: Any, ident: int, kind: int, source: int, target: int, size: int, t: int
) -> int:
    """Take a free row for a message created at `t`."""
    slot = take_free(m)
    r = m.row[slot]
    r.ident = ident
    r.created_ns = t
    r.source = source
    r.target = target
    r.size_bytes = size
    r.attempt = 0
    r.reason = 0
    r.kind = kind
    r.source_region = contacts[source].region
    r.target_region = r.source_region
    if kind in (MESSAGE, LOOKUP_ID):
        receiver = contacts[target]
        r.target_region = receiver.region
        r.home = receiver.home
        r.secondary = receiver.secondary
    return slot


@inlined
def send(w: Any, slot: int, t: int) -> None:
    """Start an attempt: over the access link to the gateway of this attempt."""
    r = w.m.row[slot]
    send_at(w, slot, t, mix64(w.draw[ACCESS_DELAY], r.ident, r.attempt))


@inlined
def send_at(w: Any, slot: int, t: int, drawn: Any) -> None:
    """Do as `send` does, with the draw of the delay made before."""
    r = w.m.row[slot]
    agent = w.contacts[r.source]
    gateway = agent.secondary if r.attempt & 1 else agent.home
    r.sent_ns = t
    access = w.access[agent.access]
    if access.loss_ppb > 0:
        bits = mix64(w.draw[ACCESS_LOSS_DRAW], r.ident, r.attempt)
        if below64(bits, access.loss_ppb):
            lose(w.m, w.lines, slot, t, ACCESS_LOSS)
            return
    delay = jittered64(access.median_ns, access.spread_ns, w.links.shape, drawn)
    if (agent.marks & LEASED) != 0 and t + delay <= w.horizon_ns[0]:
        r.entitled = 1
    else:
        r.entitled = t + delay < w.people[r.source].lease_until_ns
    push(w.lines, ADMISSION, t + delay, slot, gateway, 0)


@inlined
def lost_on_link(links: Any, a: int, b: int, key: Any, ident: int, attempt: int) -> int:
    """Make the draw of (key, ident, attempt) and give the `verdict` of a link by it."""
    return verdict(links, a, b, mix64(key, ident, attempt))


@inlined
def verdict(links: Any, a: int, b: int, bits: Any) -> int:
    """Give a link's verdict on a transmission, by its draw: 0 passes, 1 lost, 2 blocked."""
    if links.special[a, b]:
        loss = links.loss_ppb[a, b]
    else:
        loss = links.region_loss_ppb[links.region[a], links.region[b]]
    if loss > PPB:
        return 2
    return 1 if below64(bits, loss) else 0


@passed
def draw_ways(drawn: Any, row: Any, keys: Any, low: int, count: int, loss: Any, delay: Any) -> None:
    """Draw LOSS and DELAY of the ways that `keys` [low, low + count) go next, a block at most.

    Loop by loop, so that nothing waits for a draw, and the processor makes several at a time.
    """
    for j in range(count):
        r = row[keys[low + j] & SLOT]
        drawn[IDENT, j] = np.uint64(r.ident)
        drawn[ATTEMPT, j] = np.uint64(r.attempt)
    for j in range(count):
        drawn[LOSS, j] = mix64(loss, drawn[IDENT, j], drawn[ATTEMPT, j])
    for j in range(count):
        drawn[DELAY, j] = mix64(delay, drawn[IDENT, j], drawn[ATTEMPT, j])


@inlined
def link_delay(links: Any, a: int, b: int, bits: Any) -> int:
    """Draw the delay of a transmission that begins now."""
    r, s = links.region[a], links.region[b]
    drawn = jittered64(links.median_ns[r, s], links.spread_ns[r, s], links.shape, bits)
    return drawn + links.extra_ns[a, b] if links.special[a, b] else drawn


@compiled
def take_latencies(
    latency: Any, delivered: Any, octaves: Any, places: Any, uncounted: int, rows: Any
) -> int:
    """Move counts to columns of `rows`, (.., kind, source, target, bucket, count); return how many.

    `delivered`: messages by (kind, source, target), whose buckets add up to it. `octaves`: those
    that were met, by (kind, source, target), a bit each; they are forgotten. `places`: those of the
    first `uncounted` are still to be counted. `rows` has room for all of them.
    """
    count_pending(places, uncounted, latency.reshape(latency.size))
    count = 0
    kinds, regions, _, buckets = latency.shape
    for kind in range(kinds):
        for source in range(regions):
            for target in range(regions):
                left = delivered[kind, source, target]
                met = octaves[kind, source, target]
                octaves[kind, source, target] = 0
                bucket = 0
                while left > 0 and bucket < buckets:
                    if (met >> (bucket >> SUB_BITS)) & 1 == 0:
                        bucket += 1 << SUB_BITS
                        continue
                    here = latency[kind, source, target, bucket]
                    if here > 0:
                        rows[1, count] = kind
                        rows[2, count] = source
                        rows[3, count] = target
                        rows[4, count] = bucket
                        rows[5, count] = here
                        count += 1
                        left -= here
                        latency[kind, source, target, bucket] = 0
                    bucket += 1
    return count


@compiled
def mark(people: Any, contacts: Any, end_ns: int) -> int:
    """Set the marks that hold until `end_ns`; return how many agents are unsure."""
    unsure = 0
    for agent in range(len(people)):
        session = people[agent].session
        marks = ONLINE if session & 1 == 1 else 0
        if session >> 1 <= end_ns:
            marks |= UNSURE
            unsure += 1
        if people[agent].lease_until_ns > end_ns:
            marks |= LEASED
        contacts[agent].marks = marks
    return unsure


@compiled
def list_unsure(contacts: Any, agents: Any) -> None:
    """Fill `agents`, which is as long as there are, with those who are unsure."""
    count = 0
    for agent in range(len(contacts)):
        if contacts[agent].marks & UNSURE:
            agents[count] = agent
            count += 1
