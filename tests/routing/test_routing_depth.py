"""Mean depth against the exact recursion in a full id space; the recursion against known values."""

from __future__ import annotations

import numpy as np
import pytest

from sim.study.theory import hops_distribution, mean_hops, poisoned_success
from sim.world.routing.kernels import route_many
from sim.world.routing.nodes import Bundle
from sim.world.routing.parameters import FOUND
from sim.world.routing.verdict import declare
from tests.routing.worlds import HOUR, blank, full_space

DEEP = {1: 10.0, 3: 6.4032, 8: 4.6313, 16: 3.8803, 20: 3.7037}
"""Expected hops at 2**20 nodes, by k."""


def depths(bundle: Bundle, lookups: int, periods: int = 50) -> np.ndarray:
    """Look random nodes up from random nodes, over many refreshes of all tables."""
    rng, n = np.random.default_rng(7), len(bundle.node)
    found = []
    for period in range(periods):
        count = lookups // periods
        out = blank(count)
        keys = bundle.node["ident"][rng.integers(0, n, count)].copy()
        nowhere = np.full(count, -1)
        start = period * HOUR
        route_many(bundle, rng.integers(0, n, count), keys, nowhere, start, period * count, out)
        assert (out["outcome"] == FOUND).all()
        assert (bundle.node["ident"][out["owner"]] == keys).all()
        found.append(out["depth"].copy())
    return np.concatenate(found)


@pytest.mark.parametrize("k", sorted(DEEP))
def test_the_recursion_gives_the_known_values(k: int) -> None:
    assert mean_hops(20, k) == pytest.approx(DEEP[k], abs=5e-5)
    law = hops_distribution(20, k)
    assert sum(law) == pytest.approx(1)
    assert sum(h * p for h, p in enumerate(law)) == pytest.approx(mean_hops(20, k))


def test_one_contact_halves_the_bits() -> None:
    assert [mean_hops(bits, 1) for bits in (1, 2, 10)] == pytest.approx([0.5, 1.0, 5.0])
    assert mean_hops(4, 64) == pytest.approx(15 / 16)
    assert poisoned_success(hops_distribution(10, 20), 0.0) == pytest.approx(1)
    assert poisoned_success(hops_distribution(10, 20), 1.0) == pytest.approx(1 / 1024)


@pytest.mark.parametrize("k", sorted(DEEP))
@pytest.mark.parametrize("bits", [10, 15, 20])
def test_mean_depth_is_that_of_the_recursion(bits: int, k: int) -> None:
    bundle = full_space(bits, k=k)
    mean = depths(bundle, 100_000).mean()
    assert mean == pytest.approx(mean_hops(bits, k), rel=0.005)
    assert declare(bundle).kind == "converged"


@pytest.mark.slow
@pytest.mark.parametrize("k", sorted(DEEP))
@pytest.mark.parametrize("bits", range(10, 21))
def test_depths_follow_the_law_of_the_recursion(bits: int, k: int) -> None:
    """Mean within 0.5 % and every probability within 4.5 sigma, at all sizes."""
    found = depths(full_space(bits, seed=bits, k=k), 400_000)
    law = np.array(hops_distribution(bits, k))
    assert found.mean() == pytest.approx(mean_hops(bits, k), rel=0.005)
    seen = np.bincount(found, minlength=len(law))
    sigma = np.sqrt(len(found) * law * (1 - law)) + 1
    assert (np.abs(seen - len(found) * law) < 4.5 * sigma).all()
