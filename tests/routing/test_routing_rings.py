"""Rings inside rings: who looks for a neighbour stays in the region, and pays less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world.routing.kernels import closest, route_many
from sim.world.routing.nodes import Bundle
from sim.world.routing.parameters import FOUND, HIERARCHICAL, ITERATIVE, KADEMLIA, REGION, WORLD
from sim.world.routing.paths import Paths
from tests.routing.worlds import blank, churned, world

HOUR = 3_600 * 10**9


def look_up(bundle: Bundle, sources: Any, targets: Any, t_ns: int = 0) -> Any:
    """Look up agents by their ids, with records in their home regions."""
    out = blank(len(sources))
    keys = bundle.node["ident"][targets].copy()
    homes = bundle.node["region"][targets].astype(np.int64)
    route_many(bundle, sources, keys, homes, t_ns, 0, out)
    return out


@settings(max_examples=80, derandomize=True, deadline=None, database=None)
@given(
    n=st.integers(2, 600),
    regions=st.integers(1, 6),
    zones=st.integers(0, 4),
    style=st.integers(0, 1),
    k=st.sampled_from([1, 3, 20]),
    b=st.sampled_from([1, 2, 4]),
    paths=st.sampled_from([1, 3]),
    churn=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_a_lookup_for_the_own_region_never_leaves_it(
    n: int, regions: int, zones: int, style: int, k: int, b: int, paths: int, churn: bool, seed: int
) -> None:
    bundle = world(
        n,
        regions,
        zones,
        seed,
        kind=HIERARCHICAL,
        style=style,
        k=k,
        b=b,
        disjoint_paths=paths,
    )
    rng = np.random.default_rng(seed)
    if churn:
        bundle = churned(bundle, rng, 0.7, HOUR)
    sources, targets = rng.integers(0, n, 60), rng.integers(0, n, 60)
    out = look_up(bundle, sources, targets, 3 * HOUR)
    own = bundle.node["region"][sources] == bundle.node["region"][targets]
    assert (out["crossings"][own] == 0).all()
    assert (out["ring"][own] == REGION).all()
    assert (out["ring"][~own] == WORLD).all()
    if not churn:
        assert (out["outcome"] == FOUND).all()
        # Several paths may find another of the k closest first.
        assert (out["owner"] == targets).all() or (paths > 1 and style == ITERATIVE)


@pytest.mark.parametrize("kind", [KADEMLIA, HIERARCHICAL])
@pytest.mark.parametrize("style", [0, ITERATIVE])
def test_every_asker_comes_to_the_same_owner(kind: int, style: int) -> None:
    """Keys that are nobody's id: the closest node of the ring, from wherever one asks."""
    bundle = world(2_000, 4, 2, kind=kind, style=style, k=3)
    rng = np.random.default_rng(1)
    for _ in range(20):
        key = np.uint64(rng.integers(2**63)) * np.uint64(2)
        home = int(rng.integers(4))
        sources, out = rng.integers(0, 2_000, 50), blank(50)
        route_many(bundle, sources, np.full(50, key), np.full(50, home), 0, 0, out)
        at_home = (bundle.node["region"][sources] == home) & (kind == HIERARCHICAL)
        assert (out["owner"][at_home] == closest(bundle, bundle.ring_of_region(home), key)).all()
        assert (out["owner"][~at_home] == closest(bundle, 0, key)).all()


def test_outer_contacts_fill_only_what_is_empty_inside() -> None:
    """Canon's rule, bucket by bucket: a node has no contact outside where its own ring has one."""
    bundle = world(800, 4, 2, kind=HIERARCHICAL, k=4)
    twin = Paths(bundle)
    outside = 0
    for x in range(0, 800, 40):
        inner = {node for kind in (2, 1) for node in twin.members(twin.ring_of(x, kind))}

        def bucket(node: int, x: int = x) -> int:
            return (twin.ids[node] ^ twin.ids[x]).bit_length()

        held = {bucket(node) for node in inner if node != x}
        table = twin.table(x, WORLD, 0)
        for node in table:
            if node not in inner:
                outside += 1
                assert bucket(node) not in held
        assert {bucket(node) for node in range(800) if node != x} == {bucket(n) for n in table}
    assert outside > 0


def test_rings_save_crossings_and_time_on_the_same_traffic() -> None:
    n = 20_000
    rng = np.random.default_rng(3)
    flat, rings = world(n, 6, 2, kind=KADEMLIA), world(n, 6, 2, kind=HIERARCHICAL)
    assert (flat.node["ident"] == rings.node["ident"]).all()
    sources, targets = rng.integers(0, n, 4_000), rng.integers(0, n, 4_000)
    a, b = look_up(flat, sources, targets), look_up(rings, sources, targets)
    assert (a["outcome"] == FOUND).all()
    assert (b["outcome"] == FOUND).all()
    for column in ("crossings", "delay_ns"):
        saved = a[column].astype(float) - b[column]
        assert saved.mean() > 5 * saved.std() / np.sqrt(len(saved)), column


def test_links_nearer_than_all_inner_nodes_are_not_enough() -> None:
    """Why the rule is taken bucket by bucket: XOR is symmetric, so gaps of a ring have no guard."""
    bundle = world(1_000, 4, 3, kind=HIERARCHICAL)
    twin = Paths(bundle)
    rng = np.random.default_rng(0)
    rings = [twin.members(ring) for ring in range(len(bundle.rings))]
    tables: dict[tuple[int, int], list[int]] = {}

    def shared(a: int, b: int) -> int:
        return 64 - (twin.ids[a] ^ twin.ids[b]).bit_length()

    def nearer_only(x: int, outer: int) -> list[int]:
        """All nodes that x could have as contacts if outer rings gave none but the nearest."""
        contacts: list[int] = []
        nearest = -1
        for kind in range(2, outer - 1, -1):
            others = [node for node in rings[twin.ring_of(x, kind)] if node != x]
            contacts += [node for node in others if shared(x, node) > nearest]
            nearest = max([nearest, *(shared(x, node) for node in others)])
        return contacts

    stalled = 0
    for _ in range(150):
        key, x = int(rng.integers(2**63)) * 2, int(rng.integers(1_000))
        for outer in (2, 1, 0):
            while True:
                if (x, outer) not in tables:
                    tables[x, outer] = nearer_only(x, outer)
                best = min(tables[x, outer], key=lambda node: twin.ids[node] ^ key, default=x)
                if twin.ids[best] ^ key >= twin.ids[x] ^ key:
                    break
                x = best
        stalled += x != closest(bundle, 0, np.uint64(key))
    assert stalled > 15
