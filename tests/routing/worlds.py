"""Random DHTs for tests: networks of a few regions, nodes, churn, malice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from sim.world.chance import Chance
from sim.world.kernels import records
from sim.world.network.jitter import shape_table
from sim.world.network.tables import NetworkTables
from sim.world.routing.nodes import (
    LOOKUP,
    LOOKUP_FIELDS,
    Bundle,
    agents,
    build,
    cut_off,
    with_malice,
)
from sim.world.routing.parameters import AIMED, HIERARCHICAL, KADEMLIA, RoutingParameters
from sim.world.routing.paths import Lookup
from sim.world.routing.states import with_states

MS = 1_000_000
SECOND = 1_000 * MS
HOUR = 3_600 * SECOND


def network(regions: int, median_ms: int = 20, spread_ms: int = 4) -> NetworkTables:
    """Tables of a few regions: 1 ms inside, further by index outside."""
    index = np.arange(regions)
    distance = np.abs(index[:, None] - index[None, :])
    median = np.where(distance == 0, MS, distance * median_ms * MS).astype(np.int64)
    spread = np.where(distance == 0, MS // 10, spread_ms * MS).astype(np.int64)
    names = tuple(f"region-{i}" for i in range(regions))
    loss = np.zeros_like(median)
    return NetworkTables(names, median, spread, loss, np.array(shape_table(), dtype=np.int64))


def world(
    n: int, regions: int = 4, zones: int = 0, seed: int = 1, access_ms: int = 8, **settings: Any
) -> Bundle:
    """Agents at 12 hosts a region; `zones` in each region."""
    hosts = 12 * regions
    site = np.arange(hosts) % regions
    zone = site * zones + (np.arange(hosts) // regions) % zones if zones else None
    home = np.arange(n) * 7919 % hosts
    people = agents(home, np.full(n, access_ms * MS))
    parameters = RoutingParameters(**settings)
    return build(parameters, people, site, network(regions), Chance(seed, 0), host_zone=zone)


def full_space(bits: int, seed: int = 1, **settings: Any) -> Bundle:
    """All 2**bits ids taken, one region."""
    n = 1 << bits
    ids = np.arange(n, dtype=np.uint64) << np.uint64(64 - bits)
    people = agents(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64))
    return build(RoutingParameters(**settings), people, [0], network(1), Chance(seed, 0), ids=ids)


def blank(count: int) -> Any:
    """Rows for results."""
    return records(np.zeros(count, dtype=LOOKUP))


def as_lookup(row: Any) -> Lookup:
    """Turn a row into the twin's value."""
    return Lookup(**{name: int(row[name]) for name in LOOKUP_FIELDS})


def churned(bundle: Bundle, rng: np.random.Generator, online: float, mean_ns: int) -> Bundle:
    """Give nodes exponential ages of their last two states at time 0."""
    n = len(bundle.node)
    up = rng.random(n) < online
    since = -rng.exponential(mean_ns, n).astype(np.int64)
    before = since - rng.exponential(mean_ns, n).astype(np.int64)
    return with_states(bundle, up, since, before)


@dataclass(frozen=True)
class Case:
    """A world and the lookups asked of it."""

    bundle: Bundle
    lookups: list[tuple[int, int, int, int, int, int]]


@st.composite
def cases(draw: DrawFn) -> Case:
    """Draw a world of 1 to 250 nodes in any mode, with or without churn and malice."""
    n = draw(st.sampled_from([1, 2, 3, 5, 20, 60, 150, 250]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    settings: dict[str, Any] = {
        "kind": draw(st.sampled_from([KADEMLIA, HIERARCHICAL])),
        "style": draw(st.integers(0, 1)),
        "k": draw(st.sampled_from([1, 2, 3, 8, 16, 20, 64])),
        "b": draw(st.sampled_from([1, 1, 2, 3, 5, 8])),
        "id_bits": draw(st.sampled_from([26, 31, 32, 48, 63, 64])),
        "alpha": draw(st.sampled_from([1, 2, 3, 16])),
        "disjoint_paths": draw(st.sampled_from([1, 1, 2, 3, 8])),
        "proximity": draw(st.booleans()),
        "refresh_ns": draw(st.sampled_from([SECOND, HOUR])),
        "deadline_ns": draw(st.sampled_from([0, 0, 60 * MS, SECOND])),
    }
    bundle = world(
        n,
        regions=draw(st.integers(1, 4)),
        zones=draw(st.sampled_from([0, 1, 3])),
        seed=draw(st.integers(0, 1000)),
        access_ms=draw(st.sampled_from([0, 8])),
        **settings,
    )
    if draw(st.booleans()):
        bundle = churned(bundle, rng, draw(st.sampled_from([0.1, 0.6, 0.95])), HOUR)
    share = draw(st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0]))
    if share:
        some = st.sampled_from([[1], [2], [1, 2], [1 | AIMED, 2 | AIMED], [2, 1 | AIMED]])
        malice = np.where(rng.random(n) < share, rng.choice(draw(some), n), 0)
        bundle = with_malice(
            bundle,
            malice,
            aims=rng.choice(bundle.node["ident"], 1 + n // 2),
            planted=(malice > 0) & (rng.random(n) < 0.7),
            planted_ppm=draw(st.sampled_from([0, 200_000, 1_000_000])),
        )
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        some_hosts = [rng.choice(len(bundle.cut), len(bundle.cut) // 3) for _ in range(2)]
        cut_off(bundle, *some_hosts, blocked=True)
    lookups = []
    for ident in range(draw(st.integers(1, 8))):
        target = int(rng.integers(n))
        key = int(bundle.node["ident"][target]) if ident % 3 else int(rng.integers(2**63)) * 2
        home = int(bundle.node["region"][target]) if ident % 4 else -1
        t_ns = int(rng.integers(5 * HOUR))
        lookups.append((int(rng.integers(n)), key, home, t_ns, ident, ident % 3))
    return Case(bundle, lookups)
