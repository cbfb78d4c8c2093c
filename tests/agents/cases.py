"""Random planes, random faults, and one script that either program of the plane runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from sim.world.agents import changes, kinds
from sim.world.agents import parameters as p
from sim.world.network.jitter import shape_table
from sim.world.network.tables import NetworkTables
from sim.world.routing.parameters import (
    HIERARCHICAL,
    ITERATIVE,
    KADEMLIA,
    RECURSIVE,
    RoutingParameters,
)
from tests.agents.assaults import assaults, attacks, besieged, pick, siege

MS = 1_000_000
SECOND = 1_000 * MS
PPM = 1_000_000


def network(regions: int, median_ms: int = 20, spread_ms: int = 4, loss_ppb: int = 0) -> Any:
    """Tables of a few regions: 1 ms inside, further by index outside."""
    index = np.arange(regions)
    distance = np.abs(index[:, None] - index[None, :])
    median = np.where(distance == 0, MS, distance * median_ms * MS).astype(np.int64)
    spread = np.where(distance == 0, 0, spread_ms * MS).astype(np.int64)
    loss = np.full((regions, regions), loss_ppb, dtype=np.int64)
    names = tuple(f"region-{i}" for i in range(regions))
    return NetworkTables(names, median, spread, loss, np.array(shape_table(), dtype=np.int64))


def basic(**changed: Any) -> p.PlaneParameters:
    """A plane of 40 agents, four gateways of five nodes, two regions, all kinds of traffic."""
    rate = 2 * 10**9

    def traffic(kind: int, size: int, share: int = 1, **more: Any) -> p.Traffic:
        arrivals = p.Poisson(rate_nhz=rate // share)
        return p.Traffic(kind=kind, arrivals=arrivals, size_bytes=size, **more)

    values: dict[str, Any] = {
        "placement": (24, 16),
        "node_region": (0, 0, 1, 1, 1),
        "gateways": (0, 1, 2, 3),
        "traffic": (
            traffic(kinds.MESSAGE, 600, size_spread_bytes=900, ratio_ppm=450_000),
            traffic(kinds.LOOKUP_ID, 120, 2),
            traffic(kinds.LOOKUP_CAPABILITY, 120, 4),
            traffic(kinds.REGISTRATION, 5_000, 8, signature_bytes=4_627),
            traffic(kinds.RENEWAL, 4_900, 4, signature_bytes=4_627),
            traffic(kinds.TRANSACTION, 5_120, 2, signature_bytes=4_627, ratio_ppm=500_000),
        ),
        "access": (p.AccessClass(share_ppm=PPM, median_ns=5 * MS, spread_ns=2 * MS),),
        "ingress": p.Station(servers=2, work_ns=MS),
        "egress": p.Station(servers=2, work_ns=MS // 2),
        "uplink": p.Link(bits_per_s=10**8),
        "downlink": p.Link(bits_per_s=10**8),
        "directory": p.Directory(shards=(0, 2), station=p.Station(servers=2, work_ns=MS // 4)),
        "batch": p.Batch(count=8, size_bytes=8_192, age_ns=20 * MS),
        "dissemination": p.Dissemination(
            batch=p.Batch(count=6, size_bytes=100_000, age_ns=60 * MS),
            uplink_bps=10**9,
            downlink_bps=10**9,
            verify_ns=MS // 2,
            workers=2,
        ),
        "retries": p.Retries(attempts=3, timeout_ns=150 * MS),
        "store": p.Store(messages_per_agent=2),
        "sample_ppm": PPM,
    }
    return p.PlaneParameters(**(values | changed))


@dataclass(frozen=True)
class Case:
    """A plane and what happens to it: (time, change or engine call)."""

    parameters: p.PlaneParameters
    network: NetworkTables
    seed: int
    script: tuple[tuple[int, Any], ...]
    until_ns: int


@st.composite
def planes(draw: DrawFn) -> p.PlaneParameters:
    """Draw the parameters of a small plane, tight enough to overflow and time out."""
    regions = pick(draw, 1, 2, 3)
    nodes = draw(st.integers(3, 6))
    gateways = draw(st.sets(st.integers(0, nodes - 1), min_size=1))
    scale = pick(draw, 1, 8)
    slow = p.AccessClass(
        share_ppm=400_000, median_ns=12 * MS, spread_ns=5 * MS, loss_ppb=pick(draw, 0, 5 * 10**7)
    )
    fast = p.AccessClass(share_ppm=600_000, median_ns=pick(draw, 1, 8) * MS, spread_ns=0)
    links = [
        p.Link(bits_per_s=pick(draw, 2 * 10**5, 10**9), queue=pick(draw, 0, 1_000))
        for _ in range(2)
    ]
    directory = _directory(draw, nodes, scale, sorted(gateways), regions)
    return basic(
        placement=tuple(draw(st.integers(8, 30)) for _ in range(regions)),
        node_region=tuple(i % regions for i in range(nodes)),
        gateways=tuple(sorted(gateways)),
        traffic=_traffic(draw),
        access=(fast, slow),
        ingress=_station(draw, scale),
        egress=_station(draw, scale),
        uplink=links[0],
        downlink=links[1],
        directory=directory,
        assaults=assaults(draw, nodes, regions, directory),
        batch=p.Batch(
            count=pick(draw, 1, 3, 50),
            size_bytes=pick(draw, 2_000, 60_000),
            age_ns=pick(draw, 1, 25) * MS,
        ),
        dissemination=_dissemination(draw),
        retries=p.Retries(
            attempts=pick(draw, 1, 3, 5),
            timeout_ns=pick(draw, 100, 260) * MS,
            backoff_ppm=pick(draw, PPM, 2 * PPM),
            max_ns=pick(draw, 200, 60_000) * MS,
            jitter_ns=pick(draw, 0, 50 * MS),
        ),
        store=p.Store(
            messages_per_agent=pick(draw, 0, 1, 20),
            ttl_ns=pick(draw, 0, 300 * MS),
            release_delay_ns=pick(draw, 100, 170) * MS,
        ),
        sessions=_sessions(draw),
        admission_rate_nhz=pick(draw, 40, 5_000) * 10**9,
        admission_burst=pick(draw, 3, 1_000),
        capabilities=pick(draw, 1, 9),
        metered=pick(draw, False, True),
        count_batches=True,
        relay=_relay(draw, scale),
    )


def _relay(draw: DrawFn, scale: int) -> p.Relay | None:
    links = [
        p.Link(bits_per_s=pick(draw, 2 * 10**5, 10**8), queue=pick(draw, 0, 1_000))
        for _ in range(2)
    ]
    relay = p.Relay(station=_station(draw, scale), uplink=links[0], downlink=links[1])
    return pick(draw, None, relay, relay)


def _traffic(draw: DrawFn) -> tuple[p.Traffic, ...]:
    """All kinds; messages in any process to anyone, transactions open or in a closed loop."""
    kept = {t.kind: t for t in basic().traffic}
    bursts = p.Bursts(rate_nhz=10**9, burst_rate_nhz=8 * 10**9, calm_ns=300 * MS, burst_ns=200 * MS)
    day = p.Diurnal(rate_nhz=3 * 10**9, amplitude_ppm=900_000, period_ns=SECOND)
    kept[kinds.MESSAGE] = p.Traffic(
        kind=kinds.MESSAGE,
        arrivals=pick(draw, kept[kinds.MESSAGE].arrivals, bursts, day),
        size_bytes=700,
        size_spread_bytes=pick(draw, 0, 3_000),
        ratio_ppm=pick(draw, 300_000, PPM),
        destinations=p.Destinations(
            locality_ppm=pick(draw, 0, 400_000),
            community_ppm=pick(draw, 0, 600_000),
            members=pick(draw, 2, 7),
            zipf_exponent_micro=pick(draw, 0, 1_200_000),
        ),
    )
    loop = p.ClosedLoop(think_ns=pick(draw, 120, 400) * MS, share_ppm=pick(draw, 200_000, PPM))
    kept[kinds.TRANSACTION] = p.Traffic(
        kind=kinds.TRANSACTION,
        arrivals=pick(draw, kept[kinds.TRANSACTION].arrivals, loop),
        size_bytes=5_120,
        signature_bytes=4_627,
    )
    return tuple(kept.values())


def _sessions(draw: DrawFn) -> p.Sessions | None:
    sessions = p.Sessions(
        on_shape_micro=pick(draw, 600_000, 1_500_000),
        on_scale_ns=pick(draw, 300, 2_000) * MS,
        off_shape_micro=pick(draw, 500_000, 1_000_000),
        off_scale_ns=pick(draw, 200, 900) * MS,
        renew_within_ns=pick(draw, 0, 150 * MS),
        renew_bytes=5_000,
    )
    return draw(st.sampled_from((None, sessions)))


def _directory(
    draw: DrawFn, nodes: int, scale: int, gateways: list[int], regions: int
) -> p.Directory:
    """Any shards with one replica, those of gateways with more."""
    replicas = draw(st.integers(1, len({gateway % regions for gateway in gateways})))
    hosts = st.sampled_from(gateways) if replicas > 1 else st.integers(0, nodes - 1)
    return p.Directory(
        shards=tuple(draw(st.lists(hosts, min_size=1, max_size=3))),
        station=_station(draw, scale),
        dht=_dht(draw, nodes) if pick(draw, True, False) else None,
        replicas=replicas,
        quorum_reads=replicas > 1 and pick(draw, True, False),
        quorum_writes=replicas > 1 and pick(draw, True, False),
        replication_lag_ns=pick(draw, 0, 180 * MS),
        limits=_limits(draw),
        re_home=pick(draw, True, False),
        query_bytes=pick(draw, 0, 512),
        cache_slots=pick(draw, 0, 4, 64),
        cache_ttl_ns=pick(draw, 50, 700) * MS,
        timeout_ns=pick(draw, 100, 300) * MS,
        lease_ns=pick(draw, 0, 800 * MS),
        registered_ppm=pick(draw, PPM, 700_000),
    )


def _dht(draw: DrawFn, nodes: int) -> p.Dht:
    """Few contacts and short lives, so that tables are under-filled and stale."""
    routing = RoutingParameters(
        kind=pick(draw, KADEMLIA, HIERARCHICAL),
        style=pick(draw, RECURSIVE, ITERATIVE),
        k=pick(draw, 2, 3, 8),
        b=pick(draw, 1, 2),
        id_bits=pick(draw, 32, 64),
        alpha=pick(draw, 1, 2),
        disjoint_paths=pick(draw, 1, 2),
        proximity=pick(draw, True, False),
        rpc_timeout_ns=pick(draw, 5, 40) * MS,
        refresh_ns=pick(draw, 200, 5_000) * MS,
        deadline_ns=pick(draw, 60, 300) * MS,
    )
    zones = tuple(range(nodes)) if pick(draw, True, False) else ()
    who = pick(draw, p.DHT_GATEWAYS, p.DHT_ROUTERS, p.DHT_AGENTS, p.DHT_AGENTS)
    return p.Dht(routing=routing, nodes=who, per_region=pick(draw, 1, 3), zones=zones)


def _limits(draw: DrawFn) -> p.RegistrationLimits:
    return p.RegistrationLimits(
        gateway_rate_nhz=pick(draw, 0, 3 * 10**9),
        gateway_burst=pick(draw, 1, 2),
        rate_nhz=pick(draw, 0, 9 * 10**9),
        burst=pick(draw, 1, 3),
    )


def _dissemination(draw: DrawFn) -> p.Dissemination:
    return p.Dissemination(
        batch=p.Batch(count=pick(draw, 1, 5), size_bytes=100_000, age_ns=pick(draw, 30, 130) * MS),
        uplink_bps=pick(draw, 10**7, 10**9),
        downlink_bps=pick(draw, 10**7, 10**9),
        verify_ns=pick(draw, MS // 10, 4 * MS),
        workers=pick(draw, 1, 3),
        fanout=pick(draw, 0, 1, 2),
    )


def _station(draw: DrawFn, scale: int) -> p.Station:
    return p.Station(
        servers=draw(st.integers(1, 3)),
        work_ns=draw(st.sampled_from((MS // 10, 2 * MS * scale, 9 * MS))),
        per_kib_ns=draw(st.sampled_from((0, 77_777))),
        queue=draw(st.sampled_from((1, 6, 10_000))),
    )


def drill(parameters: p.PlaneParameters) -> list[tuple[int, Any]]:
    """Everything that can go wrong, once, so that no case set does without it (ms, change)."""
    everyone = tuple(range(len(parameters.node_region)))
    first, last = parameters.gateways[0], parameters.gateways[-1]
    links = {"sources": everyone, "targets": everyone}
    return [
        (200, changes.Throttle(node=last, service_ppm=4 * PPM, links_ppm=3 * PPM)),
        (310, changes.LinkChange(**links, extra_delay_ns=3 * MS, extra_loss_ppb=200_000_000)),
        (480, changes.LinkChange(**links, blocked=True)),
        (560, changes.LinkChange(**links)),
        (600, changes.NodeDown(first)),
        (750, changes.NodeUp(first)),
        (760, changes.Throttle(node=last)),
        (850, changes.Surge(factor_ppm=3 * PPM)),
        (1_020, changes.Surge(factor_ppm=PPM)),
        (1_050, changes.NodeDown(last)),
        (1_120, changes.NodeUp(last)),
    ]


def directories(busy: p.PlaneParameters) -> tuple[p.PlaneParameters, ...]:
    """Planes of two replicas, one without a quorum, one with, and one whose nodes are agents."""
    copied = basic(
        traffic=(
            replace(basic().traffic[0], arrivals=p.Poisson(rate_nhz=6 * 10**9)),
            *basic().traffic[1:3],
            replace(basic().traffic[3], arrivals=p.Poisson(rate_nhz=2 * 10**9)),
            *basic().traffic[4:],
        ),
        directory=replace(
            basic().directory,
            replicas=2,
            replication_lag_ns=180 * MS,
            limits=p.RegistrationLimits(gateway_rate_nhz=9 * 10**9, rate_nhz=40 * 10**9, burst=3),
            re_home=True,
            cache_ttl_ns=900 * MS,
            timeout_ns=100 * MS,
            lease_ns=3_000 * MS,
        ),
    )
    sure = replace(
        copied, directory=replace(copied.directory, quorum_reads=True, quorum_writes=True)
    )
    copied = replace(copied, directory=replace(copied.directory, cache_slots=4))
    routed = replace(
        busy,
        directory=replace(
            busy.directory,
            dht=p.Dht(
                routing=RoutingParameters(kind=HIERARCHICAL, k=2, rpc_timeout_ns=30 * MS),
                nodes=p.DHT_AGENTS,
            ),
            replicas=2,
            replication_lag_ns=50 * MS,
            re_home=True,
        ),
    )
    return copied, sure, routed


def relayed() -> p.PlaneParameters:
    """Two regions of three gateways whose relays are slow; some is sent on, some refused."""
    return basic(
        traffic=(replace(basic().traffic[0], arrivals=p.Poisson(rate_nhz=16 * 10**9)),),
        node_region=(0, 0, 0, 1, 1, 1),
        gateways=(0, 1, 2, 3, 4, 5),
        directory=replace(basic().directory, timeout_ns=100 * MS),
        relay=p.Relay(
            station=p.Station(servers=1, work_ns=10 * MS, queue=6),
            uplink=p.Link(bits_per_s=60_000, queue=9),
            downlink=p.Link(bits_per_s=20_000, queue=9),
        ),
        metered=True,
        count_batches=True,
    )


def fixed_cases() -> list[Case]:
    """Planes that overflow where random ones rarely do, each through the whole drill."""
    slow = basic(
        uplink=p.Link(bits_per_s=400_000, queue=1),
        downlink=p.Link(bits_per_s=200_000, queue=0),
        dissemination=replace(basic().dissemination, uplink_bps=3 * 10**6, fanout=2),
    )
    busy = basic(
        ingress=p.Station(servers=1, work_ns=6 * MS, queue=3),
        egress=p.Station(servers=1, work_ns=8 * MS, queue=2),
        admission_rate_nhz=60 * 10**9,
        admission_burst=2,
        directory=replace(
            basic().directory,
            cache_slots=16,
            cache_ttl_ns=200 * MS,
            lease_ns=500 * MS,
            registered_ppm=800_000,
        ),
        sessions=p.Sessions(
            on_shape_micro=700_000,
            on_scale_ns=400 * MS,
            off_shape_micro=700_000,
            off_scale_ns=300 * MS,
            renew_within_ns=100 * MS,
            renew_bytes=5_000,
        ),
        store=p.Store(messages_per_agent=1, ttl_ns=200 * MS),
    )
    narrow = basic(egress=p.Station(servers=1, work_ns=25 * MS, queue=1))
    found = []
    lent = replace(slow, metered=True, uplink=p.Link(bits_per_s=400_000, queue=50))
    attacked = [besieged(plane) for plane in directories(busy)]
    planes = (basic(), slow, busy, narrow, *directories(busy), lent, *attacked, relayed())
    for seed, parameters in enumerate(planes):
        asks = [(t, t // 130 % 5) for t in range(90, 1_900, 130)]
        away = [(1_300, changes.NodeDown(0)), (1_610, changes.NodeUp(0))]
        struck = siege(parameters) if parameters.assaults else drill(parameters)
        script = sorted([*struck, *away, *asks], key=lambda row: row[0])
        timed = tuple((t * MS, what) for t, what in script)
        found.append(Case(parameters, network(2, loss_ppb=10**7), seed, timed, 2_050 * MS))
    return found


@st.composite
def cases(draw: DrawFn) -> Case:
    """Draw a plane with a script of faults and commits."""
    parameters = draw(planes())
    nodes, regions = len(parameters.node_region), len(parameters.placement)
    until_ms = draw(st.sampled_from((1_300, 2_100)))
    node = st.integers(0, nodes - 1)
    some = st.lists(node, min_size=1, max_size=nodes).map(tuple)
    link = st.builds(
        changes.LinkChange,
        sources=some,
        targets=some,
        blocked=st.booleans(),
        extra_delay_ns=st.sampled_from((0, 7 * MS)),
        extra_loss_ppb=st.sampled_from((0, 300_000_000)),
    )
    ppm = st.sampled_from((500_000, PPM, 3 * PPM))
    fault = st.one_of(
        st.builds(changes.NodeDown, node),
        st.builds(changes.NodeDown, st.sampled_from(parameters.gateways)),
        st.builds(changes.NodeUp, node),
        st.builds(changes.Throttle, node=node, service_ppm=ppm, links_ppm=ppm),
        link,
        st.builds(
            changes.Disconnect,
            share_ppm=st.sampled_from((300_000, PPM)),
            # After its own time; see below.
            back_ns=st.integers(1, 700).map(lambda t: t * MS),
            region=st.one_of(st.none(), st.integers(0, regions - 1)),
            spread_ns=st.sampled_from((0, 200 * MS)),
            homes=st.one_of(st.none(), st.just(parameters.gateways[:1])),
            register_bytes=st.sampled_from((0, 7_552)),
        ),
        *attacks(parameters),
    )
    # Multiples of 50 ms strike grid and second boundaries, the others do not.
    time_ms = st.one_of(
        st.integers(1, until_ms), st.integers(1, until_ms // 50).map(lambda k: k * 50)
    )
    faults = draw(st.lists(st.tuples(time_ms, fault), min_size=2, max_size=9))
    asks = draw(st.lists(st.tuples(time_ms, node), min_size=3, max_size=12))
    if draw(st.booleans()):
        faults += drill(parameters)
    struck = [
        (t, replace(what, back_ns=what.back_ns + t * MS))
        if isinstance(what, changes.Disconnect)
        else (t, what)
        for t, what in faults
    ]
    script = sorted([*struck, *asks], key=lambda row: row[0])
    loss = draw(st.sampled_from((60_000_000, 0)))
    return Case(
        parameters,
        network(regions, draw(st.sampled_from((3, 25))), draw(st.sampled_from((0, 5))), loss),
        draw(st.integers(0, 10**6)),
        tuple((time * MS, what) for time, what in script),
        until_ms * MS,
    )
