"""What a crash loses: everything located at a node, stage by stage.

Owns: how lines and stations are searched; how registrations end that must be redone.
Must not know: timetables.
"""

from __future__ import annotations

from typing import Any

from sim.world.agents.kernels import new_message
from sim.world.agents.kinds import CRASH, ID_INDEX_BITS, RECONNECT_ID_BIT, REGISTRATION
from sim.world.agents.population import ONLINE, UNSURE
from sim.world.agents.replicas.kernels import crash_records
from sim.world.agents.resolve.kernels import crash_resolve, fail
from sim.world.agents.stages.kernels import settle_pass
from sim.world.agents.state import (
    CONFIRMING,
    DOWNLINKED,
    EGRESSED,
    INGRESSED,
    LEG,
    LOST,
    OPEN,
    RELAYED,
    RESOLVED,
    RETURNS,
    SHARDED,
    UNASKED,
    UNLINKED,
    UPLINKED,
)
from sim.world.agents.stations.kernels import empty_station
from sim.world.agents.transit.kernels import lose_batch
from sim.world.kernels import compiled, copy_entry, passed, push


@compiled
def crash(w: Any, node: int, now_ns: int) -> None:
    """Lose what is located at a node that goes down after `now_ns`; retry or drop what was lost."""
    lines, m = w.lines, w.m.row
    w.down[node] = 1
    w.ingress.state[node].dropped += take_located(lines, INGRESSED, node, now_ns, LOST)
    w.egress.state[node].dropped += take_located(lines, EGRESSED, node, now_ns, LOST)
    take_located(lines, RESOLVED, node, now_ns, LOST)
    empty_station(w.ingress.state[node], w.ingress.free_ns[node], m, now_ns, lines, LOST)
    empty_station(w.egress.state[node], w.egress.free_ns[node], m, now_ns, lines, LOST)
    if w.constants[0].relays:
        w.relay.state[node].dropped += take_located(lines, RELAYED, node, now_ns, LOST)
        empty_station(w.relay.state[node], w.relay.free_ns[node], m, now_ns, lines, LOST)
    for i in range(lines.size[LOST]):
        m[lines.due[LOST, i].slot].reason = CRASH
    crash_batches(w, 0, node, now_ns)
    if w.constants[0].relays:
        crash_batches(w, 1, node, now_ns)
    crash_shard(w, node, now_ns)
    crash_resolve(w, node, now_ns, CRASH)
    crash_records(w, node, now_ns)
    settle_pass(w)


@compiled
def forget(w: Any, agents: Any, due_ns: Any, size: int) -> None:
    """End the registrations of agents that leave; each registers anew at its `due_ns`."""
    for i in range(len(agents)):
        agent, due = agents[i], due_ns[i]
        row = w.people[agent]
        row.lease_until_ns = 0
        w.contacts[agent].marks &= ONLINE | UNSURE
        ident = RECONNECT_ID_BIT | (agent << ID_INDEX_BITS) | row.toggles
        slot = new_message(w.m, w.contacts, ident, REGISTRATION, agent, -1, size, due)
        push(w.lines, RETURNS, due, slot, 0, 0)


@passed
def take_located(lines: Any, line: int, node: int, now_ns: int, gone: int) -> int:
    """Move what is at a node from a line to line `gone`; return how many."""
    kept = 0
    due = lines.due[line]
    count = lines.size[line]
    for i in range(count):
        if due[i].station == node:
            push(lines, gone, now_ns, due[i].slot, 0, 0)
        else:
            copy_entry(due, i, kept)
            kept += 1
    lines.size[line] = kept
    return count - kept


@passed
def crash_batches(w: Any, leg: int, node: int, now_ns: int) -> None:
    """Lose the batches of a leg that are open, wait or are served at a node's links."""
    lines, b = w.lines, w.b.row
    take_located(lines, OPEN + leg * LEG, node, now_ns, UNLINKED)
    for i in range(lines.size[UNLINKED]):
        batch = b[lines.due[UNLINKED, i].slot]
        w.pairs[leg, batch.gateway, batch.host] = -1
    uplink = w.relay_uplink if leg else w.uplink
    downlink = w.relay_downlink if leg else w.downlink
    up, down = uplink.state[node], downlink.state[node]
    up.dropped += take_located(lines, UPLINKED + leg * LEG, node, now_ns, UNLINKED)
    down.dropped += take_located(lines, DOWNLINKED + leg * LEG, node, now_ns, UNLINKED)
    empty_station(up, uplink.free_ns[node], b, now_ns, lines, UNLINKED)
    empty_station(down, downlink.free_ns[node], b, now_ns, lines, UNLINKED)
    for i in range(lines.size[UNLINKED]):
        lose_batch(w.m, w.b, lines, lines.due[UNLINKED, i].slot, now_ns, CRASH)
    lines.size[UNLINKED] = 0


@passed
def crash_shard(w: Any, node: int, now_ns: int) -> None:
    """Fail the queries that wait or are served at a crashed node's shard."""
    lines, q = w.lines, w.q.row
    station = w.shard.state[node]
    station.dropped += take_located(lines, SHARDED, node, now_ns, UNASKED)
    take_located(lines, CONFIRMING, node, now_ns, UNASKED)
    empty_station(station, w.shard.free_ns[node], q, now_ns, lines, UNASKED)
    for i in range(lines.size[UNASKED]):
        fail(w, lines.due[UNASKED, i].slot, now_ns)
    lines.size[UNASKED] = 0
