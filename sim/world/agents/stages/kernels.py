"""The stages of the agent plane, solved over one slice (t0, t1] each, in their order.

Owns: what follows what. Each pass takes what is due from its line, in service order where order
matters, and pushes to the lines after it; the semantics are those of README.md.
Must not know: SimPy, scenarios, how rows are stored.
"""

from __future__ import annotations

from typing import Any

from sim.world.agents.draws import LAST_DELAY, LAST_LOSS, RETRY, RETURN, SESSION
from sim.world.agents.kernels import (
    book,
    finish,
    lose,
    new_message,
    online_at,
    send,
    think,
    to_egress,
)
from sim.world.agents.kinds import (
    ACCESS_LOSS,
    DELIVERED,
    EGRESS_FULL,
    EXPIRED,
    GATEWAY_DOWN,
    GRID_NS,
    INGRESS_FULL,
    LOOKUP_FAILED,
    LOOP_ID_BIT,
    MESSAGE,
    MOVED,
    NOT_REGISTERED,
    RATE_LIMITED,
    REGISTRATION,
    RENEWAL,
    REQUESTER_OFFLINE,
    RETURN_ID_BIT,
    SENDER_OFFLINE,
    STORE_FULL,
    TRANSACTION,
    UNKNOWN_TARGET,
)
from sim.world.agents.population import ALWAYS_NS
from sim.world.agents.resolve.kernels import (
    answer_pass,
    ask,
    ask_ahead_for_entry,
    consider_move,
    fail_pass,
    limited,
)
from sim.world.agents.state import (
    ADMISSION,
    ASKING,
    EGRESS,
    EGRESSED,
    INGRESSED,
    LAST_MILE,
    LOST,
    OFFERED_COLUMN,
    RESOLVED,
    RETRIED_COLUMN,
    RETRIES,
    RETURNS,
    SHARDED,
    STORED_COLUMN,
    TRANSACTIONS,
    UNASKED,
)
from sim.world.agents.transit.kernels import flush_batches, join_batch
from sim.world.kernels import (
    AHEAD,
    AHEAD_TOO,
    SLOT,
    ask_ahead,
    below64,
    compiled,
    give_back,
    inlined,
    interpolate64,
    jittered64,
    mix64,
    modulo64,
    offer,
    order_ties,
    prefetch,
    push,
    sort_by_time,
    start_all_waiting,
    station_pass,
    take_due,
    take_ordered,
)

SHARD_ROUTE = (SHARDED, UNASKED, LOOKUP_FAILED, LOOKUP_FAILED)
EGRESS_ROUTE = (EGRESSED, LOST, GATEWAY_DOWN, EGRESS_FULL)


@compiled
def offer_pass(w: Any, cell: Any, t0: int, t1: int) -> None:
    """Offer the cell's arrivals of this slice, by those who are online."""
    count = len(cell.time_ns)
    for i in range(count):
        if i + AHEAD < count:
            prefetch(w.people, cell.source[i + AHEAD])
            prefetch(w.people, max(cell.target[i + AHEAD], 0))
        t = cell.time_ns[i]
        source = cell.source[i]
        if t0 < t <= t1 and online_at(w.people[source], t):
            kind, target, size = cell.kind[i], cell.target[i], cell.size_bytes[i]
            slot = new_message(w.m, w.people, cell.ident[i], kind, source, target, size, t)
            book(w.books.traffic, w.m.row[slot], OFFERED_COLUMN)
            send(w, slot, t)


@compiled
def again_pass(w: Any, t0: int, t1: int) -> None:
    """Offer what returns and closed loops send in this slice; send retries."""
    keys = w.keys
    count = take_due(w.lines, RETURNS, t0, t1, keys)
    for i in range(count):
        slot, t = keys[i] & SLOT, t0 + (keys[i] >> 32)
        if online_at(w.people[w.m.row[slot].source], t):
            book(w.books.traffic, w.m.row[slot], OFFERED_COLUMN)
            send(w, slot, t)
        else:
            give_back(w.m, slot)
    count = take_due(w.thinkers, 0, t0, t1, keys)
    for i in range(count):
        agent, t = keys[i] & SLOT, t0 + (keys[i] >> 32)
        if online_at(w.people[agent], t):
            ident = LOOP_ID_BIT | (agent << 24) | (int(w.people[agent].sequence) - 1)
            size = w.constants[0].loop_bytes
            slot = new_message(w.m, w.people, ident, TRANSACTION, agent, -1, size, t)
            book(w.books.traffic, w.m.row[slot], OFFERED_COLUMN)
            send(w, slot, t)
        else:
            think(w.people, w.draw, w.think_table, w.thinkers, agent, t)
    count = take_due(w.lines, RETRIES, t0, t1, keys)
    for i in range(count):
        slot, t = keys[i] & SLOT, t0 + (keys[i] >> 32)
        if online_at(w.people[w.m.row[slot].source], t):
            send(w, slot, t)
        else:
            finish(w, slot, t, SENDER_OFFLINE)


@inlined
def refusal(r: Any, credit_ns: Any, c: Any, t: int) -> int:
    """Decide on admission at `t`: a reason, or -1. Takes a token where it admits."""
    if r.kind != REGISTRATION and not r.entitled:
        return NOT_REGISTERED
    credit = max(credit_ns[r.station], t)
    if credit - t > c.admission_slack_ns:
        return RATE_LIMITED
    credit_ns[r.station] = credit + c.admission_step_ns
    return -1


@compiled
def ingress_pass(w: Any, t0: int, t1: int) -> None:
    """Admit what arrives at gateways and serve it."""
    c, keys, lines, row = w.constants[0], w.keys, w.lines, w.m.row
    count = take_ordered(lines, ADMISSION, row, t0, t1, keys, w.spare)
    for i in range(count):
        ask_ahead(row, keys, i, count)
        slot, t = keys[i] & SLOT, t0 + (keys[i] >> 32)
        r = row[slot]
        node = r.station
        station = w.ingress.state[node]
        reason = GATEWAY_DOWN if w.down[node] else refusal(r, w.credit_ns, c, t)
        if reason >= 0:
            station.dropped += 1
            lose(w.m, lines, slot, t, reason)
            continue
        r.work_ns = c.ingress_work_ns + c.ingress_per_kib_ns * r.size_bytes // 1024
        if not offer(station, w.ingress.free_ns[node], row, slot, t, lines, INGRESSED):
            lose(w.m, lines, slot, t, INGRESS_FULL)
    start_all_waiting(w.ingress, row, t1, lines, INGRESSED)


@compiled
def route_pass(w: Any, t0: int, t1: int) -> None:
    """Send what leaves ingress where it goes next: a batch of transactions, egress, a lookup."""
    keys, lines, row = w.keys, w.lines, w.m.row
    count = take_ordered(lines, INGRESSED, row, t0, t1, keys, w.spare)
    for i in range(count):
        ask_ahead(row, keys, i, count)
        if i + AHEAD_TOO < count:
            ask_ahead_for_entry(w, row[keys[i + AHEAD_TOO] & SLOT])
        slot, t = keys[i] & SLOT, t0 + (keys[i] >> 32)
        r = row[slot]
        if w.constants[0].re_home:
            consider_move(w, slot, t)
        if r.kind == TRANSACTION:
            push(lines, TRANSACTIONS, t, slot)
            continue
        if r.kind == REGISTRATION and w.constants[0].limits and limited(w, slot, t):
            continue
        if r.kind == MESSAGE:
            if w.constants[0].re_home:
                r.home, r.secondary = w.people[r.target].home, w.people[r.target].secondary
            host = r.secondary if r.attempt & 1 else r.home
            if host == r.station:
                if w.people[r.target].lease_until_ns <= t:
                    lose(w.m, lines, slot, t, UNKNOWN_TARGET)
                else:
                    to_egress(w.m, w.constants, lines, slot, t)
                continue
        ask(w, slot, t)


@compiled
def resolve_pass(w: Any, t0: int, t1: int) -> None:
    """Serve queries, bring answers back, batch messages whose receiver is known."""
    keys, lines, row = w.keys, w.lines, w.m.row
    count = take_ordered(lines, ASKING, w.q.row, t0, t1, keys, w.spare)
    station_pass(keys, count, t0, t1, w.shard, w.q.row, w.down, lines, SHARD_ROUTE)
    answer_pass(w, t0, t1)
    fail_pass(w, t0, t1)
    count = take_ordered(lines, RESOLVED, row, t0, t1, keys, w.spare)
    for i in range(count):
        ask_ahead(row, keys, i, count)
        slot, t = keys[i] & SLOT, t0 + (keys[i] >> 32)
        if row[slot].kind != MESSAGE:
            to_egress(w.m, w.constants, lines, slot, t)
        elif row[slot].reason == 0:
            lose(w.m, lines, slot, t, UNKNOWN_TARGET)
        elif (row[slot].secondary if row[slot].attempt & 1 else row[slot].home) == row[
            slot
        ].station:
            # A stale answer: this very gateway was the agent's, and knows that it moved.
            lose(w.m, lines, slot, t, MOVED)
        else:
            join_batch(w, slot, t)
    flush_batches(w, t1)


@compiled
def egress_pass(w: Any, t0: int, t1: int) -> None:
    """Serve messages at their last gateway, then deliver, store or refuse them."""
    keys, lines, row = w.keys, w.lines, w.m.row
    count = take_ordered(lines, EGRESS, row, t0, t1, keys, w.spare)
    station_pass(keys, count, t0, t1, w.egress, row, w.down, lines, EGRESS_ROUTE)
    count = take_due(lines, EGRESSED, t0, t1, keys)
    stored = 0
    for i in range(count):
        ask_ahead(row, keys, i, count)
        if i + AHEAD_TOO < count:
            r = row[keys[i + AHEAD_TOO] & SLOT]
            prefetch(w.people, r.target if r.kind == MESSAGE else r.source)
        key = keys[i]
        slot, t = key & SLOT, t0 + (key >> 32)
        r = row[slot]
        agent = w.people[r.target if r.kind == MESSAGE else r.source]
        moves = w.constants[0].re_home and r.kind == MESSAGE
        if moves and r.station != agent.home and r.station != agent.secondary:
            lose(w.m, lines, slot, t, MOVED)
            continue
        if online_at(agent, t):
            last_mile(w, slot, t, agent.access)
        elif r.kind == MESSAGE:
            keys[stored] = key
            stored += 1
        else:
            lose(w.m, lines, slot, t, REQUESTER_OFFLINE)
    sort_by_time(keys, stored, t1 - t0, w.spare)
    order_ties(keys, stored, row)
    for i in range(stored):
        store(w, keys[i] & SLOT, t0 + (keys[i] >> 32))
    count = take_due(lines, LAST_MILE, t0, t1, keys)
    for i in range(count):
        ask_ahead(row, keys, i, count)
        finish(w, keys[i] & SLOT, t0 + (keys[i] >> 32), DELIVERED)


@inlined
def last_mile(w: Any, slot: int, t: int, access_class: int) -> None:
    """Send a message over its receiver's access link at `t`."""
    r, access = w.m.row[slot], w.access[access_class]
    if access.loss_ppb > 0 and below64(
        mix64(w.draw[LAST_LOSS], r.ident, r.attempt), access.loss_ppb
    ):
        lose(w.m, w.lines, slot, t, ACCESS_LOSS)
        return
    bits = mix64(w.draw[LAST_DELAY], r.ident, r.attempt)
    delay = jittered64(access.median_ns, access.spread_ns, w.links.shape, bits)
    push(w.lines, LAST_MILE, t + delay, slot)


@inlined
def store(w: Any, slot: int, t: int) -> None:
    """Keep a message for its offline receiver, if there is room for it."""
    r = w.m.row[slot]
    agent = w.people[r.target]
    if agent.stored >= w.constants[0].store_limit:
        lose(w.m, w.lines, slot, t, STORE_FULL)
        return
    agent.stored += 1
    w.books.kept[MESSAGE] += 1
    r.arrival_ns = t
    r.following = agent.stored_head
    agent.stored_head = slot
    book(w.books.traffic, r, STORED_COLUMN)


@compiled
def session_pass(w: Any, t1: int) -> None:
    """Toggle the sessions that end by `t1`; serve those who are back."""
    for i in range(len(w.near)):
        index = int(w.near[i])
        agent = w.people[index]
        t = agent.session >> 1
        if t > t1:
            continue
        online = 1 - (agent.session & 1)
        number = int(agent.toggles)
        agent.toggles = number + 1
        if w.session_tables.shape[1] == 1:
            agent.session = (ALWAYS_NS << 1) | 1
        else:
            bits = mix64(w.draw[SESSION], index, number)
            length = max(GRID_NS, interpolate64(w.session_tables[online], bits) * 1000)
            agent.session = ((t + length) << 1) | online
        if online:
            returned(w, index, t, number + 1)


@compiled
def returned(w: Any, index: int, t: int, number: int) -> None:
    """Release what is stored for an agent that came back at `t`, and renew its lease."""
    agent, c = w.people[index], w.constants[0]
    slot = agent.stored_head
    w.books.kept[MESSAGE] -= agent.stored
    agent.stored_head = -1
    agent.stored = 0
    while slot >= 0:
        following = w.m.row[slot].following
        if c.store_ttl_ns > 0 and t - w.m.row[slot].arrival_ns > c.store_ttl_ns:
            lose(w.m, w.lines, slot, t, EXPIRED)
        else:
            to_egress(w.m, w.constants, w.lines, slot, t + c.release_delay_ns)
        slot = following
    if c.renew_within_ns > 0:
        due = t + GRID_NS + modulo64(mix64(w.draw[RETURN], index, number), c.renew_within_ns)
        ident = RETURN_ID_BIT | (index << 24) | number
        slot = new_message(w.m, w.people, ident, RENEWAL, index, -1, c.renew_bytes, due)
        push(w.lines, RETURNS, due, slot)


@compiled
def settle_pass(w: Any) -> None:
    """Retry or drop every attempt that was lost in this slice."""
    c, lines = w.constants[0], w.lines
    for i in range(lines.size[LOST]):
        slot, t = lines.due[LOST, i].slot, lines.due[LOST, i].time_ns
        r = w.m.row[slot]
        if w.final_reason[r.reason] or r.attempt + 1 >= c.attempts:
            finish(w, slot, t, r.reason)
            continue
        wait = w.retry_waits_ns[r.attempt]
        if c.retry_jitter_ns > 0:
            wait += modulo64(mix64(w.draw[RETRY], r.ident, r.attempt), c.retry_jitter_ns)
        book(w.books.traffic, r, RETRIED_COLUMN + r.reason)
        r.attempt += 1
        push(lines, RETRIES, max(r.sent_ns + wait, t + GRID_NS), slot)
    lines.size[LOST] = 0
