"""Batches between gateways: collected, closed, carried over uplink, wire and downlink.

Owns: the table of batches, and next hops. Where gateways relay, a message for another region enters
it at one gateway (leg 0), is unpacked by that one's workers, and goes on in a batch inside the
region (leg 1): in lanes and lines of its own, so that nothing flows back.
Must not know: how messages came here, what egress does.
"""

from __future__ import annotations

from typing import Any

from sim.world.agents.draws import ENTRY, RELAY_DELAY, RELAY_LOSS, TRANSIT_DELAY, TRANSIT_LOSS
from sim.world.agents.kernels import link_delay, lose, lost_on_link
from sim.world.agents.kinds import (
    DOWNLINK_FULL,
    GATEWAY_DOWN,
    LINK_BLOCKED,
    LINK_LOSS,
    PPM,
    RELAY_FULL,
    UPLINK_FULL,
)
from sim.world.agents.lanes.kernels import book_through
from sim.world.agents.state import (
    DOWN,
    DOWNLINKED,
    EGRESS,
    LEG,
    OPEN,
    RELAYED,
    RELAYING,
    UP,
    UPLINK,
    UPLINKED,
    WIRE,
)
from sim.world.agents.stations.kernels import Ends, arrive, refused, start_waiting
from sim.world.kernels import (
    AHEAD_TOO,
    SLOT,
    TIME_SHIFT,
    ask_ahead,
    copy_entry,
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
def join_batch(w: Any, slot: int, gateway: int, t: int) -> None:
    """Add a message at `gateway` to the open batch for its next hop."""
    r = w.m.row[slot]
    host = r.secondary if r.attempt & 1 else r.home
    if w.constants[0].relays:
        host = entry_of(w, gateway, host, r.attempt)
    put_in_batch(w, 0, slot, gateway, host, t)


@inlined
def put_in_batch(w: Any, leg: int, slot: int, gateway: int, host: int, t: int) -> None:
    """Add a message to the open batch from `gateway` to `host`, opening or closing as due."""
    r, c = w.m.row[slot], w.constants[0]
    batch = w.pairs[leg, gateway, host]
    if batch >= 0:
        due = w.b.row[batch].opened_ns + c.batch_age_ns
        if due < t:
            close_batch(w.b, w.pairs, c, w.lines, batch, due)
            batch = -1
    if batch < 0:
        batch = take_free(w.b)
        w.pairs[leg, gateway, host] = batch
        fresh = w.b.row[batch]
        fresh.ident = r.ident
        fresh.attempt = r.attempt
        fresh.opened_ns = t
        fresh.size_bytes = c.batch_header_bytes
        fresh.gateway = gateway
        fresh.host = host
        fresh.count = 0
        fresh.members = -1
        fresh.open = 1
        fresh.leg = leg
        push(w.lines, OPEN + leg * LEG, t + c.batch_age_ns, batch, gateway, 0)
    b = w.b.row[batch]
    r.following = b.members
    b.members = slot
    b.count += 1
    b.size_bytes += wire_bytes(r, w.kinds)
    if b.count >= c.batch_count or b.size_bytes >= c.batch_bytes:
        close_batch(w.b, w.pairs, c, w.lines, batch, t)


@inlined
def close_batch(table: Any, pairs: Any, c: Any, lines: Any, batch: int, t: int) -> None:
    """Hand a batch to its gateway's uplink at `t`."""
    b = table.row[batch]
    b.open = 0
    pairs[b.leg, b.gateway, b.host] = -1
    bps = c.relay_uplink_bps if b.leg else c.uplink_bps
    b.work_ns = (b.size_bytes * NS_BITS + bps - 1) // bps
    push(lines, UPLINK + b.leg * LEG, t, batch, b.gateway, 0)


@passed
def flush_batches(w: Any, leg: int, t1: int) -> None:
    """Close a leg's open batches whose age is up by `t1`; forget those closed before."""
    lines, line = w.lines, OPEN + leg * LEG
    kept = 0
    row = lines.due[line]
    for i in range(lines.size[line]):
        batch, t = row[i].slot, row[i].time_ns
        if w.b.row[batch].open == 0:
            continue
        if t <= t1:
            close_batch(w.b, w.pairs, w.constants[0], lines, batch, t)
        else:
            copy_entry(row, i, kept)
            kept += 1
    lines.size[line] = kept


@passed
def uplink_pass(w: Any, leg: int, t0: int, t1: int) -> None:
    """Take a leg's closed batches over their gateways' uplinks and put them on the wire."""
    lines, row, o = w.lines, w.b.row, w.order
    nodes, metered = len(w.down), w.constants[0].metered
    uplink, line = w.relay_uplink if leg else w.uplink, UPLINKED + leg * LEG
    count = take_by_station(lines, UPLINK + leg * LEG, row, t0, t1, nodes, o)
    n = take_due(lines, line, t0, t1, w.ends)
    for node in range(nodes):
        station, free = uplink.state[node], uplink.free_ns[node]
        ends = Ends(w.ends, lines, line, node, t0, t1)
        for i in range(o.first[node], o.first[node + 1] + 1):
            if i < o.first[node + 1]:
                ask_ahead(row, o.keys, i, count)
                batch, t = o.keys[i] & SLOT, t0 + (o.keys[i] >> TIME_SHIFT)
                n = arrive(station, free, row, batch, t, w.down[node], ends, n)
                if n < 0:
                    n = refused(n)
                    reason = GATEWAY_DOWN if w.down[node] else UPLINK_FULL
                    lose_batch(w.m, w.b, lines, batch, t, reason)
            else:
                n = start_waiting(station, free, row, t1, ends, n)
            for j in range(n):
                batch, t = w.ends[j] & SLOT, t0 + (w.ends[j] >> TIME_SHIFT)
                if metered:
                    book_through(w.use, UP, row[batch].gateway, row[batch], t, t0)
                depart(w, batch, t)
            n = 0


@passed
def downlink_pass(w: Any, leg: int, t0: int, t1: int) -> None:
    """Take a leg's batches over the downlinks of their next hops, and messages out of them."""
    lines, row, o = w.lines, w.b.row, w.order
    nodes, metered = len(w.down), w.constants[0].metered
    downlink, line = w.relay_downlink if leg else w.downlink, DOWNLINKED + leg * LEG
    count = take_by_station(lines, WIRE + leg * LEG, row, t0, t1, nodes, o)
    n = take_due(lines, line, t0, t1, w.ends)
    for node in range(nodes):
        station, free = downlink.state[node], downlink.free_ns[node]
        ends = Ends(w.ends, lines, line, node, t0, t1)
        for i in range(o.first[node], o.first[node + 1] + 1):
            if i < o.first[node + 1]:
                ask_ahead(row, o.keys, i, count)
                ask_ahead_for_members(w, o.keys, i, count)
                batch, t = o.keys[i] & SLOT, t0 + (o.keys[i] >> TIME_SHIFT)
                n = arrive(station, free, row, batch, t, w.down[node], ends, n)
                if n < 0:
                    n = refused(n)
                    reason = GATEWAY_DOWN if w.down[node] else DOWNLINK_FULL
                    lose_batch(w.m, w.b, lines, batch, t, reason)
            else:
                n = start_waiting(station, free, row, t1, ends, n)
            for j in range(n):
                batch, t = w.ends[j] & SLOT, t0 + (w.ends[j] >> TIME_SHIFT)
                if metered:
                    book_through(w.use, DOWN, row[batch].host, row[batch], t, t0)
                unpack(w, batch, t)
            n = 0


@inlined
def ask_ahead_for_members(w: Any, keys: Any, i: int, count: int) -> None:
    """Ask memory for the newest two messages of a batch: its list is walked in no time."""
    if i + AHEAD_TOO < count:
        prefetch(w.m.row, w.b.row[keys[i + AHEAD_TOO] & SLOT].members)
    if i + AHEAD_TOO // 2 < count:
        b = w.b.row[keys[i + AHEAD_TOO // 2] & SLOT]
        if b.count > 1:
            prefetch(w.m.row, w.m.row[b.members].following)


@inlined
def unpack(w: Any, batch: int, t: int) -> None:
    """Let a batch's messages arrive at the egress of its host, or at its workers for relays."""
    b = w.b.row[batch]
    slot = b.members
    if w.constants[0].relays and b.leg == 0:
        while slot >= 0:
            r = w.m.row[slot]
            following = r.following
            here = (r.secondary if r.attempt & 1 else r.home) == b.host
            push(w.lines, EGRESS if here else RELAYING, t, slot, b.host, 0)
            slot = following
    elif b.count == 1:
        # Alone in its batch, a message's row need not be touched.
        push(w.lines, EGRESS, t, slot, b.host, 0)
    else:
        while slot >= 0:
            following = w.m.row[slot].following
            push(w.lines, EGRESS, t, slot, b.host, 0)
            slot = following
    give_back(w.b, batch)


@inlined
def depart(w: Any, batch: int, t: int) -> None:
    """Put a batch on the wire at `t`, as its link then is."""
    b, c = w.b.row[batch], w.constants[0]
    if c.counts_batches:
        a, z = w.links.region[b.gateway], w.links.region[b.host]
        w.books.batches[b.leg, a, z, 0] += 1
        w.books.batches[b.leg, a, z, 1] += b.count
        w.books.batches[b.leg, a, z, 2] += b.size_bytes
    key = w.draw[RELAY_LOSS if b.leg else TRANSIT_LOSS]
    verdict = lost_on_link(w.links, b.gateway, b.host, key, b.ident, b.attempt)
    if verdict != 0:
        reason = LINK_LOSS if verdict == 1 else LINK_BLOCKED
        lose_batch(w.m, w.b, w.lines, batch, t, reason)
        return
    bps = c.relay_downlink_bps if b.leg else c.downlink_bps
    b.work_ns = (b.size_bytes * NS_BITS + bps - 1) // bps
    bits = mix64(w.draw[RELAY_DELAY if b.leg else TRANSIT_DELAY], b.ident, b.attempt)
    due = t + link_delay(w.links, b.gateway, b.host, bits)
    push(w.lines, WIRE + b.leg * LEG, due, batch, b.host, 0)


@passed
def relay_pass(w: Any, t0: int, t1: int) -> None:
    """Serve messages where they enter a region, and put them into batches inside it."""
    c, lines, row, o, e = w.constants[0], w.lines, w.m.row, w.order, w.carried
    nodes = len(w.down)
    count = take_by_station(lines, RELAYING, row, t0, t1, nodes, o)
    take_by_station(lines, RELAYED, row, t0, t1, nodes, e)
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
        for j in range(n):
            r = row[w.ends[j] & SLOT]
            host = r.secondary if r.attempt & 1 else r.home
            t = t0 + (w.ends[j] >> TIME_SHIFT)
            put_in_batch(w, 1, w.ends[j] & SLOT, node, host, t)
    flush_batches(w, 1, t1)


@passed
def lose_batch(m: Any, table: Any, lines: Any, batch: int, t: int, reason: int) -> None:
    """Lose all messages of a batch."""
    slot = table.row[batch].members
    while slot >= 0:
        following = m.row[slot].following
        lose(m, lines, slot, t, reason)
        slot = following
    table.row[batch].open = 0
    give_back(table, batch)
