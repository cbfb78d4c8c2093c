"""Compiled lookups against the readable ones: the same paths, counts and nanoseconds."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings

from sim.world.routing import kernels
from sim.world.routing.parameters import OUTCOMES, POISONED
from sim.world.routing.paths import Paths
from tests.routing.worlds import HOUR, Case, as_lookup, blank, cases, world

MUST_OCCUR = (
    *OUTCOMES,
    "timeouts",
    "deep",
    "inner_ring",
    "outer_ring",
    "disjoint",
    "poisoned_path_mended",
    "aimed",
    "aimed_and_poisoned",
    "planted",
    "cut",
)


def compare(case: Case, seen: Counter[str]) -> None:
    bundle = case.bundle
    twin = Paths(bundle)
    out = blank(1)
    for source, key, home, t_ns, ident, attempt in case.lookups:
        kernels.route(bundle, source, np.uint64(key), home, t_ns, ident, attempt, out[0])
        found, expected = as_lookup(out[0]), twin.route(source, key, home, t_ns, ident, attempt)
        assert found == expected
        seen[OUTCOMES[found.outcome]] += 1
        seen["timeouts"] += found.timeouts > 0
        seen["deep"] += found.depth >= 3
        seen["inner_ring"] += found.ring == 1
        seen["outer_ring"] += found.ring == 0 and bundle.constants["inner"][0] > 0
        seen["disjoint"] += bundle.constants["disjoint_paths"][0] > 1
        aimed = bool(bundle.constants["aimed"][0])
        seen["aimed"] += aimed
        seen["aimed_and_poisoned"] += aimed and found.outcome == POISONED
        seen["planted"] += bool(len(bundle.planted) and bundle.constants["planted_ppm"][0])
        seen["cut"] += bool(bundle.constants["cuts"][0] and found.timeouts)
        malicious = bundle.constants["malicious"][0] and found.outcome == 0
        seen["poisoned_path_mended"] += bool(malicious and seen["disjoint"] and found.rpcs > 3)


def test_kernels_equal_their_twin() -> None:
    seen: Counter[str] = Counter()

    @settings(
        max_examples=250,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def check(case: Case) -> None:
        compare(case, seen)

    check()
    assert not [what for what in MUST_OCCUR if not seen[what]]


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(cases())
def test_nodes_that_come_and_go_change_both_alike(case: Case) -> None:
    bundle, n = case.bundle, len(case.bundle.node)
    rng = np.random.default_rng(n)
    for node in rng.integers(0, n, n // 3 + 1):
        kernels.set_up(bundle, int(node), int(rng.integers(2)), int(rng.integers(5 * HOUR)))
    compare(case, Counter())


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(cases())
def test_the_closest_live_node_is_found(case: Case) -> None:
    bundle, twin = case.bundle, Paths(case.bundle)
    for ring in range(len(bundle.rings)):
        for _, key, *_ in case.lookups:
            assert kernels.closest(bundle, ring, np.uint64(key)) == twin.closest(ring, key)


def test_keys_are_the_same() -> None:
    for bits in (26, 64):
        bundle = world(50, id_bits=bits)
        twin = Paths(bundle)
        for number in range(50):
            assert int(kernels.agent_key(bundle, number)) == twin.agent_key(number)
            assert int(kernels.capability_key(bundle, number)) == twin.capability_key(number)
