"""Transactions into batches, batches to all validators, commits.

Owns: when each validator holds a batch. Must not know: blocks, mempools.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.world.agents.draws import COPY_DELAY, COPY_LOSS, COPY_ORDER
from sim.world.agents.kernels import finish, link_delay, lose, verdict
from sim.world.agents.kinds import CRASH, DELIVERED, GRID_NS, NEVER, PPM
from sim.world.agents.lanes.kernels import book_ahead
from sim.world.agents.state import DOWN, TRANSACTIONS, UP
from sim.world.agents.transit.kernels import NS_BITS, wire_bytes
from sim.world.kernel_cache import kept
from sim.world.kernels import compiled, inlined, mix64, passed, prefetch, scaled64

CLOSED, GATEWAY, FIRST, COUNT, SIZE, HEAD = range(6)
"""Columns of a closed batch."""


@passed
def collect(w: Any, o: Any, closed: Any, t1: int) -> int:
    """Let this slice's transactions join their gateways' batches; return how many closed.

    The line `transactions` is in service order. `closed`: int64[room, 6], filled from 0.
    """
    lines = w.lines
    count = 0
    for i in range(lines.size[TRANSACTIONS]):
        slot, t = lines.due[TRANSACTIONS, i].slot, lines.due[TRANSACTIONS, i].time_ns
        r = w.m.row[slot]
        node = lines.due[TRANSACTIONS, i].station
        if o.items[node] > 0 and o.opened_ns[node] + o.age_ns < t:
            count = close(o, node, o.opened_ns[node] + o.age_ns, closed, count)
        if o.items[node] == 0:
            o.opened_ns[node] = t
            o.size[node] = o.header_bytes
            o.head[node] = -1
        r.following = o.head[node]
        o.head[node] = slot
        o.items[node] += 1
        o.size[node] += wire_bytes(r, w.kinds)
        if o.items[node] >= o.most or o.size[node] >= o.most_bytes:
            count = close(o, node, t, closed, count)
    lines.size[TRANSACTIONS] = 0
    for node in range(len(o.items)):
        if o.items[node] > 0 and o.opened_ns[node] + o.age_ns <= t1:
            count = close(o, node, o.opened_ns[node] + o.age_ns, closed, count)
    return count


@passed
def close(o: Any, node: int, t: int, closed: Any, count: int) -> int:
    """Close a gateway's batch at `t`: its range is fixed now."""
    row = closed[count]
    row[CLOSED] = t
    row[GATEWAY] = node
    row[FIRST] = o.numbers[node]
    row[COUNT] = o.items[node]
    row[SIZE] = o.size[node]
    row[HEAD] = o.head[node]
    o.numbers[node] += o.items[node]
    o.items[node] = 0
    return count + 1


def wire_ns(bps: int, size: int) -> int:
    """Time an unthrottled link needs for a batch."""
    return (size * NS_BITS + bps - 1) // bps


def checking_ns(verify_ns: int, workers: int, count: int) -> int:
    """Time unthrottled workers need for a batch's signatures."""
    return (count + workers - 1) // workers * verify_ns


def at_rate(whole_ns: int, ppm: int) -> int:
    """Time of a piece of work at `ppm` / 10**6 of its length."""
    return max(1, whole_ns * ppm // PPM)


_wire_ns, _checking_ns, _at_rate = inlined(wire_ns), inlined(checking_ns), inlined(at_rate)


@inlined
def shuffle(drawn: Any, root: int, order: Any, nodes: int) -> None:
    """Fill `order` with the validators, `root` first, the others as `drawn` orders them.

    Source: R. A. Fisher and F. Yates' shuffle in place: R. Durstenfeld, Algorithm 235,
    Communications of the ACM 7(7), 1964.
    """
    order[0] = root
    place = 1
    for v in range(nodes):
        if v != root:
            order[place] = v
            place += 1
    for last in range(nodes - 1, 1, -1):
        other = 1 + scaled64(drawn[last], last)
        order[last], order[other] = order[other], order[last]


@passed
def copy(w: Any, s: Any, batch: Any, held: Any, depart: Any, sender: Any, before: Any) -> None:
    """Fix when each validator holds a closed batch; reserve the stations of its lane.

    `held`, `depart` (ns) and `sender` (node), by validator, are filled; NEVER where no copy comes,
    sender -1 where none is sent. `before`: `held` of the gateway's batch before, or NEVERs.
    """
    nodes, order = len(held), w.ends
    root, size = batch[GATEWAY], batch[SIZE]
    uid = (root << 40) | batch[FIRST]
    metered, cell = w.constants[0].metered, (batch[CLOSED] - 1) // GRID_NS
    up_ns, down_ns = _wire_ns(s.uplink_bps, size), _wire_ns(s.downlink_bps, size)
    check_ns = _checking_ns(s.verify_ns, s.workers, batch[COUNT])
    # All draws at once, before anything depends on them: several at a time.
    keys, drawn = (w.draw[COPY_ORDER], w.draw[COPY_LOSS], w.draw[COPY_DELAY]), s.drawn
    for v in range(nodes):
        drawn[0, v] = mix64(keys[0], uid, v)
    for v in range(nodes):
        drawn[1, v] = mix64(keys[1], uid, v)
    for v in range(nodes):
        drawn[2, v] = mix64(keys[2], uid, v)
    shuffle(drawn[0], root, order, nodes)
    held[:] = NEVER
    depart[:] = NEVER
    sender[:] = -1
    held[root] = batch[CLOSED]
    for place in range(1, nodes):
        v = order[place]
        u = order[(place - 1) // s.fanout] if s.fanout > 0 else root
        if held[u] == NEVER:
            continue
        begin = max(held[u], s.up_free_ns[u])
        leave = begin + _at_rate(up_ns, s.uplink_ppm[u])
        if metered:
            book_ahead(w.use.bits, UP, u, begin, leave, size * 8, cell)
        s.up_free_ns[u] = leave
        depart[v] = leave
        sender[v] = u
        if verdict(w.links, u, v, drawn[1, v]) != 0 or w.down[v]:
            continue
        arrive = leave + link_delay(w.links, u, v, drawn[2, v])
        begin = max(arrive, s.down_free_ns[v])
        held[v] = begin + _at_rate(down_ns, s.downlink_ppm[v])
        s.down_free_ns[v] = held[v]
        if metered:
            book_ahead(w.use.bits, DOWN, v, begin, held[v], size * 8, cell)
    for v in range(nodes):
        if held[v] != NEVER:
            done = max(held[v], s.verify_free_ns[v]) + _at_rate(check_ns, s.service_ppm[v])
            s.verify_free_ns[v] = done
            held[v] = done
        if before[v] != NEVER and held[v] < before[v]:
            held[v] = before[v]


@compiled
def copy_all(
    w: Any, s: Any, closed: Any, rows: Any, placed: Any, nevers: Any, newest: Any, base: int, n: int
) -> None:
    """Send out closed batches in the order given, into the book's `rows` from the n-th on.

    `rows`: (batch, before, place). `placed`: (held, depart, sender), at the place of a row.
    `nevers`: NEVER for each validator. `newest`: by gateway, the number of its newest batch or -1;
    numbers are rows plus `base`.
    """
    for i in range(len(closed)):
        for column in range(closed.shape[1]):
            rows[0][n + i, column] = closed[i, column]
        gateway, place = closed[i, GATEWAY], rows[2][n + i]
        before = newest[gateway]
        # Whoever has held the one before for long does not wait for it.
        known = before >= base and rows[2][before - base] >= 0
        earlier = placed[0][rows[2][before - base]] if known else nevers
        copy(w, s, closed[i], placed[0][place], placed[1][place], placed[2][place], earlier)
        rows[1][n + i] = before
        newest[gateway] = base + n + i


@kept()
def keep(column: Any, stays: Any) -> None:
    """Move the rows that stay to the front of `column`, in their order."""
    kept_rows = 0
    for row in range(len(stays)):
        if stays[row]:
            if kept_rows < row:
                for v in range(column.shape[1]):
                    column[kept_rows, v] = column[row, v]
            kept_rows += 1


@kept()
def revoke(root: int, node: int, now_ns: int, held: Any, depart: Any, sender: Any) -> None:
    """Take back the copies of one batch that a node's crash after `now_ns` keeps from coming."""
    changed = True
    lost = np.zeros(len(held), dtype=np.uint8)
    while changed:
        changed = False
        for v in range(len(held)):
            if v == root or lost[v] or held[v] == NEVER:
                continue
            u = sender[v]
            unsent = depart[v] > now_ns and (u == node or (u >= 0 and lost[u]))
            if unsent or (v == node and held[v] > now_ns):
                lost[v] = 1
                held[v] = NEVER
                changed = True


@compiled
def lose_open(w: Any, o: Any, node: int, now_ns: int) -> None:
    """Lose the transactions in a crashed gateway's open batch."""
    slot = o.head[node]
    for _ in range(o.items[node]):
        following = w.m.row[slot].following
        lose(w.m, w.lines, slot, now_ns, CRASH)
        slot = following
    o.items[node] = 0


@compiled
def commit_batches(w: Any, batches: Any, order: Any, now_ns: int) -> None:
    """End the transactions of closed batches: they are final. `order` has room for all.

    Their lists lie anywhere in memory, so all are walked at once, a step of each in turn.
    """
    count, most = len(batches), 0
    for i in range(count):
        prefetch(w.m.row, batches[i, HEAD])
        most = max(most, batches[i, COUNT])
    for step in range(most):
        first = 0
        for i in range(count):
            if step < batches[i, COUNT]:
                slot = batches[i, HEAD] if step == 0 else w.m.row[order[first + step - 1]].following
                order[first + step] = slot
                prefetch(w.m.row, slot)
            first += batches[i, COUNT]
    for i in range(len(order)):
        finish(w, order[i], now_ns, DELIVERED)
