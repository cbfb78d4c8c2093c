"""Speed and memory of the registry at a million agents: the work is asserted, figures are printed.

CPU time of the calling thread, and wall time, which other work on the machine also moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from sim.world.agents.draws import keys_of
from sim.world.agents.population import draw_population
from sim.world.chance import Chance
from sim.world.registry.agent_registry import AgentRegistry
from sim.world.registry.parameters import RegistryParameters
from sim.world.registry.placement import first_hosts, place
from tests.agents.bench_world import bench_network, bench_parameters

pytestmark = pytest.mark.benchmark

AGENTS = 1_000_000
SECOND_NS = 10**9


@pytest.fixture(scope="module")
def registry() -> AgentRegistry:
    plane, network = bench_parameters(AGENTS), bench_network()
    people = draw_population(plane, network, keys_of(Chance(1, 0)))
    placement = place(
        first_hosts(plane.gateways, plane.node_region), plane.gateways, plane.node_region, 3
    )
    p = RegistryParameters(
        placement=placement,
        node_region=plane.node_region,
        regions=len(network.regions),
        capabilities=plane.capabilities,
        writes="quorum",
        lease_ns=120 * SECOND_NS,
    )
    AgentRegistry.from_population(people, p, network=network)  # compiles
    start = time.thread_time_ns()
    one = AgentRegistry.from_population(people, p, network=network)
    spent_s = (time.thread_time_ns() - start) / 1e9
    registered = int((people.lease_until_ns > 0).sum())
    print(
        f"\n{registered:,} agents loaded in {spent_s:.2f} CPU-s, {one.bytes_per_agent():.1f} B each"
    )
    assert len(one) == registered > 0.5 * AGENTS
    assert one.to_frame()["ident"].n_unique() == registered
    return one


def timed(what: str, calls: Iterator[Callable[[], int]], least: int) -> None:
    """Call all, print percentiles of each call's time, assert the sum of what they return."""
    cpu, wall, work = [], [], 0
    for call in calls:
        start, start_cpu = time.perf_counter_ns(), time.thread_time_ns()
        work += call()
        cpu.append(time.thread_time_ns() - start_cpu)
        wall.append(time.perf_counter_ns() - start)
    p50, p99 = np.percentile(cpu, [50, 99]) / 1e3
    w50, w99 = np.percentile(wall, [50, 99]) / 1e3
    print(
        f"{what:24} CPU p50 {p50:6.1f} us p99 {p99:6.1f} us, max {max(cpu) / 1e3:8.1f} us; "
        f"wall p50 {w50:6.1f} us p99 {w99:7.1f} us"
    )
    assert work >= least, what


def test_queries_and_writes(registry: AgentRegistry) -> None:
    """Target: 99 % of in-process queries under 1 ms."""
    one, dice = registry, np.random.default_rng(5)
    idents = one.to_frame()["ident"].sample(20_000, seed=1).to_list()
    fresh = (dice.integers(1 << 61, 1 << 62, 10_000) * 2 + 1).tolist()
    spread = [int(turn) for turn in dice.integers(0, 10**6, 20_000)]
    nodes, regions = len(one.parameters.node_region), one.parameters.regions

    def found(capability: int, region: int | None, limit: int, turn: int) -> int:
        return len(one.find(capability, region=region, limit=limit, turn=turn))

    def registered(ident: int, number: int) -> int:
        got = one.register(
            ident,
            home=number % nodes,
            region=number % regions,
            capability=number % 64,
            now_ns=number * 50_000,
        )
        return int(got.accepted)

    one.find(0, region=0)
    one.register(3, home=0, region=0, capability=0, now_ns=0)
    some = spread[:3_000]
    print()
    timed("get", ((lambda i=i: one.get(i) is not None) for i in idents), 20_000)
    timed("find 16", ((lambda t=t: found(t % 64, None, 16, t)) for t in spread), 320_000)
    timed(
        "find 16 in a region", ((lambda t=t: found(t % 64, t % 8, 16, t)) for t in spread), 320_000
    )
    timed("find 1,000", ((lambda t=t: found(t % 64, None, 1_000, t)) for t in some), 3_000_000)
    timed("count alive", ((lambda t=t: one.count(t % 64, alive_at_ns=9)) for t in some), 10**7)
    numbered = zip(fresh, range(10_000), strict=True)
    timed("register, quorum of 3", ((lambda a=a: registered(*a)) for a in numbered), 10_000)
    ask = lambda ident: one.read(ident, gateway=ident % nodes, now_ns=SECOND_NS)  # noqa: E731
    timed("read a replica", ((lambda i=i: int(ask(i).host >= 0)) for i in idents), 20_000)


def test_a_mixed_workload(registry: AgentRegistry) -> None:
    """Half reads, a quarter of queries, a quarter of renewals, registrations and moves."""
    one, dice = registry, np.random.default_rng(6)
    idents = one.to_frame()["ident"].sample(20_000, seed=2).to_list()
    kinds = dice.integers(0, 20, 20_000).tolist()
    nodes = len(one.parameters.node_region)
    start_ns = 2 * SECOND_NS

    def step(number: int) -> int:
        ident, now_ns = idents[number], start_ns + number * 50_000
        if number % 200 == 199:
            return int(one.expire(now_ns).size > 0)
        if kinds[number] < 10:
            return int(one.read(ident, gateway=number % nodes, now_ns=now_ns).host >= 0)
        if kinds[number] < 15:
            return int(len(one.find(number % 64, turn=number, alive_at_ns=now_ns)) > 0)
        if kinds[number] < 18:
            return int(one.renew(ident, now_ns=now_ns).reason in ("renewed", "lease_ended"))
        return int(one.re_home(ident, home=number % nodes, now_ns=now_ns).version >= 0)

    print()
    timed("mixed, expiry in 0.5 %", ((lambda n=n: step(n)) for n in range(20_000)), 19_900)
    counts = one.counts
    assert counts["renewed"] > 2_000
    assert counts["re_homed"] > 500
    assert counts["found"] > 9_000
