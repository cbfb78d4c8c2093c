"""Translate a scenario into the frozen parameter values that each part is built from.

Owns the one place where a scenario's fields meet the parts' own parameters; a field that is not
read here or in `world.py` would be ignored, and a test looks for such fields.
"""

from __future__ import annotations

from dataclasses import replace

from sim.engine.genesis import Census, validator_regions
from sim.scenario import agents as asked
from sim.scenario.directory import (
    AgentNodes,
    Directory,
    Hierarchical,
    OneHop,
    RegistrationLimits,
    RouterNodes,
)
from sim.scenario.model import Network, Scenario
from sim.scenario.protocols import Constant, Normal
from sim.scenario.recording import Record
from sim.scenario.rules_directory import DEFAULT_ALPHA
from sim.world.agents import parameters as plane
from sim.world.agents.kinds import (
    LOOKUP_CAPABILITY,
    LOOKUP_ID,
    MESSAGE,
    PPM,
    REGISTRATION,
    RENEWAL,
    TRANSACTION,
)
from sim.world.crypto.costs import CostModel
from sim.world.crypto.suites import SIGNATURE_BYTES
from sim.world.network.regions import custom_region, known_regions
from sim.world.network.tables import NetworkTables, build_tables, uniform_tables
from sim.world.routing.parameters import (
    HIERARCHICAL,
    ITERATIVE,
    KADEMLIA,
    RECURSIVE,
    RoutingParameters,
)

RECORD_BYTES = 7_552
"""A registration as it was signed: see `record_size` of the scenario."""
GATEWAY_BURST, REGISTRY_BURST = 100, 1_000
"""Bursts of the limits on registrations where a scenario leaves them out."""


def region_names(scenario: Scenario) -> tuple[str, ...]:
    """Return every region that validators or agents live in, in first-seen order."""
    names = validator_regions(scenario)
    if scenario.agents is not None:
        names += scenario.agents.placement.regions
    return tuple(dict.fromkeys(names))


def network_tables(scenario: Scenario) -> NetworkTables:
    """Build the tables of `region_names`."""
    delays, loss_ppb = scenario.network.delays, scenario.network.loss_ppb
    names = region_names(scenario)
    if isinstance(delays, Constant):
        return uniform_tables(names, delay_ns=delays.delay_ns, loss_ppb=loss_ppb)
    if isinstance(delays, Normal):
        mean_ns, deviation_ns = delays.mean_ns, delays.deviation_ns
        return uniform_tables(names, delay_ns=mean_ns, deviation_ns=deviation_ns, loss_ppb=loss_ppb)
    custom = {
        name: custom_region(name, place.latitude_microdegrees, place.longitude_microdegrees)
        for name, place in scenario.network.regions.items()
    }
    return build_tables(names, loss_ppb=loss_ppb, custom=custom)


def plane_parameters(
    scenario: Scenario,
    tables: NetworkTables,
    census: Census,
    costs: CostModel,
    assaults: tuple[plane.Assault, ...] = (),
) -> plane.PlaneParameters | None:
    """Return what the agent plane is built from; None for a scenario without agents."""
    agents = scenario.agents
    if agents is None:
        return None
    by_region = [0] * len(tables.regions)
    amounts = agents.placement.counts(agents.count)
    for region, amount in zip(agents.placement.regions, amounts, strict=True):
        by_region[tables.index(region)] += amount
    gateways = _gateways(scenario, agents, census)
    network = scenario.network
    straight, spread, relay = _lanes(network, agents.next_hop)
    retries = agents.retries
    return plane.PlaneParameters(
        placement=tuple(by_region),
        node_region=tuple(tables.index(region) for region in census.regions),
        gateways=gateways,
        traffic=tuple(_traffic(agents)),
        access=tuple(
            plane.AccessClass(
                share_ppm=mile.share_ppm,
                median_ns=mile.delay_ns,
                spread_ns=mile.spread_ns,
                loss_ppb=mile.loss_ppb,
            )
            for mile in agents.access
        ),
        ingress=_station(agents.ingress),
        egress=_station(agents.egress),
        uplink=plane.Link(bits_per_s=straight),
        downlink=plane.Link(bits_per_s=straight),
        relay=relay,
        count_batches=scenario.record.batches,
        directory=_directory(agents.directory, gateways, census),
        batch=_batch(agents.batch),
        dissemination=plane.Dissemination(
            batch=_batch(agents.transaction_batch),
            uplink_bps=spread,
            downlink_bps=spread,
            verify_ns=costs.verify_ns,
            workers=scenario.validators.workers.agents,
            fanout=agents.transaction_fanout or 0,
        ),
        retries=plane.Retries(
            attempts=retries.limit + 1,
            timeout_ns=retries.timeout_ns,
            backoff_ppm=retries.backoff_micro,
            max_ns=retries.max_ns,
            jitter_ns=retries.jitter_ns,
        ),
        store=plane.Store(
            messages_per_agent=agents.store.messages_per_agent,
            ttl_ns=agents.store.ttl_ns,
            release_delay_ns=agents.store.release_delay_ns,
        ),
        sessions=_sessions(agents.sessions),
        admission_rate_nhz=agents.admission.rate_nhz,
        admission_burst=agents.admission.burst,
        capabilities=agents.capabilities,
        metered=network.lanes == "shared",
        sample_ppm=_sample_ppm(scenario.record),
        assaults=assaults,
    )


def _gateways(scenario: Scenario, agents: asked.Agents, census: Census) -> tuple[int, ...]:
    if agents.gateways is None:
        return tuple(range(scenario.validators.count))
    return census.select(agents.gateways, "agents/gateways")


def registration_bytes(agents: asked.Agents) -> int:
    """Return the length of a registration, also where the workload has none."""
    flow = agents.workload.registrations
    return RECORD_BYTES if flow is None else flow.size_bytes


def shard_hosts(scenario: Scenario, census: Census) -> tuple[int, ...]:
    """Return the first host of each shard of the agents' directory."""
    assert scenario.agents is not None
    gateways = _gateways(scenario, scenario.agents, census)
    return _shards(scenario.agents.directory.shards, gateways, census)


def _sample_ppm(record: Record) -> int:
    """Return the share of messages whose exact times are written, somewhere in the run."""
    window = record.window
    exact = record.detail == "messages" or (window is not None and window.detail == "messages")
    return record.sample_ppm if exact else 0


def _lanes(
    network: Network, hop: asked.Direct | asked.EntryGateway
) -> tuple[int, int, plane.Relay | None]:
    """Split the agents' part of a link: rates of messages and of transaction batches, relays."""
    lane = network.bandwidth_bits_per_s * (PPM - network.consensus_share_ppm) // PPM
    spread = lane * network.dissemination_share_ppm // PPM
    if isinstance(hop, asked.Direct):
        return lane - spread, spread, None
    onward = max(1, (lane - spread) * hop.link_share_ppm // PPM)
    link = plane.Link(bits_per_s=onward)
    relay = plane.Relay(station=_station(hop), uplink=link, downlink=link)
    return lane - spread - onward, spread, relay


def _station(station: asked.Station | asked.EntryGateway | Directory) -> plane.Station:
    return plane.Station(
        servers=station.servers,
        work_ns=station.service_ns,
        per_kib_ns=station.service_per_kib_ns,
        queue=station.queue,
    )


def _batch(batch: asked.Batch) -> plane.Batch:
    return plane.Batch(count=batch.count, size_bytes=batch.size_bytes, age_ns=batch.age_ns)


def _directory(directory: Directory, gateways: tuple[int, ...], census: Census) -> plane.Directory:
    record_bytes = directory.record_size_bytes
    return plane.Directory(
        shards=_shards(directory.shards, gateways, census),
        station=_station(directory),
        dht=_dht(directory, gateways, census),
        replicas=directory.replicas,
        quorum_reads=directory.reads == "quorum",
        quorum_writes=directory.writes == "quorum",
        replication_lag_ns=directory.replication_lag_ns,
        record_bytes=RECORD_BYTES if record_bytes is None else record_bytes,
        limits=_limits(directory.registration_limits),
        re_home=directory.re_home,
        query_bytes=directory.query_bytes,
        cache_slots=directory.cache_slots,
        cache_ttl_ns=directory.cache_ttl_ns,
        timeout_ns=directory.timeout_ns,
        lease_ns=directory.lease_ns,
        registered_ppm=directory.registered_ppm,
    )


def _limits(limits: RegistrationLimits | None) -> plane.RegistrationLimits:
    if limits is None:
        return plane.RegistrationLimits()
    return plane.RegistrationLimits(
        gateway_rate_nhz=limits.gateway_rate_nhz or 0,
        gateway_burst=limits.gateway_burst or GATEWAY_BURST,
        rate_nhz=limits.rate_nhz or 0,
        burst=limits.burst or REGISTRY_BURST,
    )


def _dht(directory: Directory, gateways: tuple[int, ...], census: Census) -> plane.Dht | None:
    asked = directory.routing
    if isinstance(asked, OneHop):
        return None
    kind = HIERARCHICAL if isinstance(asked, Hierarchical) else KADEMLIA
    nodes, per_region = plane.DHT_GATEWAYS, 0
    if isinstance(asked.nodes, RouterNodes):
        nodes, per_region = plane.DHT_ROUTERS, asked.nodes.per_region
    elif isinstance(asked.nodes, AgentNodes):
        nodes = plane.DHT_AGENTS
    routing = RoutingParameters(
        kind=kind,
        style=ITERATIVE if asked.style == "iterative" else RECURSIVE,
        k=asked.k,
        b=asked.b,
        id_bits=asked.id_bits,
        alpha=asked.alpha or DEFAULT_ALPHA,
        disjoint_paths=asked.disjoint_paths,
        proximity=asked.proximity,
        rpc_timeout_ns=asked.rpc_timeout_ns,
        rpc_bytes=asked.rpc_size_bytes,
        contact_bytes=asked.contact_size_bytes,
        refresh_ns=asked.refresh_ns,
        deadline_ns=directory.timeout_ns,
    )
    zones = _zones(gateways, census) if kind == HIERARCHICAL else ()
    return plane.Dht(routing=routing, nodes=nodes, per_region=per_region, zones=zones)


def _zones(gateways: tuple[int, ...], census: Census) -> tuple[int, ...]:
    """Return the zone of each node: gateways of a region take its zones in turn, others its first.

    Zones are numbered over all regions, in the order of nodes. A region of the scenario's own has
    one zone.
    """
    known, turns = known_regions(), dict.fromkeys(census.regions, 0)
    number: dict[tuple[str, int], int] = {}
    zones = []
    for node, name in enumerate(census.regions):
        place = 0
        if node in gateways:
            place = turns[name] % (known[name].zones if name in known else 1)
            turns[name] += 1
        zones.append(number.setdefault((name, place), len(number)))
    return tuple(zones)


def _shards(wanted: int | None, gateways: tuple[int, ...], census: Census) -> tuple[int, ...]:
    """Return the hosts of shards: all gateways, or so many taken from each region in turn."""
    if wanted is None or wanted >= len(gateways):
        return gateways
    by_region: dict[str, list[int]] = {}
    for gateway in gateways:
        by_region.setdefault(census.regions[gateway], []).append(gateway)
    chosen: list[int] = []
    while len(chosen) < wanted:
        for hosts in by_region.values():
            if hosts and len(chosen) < wanted:
                chosen.append(hosts.pop(0))
    return tuple(sorted(chosen))


def _sessions(sessions: asked.Sessions) -> plane.Sessions | None:
    if isinstance(sessions, asked.AlwaysOn):
        return None
    return plane.Sessions(
        on_shape_micro=sessions.on_shape_micro,
        on_scale_ns=sessions.on_scale_ns,
        off_shape_micro=sessions.off_shape_micro,
        off_scale_ns=sessions.off_scale_ns,
        renew_within_ns=sessions.renew_within_ns,
        renew_bytes=sessions.renew_size_bytes,
    )


def _arrivals(
    arrivals: asked.Poisson | asked.Bursts | asked.Diurnal | asked.ClosedLoop,
) -> plane.Poisson | plane.Bursts | plane.Diurnal | plane.ClosedLoop:
    if isinstance(arrivals, asked.Poisson):
        return plane.Poisson(rate_nhz=arrivals.rate_nhz)
    if isinstance(arrivals, asked.Bursts):
        return plane.Bursts(
            rate_nhz=arrivals.rate_nhz,
            burst_rate_nhz=arrivals.burst_rate_nhz,
            calm_ns=arrivals.calm_ns,
            burst_ns=arrivals.burst_ns,
        )
    if isinstance(arrivals, asked.Diurnal):
        return plane.Diurnal(
            rate_nhz=arrivals.rate_nhz,
            amplitude_ppm=arrivals.amplitude_ppm,
            period_ns=arrivals.period_ns,
            peak_ns=arrivals.peak_ns,
        )
    return plane.ClosedLoop(think_ns=arrivals.think_ns, share_ppm=arrivals.share_ppm)


def _destinations(to: asked.Destinations) -> plane.Destinations:
    if isinstance(to, asked.Uniform):
        return plane.Destinations(locality_ppm=to.locality_ppm)
    if isinstance(to, asked.Zipf):
        return plane.Destinations(
            locality_ppm=to.locality_ppm, zipf_exponent_micro=to.exponent_micro
        )
    return plane.Destinations(
        locality_ppm=to.locality_ppm,
        community_ppm=to.inside_ppm,
        members=to.members,
        zipf_exponent_micro=to.exponent_micro,
    )


def _traffic(agents: asked.Agents) -> list[plane.Traffic]:
    load = agents.workload
    out: list[plane.Traffic] = []
    if load.messages is not None:
        out.append(
            plane.Traffic(
                kind=MESSAGE,
                arrivals=_arrivals(load.messages.arrivals),
                size_bytes=load.messages.size_bytes,
                size_spread_bytes=load.messages.size_spread_bytes,
                signature_bytes=load.messages.signature_bytes,
                ratio_ppm=agents.compression.messages_ppm,
                destinations=_destinations(load.messages.destinations),
            )
        )
    if load.transactions is not None:
        out.append(
            plane.Traffic(
                kind=TRANSACTION,
                arrivals=_arrivals(load.transactions.arrivals),
                size_bytes=load.transactions.size_bytes,
                size_spread_bytes=load.transactions.size_spread_bytes,
                signature_bytes=SIGNATURE_BYTES,
                ratio_ppm=agents.compression.transactions_ppm,
            )
        )
    if load.lookups.by_id is not None:
        out.append(
            replace(
                _plain(LOOKUP_ID, load.lookups.by_id),
                destinations=_destinations(load.lookups.by_id.destinations),
            )
        )
    others = (
        (LOOKUP_CAPABILITY, load.lookups.by_capability),
        (REGISTRATION, load.registrations),
        (RENEWAL, load.renewals),
    )
    out += [_plain(kind, request) for kind, request in others if request is not None]
    return out


def _plain(
    kind: int,
    request: asked.IdLookups | asked.CapabilityLookups | asked.Registrations | asked.Renewals,
) -> plane.Traffic:
    return plane.Traffic(
        kind=kind, arrivals=_arrivals(request.arrivals), size_bytes=request.size_bytes
    )
