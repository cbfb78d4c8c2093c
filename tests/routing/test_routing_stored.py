"""Iterative lookups over implicit tables against a Kademlia that stores its buckets."""

from __future__ import annotations

import random
from math import sqrt

import numpy as np
import pytest

from sim.world.chance import Chance
from sim.world.network.jitter import shape_table
from sim.world.network.tables import NetworkTables
from sim.world.routing.kernels import route_many, set_up
from sim.world.routing.nodes import agents, build
from sim.world.routing.parameters import FOUND, ITERATIVE, RoutingParameters
from tests.routing.stored_kademlia import grown, look_up, mixed
from tests.routing.worlds import HOUR, MS, blank

CRITICAL = 1.949
"""Kolmogorov-Smirnov at 0.1 %: sqrt(-ln(0.001 / 2) / 2); conservative for counts."""
MEDIAN_NS, SPREAD_NS = 50 * MS, 40 * MS


def wire() -> NetworkTables:
    """One region where delays vary enough that answers overtake one another."""
    one = np.ones((1, 1), dtype=np.int64)
    shape = np.array(shape_table(), dtype=np.int64)
    return NetworkTables(("here",), one * MEDIAN_NS, one * SPREAD_NS, one * 0, shape)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov-Smirnov statistic, in units of sqrt((n + m) / (n m))."""
    values = np.union1d(a, b)
    gaps = [abs((a <= v).mean() - (b <= v).mean()) for v in values]
    return max(gaps) / sqrt((len(a) + len(b)) / (len(a) * len(b)))


def stored(
    n: int,
    k: int,
    alpha: int,
    lookups: int,
    *,
    dead: float = 0.0,
    worlds: int = 15,
    join: bool = False,
) -> np.ndarray:
    """Return (depth, rounds, rpcs) of lookups in Kademlias that store their buckets."""
    tables = wire()
    rows = []
    for world in range(worlds):
        rng = random.Random(1_000 + world)

        def delay(rng: random.Random = rng) -> int:
            return tables.delay_ns(0, 0, rng.getrandbits(64))

        nodes = grown(n, k, alpha, delay, rng) if join else mixed(n, k, rng)
        for node in rng.sample(nodes, int(dead * n)):
            node.alive = False
        alive = [node for node in nodes if node.alive]
        for _ in range(lookups // worlds):
            key = rng.getrandbits(64)
            owner, *counts = look_up(rng.choice(alive), key, alpha, delay, 500 * MS)
            if not dead:
                assert owner == min((node.ident for node in alive), key=key.__xor__)
            rows.append(counts)
    return np.array(rows)


def implicit(n: int, k: int, alpha: int, lookups: int, dead: float = 0.0) -> np.ndarray:
    """Return the same of the kernels; every thirtieth part has tables of its own."""
    parts, rng = 30, np.random.default_rng(n)
    people = agents(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64))
    p = RoutingParameters(style=ITERATIVE, k=k, alpha=alpha)
    rows = []
    for part in range(parts):
        bundle = build(p, people, [0], wire(), Chance(part, 0))
        up = np.ones(n, dtype=bool)
        if dead:
            up[rng.choice(n, int(dead * n), replace=False)] = False
            for node in np.flatnonzero(~up):
                set_up(bundle, int(node), 0, 10 * HOUR)
        count = lookups // parts
        out = blank(count)
        keys = rng.integers(2**63, size=count).astype(np.uint64) * np.uint64(2)
        sources = rng.choice(np.flatnonzero(up), count)
        # All tables were filled before the dead died: at the last refresh, within the hour.
        route_many(bundle, sources, keys, np.full(count, -1), 10 * HOUR, 0, out)
        assert (out["outcome"] == FOUND).all()
        rows.append(np.stack([out["depth"], out["rounds"], out["rpcs"]], axis=1))
    return np.concatenate(rows)


@pytest.mark.parametrize(("n", "k", "alpha"), [(300, 8, 3), (200, 4, 1)])
def test_implicit_tables_behave_like_stored_ones(n: int, k: int, alpha: int) -> None:
    slow, fast = stored(n, k, alpha, 1_500), implicit(n, k, alpha, 3_000)
    for column, what in enumerate(("depth", "rounds", "rpcs")):
        assert distance(slow[:, column], fast[:, column]) < CRITICAL, what


def test_dead_contacts_cost_both_the_same() -> None:
    slow, fast = stored(200, 8, 3, 1_500, dead=0.2), implicit(200, 8, 3, 3_000, dead=0.2)
    for column, what in enumerate(("depth", "rounds", "rpcs")):
        assert distance(slow[:, column], fast[:, column]) < CRITICAL, what


def test_the_comparison_tells_other_settings_apart() -> None:
    fast = implicit(200, 8, 3, 3_000)
    assert distance(implicit(200, 7, 3, 3_000)[:, 2], fast[:, 2]) > CRITICAL
    assert distance(implicit(200, 8, 2, 3_000)[:, 1], fast[:, 1]) > CRITICAL
    assert distance(implicit(300, 8, 3, 3_000)[:, 0], fast[:, 0]) > CRITICAL


@pytest.mark.slow
@pytest.mark.parametrize(("n", "k", "alpha"), [(2_000, 16, 3), (1_000, 20, 3), (1_000, 8, 1)])
def test_implicit_tables_behave_like_stored_ones_in_larger_worlds(
    n: int, k: int, alpha: int
) -> None:
    slow, fast = stored(n, k, alpha, 2_000, worlds=5), implicit(n, k, alpha, 6_000)
    for column, what in enumerate(("depth", "rounds", "rpcs")):
        assert distance(slow[:, column], fast[:, column]) < CRITICAL, what


@pytest.mark.slow
def test_buckets_filled_first_come_first_served_cost_a_little_more() -> None:
    """Nodes that came early sit in everybody's buckets, so an answer tells less that is new."""
    slow, fast = stored(300, 8, 3, 1_500, worlds=5, join=True), implicit(300, 8, 3, 3_000)
    ratio = slow.mean(axis=0) / fast.mean(axis=0)
    assert (ratio > 1.01).all()
    assert (ratio < [1.2, 1.1, 1.1]).all()
