"""Batches between gateways: collected, closed, carried over uplink, wire and downlink.

Owns: the table of batches. Must not know: how messages came here, what egress does.
"""

from __future__ import annotations

from typing import Any

from sim.world.agents.draws import TRANSIT_DELAY, TRANSIT_LOSS
from sim.world.agents.kernels import link_delay, lose, lost_on_link, to_egress
from sim.world.agents.kinds import (
    DOWNLINK_FULL,
    GATEWAY_DOWN,
    LINK_BLOCKED,
    LINK_LOSS,
    PPM,
    UPLINK_FULL,
)
from sim.world.agents.state import DOWNLINKED, OPEN, UNLINKED, UPLINK, UPLINKED, WIRE
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
    station_pass,
    take_due,
    take_free,
    take_ordered,
)

NS_BITS = 8_000_000_000
"""Nanoseconds in a second times bits in a byte."""
UPLINK_ROUTE = (UPLINKED, UNLINKED, GATEWAY_DOWN, UPLINK_FULL)
DOWNLINK_ROUTE = (DOWNLINKED, UNLINKED, GATEWAY_DOWN, DOWNLINK_FULL)


@inlined
def wire_bytes(r: Any, kinds: Any) -> int:
    """Bytes of a message inside a batch: signatures do not compress."""
    kind = kinds[r.kind]
    body = (r.size_bytes - kind.signature_bytes) * kind.ratio_ppm
    return (body + PPM - 1) // PPM + kind.signature_bytes


@inlined
def join_batch(w: Any, slot: int, t: int) -> None:
    """Add a message at `t` to the open batch for its next hop, opening or closing as due."""
    r, c = w.m.row[slot], w.constants[0]
    host = r.secondary if r.attempt & 1 else r.home
    batch = w.pairs[r.station, host]
    if batch >= 0:
        due = w.b.row[batch].opened_ns + c.batch_age_ns
        if due < t:
            close_batch(w.b, w.pairs, c, w.lines, batch, due)
            batch = -1
    if batch < 0:
        batch = take_free(w.b)
        w.pairs[r.station, host] = batch
        fresh = w.b.row[batch]
        fresh.ident = r.ident
        fresh.attempt = r.attempt
        fresh.opened_ns = t
        fresh.size_bytes = c.batch_header_bytes
        fresh.gateway = r.station
        fresh.station = r.station
        fresh.host = host
        fresh.count = 0
        fresh.members = -1
        fresh.open = 1
        push(w.lines, OPEN, t + c.batch_age_ns, batch)
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
    push(lines, UPLINK, t, batch)


@compiled
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
            row[kept].slot = batch
            row[kept].time_ns = t
            kept += 1
    lines.size[OPEN] = kept


@compiled
def transit_pass(w: Any, t0: int, t1: int) -> None:
    """Take batches over uplink, wire and downlink, and messages out of those that arrive."""
    lines, keys, row = w.lines, w.keys, w.b.row
    count = take_ordered(lines, UPLINK, row, t0, t1, keys, w.spare)
    station_pass(keys, count, t0, t1, w.uplink, row, w.down, lines, UPLINK_ROUTE)
    count = take_due(lines, UPLINKED, t0, t1, keys)
    for i in range(count):
        ask_ahead(row, keys, i, count)
        depart(w, keys[i] & SLOT, t0 + (keys[i] >> 32))
    count = take_ordered(lines, WIRE, row, t0, t1, keys, w.spare)
    station_pass(keys, count, t0, t1, w.downlink, row, w.down, lines, DOWNLINK_ROUTE)
    count = take_due(lines, DOWNLINKED, t0, t1, keys)
    for i in range(count):
        ask_ahead(row, keys, i, count)
        if i + AHEAD_TOO < count:
            prefetch(w.m.row, row[keys[i + AHEAD_TOO] & SLOT].members)
        batch, t = keys[i] & SLOT, t0 + (keys[i] >> 32)
        slot = row[batch].members
        while slot >= 0:
            r = w.m.row[slot]
            following = r.following
            r.station = row[batch].host
            to_egress(w.m, w.constants, lines, slot, t)
            slot = following
        give_back(w.b, batch)
    for i in range(lines.size[UNLINKED]):
        gone = lines.due[UNLINKED, i]
        lose_batch(w.m, w.b, lines, gone.slot, gone.time_ns, row[gone.slot].reason)
    lines.size[UNLINKED] = 0


@inlined
def depart(w: Any, batch: int, t: int) -> None:
    """Put a batch on the wire at `t`, as its link then is."""
    b, c = w.b.row[batch], w.constants[0]
    bits = mix64(w.draw[TRANSIT_LOSS], b.ident, b.attempt)
    verdict = lost_on_link(w.links, b.gateway, b.host, bits)
    if verdict != 0:
        b.reason = LINK_LOSS if verdict == 1 else LINK_BLOCKED
        push(w.lines, UNLINKED, t, batch)
        return
    b.station = b.host
    b.work_ns = (b.size_bytes * NS_BITS + c.downlink_bps - 1) // c.downlink_bps
    bits = mix64(w.draw[TRANSIT_DELAY], b.ident, b.attempt)
    push(w.lines, WIRE, t + link_delay(w.links, b.gateway, b.host, bits), batch)


@compiled
def lose_batch(m: Any, table: Any, lines: Any, batch: int, t: int, reason: int) -> None:
    """Lose all messages of a batch."""
    slot = table.row[batch].members
    while slot >= 0:
        following = m.row[slot].following
        lose(m, lines, slot, t, reason)
        slot = following
    table.row[batch].open = 0
    give_back(table, batch)
