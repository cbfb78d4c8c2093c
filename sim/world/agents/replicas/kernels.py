"""Records and their replicas: who answers, with which version, and what a crash takes with it.

Owns: rows of `RECORD_ROW`, the desk at which gateways limit registrations and move agents.
Must not know: caches, who waits for an answer.
"""

from __future__ import annotations

from typing import Any

from sim.world.agents.draws import REPLICA_COPY, REPLICA_TRIP, SHARD
from sim.world.agents.kernels import leased_at, link_delay
from sim.world.agents.kinds import GRID_NS, NEVER, PPB, RE_HOME
from sim.world.agents.parameters import DENY, STALE_LIE
from sim.world.agents.population import ONLINE, UNSURE
from sim.world.agents.state import EVERYONE, WRITES
from sim.world.agents.tables import LOST_WRITE, RE_HOMED, STALE
from sim.world.kernels import (
    SLOT,
    TIME_SHIFT,
    compiled,
    copy_entry,
    give_back,
    inlined,
    jittered64,
    mix64,
    passed,
    scaled64,
    take_by_station,
)
from sim.world.registry.kernels import coordinator_of, quorum_wait


@inlined
def row_of(w: Any, agent: int) -> int:
    """Return the shard of a key: a row of `registry.hosts`."""
    return int(scaled64(mix64(w.draw[SHARD], agent, 0), len(w.registry.hosts)))


@inlined
def coordinator(w: Any, shard: int, gateway: int, attempt: int) -> int:
    """Return the host that a gateway asks for a key of a shard."""
    registry = w.registry
    if registry.hosts.shape[1] == 1:
        return int(registry.hosts[shard, 0])
    median, region = w.links.median_ns, w.links.region
    return int(
        coordinator_of(
            registry.hosts[shard], median, region, region[gateway], registry.known_down, attempt
        )
    )


@passed
def others_of(w: Any, key: int, node: int) -> int:
    """Return a bitmap of the places in a key's row that hold its copies besides `node`.

    They are the first replicas - 1 whose region is another than the node's.
    """
    hosts, region = w.registry.hosts[row_of(w, key)], w.links.region
    places, left = 0, len(hosts) - 1
    for rank in range(len(hosts)):
        if left > 0 and hosts[rank] >= 0 and region[hosts[rank]] != region[node]:
            places |= 1 << rank
            left -= 1
    return places


@inlined
def blocked(links: Any, a: int, b: int) -> bool:
    """Say whether a fault blocks a link now."""
    return links.special[a, b] != 0 and links.loss_ppb[a, b] > PPB


@passed
def wait_for_quorum(w: Any, query: int) -> int:
    """Return how long a coordinator waits for its quorum, -1 if it never meets.

    `registry.trips` keeps the round trips by place in the shard's row, -1 where none answers.
    """
    registry, links, r = w.registry, w.links, w.q.row[query]
    replicas, node = registry.hosts.shape[1], r.station
    hosts, trips = registry.hosts[row_of(w, r.key)], registry.trips
    places, key = others_of(w, r.key, node), w.draw[REPLICA_TRIP]
    for rank in range(replicas):
        trips[rank] = trips[replicas + rank] = -1
        host = hosts[rank]
        if (places >> rank) & 1 == 0 or w.down[host]:
            continue
        if blocked(links, node, host) or blocked(links, host, node):
            continue
        place = r.attempt << 8 | rank << 1
        there = link_delay(links, node, host, mix64(key, r.ident, place))
        back = link_delay(links, host, node, mix64(key, r.ident, place + 1))
        trips[rank] = trips[replicas + rank] = there + back + w.constants[0].query_work_ns
    return int(quorum_wait(trips[replicas:], replicas, replicas // 2))


@passed
def confirming(w: Any, wait: int) -> int:
    """Return a bitmap of the places that answer the last `wait_for_quorum` within `wait`."""
    places = 0
    for rank in range(w.registry.hosts.shape[1]):
        if 0 <= w.registry.trips[rank] <= wait:
            places |= 1 << rank
    return places


@passed
def has_newest(w: Any, agent: int, node: int, t: int) -> bool:
    """Say whether a node has the newest version of a record at `t`."""
    record, links = w.registry.records[agent], w.links
    if record.coordinator == EVERYONE or record.coordinator == node:
        return True
    if record.missed or record.confirmed:
        hosts = w.registry.hosts[row_of(w, agent)]
        for rank in range(len(hosts)):
            if hosts[rank] == node and (record.confirmed >> rank) & 1:
                return True
            if hosts[rank] == node and (record.missed >> rank) & 1:
                return False
    bits = mix64(w.draw[REPLICA_COPY], agent, (record.version << 16) | node)
    a, b = links.region[record.coordinator], links.region[node]
    wire = jittered64(links.median_ns[a, b], links.spread_ns[a, b], links.shape, bits)
    return bool(t >= record.written_ns + w.constants[0].replication_lag_ns + wire)


@inlined
def vouches(w: Any, agent: int, node: int, t: int) -> bool:
    """Say whether a node has the newest version of a record at `t`, and shows it."""
    return w.registry.lies[node] == 0 and has_newest(w, agent, node, t)


@passed
def read(w: Any, query: int, t: int, wait: int) -> None:
    """Answer where an agent is with the newest version that a witness shows at `t`."""
    r, c, lies = w.q.row[query], w.constants[0], w.registry.lies
    agent = w.contacts[r.key]
    if not c.recorded:
        r.found = lies[r.station] == 0 and leased_at(w, r.key, t)
        return
    newest = vouches(w, r.key, r.station, t)
    if c.quorum_reads and not newest:
        hosts = w.registry.hosts[row_of(w, r.key)]
        for rank in range(len(hosts)):
            if 0 <= w.registry.trips[rank] <= wait and vouches(w, r.key, hosts[rank], t):
                newest = True
    if lies[r.station] == STALE_LIE and w.registry.records[r.key].version == 0:
        newest = True  # There is no older version to show.
    if newest:
        r.found = leased_at(w, r.key, t)
        r.home, r.secondary = agent.home, agent.secondary
        return
    record = w.registry.records[r.key]
    w.books.registry[r.station, STALE, 0] += 1
    r.found = lies[r.station] != DENY and t < record.before_lease_ns
    r.home, r.secondary = record.before_home, record.before_secondary


@passed
def missed_copies(w: Any, key: int, node: int) -> int:
    """Return a bitmap of the places in a shard's row to which no copy leaves `node` now."""
    missed, places = 0, others_of(w, key, node)
    hosts = w.registry.hosts[row_of(w, key)]
    for rank in range(len(hosts)):
        if (places >> rank) & 1 and blocked(w.links, node, hosts[rank]):
            missed |= 1 << rank
    return missed


@passed
def successor(w: Any, region: int, gateway: int, left: int) -> int:
    """Return the next secondary of an agent that moves: `population.Neighbours.after`."""
    registry = w.registry
    order, own = registry.near[region], registry.own[region]
    place = -1
    for i in range(own):
        if order[i] == gateway:
            place = i
    for i in range(len(order)):
        other = order[i]
        if i < own and place >= 0:
            other = order[(place + 1 + i) % own]
        if other != gateway and other != left and not registry.known_down[other]:
            return int(other)
    return left


@passed
def publish_pass(w: Any, boundary_ns: int) -> None:
    """Put in force what was written in the grid cell that ends now, in the order of time."""
    c, o, row = w.constants[0], w.order, w.q.row
    start_ns = boundary_ns - GRID_NS
    count = take_by_station(w.lines, WRITES, row, start_ns, boundary_ns, 1, o)
    for i in range(count):
        query, t = o.keys[i] & SLOT, start_ns + (o.keys[i] >> TIME_SHIFT)
        r = row[query]
        agent, contact = w.people[r.key], w.contacts[r.key]
        if c.recorded:
            record = w.registry.records[r.key]
            record.before_lease_ns = agent.lease_until_ns
            record.before_home = contact.home
            record.before_secondary = contact.secondary
            record.written_ns = t
            record.version += 1
            record.missed = r.missed
            record.confirmed = r.home
            record.coordinator = r.station
        if r.kind == RE_HOME:
            left = contact.home
            contact.home = r.gateway
            contact.secondary = successor(w, contact.region, r.gateway, left)
            w.registry.records[r.key].moving_until_ns = 0
            w.books.registry[r.gateway, RE_HOMED, 0] += 1
        else:
            agent.lease_until_ns = t + c.lease_ns if c.lease_ns > 0 else NEVER
        if r.live == 2:
            r.live = 0
            give_back(w.q, query)


@passed
def alone(w: Any, key: int, node: int, time_ns: int, missed: int, now_ns: int) -> bool:
    """Say whether no copy of a write has left `node`: it waits, or every link is blocked."""
    others = others_of(w, key, node)
    waits = time_ns + w.constants[0].replication_lag_ns > now_ns
    return bool(others != 0 and (waits or (missed & others) == others))


@passed
def roll_back(w: Any, key: int) -> None:
    """Make the version before an agent's newest one the newest, for everyone."""
    record, contact = w.registry.records[key], w.contacts[key]
    record.coordinator = EVERYONE
    record.missed = 0
    w.people[key].lease_until_ns = record.before_lease_ns
    contact.marks &= ONLINE | UNSURE
    contact.home = record.before_home
    contact.secondary = record.before_secondary


@passed
def crash_records(w: Any, node: int, now_ns: int) -> None:
    """Lose the writes of a node that goes down which no other replica was sent."""
    if w.registry.hosts.shape[1] == 1:
        return
    lines, lost = w.lines, 0
    due, kept = lines.due[WRITES], 0
    for i in range(lines.size[WRITES]):
        query, t = due[i].slot, due[i].time_ns
        r = w.q.row[query]
        if r.station == node and alone(w, r.key, node, t, r.missed, now_ns):
            lost += 1
            if r.kind == RE_HOME:
                w.registry.records[r.key].moving_until_ns = 0
            if r.live == 2:
                r.live = 0
                give_back(w.q, query)
        else:
            copy_entry(due, i, kept)
            kept += 1
    lines.size[WRITES] = kept
    for key in range(len(w.registry.records)):
        record = w.registry.records[key]
        if record.coordinator == node and alone(
            w, key, node, record.written_ns, record.missed, now_ns
        ):
            roll_back(w, key)
            lost += 1
    w.books.registry[node, LOST_WRITE, 0] += lost


@compiled
def lose_shards(w: Any, struck: Any, nodes: Any, now_ns: int) -> None:
    """Lose copies of shards: `struck[shard]` is 2 where none is left, 1 where some are, else 0.

    `nodes[node]`: whether it lost its copies. Writes that no other host was sent are lost.
    """
    due, kept = w.lines.due[WRITES], 0
    for i in range(w.lines.size[WRITES]):
        query, t = due[i].slot, due[i].time_ns
        r = w.q.row[query]
        state = struck[row_of(w, r.key)]
        only_here = state == 1 and nodes[r.station] != 0
        if state == 2 or (only_here and alone(w, r.key, r.station, t, r.missed, now_ns)):
            w.books.registry[r.station, LOST_WRITE, 0] += 1
            if r.kind == RE_HOME:
                w.registry.records[r.key].moving_until_ns = 0
            if r.live == 2:
                r.live = 0
                give_back(w.q, query)
        else:
            copy_entry(due, i, kept)
            kept += 1
    w.lines.size[WRITES] = kept
    for key in range(len(w.people)):
        shard = row_of(w, key)
        if struck[shard] == 2:
            lose_record(w, key, w.registry.hosts[shard, 0], now_ns)
        elif struck[shard] == 1:
            record = w.registry.records[key]
            node = record.coordinator
            only_here = node != EVERYONE and nodes[node] != 0
            if only_here and alone(w, key, node, record.written_ns, record.missed, now_ns):
                roll_back(w, key)
                w.books.registry[node, LOST_WRITE, 0] += 1


@passed
def lose_record(w: Any, key: int, node: int, now_ns: int) -> None:
    """Lose all versions of a record; an agent that was registered is counted at `node`."""
    agent = w.people[key]
    if agent.lease_until_ns > now_ns:
        w.books.registry[node, LOST_WRITE, 0] += 1
    agent.lease_until_ns = 0
    w.contacts[key].marks &= ONLINE | UNSURE
    if w.constants[0].recorded:
        w.registry.records[key].coordinator = EVERYONE
        w.registry.records[key].missed = 0


@compiled
def send_missed(w: Any) -> None:
    """Send the copies that a blocked link held back, where it lets them through now."""
    due = w.lines.due[WRITES]
    for i in range(w.lines.size[WRITES]):
        r = w.q.row[due[i].slot]
        if r.missed:
            r.missed = still_missed(w, r.key, r.station, r.missed)
    for key in range(len(w.registry.records)):
        record = w.registry.records[key]
        if record.missed:
            record.missed = still_missed(w, key, record.coordinator, record.missed)


@passed
def still_missed(w: Any, key: int, node: int, missed: int) -> int:
    """Return those of the places in `missed` to which the link is still blocked."""
    hosts = w.registry.hosts[row_of(w, key)]
    left = 0
    for rank in range(len(hosts)):
        if (missed >> rank) & 1 and hosts[rank] >= 0 and blocked(w.links, node, hosts[rank]):
            left |= 1 << rank
    return left


@compiled
def forget_missed(w: Any, changed: Any) -> None:
    """Count the records of the shards whose hosts changed as handed over, to all of them."""
    for key in range(len(w.registry.records)):
        if changed[row_of(w, key)]:
            w.registry.records[key].missed = 0
            w.registry.records[key].coordinator = EVERYONE
