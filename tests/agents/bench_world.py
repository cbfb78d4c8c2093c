"""Measure the agent plane: delivered messages per CPU-second and bytes, at any population.

The figures that are quoted come from `creto-sim bench` (sim.study.bench), on the main job's world;
this is a denser one, for tests of the plane alone.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

from sim.world.agents.kinds import (
    GRID_NS,
    LOOKUP_CAPABILITY,
    LOOKUP_ID,
    MESSAGE,
    PPM,
    REGISTRATION,
    RENEWAL,
    SECOND_NS,
    TRANSACTION,
)
from sim.world.agents.parameters import (
    AccessClass,
    Batch,
    Destinations,
    Directory,
    Dissemination,
    Link,
    PlaneParameters,
    Poisson,
    Retries,
    Sessions,
    Station,
    Store,
    Traffic,
)
from sim.world.agents.plane import AgentPlane
from sim.world.chance import Chance
from sim.world.network.tables import NetworkTables, build_tables

REGIONS = (
    "aws:us-gov-east-1",
    "aws:us-gov-west-1",
    "az:usgovvirginia",
    "az:usgovarizona",
    "az:usgovtexas",
    "aws:us-east-1",
    "aws:eu-central-1",
    "az:westeurope",
)
NODES = 150
OFFERED_PER_S = 200_000
"""Offered requests of all kinds a second: the main job's 10 million messages in 60 s, and the
transactions, lookups, registrations and renewals beside them, if all agents were online."""

_SHARES_PPM = {
    MESSAGE: 880_000,
    LOOKUP_ID: 30_000,
    LOOKUP_CAPABILITY: 10_000,
    TRANSACTION: 50_000,
    REGISTRATION: 5_000,
    RENEWAL: 25_000,
}
_SIZES = {
    MESSAGE: (512, 0),
    LOOKUP_ID: (256, 0),
    LOOKUP_CAPABILITY: (256, 0),
    TRANSACTION: (5_120, 4_627),
    REGISTRATION: (7_475, 4_627),
    RENEWAL: (4_883, 4_627),
}
"""Bytes in all and of the ML-DSA-87 signature in it (FIPS 204: 4,627; a registration also carries
the 2,592-byte public key; 256 bytes of ids and fields: assumption)."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement; times are CPU time of this process, kernels compiled before."""

    agents: int
    simulated_ns: int
    offered: int
    delivered: int
    cpu_ns: int
    plane_bytes: int
    peak_bytes: int
    """Peak resident memory of the process so far."""

    @property
    def delivered_per_cpu_s(self) -> int:
        return self.delivered * SECOND_NS // max(self.cpu_ns, 1)


def bench_network() -> NetworkTables:
    """Return the tables of `REGIONS`."""
    return build_tables(REGIONS)


def bench_parameters(agents: int, offered_per_s: int = OFFERED_PER_S) -> PlaneParameters:
    """Return the plane that figures are quoted for: all stages on, sessions and losses too.

    The load is the same at every population, so that figures show what size alone costs.
    """
    regions = len(REGIONS)
    rate_nhz = offered_per_s * 10**9 // agents
    traffic = tuple(
        Traffic(
            kind=kind,
            arrivals=Poisson(rate_nhz=rate_nhz * share // PPM),
            size_bytes=_SIZES[kind][0],
            signature_bytes=_SIZES[kind][1],
            ratio_ppm=600_000,
            destinations=Destinations(
                locality_ppm=500_000, community_ppm=300_000, members=64, zipf_exponent_micro=PPM
            ),
        )
        for kind, share in _SHARES_PPM.items()
    )
    whole = [agents // regions] * regions
    whole[0] += agents - sum(whole)
    nodes = tuple(range(NODES))
    return PlaneParameters(
        placement=tuple(whole),
        node_region=tuple(node % regions for node in nodes),
        gateways=nodes,
        traffic=traffic,
        access=(
            AccessClass(share_ppm=700_000, median_ns=4_000_000, spread_ns=6_000_000),
            AccessClass(
                share_ppm=300_000, median_ns=15_000_000, spread_ns=40_000_000, loss_ppb=1_000_000
            ),
        ),
        ingress=Station(servers=4, work_ns=20_000, per_kib_ns=2_000),
        egress=Station(servers=4, work_ns=10_000, per_kib_ns=1_000),
        uplink=Link(bits_per_s=2 * 10**9),
        downlink=Link(bits_per_s=2 * 10**9),
        directory=Directory(shards=nodes, station=Station(servers=2, work_ns=20_000)),
        batch=Batch(count=256, size_bytes=65_536, age_ns=20_000_000),
        dissemination=Dissemination(
            batch=Batch(count=1_024, size_bytes=1 << 20, age_ns=500_000_000),
            uplink_bps=2 * 10**9,
            downlink_bps=2 * 10**9,
            verify_ns=154_000,
            workers=4,
        ),
        retries=Retries(attempts=4, timeout_ns=2 * SECOND_NS, jitter_ns=100_000_000),
        store=Store(messages_per_agent=100),
        sessions=Sessions(
            # Sessions: Kad, later crawls (Steiner et al. 2007, Eurecom RR-07-205). Absences keep
            # their shape but last 30 min on average, so that nine agents in ten are online:
            # stable shares of 0.85 to 0.90 (ProbeLab on IPFS, 2023).
            on_shape_micro=615_110,
            on_scale_ns=10_172_310_000_000,
            off_shape_micro=476_480,
            off_scale_ns=805_000_000_000,
            renew_within_ns=SECOND_NS,
            renew_bytes=_SIZES[RENEWAL][0],
        ),
    )


def commit_all(plane: AgentPlane, now_ns: int) -> None:
    """Commit what the first validator holds: the place of consensus in a plane measured alone."""
    refs = plane.new_refs(0, now_ns)
    if refs:
        plane.commit(refs, now_ns)


def measure(agents: int, seconds: int, *, seed: int = 1, warm_up_s: int = 2) -> Figures:
    """Measure `seconds` simulated seconds after `warm_up_s`; compile kernels before.

    Commits of transactions count as deliveries. Tables are drained as in a run.
    """
    compile_kernels(seed)
    plane = AgentPlane(bench_parameters(agents), bench_network(), Chance(seed, 0))
    _run(plane, 0, warm_up_s * SECOND_NS)
    before = plane.counters()
    start_ns = time.process_time_ns()
    _run(plane, warm_up_s * SECOND_NS, (warm_up_s + seconds) * SECOND_NS)
    cpu_ns = time.process_time_ns() - start_ns
    after = plane.counters()
    if not after.conserved():
        raise AssertionError(f"messages vanished: {after}")
    return Figures(
        agents=agents,
        simulated_ns=seconds * SECOND_NS,
        offered=sum(after.offered) - sum(before.offered),
        delivered=sum(after.delivered) - sum(before.delivered),
        cpu_ns=cpu_ns,
        plane_bytes=plane.memory_bytes(),
        peak_bytes=_peak_bytes(),
    )


def compile_kernels(seed: int = 1) -> int:
    """Run a tiny plane so that every kernel is compiled; return the CPU time it took, ns."""
    start_ns = time.process_time_ns()
    plane = AgentPlane(bench_parameters(1_000, 2_000), bench_network(), Chance(seed, 0))
    _run(plane, 0, SECOND_NS)
    return time.process_time_ns() - start_ns


def _run(plane: AgentPlane, from_ns: int, until_ns: int) -> None:
    for now_ns in range(from_ns + 5 * GRID_NS, until_ns + 1, 5 * GRID_NS):
        plane.advance(now_ns)
        commit_all(plane, now_ns)
        plane.drain()


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
