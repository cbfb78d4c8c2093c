"""Study lookups by themselves: cost, depth, rings, churn, attacks; no engine, no traffic around.

Owns: the worlds, what is asked in them, one row of integer counts for each point and replicate.
Must not know: how curves are drawn, how tables are printed.

Worlds: agents as nodes, homes at 150 hosts in turn over the 14 regions of
`scenarios/million_agents.yaml`, three zones a region, access as there. All points of a replicate
share ids, askers and keys (common random numbers), so differences between them are paired.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sim.scenario.agents import WeibullSessions
from sim.study.bench import isolated
from sim.study.theory import mean_hops, poisoned_success
from sim.world.agents.draws import (
    weibull_mean_ns,
    weibull_residual_table,
    weibull_table,
)
from sim.world.chance import Chance, interpolate_array
from sim.world.kernels import records
from sim.world.network.tables import NetworkTables, build_tables
from sim.world.routing.nodes import (
    LOOKUP,
    Bundle,
    agents,
    build,
    with_malice,
)
from sim.world.routing.parameters import (
    DROP,
    FOUND,
    HIERARCHICAL,
    HONEST,
    ITERATIVE,
    KADEMLIA,
    NOT_FOUND,
    POISON,
    POISONED,
    RECURSIVE,
    TIMED_OUT,
    RoutingParameters,
)
from sim.world.routing.states import with_states
from sim.world.routing.verdict import declare

REGIONS = (
    "aws:us-gov-west-1",
    "aws:us-gov-east-1",
    "az:usgovarizona",
    "az:usgovtexas",
    "az:usgovvirginia",
    "aws:us-east-1",
    "aws:us-west-2",
    "az:eastus",
    "az:westus2",
    "aws:ca-central-1",
    "aws:eu-central-1",
    "aws:eu-west-2",
    "az:uksouth",
    "az:germanywestcentral",
)
HOSTS, ZONES = 150, 3
NEAR_ACCESS_NS, FAR_ACCESS_NS, FAR_PERMILLE = 8_000_000, 35_000_000, 150
"""Median access delays of the main job, and the share of its agents that have the longer one."""
MINUTE_NS = 60 * 10**9
TABLE_UNIT_NS = 1_000
"""Tables of durations hold microseconds."""
NOWHERE = -1

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
CONTACTS = (1, 3, 8, 16, 20)
BITS = tuple(range(10, 21))
PATHS = tuple(range(1, 9))
MALICIOUS_PERCENT = tuple(range(0, 51, 5))
REFRESH_MINUTES = (5, 15, 30, 60, 120, 240, 480)
OWN_REGION_PERCENT = (0, 20, 40, 60, 80, 100)
COST_LOOKUPS = {RECURSIVE: 200_000, ITERATIVE: 10_000}
COST_K = {RECURSIVE: 20, ITERATIVE: 16}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is asked: `nodes` a world, `lookups` a point and replicate, `replicates`."""

    nodes: int
    lookups: int
    replicates: int
    seed: int = 1


PLANS = {
    "cost": Plan(max(SIZES), max(COST_LOOKUPS.values()), 1),
    "depth": Plan(1 << max(BITS), 100_000, 3),
    "hierarchy": Plan(100_000, 20_000, 10),
    "churn": Plan(50_000, 200, 5),
    "attack": Plan(10_000, 300, 4),
}


def network() -> NetworkTables:
    """Return the delays between the regions of the main job."""
    return build_tables(REGIONS)


def world(count: int, chance: Chance, wires: NetworkTables, **settings: Any) -> Bundle:
    """Build a world of `count` agents."""
    host = np.arange(HOSTS)
    site = host % len(REGIONS)
    zone = site * ZONES + host // len(REGIONS) % ZONES
    member = np.arange(count)
    far = member * 7919 % 1000 < FAR_PERMILLE
    people = agents(member % HOSTS, np.where(far, FAR_ACCESS_NS, NEAR_ACCESS_NS))
    return build(RoutingParameters(**settings), people, site, wires, chance, host_zone=zone)


def ask(bundle: Bundle, sources: Any, keys: Any, homes: Any | None = None, t_ns: int = 0) -> Any:
    """Run lookups, one a key; return their LOOKUP rows."""
    # Kernels compile at their first import: who asks for help does without them.
    from sim.world.routing.kernels import route_many

    count = len(sources)
    out = records(np.zeros(count, dtype=LOOKUP))
    if homes is None:
        homes = np.full(count, NOWHERE)
    route_many(bundle, sources, keys, homes, t_ns, 0, out)
    return out


def counts(out: Any) -> dict[str, int]:
    """Add lookups up; delays are those of the lookups that found."""
    found = out["outcome"] == FOUND
    names = ("depth", "rounds", "rpcs", "messages", "bytes", "crossings", "timeouts")
    return {
        "lookups": len(out),
        "found": int(found.sum()),
        "not_found": int((out["outcome"] == NOT_FOUND).sum()),
        "timed_out": int((out["outcome"] == TIMED_OUT).sum()),
        "poisoned": int((out["outcome"] == POISONED).sum()),
        "delay_ns": int(out["delay_ns"][found].sum()),
        **{name: int(out[name].sum()) for name in names},
    }


def random_keys(rng: np.random.Generator, count: int) -> Any:
    """Draw keys that are nobody's id."""
    return rng.integers(0, 1 << 64, count, dtype=np.uint64)


# -- cost ---------------------------------------------------------------------------------------


def cost(plan: Plan) -> pl.DataFrame:
    """Measure CPU time and memory of lookups against the number of nodes, a process each.

    Recursive with k = 20 and iterative with k = 16, alpha = 3. CPU time of the lookups alone; the
    best of five passes, because a busy machine only ever adds to it.
    """
    sizes = [size for size in SIZES if size <= plan.nodes]
    styles = (RECURSIVE, ITERATIVE)
    return pl.DataFrame([isolated(_cost, n, style, plan) for style in styles for n in sizes])


def _cost(count: int, style: int, plan: Plan) -> dict[str, int]:
    lookups = min(plan.lookups, COST_LOOKUPS[style])
    begun = time.process_time_ns()
    bundle = world(
        count, Chance(plan.seed, 0), network(), style=style, k=COST_K[style], proximity=False
    )
    built_ns = time.process_time_ns() - begun
    rng = np.random.default_rng(plan.seed)
    sources, targets = rng.integers(0, count, lookups), rng.integers(0, count, lookups)
    keys = bundle.node["ident"][targets].copy()
    ask(bundle, sources[:100], keys[:100])
    cpu_ns = []
    for _ in range(5):
        begun = time.process_time_ns()
        out = ask(bundle, sources, keys)
        cpu_ns.append(time.process_time_ns() - begun)
    arrays = [value for value in bundle if isinstance(value, np.ndarray)]
    return {
        "nodes": count,
        "style": style,
        "replicate": 0,
        **counts(out),
        "cpu_ns": min(cpu_ns),
        "build_cpu_ns": built_ns,
        "bundle_bytes": sum(array.nbytes for array in arrays),
        "peak_memory_bytes": _peak_bytes(),
    }


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


# -- depth --------------------------------------------------------------------------------------


def depth(plan: Plan) -> pl.DataFrame:
    """Measure mean depth in full id spaces, with the exact expectation beside it."""
    rows = []
    wires = build_tables(REGIONS[:1])
    sizes = [bits for bits in BITS if 1 << bits <= plan.nodes]
    for replicate, bits, k in _grid(plan.replicates, sizes, CONTACTS):
        n = 1 << bits
        ids = np.arange(n, dtype=np.uint64) << np.uint64(64 - bits)
        people = agents(np.zeros(n), np.zeros(n))
        chance = Chance(plan.seed, replicate)
        bundle = build(RoutingParameters(k=k), people, [0], wires, chance, ids=ids)
        rng = chance.stream(f"dht/{bits}")
        keys = bundle.node["ident"][rng.integers(0, n, plan.lookups)].copy()
        out = ask(bundle, rng.integers(0, n, plan.lookups), keys)
        expected = round(mean_hops(bits, k) * 10**6)
        rows.append({"bits": bits, "k": k, "replicate": replicate, **counts(out)})
        rows[-1]["expected_micro"] = expected
    return pl.DataFrame(rows)


def _grid(replicates: int, *axes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    points: list[tuple[int, ...]] = [()]
    for axis in axes:
        points = [(*point, value) for point in points for value in axis]
    for replicate in range(replicates):
        for point in points:
            yield (replicate, *point)


# -- rings --------------------------------------------------------------------------------------


def hierarchy(plan: Plan) -> pl.DataFrame:
    """Look agents up in flat and in hierarchical tables, on the same traffic.

    `own_percent` of the lookups are for an agent of the asker's region. `own_crossings` are those
    of such lookups alone.
    """
    rows, wires = [], network()
    for replicate in range(plan.replicates):
        chance = Chance(plan.seed, replicate)
        kinds = (KADEMLIA, HIERARCHICAL)
        worlds = [world(plan.nodes, chance, wires, kind=kind) for kind in kinds]
        region = worlds[0].node["region"].astype(np.int64)
        for percent in OWN_REGION_PERCENT:
            rng = chance.stream("dht/hierarchy")
            sources = rng.integers(0, plan.nodes, plan.lookups)
            targets = rng.integers(0, plan.nodes, plan.lookups)
            near = rng.random(plan.lookups) * 100 < percent
            targets[near] = _same_region(rng, region, sources[near])
            own = region[sources] == region[targets]
            for kind, bundle in zip(kinds, worlds, strict=True):
                out = ask(bundle, sources, bundle.node["ident"][targets].copy(), region[targets])
                rows.append(
                    {
                        "own_percent": percent,
                        "kind": kind,
                        "replicate": replicate,
                        **counts(out),
                        "own_lookups": int(own.sum()),
                        "own_crossings": int(out["crossings"][own].sum()),
                        "own_delay_ns": int(out["delay_ns"][own].sum()),
                    }
                )
    return pl.DataFrame(rows)


def _same_region(rng: np.random.Generator, region: Any, sources: Any) -> Any:
    order = np.argsort(region, kind="stable")
    first = np.searchsorted(region[order], region[sources])
    size = np.bincount(region)[region[sources]]
    return order[first + (rng.random(len(sources)) * size).astype(np.int64)]


# -- churn --------------------------------------------------------------------------------------


def churn(plan: Plan) -> pl.DataFrame:
    """Look keys up while nodes come and go as in Kad, against the age at which tables are renewed.

    Sessions: the defaults of `sessions: {kind: weibull}` (Steiner et al. 2007), in equilibrium.
    """
    rows, wires = [], network()
    for replicate, style, paths in _grid(plan.replicates, (RECURSIVE, ITERATIVE), PATHS):
        chance = Chance(plan.seed, replicate)
        settings = {"style": style, "disjoint_paths": paths}
        bundle = equilibrium(world(plan.nodes, chance, wires, **settings), chance)
        rng = chance.stream("dht/churn")
        alive = np.flatnonzero(bundle.node["up"])
        sources, keys = rng.choice(alive, plan.lookups), random_keys(rng, plan.lookups)
        for refresh_min in REFRESH_MINUTES:
            bundle.constants["refresh_ns"] = refresh_min * MINUTE_NS
            bundle.tally[:] = 0
            out = ask(bundle, sources, keys)
            state = declare(bundle)
            rows.append(
                {
                    "style": style,
                    "refresh_min": refresh_min,
                    "paths": paths,
                    "replicate": replicate,
                    **counts(out),
                    "alive": len(alive),
                    "short_ppm": state.short_ppm,
                    "stale_ppm": state.stale_ppm,
                }
            )
    return pl.DataFrame(rows)


def equilibrium(bundle: Bundle, chance: Chance) -> Bundle:
    """Put all nodes into an alternating renewal process that has run for ever.

    A node is up with the share of the mean lengths; its state has the age of a renewal process in
    equilibrium, which has the law of the residual life; the state before has a whole length.
    Source: Cox, "Renewal Theory", 1962, sections 5.1 and 7.4.
    """
    sessions = WeibullSessions(kind="weibull")
    laws = [
        (sessions.off_shape_micro / 1e6, float(sessions.off_scale_ns)),
        (sessions.on_shape_micro / 1e6, float(sessions.on_scale_ns)),
    ]
    off_ns, on_ns = (weibull_mean_ns(*law) for law in laws)
    count = len(bundle.node)
    rng = chance.stream("dht/equilibrium")
    up = rng.random(count) < on_ns / (on_ns + off_ns)
    ages = _lengths(rng, up, [weibull_residual_table(*law) for law in laws])
    before = _lengths(rng, ~up, [weibull_table(*law) for law in laws])
    return with_states(bundle, up, -ages, -ages - before)


def _lengths(rng: np.random.Generator, up: Any, tables: Sequence[tuple[int, ...]]) -> Any:
    """Draw a duration for each node from the table of its state."""
    bits = rng.integers(0, 1 << 64, len(up), dtype=np.uint64)
    drawn = [interpolate_array(np.array(table, dtype=np.int64), bits) for table in tables]
    return np.where(up, drawn[1], drawn[0]) * TABLE_UNIT_NS


# -- attacks ------------------------------------------------------------------------------------


def attack(plan: Plan) -> pl.DataFrame:
    """Look keys up while a share of the nodes is silent, or names colluders.

    A larger share contains the smaller ones, and askers are honest at every share. `expected_ppm`:
    what one recursive path would find among poisoners, from the depths without any.
    """
    rows, wires = [], network()
    for replicate, style, malice, paths in _grid(
        plan.replicates, (RECURSIVE, ITERATIVE), (DROP, POISON), PATHS
    ):
        chance = Chance(plan.seed, replicate)
        bundle = world(plan.nodes, chance, wires, style=style, disjoint_paths=paths)
        rng = chance.stream("dht/attack")
        rank = rng.permutation(plan.nodes)
        honest = np.flatnonzero(rank * 100 >= plan.nodes * max(MALICIOUS_PERCENT))
        sources = rng.choice(honest, plan.lookups)
        keys = random_keys(rng, plan.lookups)
        for percent in MALICIOUS_PERCENT:
            bad = rank * 100 < plan.nodes * percent
            bundle = with_malice(bundle, np.where(bad, malice, HONEST))
            point = {"style": style, "malice": malice, "paths": paths, "malicious_percent": percent}
            rows.append({**point, "replicate": replicate, **counts(ask(bundle, sources, keys))})
            if percent == 0:
                law = np.bincount(ask(bundle, sources, keys)["depth"])
            expected = poisoned_success(law / law.sum(), percent / 100)
            rows[-1]["expected_ppm"] = round(expected * 10**6)
    return pl.DataFrame(rows)


STUDIES = {
    "cost": cost,
    "depth": depth,
    "hierarchy": hierarchy,
    "churn": churn,
    "attack": attack,
}
