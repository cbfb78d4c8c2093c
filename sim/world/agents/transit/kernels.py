"""Batches between gateways: collected, closed, carried over uplink, wire and downlink.

Owns: the table of batches. Must not know: how messages came here, what egress does.
"""

from __future__ import annotations

from typing import Any

from sim.world.agents.draws import TRANSIT_DELAY, TRANSIT_LOSS
from sim.world.agents.kernels import link_delay, lose, lost_on_link
from sim.world.agents.kinds import (
    DOWNLINK_FULL,
    GATEWAY_DOWN,
    LINK_BLOCKED,
    LINK_LOSS,
    PPM,
    UPLINK_FULL,
)
from sim.world.agents.lanes.kernels import book_through
from sim.world.agents.state import DOWN, DOWNLINKED, EGRESS, OPEN, UP, UPLINK, UPLINKED, WIRE
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
    passed,
    prefetch,
    push,
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


@inlined
def join_batch(w: Any, slot: int, gateway: int, t: int) -> None:
    """Add a message at `gateway` to the open batch for its next hop, opening or closing as due."""
    r, c = w.m.row[slot], w.constants[0]
    host = r.secondary if r.attempt & 1 else r.home
    batch = w.pairs[gateway, host]
    if batch >= 0:
        due = w.b.row[batch].opened_ns + c.batch_age_ns
        if due < t:
            close_batch(w.b, w.pairs, c, w.lines, batch, due)
            batch = -1
    if batch < 0:
        batch = take_free(w.b)
        w.pairs[gateway, host] = batch
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
        push(w.lines, OPEN, t + c.batch_age_ns, batch, gateway, 0)
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
    pairs[b.gateway, b.host] = -1
    b.work_ns = (b.size_bytes * NS_BITS + c.uplink_bps - 1) // c.uplink_bps
    push(lines, UPLINK, t, batch, b.gateway, 0)


@passed
def flush_batches(w: Any, t1: int) -> None:
    """Close the open batches whose age is up by `t1`; forget those closed before."""
    lines = w.lines
    kept = 0
    row = lines.due[OPEN]
    for i in range(lines.size[OPEN]):
        batch, t = row[i].slot, row[i].time_ns
        if w.b.row[batch].open == 0:
            continue
        if t <= t1:
            close_batch(w.b, w.pairs, w.constants[0], lines, batch, t)
        else:
            copy_entry(row, i, kept)
            kept += 1
    lines.size[OPEN] = kept


@passed
def uplink_pass(w: Any, t0: int, t1: int) -> None:
    """Take closed batches over their gateways' uplinks and put them on the wire."""
    lines, row, o = w.lines, w.b.row, w.order
    nodes, metered = len(w.down), w.constants[0].metered
    count = take_by_station(lines, UPLINK, row, t0, t1, nodes, o)
    n = take_due(lines, UPLINKED, t0, t1, w.ends)
    for node in range(nodes):
        station, free = w.uplink.state[node], w.uplink.free_ns[node]
        ends = Ends(w.ends, lines, UPLINKED, node, t0, t1)
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
def downlink_pass(w: Any, t0: int, t1: int) -> None:
    """Take batches over the downlinks of their next hops, and messages out of them."""
    lines, row, o = w.lines, w.b.row, w.order
    nodes, metered = len(w.down), w.constants[0].metered
    count = take_by_station(lines, WIRE, row, t0, t1, nodes, o)
    n = take_due(lines, DOWNLINKED, t0, t1, w.ends)
    for node in range(nodes):
        station, free = w.downlink.state[node], w.downlink.free_ns[node]
        ends = Ends(w.ends, lines, DOWNLINKED, node, t0, t1)
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
    """Let a batch's messages arrive at the egress of its host."""
    b = w.b.row[batch]
    slot = b.members
    if b.count == 1:
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
    verdict = lost_on_link(w.links, b.gateway, b.host, w.draw[TRANSIT_LOSS], b.ident, b.attempt)
    if verdict != 0:
        reason = LINK_LOSS if verdict == 1 else LINK_BLOCKED
        lose_batch(w.m, w.b, w.lines, batch, t, reason)
        return
    b.work_ns = (b.size_bytes * NS_BITS + c.downlink_bps - 1) // c.downlink_bps
    bits = mix64(w.draw[TRANSIT_DELAY], b.ident, b.attempt)
    push(w.lines, WIRE, t + link_delay(w.links, b.gateway, b.host, bits), batch, b.host, 0)


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
