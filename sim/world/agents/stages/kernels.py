"""The stages of the agent plane, solved over one slice (t0, t1] each, in their order.

Owns: what follows what. Each pass takes what is due from its line, in service order where order
matters, and pushes to the lines after it; the semantics are those of README.md.
Must not know: SimPy, scenarios, how rows are stored.
"""

from __future__ import annotations

from typing import Any

from sim.world.agents.draws import ACCESS_DELAY, LAST_DELAY, LAST_LOSS, RETRY, RETURN, SESSION
from sim.world.agents.kernels import (
    book,
    draw_ways,
    finish,
    leased_at,
    lose,
    new_message,
    online_at,
    send,
    send_at,
    think,
)
from sim.world.agents.kinds import (
    ACCESS_LOSS,
    DELIVERED,
    EGRESS_FULL,
    EXPIRED,
    GATEWAY_DOWN,
    GRID_NS,
    INGRESS_FULL,
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
from sim.world.agents.payload.kernels import collect
from sim.world.agents.population import ALWAYS_NS
from sim.world.agents.replicas.kernels import publish_pass
from sim.world.agents.resolve.kernels import (
    ask,
    consider_move,
    draw_questions,
    fail_pass,
    limited,
    shard_pass,
)
from sim.world.agents.state import (
    ADMISSION,
    DELAY,
    EGRESS,
    EGRESSED,
    INGRESSED,
    LAST_MILE,
    LEG,
    LIMITING,
    LOSS,
    LOST,
    OFFERED_COLUMN,
    OPEN,
    RESOLVED,
    RETRIED_COLUMN,
    RETRIES,
    RETURNS,
    STORED_COLUMN,
    STORING,
    TRANSACTIONS,
    UPLINKED,
    WIRE,
)
from sim.world.agents.stations.kernels import Ends, arrive, refused, start_waiting
from sim.world.agents.transit.kernels import (
    come_out,
    depart_all,
    entry_pass,
    join_batch,
    keep_open,
    over_downlink,
    relay_pass,
    send_off,
    take_open,
    unpack_all,
)
from sim.world.kernels import (
    AHEAD,
    AHEAD_TOO,
    BLOCK,
    NOTE_SHIFT,
    NOTES,
    SLOT,
    TIME_SHIFT,
    ask_ahead,
    below64,
    compiled,
    give_back,
    inlined,
    interpolate64,
    jittered64,
    mix64,
    modulo64,
    order_keys,
    passed,
    prefetch,
    push,
    take_by_station,
    take_due,
)

BEFORE, AFTER = 1, 2
"""Parts of a slice: what comes before the directory has the questions, and what comes after."""


@compiled
def solve(w: Any, cell: Any, o: Any, closed: Any, t0: int, t1: int, parts: int) -> int:
    """Solve the slice (t0, t1], or one of its parts: all stages, then sessions, what was lost, what
    was published, and transactions, as `payload.kernels.collect` does; return its answer.

    Between the two the DHT, if there is one, finds the hosts of questions. One call, because to
    hand a world to a kernel takes as long as 200 messages.
    """
    if parts & BEFORE:
        offer_pass(w, cell, t0, t1)
        again_pass(w, t0, t1)
        gateway_pass(w, t0, t1)
    if parts & AFTER == 0:
        return 0
    shard_pass(w, t0, t1)
    fail_pass(w, t0, t1)
    locate_pass(w, t0, t1)
    if w.constants[0].relays:
        entry_pass(w, t0, t1)
        relay_pass(w, t0, t1)
    arrival_pass(w, t0, t1)
    session_pass(w, t0, t1)
    settle_pass(w)
    if t1 % GRID_NS == 0:
        publish_pass(w, t1)
    return int(collect(w, o, closed, t1))


@passed
def offer_pass(w: Any, cell: Any, t0: int, t1: int) -> None:
    """Offer the cell's arrivals of this slice, by those who are online."""
    count, drawn, key = len(cell.time_ns), w.drawn, w.draw[ACCESS_DELAY]
    for low in range(0, count, BLOCK):
        high = min(low + BLOCK, count)
        for i in range(low, high):
            drawn[0, i - low] = mix64(key, cell.first + i, 0)
        for i in range(low, high):
            if i + AHEAD < count:
                prefetch(w.contacts, cell.source[i + AHEAD])
                prefetch(w.contacts, max(cell.target[i + AHEAD], 0))
            t = cell.time_ns[i]
            source = cell.source[i]
            if t0 < t <= t1 and online_at(w, source, t):
                kind, target, size = cell.kind[i], cell.target[i], cell.size_bytes[i]
                prefetch(w.m.row, w.m.free[max(w.m.left[0] - AHEAD_TOO, 0)])
                slot = new_message(w.m, w.contacts, cell.first + i, kind, source, target, size, t)
                book(w.books.traffic, w.m.row[slot], OFFERED_COLUMN)
                send_at(w, slot, t, drawn[0, i - low])


@passed
def again_pass(w: Any, t0: int, t1: int) -> None:
    """Offer what returns and closed loops send in this slice; send retries."""
    keys = w.ends
    count = take_due(w.lines, RETURNS, t0, t1, keys)
    for i in range(count):
        slot, t = keys[i] & SLOT, t0 + (keys[i] >> TIME_SHIFT)
        if online_at(w, w.m.row[slot].source, t):
            book(w.books.traffic, w.m.row[slot], OFFERED_COLUMN)
            send(w, slot, t)
        else:
            give_back(w.m, slot)
    count = take_due(w.thinkers, 0, t0, t1, keys)
    for i in range(count):
        agent, t = keys[i] & SLOT, t0 + (keys[i] >> TIME_SHIFT)
        if online_at(w, agent, t):
            ident = LOOP_ID_BIT | (agent << 24) | (int(w.people[agent].sequence) - 1)
            size = w.constants[0].loop_bytes
            slot = new_message(w.m, w.contacts, ident, TRANSACTION, agent, -1, size, t)
            book(w.books.traffic, w.m.row[slot], OFFERED_COLUMN)
            send(w, slot, t)
        else:
            think(w.people, w.draw, w.think_table, w.thinkers, agent, t)
    count = take_due(w.lines, RETRIES, t0, t1, keys)
    for i in range(count):
        slot, t = keys[i] & SLOT, t0 + (keys[i] >> TIME_SHIFT)
        if online_at(w, w.m.row[slot].source, t):
            send(w, slot, t)
        else:
            finish(w, slot, t, SENDER_OFFLINE)


@passed
def gateway_pass(w: Any, t0: int, t1: int) -> None:
    """Admit what arrives at gateways, serve it, and send on what its services end.

    Gateway by gateway: what one does before resolution touches nothing of another, but for limits.
    """
    c, lines, row, o, e = w.constants[0], w.lines, w.m.row, w.order, w.carried
    nodes = len(w.down)
    count = take_by_station(lines, ADMISSION, row, t0, t1, nodes, o)
    take_by_station(lines, INGRESSED, row, t0, t1, nodes, e)
    for node in range(nodes):
        n = 0
        for i in range(e.first[node], e.first[node + 1]):
            w.ends[n] = e.keys[i]
            n += 1
        station, free, down = w.ingress.state[node], w.ingress.free_ns[node], w.down[node]
        ends = Ends(w.ends, lines, INGRESSED, node, t0, t1)
        for i in range(o.first[node], o.first[node + 1]):
            ask_ahead(row, o.keys, i, count)
            slot, t = o.keys[i] & SLOT, t0 + (o.keys[i] >> TIME_SHIFT)
            r = row[slot]
            reason = GATEWAY_DOWN if down else refusal(r, w.credit_ns, node, c, t)
            if reason >= 0:
                station.dropped += 1
                lose(w.m, lines, slot, t, reason)
                continue
            r.work_ns = c.ingress_work_ns + c.ingress_per_kib_ns * r.size_bytes // 1024
            n = arrive(station, free, row, slot, t, 0, ends, n)
            if n < 0:
                n = refused(n)
                lose(w.m, lines, slot, t, INGRESS_FULL)
        n = start_waiting(station, free, row, t1, ends, n)
        order_keys(w.ends, 0, n, row)
        for low in range(0, n, BLOCK):
            high = min(low + BLOCK, n)
            draw_questions(w, w.ends, low, high, node)
            for j in range(low, high):
                t = t0 + (w.ends[j] >> TIME_SHIFT)
                route(w, w.ends[j] & SLOT, node, t, j - low)
    if c.limits:
        limit_pass(w, t0, t1)


@passed
def limit_pass(w: Any, t0: int, t1: int) -> None:
    """Let registrations ask as far as limits allow; one limit is all gateways', so all in order."""
    o = w.order
    count = take_by_station(w.lines, LIMITING, w.m.row, t0, t1, 1, o)
    for i in range(count):
        slot, t = o.keys[i] & SLOT, t0 + (o.keys[i] >> TIME_SHIFT)
        node = w.m.row[slot].station
        if not limited(w, slot, node, t):
            draw_questions(w, o.keys, i, i + 1, node)
            ask(w, slot, node, t, 0)


@inlined
def refusal(r: Any, credit_ns: Any, node: int, c: Any, t: int) -> int:
    """Decide on admission at `t`: a reason, or -1. Takes a token where it admits."""
    if r.kind != REGISTRATION and not r.entitled:
        return NOT_REGISTERED
    credit = max(credit_ns[node], t)
    if credit - t > c.admission_slack_ns:
        return RATE_LIMITED
    credit_ns[node] = credit + c.admission_step_ns
    return -1


@inlined
def route(w: Any, slot: int, node: int, t: int, j: int) -> None:
    """Send what leaves ingress where it goes next: a batch of transactions, egress, a lookup.

    `j`: its place among the block of `draw_questions`.
    """
    r, c = w.m.row[slot], w.constants[0]
    if c.re_home:
        consider_move(w, slot, node, t)
        if r.kind == MESSAGE:
            r.home, r.secondary = w.contacts[r.target].home, w.contacts[r.target].secondary
    if r.kind == TRANSACTION:
        push(w.lines, TRANSACTIONS, t, slot, node, 0)
    elif r.kind == REGISTRATION and c.limits:
        r.station = node
        push(w.lines, LIMITING, t, slot, 0, 0)
    elif r.kind == MESSAGE and (r.secondary if r.attempt & 1 else r.home) == node:
        if leased_at(w, r.target, t):
            push(w.lines, EGRESS, t, slot, node, 0)
        else:
            lose(w.m, w.lines, slot, t, UNKNOWN_TARGET)
    else:
        ask(w, slot, node, t, j)


@passed
def locate_pass(w: Any, t0: int, t1: int) -> None:
    """Take further whose question is answered: to the egress of its gateway, or into a batch and
    over the uplink."""
    lines, row, o = w.lines, w.m.row, w.order
    nodes = len(w.down)
    count = take_by_station(lines, RESOLVED, row, t0, t1, nodes, o)
    depart_all(w, 0, take_due(lines, UPLINKED, t0, t1, w.ends), t0)
    first, size, places = 0, keep_open(lines, OPEN, o.places), o.places
    for node in range(nodes):
        n = take_open(w.b.row, w.opened, places, node, first, size)
        first += n
        for i in range(o.first[node], o.first[node + 1]):
            ask_ahead(row, o.keys, i, count)
            key = o.keys[i]
            slot, t = key & SLOT, t0 + (key >> TIME_SHIFT)
            r = row[slot]
            if r.kind != MESSAGE:
                push(lines, EGRESS, t, slot, node, 0)
            elif (key >> NOTE_SHIFT) & NOTES == 0:
                lose(w.m, lines, slot, t, UNKNOWN_TARGET)
            elif (r.secondary if r.attempt & 1 else r.home) == node:
                # A stale answer: this very gateway was the agent's, and knows that it moved.
                lose(w.m, lines, slot, t, MOVED)
            else:
                n = join_batch(w, slot, node, t, n)
        send_off(w, 0, node, n, t0, t1)


@passed
def arrival_pass(w: Any, t0: int, t1: int) -> None:
    """Take batches over the downlink of their last gateway; serve messages there, and what else
    comes to its egress; then deliver, store or refuse them."""
    c, lines, row, e = w.constants[0], w.lines, w.m.row, w.carried
    nodes, leg = len(w.down), 1 if c.relays else 0
    n = take_due(lines, LAST_MILE, t0, t1, w.ends)
    for i in range(n):
        ask_ahead(row, w.ends, i, n)
        finish(w, w.ends[i] & SLOT, t0 + (w.ends[i] >> TIME_SHIFT), DELIVERED)
    come_out(w, leg, t0, t1)
    take_by_station(lines, EGRESS, row, t0, t1, nodes, e)
    count = take_by_station(lines, WIRE + leg * LEG, w.b.row, t0, t1, nodes, w.order)
    leave_all(w, take_due(lines, EGRESSED, t0, t1, w.opened), t0, t1)
    for node in range(nodes):
        many = unpack_all(w, node, over_downlink(w, leg, node, count, t0, t1))
        station, free, down = w.egress.state[node], w.egress.free_ns[node], w.down[node]
        ends = Ends(w.opened, lines, EGRESSED, node, t0, t1)
        n = 0
        for i in range(many):
            slot, t = w.ends[i] & SLOT, t0 + (w.ends[i] >> TIME_SHIFT)
            r = row[slot]
            r.station = node
            r.work_ns = c.egress_work_ns + c.egress_per_kib_ns * r.size_bytes // 1024
            n = arrive(station, free, row, slot, t, down, ends, n)
            if n < 0:
                n = refused(n)
                lose(w.m, lines, slot, t, GATEWAY_DOWN if down else EGRESS_FULL)
        leave_all(w, start_waiting(station, free, row, t1, ends, n), t0, t1)
    store_pass(w, t0, t1)


@passed
def leave_all(w: Any, n: int, t0: int, t1: int) -> None:
    """Let the first `n` of `opened` leave egress."""
    keys, row = w.opened, w.m.row
    for low in range(0, n, BLOCK):
        count = min(BLOCK, n - low)
        for j in range(count):
            r = row[keys[low + j] & SLOT]
            prefetch(w.contacts, r.target if r.kind == MESSAGE else r.source)
        draw_ways(w.drawn, row, keys, low, count, w.draw[LAST_LOSS], w.draw[LAST_DELAY])
        for j in range(count):
            leave(w, keys[low + j] & SLOT, t0 + (keys[low + j] >> TIME_SHIFT), t1, j)


@inlined
def leave(w: Any, slot: int, t: int, t1: int, j: int) -> None:
    """Take a message that leaves egress at `t` to its receiver, or note that it is offline.

    `j`: its place in the block of draws.
    """
    r = w.m.row[slot]
    index = r.target if r.kind == MESSAGE else r.source
    agent = w.contacts[index]
    moves = w.constants[0].re_home and r.kind == MESSAGE
    if moves and r.station != agent.home and r.station != agent.secondary:
        lose(w.m, w.lines, slot, t, MOVED)
    elif online_at(w, index, t):
        last_mile(w, slot, t, t1, agent.access, j)
    elif r.kind == MESSAGE:
        push(w.lines, STORING, t, slot, 0, 0)
    else:
        lose(w.m, w.lines, slot, t, REQUESTER_OFFLINE)


@passed
def store_pass(w: Any, t0: int, t1: int) -> None:
    """Store what met an offline receiver, in the order of its services' ends."""
    o = w.order
    count = take_by_station(w.lines, STORING, w.m.row, t0, t1, 1, o)
    for i in range(count):
        ask_ahead(w.m.row, o.keys, i, count)
        if i + AHEAD_TOO < count:
            prefetch(w.people, w.m.row[o.keys[i + AHEAD_TOO] & SLOT].target)
        store(w, o.keys[i] & SLOT, t0 + (o.keys[i] >> TIME_SHIFT))


@inlined
def last_mile(w: Any, slot: int, t: int, t1: int, access_class: int, j: int) -> None:
    """Send a message over its receiver's access link at `t`."""
    access = w.access[access_class]
    if below64(w.drawn[LOSS, j], access.loss_ppb):
        lose(w.m, w.lines, slot, t, ACCESS_LOSS)
        return
    delay = jittered64(access.median_ns, access.spread_ns, w.links.shape, w.drawn[DELAY, j])
    if t + delay <= t1:
        finish(w, slot, t + delay, DELIVERED)
    else:
        push(w.lines, LAST_MILE, t + delay, slot, 0, 0)


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


@passed
def session_pass(w: Any, t0: int, t1: int) -> None:
    """Toggle the sessions that end by `t1`; serve those who are back."""
    count = take_due(w.sessions, 0, t0, t1, w.ends)
    for i in range(count):
        index, t = w.ends[i] & SLOT, t0 + (w.ends[i] >> TIME_SHIFT)
        agent = w.people[index]
        online = 1 - (agent.session & 1)
        number = int(agent.toggles)
        agent.toggles = number + 1
        if w.session_tables.shape[1] == 1:
            until = ALWAYS_NS
        else:
            bits = mix64(w.draw[SESSION], index, number)
            until = t + max(GRID_NS, interpolate64(w.session_tables[online], bits) * 1000)
        agent.session = (until << 1) | online
        if until <= w.horizon_ns[0]:
            push(w.sessions, 0, until, index, 0, 0)
        if online:
            returned(w, index, t, number + 1)


@passed
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
            push(w.lines, EGRESS, t + c.release_delay_ns, slot, w.m.row[slot].station, 0)
        slot = following
    if c.renew_within_ns > 0:
        due = t + GRID_NS + modulo64(mix64(w.draw[RETURN], index, number), c.renew_within_ns)
        ident = RETURN_ID_BIT | (index << 24) | number
        slot = new_message(w.m, w.contacts, ident, RENEWAL, index, -1, c.renew_bytes, due)
        push(w.lines, RETURNS, due, slot, 0, 0)


@passed
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
        push(lines, RETRIES, max(r.sent_ns + wait, t + GRID_NS), slot, 0, 0)
    lines.size[LOST] = 0
