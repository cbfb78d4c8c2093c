"""Batches between gateways: collected, closed, carried over uplink, wire and downlink.

Owns: the table of batches, and next hops. Where gateways relay, a message for another region enters
it at one gateway (leg 0), is unpacked by that one's workers, and goes on in a batch inside the
region (leg 1): in lanes and lines of its own, so that nothing flows back.
Must not know: how messages came here, what egress does.
"""

from __future__ import annotations

from typing import Any

from sim.world.agents.draws import ENTRY, RELAY_DELAY, RELAY_LOSS, TRANSIT_DELAY, TRANSIT_LOSS
from sim.world.agents.kernels import draw_ways, link_delay, lose, verdict
from sim.world.agents.kinds import (
    DOWNLINK_FULL,
    GATEWAY_DOWN,
    LINK_BLOCKED,
    LINK_LOSS,
    NEVER,
    PPM,
    RELAY_FULL,
    UPLINK_FULL,
)
from sim.world.agents.lanes.kernels import book_through
from sim.world.agents.state import (
    DELAY,
    DOWN,
    DOWNLINKED,
    EGRESS,
    LEG,
    LOSS,
    MEMBERS,
    OPEN,
    RELAYED,
    RELAYING,
    UP,
    UPLINKED,
    WIRE,
)
from sim.world.agents.stations.kernels import Ends, arrive, refused, start_waiting
from sim.world.kernels import (
    BLOCK,
    SLOT,
    TIME_SHIFT,
    ask_ahead,
    give_back,
    inlined,
    mix64,
    order_keys,
    passed,
    prefetch,
    push,
    scaled64,
    take_by_station,
    take_due,
    take_free,
)

NS_BITS = 8_000_000_000
"""Nanoseconds in a second times bits in a byte."""


@inlined
def wire_bytes(r: Any, kinds: Any) -> int:
    """Bytes of a message inside a batch: signatures do not compress."""
    kind = kinds[r.kind]
    body = (r.size_bytes - kind.signature_bytes) * kind.ratio_ppm
    return (body + PPM - 1) // PPM + kind.signature_bytes


@passed
def entry_of(w: Any, gateway: int, host: int, attempt: int) -> int:
    """Return where a message from `gateway` enters the region of its receiver's gateway, `host`.

    One gateway of that region for each gateway outside, drawn by key; the attempt-th after it on
    retries; and then the next that is not known to be down.
    """
    region = w.links.region
    if region[gateway] == region[host]:
        return host
    registry = w.registry
    near, own = registry.near[region[host]], registry.own[region[host]]
    first = scaled64(mix64(w.draw[ENTRY], gateway, region[host]), own) + attempt
    for turn in range(own):
        entry = near[(first + turn) % own]
        if not registry.known_down[entry]:
            return int(entry)
    return int(near[first % own])


@inlined
def join_batch(w: Any, slot: int, gateway: int, t: int, n: int) -> int:
    """Add a message at `gateway` to the open batch for its next hop; see `put_in_batch`."""
    r = w.m.row[slot]
    host = r.secondary if r.attempt & 1 else r.home
    if w.constants[0].relays:
        host = entry_of(w, gateway, host, r.attempt)
    return put_in_batch(w, 0, slot, gateway, host, t, n)


@inlined
def put_in_batch(w: Any, leg: int, slot: int, gateway: int, host: int, t: int, n: int) -> int:
    """Add a message to the open batch from `gateway` to `host`, opening or closing as due.

    A batch that opens becomes the last of the first `n` of `opened`; returns how many there are.
    One whose age is up stays there: `send_off` closes it.
    """
    r, c = w.m.row[slot], w.constants[0]
    batch = w.pairs[leg, gateway, host]
    if batch < 0 or w.b.row[batch].opened_ns + c.batch_age_ns < t:
        batch = take_free(w.b)
        w.pairs[leg, gateway, host] = batch
        fresh = w.b.row[batch]
        fresh.ident = r.ident
        fresh.attempt = r.attempt
        fresh.opened_ns = t
        fresh.arrival_ns = NEVER
        fresh.size_bytes = c.batch_header_bytes
        fresh.gateway = gateway
        fresh.host = host
        fresh.count = 0
        fresh.others = -1
        fresh.leg = leg
        w.opened[n] = batch
        n += 1
    b = w.b.row[batch]
    if b.count < MEMBERS:
        b.members[b.count] = slot
    else:
        r.following = b.others
        b.others = slot
    b.count += 1
    b.size_bytes += wire_bytes(r, w.kinds)
    if b.count >= c.batch_count or b.size_bytes >= c.batch_bytes:
        b.arrival_ns = t
        w.pairs[leg, gateway, host] = -1
    return n


@passed
def keep_open(lines: Any, line: int, places: Any) -> int:
    """Take a leg's open batches out of their line, into `places`; return how many.

    They lie there gateway by gateway, oldest first, as `send_off` put them.
    """
    size = lines.size[line]
    for i in range(size):
        places[i] = lines.due[line, i].slot
    lines.size[line] = 0
    return int(size)


@inlined
def take_open(row: Any, opened: Any, places: Any, node: int, first: int, size: int) -> int:
    """Begin `opened` with a gateway's open batches, the next of `keep_open`; return how many."""
    n = 0
    while first + n < size and row[places[first + n]].gateway == node:
        opened[n] = places[first + n]
        n += 1
    return n


@passed
def send_off(w: Any, leg: int, node: int, n: int, t0: int, t1: int) -> None:
    """Close those of a gateway's first `n` batches in `opened` that are full or of age; take them
    over its uplink and put them on the wire."""
    lines, row, keys = w.lines, w.b.row, w.opened
    c = w.constants[0]
    bps = c.relay_uplink_bps if leg else c.uplink_bps
    closed = 0
    for i in range(n):
        batch = keys[i]
        b = row[batch]
        t = min(b.arrival_ns, b.opened_ns + c.batch_age_ns)
        if t > t1:
            push(lines, OPEN + leg * LEG, t, batch, node, 0)
            continue
        if w.pairs[leg, node, b.host] == batch:
            w.pairs[leg, node, b.host] = -1
        b.work_ns = (b.size_bytes * NS_BITS + bps - 1) // bps
        keys[closed] = ((t - t0) << TIME_SHIFT) | batch
        closed += 1
    order_keys(keys, 0, closed, row)
    uplink, line = w.relay_uplink if leg else w.uplink, UPLINKED + leg * LEG
    station, free, down = uplink.state[node], uplink.free_ns[node], w.down[node]
    ends = Ends(w.ends, lines, line, node, t0, t1)
    n = 0
    for i in range(closed):
        batch, t = keys[i] & SLOT, t0 + (keys[i] >> TIME_SHIFT)
        n = arrive(station, free, row, batch, t, down, ends, n)
        if n < 0:
            n = refused(n)
            lose_batch(w.m, w.b, lines, batch, t, GATEWAY_DOWN if down else UPLINK_FULL)
    n = start_waiting(station, free, row, t1, ends, n)
    depart_all(w, leg, n, t0)


@passed
def depart_all(w: Any, leg: int, n: int, t0: int) -> None:
    """Put the first `n` of `ends` on the wire."""
    keys, row, metered = w.ends, w.b.row, w.constants[0].metered
    loss = w.draw[RELAY_LOSS if leg else TRANSIT_LOSS]
    delay = w.draw[RELAY_DELAY if leg else TRANSIT_DELAY]
    for low in range(0, n, BLOCK):
        count = min(BLOCK, n - low)
        draw_ways(w.drawn, row, keys, low, count, loss, delay)
        for j in range(count):
            batch, t = keys[low + j] & SLOT, t0 + (keys[low + j] >> TIME_SHIFT)
            if metered:
                book_through(w.use, UP, row[batch].gateway, row[batch], t, t0)
            depart(w, batch, t, j)


@inlined
def over_downlink(w: Any, leg: int, node: int, count: int, t0: int, t1: int) -> int:
    """Take a leg's batches, `count` of all nodes in `order`, over the downlink of `node`.

    Fills `opened` with when which came out, oldest first; returns how many.
    """
    lines, row, o = w.lines, w.b.row, w.order
    downlink, line = w.relay_downlink if leg else w.downlink, DOWNLINKED + leg * LEG
    station, free, down = downlink.state[node], downlink.free_ns[node], w.down[node]
    ends = Ends(w.opened, lines, line, node, t0, t1)
    n = 0
    for i in range(o.first[node], o.first[node + 1]):
        ask_ahead(row, o.keys, i, count)
        batch, t = o.keys[i] & SLOT, t0 + (o.keys[i] >> TIME_SHIFT)
        n = arrive(station, free, row, batch, t, down, ends, n)
        if n < 0:
            n = refused(n)
            lose_batch(w.m, w.b, lines, batch, t, GATEWAY_DOWN if down else DOWNLINK_FULL)
    n = start_waiting(station, free, row, t1, ends, n)
    if w.constants[0].metered:
        for j in range(n):
            t = t0 + (w.opened[j] >> TIME_SHIFT)
            book_through(w.use, DOWN, node, row[w.opened[j] & SLOT], t, t0)
    return int(n)


@passed
def come_out(w: Any, leg: int, t0: int, t1: int) -> None:
    """Let messages out of batches whose way over a downlink began before this slice."""
    n = take_due(w.lines, DOWNLINKED + leg * LEG, t0, t1, w.ends)
    for j in range(n):
        batch, t = w.ends[j] & SLOT, t0 + (w.ends[j] >> TIME_SHIFT)
        if w.constants[0].metered:
            book_through(w.use, DOWN, w.b.row[batch].host, w.b.row[batch], t, t0)
        unpack(w, batch, t)


@passed
def entry_pass(w: Any, t0: int, t1: int) -> None:
    """Take batches over the downlinks of the gateways where messages enter a region."""
    nodes = len(w.down)
    count = take_by_station(w.lines, WIRE, w.b.row, t0, t1, nodes, w.order)
    come_out(w, 0, t0, t1)
    for node in range(nodes):
        n = over_downlink(w, 0, node, count, t0, t1)
        for j in range(n):
            unpack(w, w.opened[j] & SLOT, t0 + (w.opened[j] >> TIME_SHIFT))


@inlined
def unpack_all(w: Any, node: int, n: int) -> int:
    """Let messages out of the first `n` batches of `opened`, all at their last gateway.

    Fills `ends` with who arrives there when, `carried` included, in order of service; returns how
    many.
    """
    rows, row, keys, others = w.m.row, w.b.row, w.ends, w.carried.keys
    other, last = w.carried.first[node], w.carried.first[node + 1]
    for j in range(n):
        b = row[w.opened[j] & SLOT]
        for i in range(min(b.count, MEMBERS)):
            prefetch(rows, b.members[i])
    m = 0
    for j in range(n):
        batch, at = w.opened[j] & SLOT, w.opened[j] >> TIME_SHIFT
        while other < last and others[other] >> TIME_SHIFT < at:
            keys[m] = others[other]
            m += 1
            other += 1
        first = m
        while other < last and others[other] >> TIME_SHIFT == at:
            keys[m] = others[other]
            m += 1
            other += 1
        b = row[batch]
        for i in range(min(b.count, MEMBERS)):
            keys[m] = (at << TIME_SHIFT) | b.members[i]
            m += 1
        slot = b.others
        while slot >= 0:
            keys[m] = (at << TIME_SHIFT) | slot
            m += 1
            slot = rows[slot].following
        give_back(w.b, batch)
        if m - first > 1:
            order_keys(keys, first, m, rows)
    while other < last:
        keys[m] = others[other]
        m += 1
        other += 1
    return int(m)


@inlined
def unpack(w: Any, batch: int, t: int) -> None:
    """Let a batch's messages arrive at the egress of its host, or at its workers for relays."""
    b, relays = w.b.row[batch], w.constants[0].relays
    for i in range(min(b.count, MEMBERS)):
        hand_over(w.m.row, w.lines, b, b.members[i], relays, t)
    slot = b.others
    while slot >= 0:
        following = w.m.row[slot].following
        hand_over(w.m.row, w.lines, b, slot, relays, t)
        slot = following
    give_back(w.b, batch)


@inlined
def hand_over(row: Any, lines: Any, b: Any, slot: int, relays: int, t: int) -> None:
    """Let a message out of its batch. Where nobody relays its row need not be touched."""
    line = EGRESS
    if relays and b.leg == 0:
        r = row[slot]
        line = EGRESS if (r.secondary if r.attempt & 1 else r.home) == b.host else RELAYING
    push(lines, line, t, slot, b.host, 0)


@inlined
def depart(w: Any, batch: int, t: int, j: int) -> None:
    """Put a batch on the wire at `t`, as its link then is; `j`: its place in the block of draws."""
    b, c = w.b.row[batch], w.constants[0]
    if c.counts_batches:
        a, z = w.links.region[b.gateway], w.links.region[b.host]
        w.books.batches[b.leg, a, z, 0] += 1
        w.books.batches[b.leg, a, z, 1] += b.count
        w.books.batches[b.leg, a, z, 2] += b.size_bytes
    passes = verdict(w.links, b.gateway, b.host, w.drawn[LOSS, j])
    if passes != 0:
        reason = LINK_LOSS if passes == 1 else LINK_BLOCKED
        lose_batch(w.m, w.b, w.lines, batch, t, reason)
        return
    before, bps = c.uplink_bps, c.downlink_bps
    if b.leg:
        before, bps = c.relay_uplink_bps, c.relay_downlink_bps
    # A division takes long: what the uplink took is known.
    if bps != before:
        b.work_ns = (b.size_bytes * NS_BITS + bps - 1) // bps
    due = t + link_delay(w.links, b.gateway, b.host, w.drawn[DELAY, j])
    push(w.lines, WIRE + b.leg * LEG, due, batch, b.host, 0)


@passed
def relay_pass(w: Any, t0: int, t1: int) -> None:
    """Serve messages where they enter a region, and put them into batches inside it."""
    c, lines, row, o, e = w.constants[0], w.lines, w.m.row, w.order, w.carried
    nodes = len(w.down)
    count = take_by_station(lines, RELAYING, row, t0, t1, nodes, o)
    take_by_station(lines, RELAYED, row, t0, t1, nodes, e)
    depart_all(w, 1, take_due(lines, UPLINKED + LEG, t0, t1, w.ends), t0)
    first, size, places = 0, keep_open(lines, OPEN + LEG, o.places), o.places
    for node in range(nodes):
        n = 0
        for i in range(e.first[node], e.first[node + 1]):
            w.ends[n] = e.keys[i]
            n += 1
        station, free = w.relay.state[node], w.relay.free_ns[node]
        ends = Ends(w.ends, lines, RELAYED, node, t0, t1)
        for i in range(o.first[node], o.first[node + 1]):
            ask_ahead(row, o.keys, i, count)
            slot, t = o.keys[i] & SLOT, t0 + (o.keys[i] >> TIME_SHIFT)
            r = row[slot]
            r.work_ns = c.relay_work_ns + c.relay_per_kib_ns * r.size_bytes // 1024
            n = arrive(station, free, row, slot, t, w.down[node], ends, n)
            if n < 0:
                n = refused(n)
                lose(w.m, lines, slot, t, GATEWAY_DOWN if w.down[node] else RELAY_FULL)
        n = start_waiting(station, free, row, t1, ends, n)
        order_keys(w.ends, 0, n, row)
        batches = take_open(w.b.row, w.opened, places, node, first, size)
        first += batches
        for j in range(n):
            r = row[w.ends[j] & SLOT]
            host = r.secondary if r.attempt & 1 else r.home
            t = t0 + (w.ends[j] >> TIME_SHIFT)
            batches = put_in_batch(w, 1, w.ends[j] & SLOT, node, host, t, batches)
        send_off(w, 1, node, batches, t0, t1)


@passed
def lose_batch(m: Any, table: Any, lines: Any, batch: int, t: int, reason: int) -> None:
    """Lose all messages of a batch."""
    b = table.row[batch]
    for i in range(min(b.count, MEMBERS)):
        lose(m, lines, b.members[i], t, reason)
    slot = b.others
    while slot >= 0:
        following = m.row[slot].following
        lose(m, lines, slot, t, reason)
        slot = following
    give_back(table, batch)
