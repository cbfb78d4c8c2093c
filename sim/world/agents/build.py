"""Build the kernels' world from parameters, population and network.

Owns: how parameters become arrays. Must not know: slices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.world.agents import draws
from sim.world.agents.draws import Table
from sim.world.agents.kinds import FINAL_REASONS, KINDS, PPB, PPM, QUESTIONS, REASONS
from sim.world.agents.parameters import (
    ClosedLoop,
    Lies,
    PlaneParameters,
    RegistrationLimits,
    Relay,
)
from sim.world.agents.population import Neighbours, Population, session_tables
from sim.world.agents.state import (
    ACCESS_ROW,
    BATCH_ROW,
    CACHE_ROW,
    CELLS,
    COLUMNS,
    CONSTANTS_ROW,
    EVERYONE,
    KIND_ROW,
    LINES,
    LOOKUP_SUMS,
    MESSAGE_ROW,
    PLACE,
    QUERY_ROW,
    RECORD_ROW,
    RELAY_LINES,
    Books,
    Links,
    Registry,
    Use,
    World,
    empty_table,
    line_block,
    orders,
)
from sim.world.agents.stations.kernels import Stations, idle_stations
from sim.world.agents.tables import BUCKETS, LOOKUP_OUTCOMES, REGISTRY_EVENTS, SAMPLES
from sim.world.chance import U64
from sim.world.kernels import BLOCK, aligned_rows, records
from sim.world.network.tables import NetworkTables
from sim.world.registry import limits, placement

_FIRST_ROWS = 1024
_PENDING = 32
"""Counts that are put off: so many lines of memory can be on their way at once."""
_FIRST_MESSAGES = 1 << 20
"""Rows of messages: to move them to a longer table costs as much as a second of a run. Those
beyond one an agent take no memory until they are used."""


def build_world(
    parameters: PlaneParameters, network: NetworkTables, people: Population, keys: U64
) -> World:
    """Return an empty world at time 0."""
    p = parameters
    nodes, regions = len(p.node_region), len(network.regions)
    if len(p.placement) != regions or max(p.node_region) >= regions:
        raise ValueError(f"agents live in {len(p.placement)} regions, the network has {regions}")
    shard, sessions, slots = p.directory.station, p.sessions, p.directory.cache_slots
    tables = session_tables(sessions).whole if sessions else ((0,), (0,))
    final = np.zeros(len(REASONS), dtype=np.uint8)
    final[sorted(FINAL_REASONS)] = 1
    cache = aligned_rows(CACHE_ROW, len(p.gateways) * slots)
    cache["key"] = -1
    cache_first = np.full(nodes, -1, dtype=np.int64)
    cache_first[list(p.gateways)] = np.arange(len(p.gateways), dtype=np.int64) * slots
    think, thinkers = _thinkers(p)
    order, carried = orders(nodes, _FIRST_ROWS + nodes)
    return World(
        constants=_constants(p),
        draw=keys,
        access=_access(p),
        kinds=_kinds(p),
        retry_waits_ns=np.array(retry_waits(p), dtype=np.int64),
        final_reason=final,
        session_tables=np.array(tables, dtype=np.int64),
        think_table=np.array(think, dtype=np.int64),
        registry=_registry(p, network),
        people=people.row,
        contacts=people.contacts,
        m=empty_table(MESSAGE_ROW, _FIRST_MESSAGES, touched=p.agents),
        q=empty_table(QUERY_ROW, _FIRST_ROWS),
        b=empty_table(BATCH_ROW, _FIRST_ROWS),
        cache=cache,
        cache_first=cache_first,
        links=_links(p, network),
        use=_use(nodes if p.metered else 0),
        books=_books(nodes, regions),
        lines=line_block(RELAY_LINES if p.relay else LINES, _FIRST_ROWS),
        thinkers=line_block(1, thinkers),
        ingress=idle_stations(nodes, p.ingress.servers, p.ingress.queue),
        shard=idle_stations(nodes, shard.servers, shard.queue),
        uplink=idle_stations(nodes, 1, p.uplink.queue),
        downlink=idle_stations(nodes, 1, p.downlink.queue),
        egress=idle_stations(nodes, p.egress.servers, p.egress.queue),
        **_relay_stations(p),
        down=np.zeros(nodes, dtype=np.uint8),
        credit_ns=np.zeros(nodes, dtype=np.int64),
        pairs=np.full((2 if p.relay else 1, nodes, nodes), -1, dtype=np.int32),
        sessions=line_block(1, 0),
        horizon_ns=np.zeros(1, dtype=np.int64),
        order=order,
        carried=carried,
        ends=np.zeros(_FIRST_ROWS + nodes, dtype=np.int64),
        opened=np.zeros(_FIRST_ROWS + nodes, dtype=np.int64),
        drawn=np.zeros((PLACE + 1, BLOCK), dtype=np.uint64),
    )


def _books(nodes: int, regions: int) -> Books:
    return Books(
        traffic=np.zeros((len(KINDS), regions, regions, COLUMNS, 2), dtype=np.int64),
        latency=np.zeros(len(KINDS) * regions**2 * BUCKETS, dtype=np.int32),
        samples=np.zeros((0, len(SAMPLES)), dtype=np.int64),
        tally=np.zeros(4, dtype=np.int64),
        kept=np.zeros(len(KINDS), dtype=np.int64),
        lookups=np.zeros(
            (len(QUESTIONS), regions, regions, len(LOOKUP_OUTCOMES), LOOKUP_SUMS), np.int64
        ),
        asked=np.zeros((len(QUESTIONS), regions, regions, 2), dtype=np.int64),
        answers=np.zeros(len(QUESTIONS) * regions**2 * BUCKETS, dtype=np.int32),
        answered=np.zeros((len(QUESTIONS), regions, regions), dtype=np.int64),
        pending=np.zeros((2, _PENDING), dtype=np.int64),
        uncounted=np.zeros(2, dtype=np.int64),
        octaves=np.zeros((2, max(len(KINDS), len(QUESTIONS)) * regions**2), dtype=np.int64),
        registry=np.zeros((nodes, len(REGISTRY_EVENTS), 2), dtype=np.int64),
        batches=np.zeros((2, regions, regions, 3), dtype=np.int64),
    )


def base_hosts(p: PlaneParameters) -> placement.Placement:
    """Return the hosts of each shard while all nodes are up, first choice first."""
    d = p.directory
    if d.replicas == 1:
        return tuple((host,) for host in d.shards)
    return placement.place(d.shards, p.gateways, p.node_region, d.replicas)


def _registry(p: PlaneParameters, network: NetworkTables) -> Registry:
    d, nodes = p.directory, len(p.node_region)
    neighbours = Neighbours(p, network.median_ns.tolist())
    rows = records(np.zeros(p.agents if d.recorded else 0, dtype=RECORD_ROW))
    rows["coordinator"] = EVERYONE
    return Registry(
        hosts=placement.hosts_array(base_hosts(p), d.replicas),
        known_down=np.zeros(nodes, dtype=np.uint8),
        records=rows,
        near=np.array(neighbours.order, dtype=np.int32),
        own=np.array(neighbours.own, dtype=np.int64),
        steps=limits.limit_steps(registration_limits(d.limits)),
        gateway_due_ns=np.zeros(nodes, dtype=np.int64),
        registry_due_ns=np.zeros(1, dtype=np.int64),
        lies=np.zeros(nodes, dtype=np.uint8),
        trips=np.zeros(2 * d.replicas, dtype=np.int64),
    )


def registration_limits(asked: RegistrationLimits) -> limits.RegistrationLimits:
    """Return the token buckets of the registry; None where there is no limit."""

    def bucket(rate_nhz: int, burst: int) -> limits.TokenBucket | None:
        return limits.TokenBucket(rate_nhz, burst) if rate_nhz else None

    return limits.RegistrationLimits(
        bucket(asked.gateway_rate_nhz, asked.gateway_burst),
        bucket(asked.rate_nhz, asked.burst),
    )


def _thinkers(p: PlaneParameters) -> tuple[Table, int]:
    """Return the think-time table and the room for agents that think."""
    for traffic in p.traffic:
        if isinstance(traffic.arrivals, ClosedLoop):
            return draws.exponential_table(traffic.arrivals.think_ns), p.agents
    return (0,), 0


def _access(p: PlaneParameters) -> NDArray[Any]:
    access = records(np.zeros(len(p.access), dtype=ACCESS_ROW))
    for row, one in zip(access, p.access, strict=True):
        row["median_ns"], row["spread_ns"], row["loss_ppb"] = (
            one.median_ns,
            one.spread_ns,
            one.loss_ppb,
        )
    return access


def _kinds(p: PlaneParameters) -> NDArray[Any]:
    kinds = records(np.zeros(len(KINDS), dtype=KIND_ROW))
    kinds["ratio_ppm"] = PPM
    for traffic in p.traffic:
        kinds[traffic.kind] = (traffic.signature_bytes, traffic.ratio_ppm)
    return kinds


def _constants(p: PlaneParameters) -> NDArray[Any]:
    shard, sessions = p.directory.station, p.sessions
    step_ns = max(1, 10**18 // p.admission_rate_nhz)
    loops = [t.size_bytes for t in p.traffic if isinstance(t.arrivals, ClosedLoop)]
    values = {
        "agents": p.agents,
        "ingress_work_ns": p.ingress.work_ns,
        "ingress_per_kib_ns": p.ingress.per_kib_ns,
        "egress_work_ns": p.egress.work_ns,
        "egress_per_kib_ns": p.egress.per_kib_ns,
        "query_work_ns": shard.work_ns + shard.per_kib_ns * p.directory.query_bytes // 1024,
        "admission_step_ns": step_ns,
        "admission_slack_ns": step_ns * (p.admission_burst - 1),
        "cache_slots": p.directory.cache_slots,
        "cache_ttl_ns": p.directory.cache_ttl_ns,
        "lookup_timeout_ns": p.directory.timeout_ns,
        "batch_count": p.batch.count,
        "batch_bytes": p.batch.size_bytes,
        "batch_age_ns": p.batch.age_ns,
        "batch_header_bytes": p.batch_header_bytes,
        "uplink_bps": p.uplink.bits_per_s,
        "downlink_bps": p.downlink.bits_per_s,
        "attempts": p.retries.attempts,
        "retry_jitter_ns": p.retries.jitter_ns,
        "store_limit": p.store.messages_per_agent,
        "store_ttl_ns": p.store.ttl_ns,
        "release_delay_ns": p.store.release_delay_ns,
        "renew_within_ns": sessions.renew_within_ns if sessions else 0,
        "renew_bytes": sessions.renew_bytes if sessions else 0,
        "loop_bytes": loops[0] if loops else 0,
        "sample_ppm": p.sample_ppm,
        "leases": int(bool(p.directory.lease_ns or p.directory.registered_ppm < PPM)),
        "lease_ns": p.directory.lease_ns,
        "query_bytes": p.directory.query_bytes,
        "recorded": int(p.directory.recorded),
        "quorum_reads": int(p.directory.quorum_reads),
        "quorum_writes": int(p.directory.quorum_writes),
        "replication_lag_ns": p.directory.replication_lag_ns,
        "re_home": int(p.directory.re_home),
        "dht": int(p.directory.dht is not None),
        "lies": int(bool(p.assaults_of(Lies))),
        "limits": int(p.directory.limits != RegistrationLimits()),
        "metered": int(p.metered),
        "counts_batches": int(p.count_batches),
        **_relay_constants(p.relay),
    }
    constants = records(np.zeros(1, dtype=CONSTANTS_ROW))
    for name in CONSTANTS_ROW.names or ():
        constants[name] = values[name]
    return constants


def retry_waits(p: PlaneParameters) -> list[int]:
    """Return the wait after each failed attempt, before jitter."""
    waits, wait = [], p.retries.timeout_ns
    for _ in range(p.retries.attempts):
        waits.append(min(wait, p.retries.max_ns))
        wait = min(wait * p.retries.backoff_ppm // PPM, p.retries.max_ns)
    return waits


def _relay_constants(relay: Relay | None) -> dict[str, int]:
    if relay is None:
        names = ("work_ns", "per_kib_ns", "uplink_bps", "downlink_bps")
        return {"relays": 0, **{f"relay_{name}": 0 for name in names}}
    return {
        "relays": 1,
        "relay_work_ns": relay.station.work_ns,
        "relay_per_kib_ns": relay.station.per_kib_ns,
        "relay_uplink_bps": relay.uplink.bits_per_s,
        "relay_downlink_bps": relay.downlink.bits_per_s,
    }


def _relay_stations(p: PlaneParameters) -> dict[str, Stations]:
    """Return the stations of relays; without any they are idle for ever."""
    nodes, relay = len(p.node_region), p.relay
    station = relay.station if relay else p.ingress
    up, down = (relay.uplink, relay.downlink) if relay else (p.uplink, p.downlink)
    return {
        "relay": idle_stations(nodes, station.servers, station.queue),
        "relay_uplink": idle_stations(nodes, 1, up.queue),
        "relay_downlink": idle_stations(nodes, 1, down.queue),
    }


def _use(nodes: int) -> Use:
    bits = np.zeros((2, nodes, CELLS), dtype=np.int64)
    return Use(bits, np.zeros((4, nodes), dtype=np.int64))


def _links(p: PlaneParameters, network: NetworkTables) -> Links:
    region = np.array(p.node_region, dtype=np.int32)
    loss = network.loss_ppb[region[:, None], region[None, :]]
    return Links(
        region=region,
        median_ns=network.median_ns.copy(),
        spread_ns=network.spread_ns.copy(),
        shape=network.shape.copy(),
        region_loss_ppb=network.loss_ppb.copy(),
        special=np.zeros(loss.shape, dtype=np.uint8),
        loss_ppb=np.minimum(loss, PPB),
        extra_ns=np.zeros_like(loss),
    )
