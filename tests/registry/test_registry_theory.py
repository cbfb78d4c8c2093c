"""The registry's load and limits against closed forms. Fixed seeds, bands of 4 to 5 sigma."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.study.theory import blocked, fastest, hottest
from sim.world.chance import Chance, mix_array
from sim.world.registry.agent_registry import AgentRegistry
from sim.world.registry.limits import RegistrationLimits, RegistrationMeter, TokenBucket
from sim.world.registry.parameters import RegistryParameters
from sim.world.registry.placement import shard_of, shards_of
from sim.world.registry.quorum import quorum_waits_ns

SECOND_NS = 10**9


def loads(balls: int, bins: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    key = Chance(seed, 0).key("registry/shard")
    return np.bincount(shards_of(key, np.arange(balls), bins), minlength=bins)


def test_shards_are_the_same_one_by_one() -> None:
    key = Chance(4, 2).key("registry/shard")
    idents = mix_array(9, np.arange(500))
    single = [shard_of(key, int(ident), 150) for ident in idents]
    assert shards_of(key, idents, 150).tolist() == single


def test_records_spread_like_balls_over_bins() -> None:
    """Chi-square of 1M keys over 150 shards: 149 degrees of freedom, within 5 sigma."""
    count = loads(1_000_000, 150, seed=1)
    expected = 1_000_000 / 150
    chi_square = float(((count - expected) ** 2 / expected).sum())
    assert abs(chi_square - 149) < 5 * math.sqrt(2 * 149)


def test_the_hottest_shard_is_as_hot_as_balls_in_bins_say() -> None:
    """The mean maximum over 200 placements of 60,000 keys on 150 shards.

    See `sim.study.theory.hottest`.
    """
    balls, bins, runs = 60_000, 150, 200
    tops = np.array([loads(balls, bins, seed=seed).max() for seed in range(runs)])
    expected = hottest(balls, bins)
    assert abs(tops.mean() - expected) < 5 * tops.std() / math.sqrt(runs)
    assert 1.10 < expected * bins / balls < 1.20


@pytest.mark.parametrize("exponent", [0.0, 0.8, 1.2])
def test_zipf_keys_make_the_shard_of_the_most_popular_hot(exponent: float) -> None:
    """With weights r**-s the hottest shard carries the top key's share and its own of the rest.

    Its expected share is p1 + (1 - p1) / n; others' keys scatter around that with variance
    sum(p_r**2, r > 1) (1/n)(1 - 1/n). Against the counts that `hot_shards` gives.
    """
    agents, shards, reads = 20_000, 32, 40_000
    weight = np.arange(1, agents + 1, dtype=np.float64) ** -exponent
    share = weight / weight.sum()
    one = AgentRegistry(RegistryParameters(placement=((0,),) * shards), chance=Chance(3, 0))
    asked = np.random.default_rng(8).choice(agents, reads, p=share)
    for ident in asked.tolist():
        one.read(ident, gateway=0, now_ns=0)
    key = Chance(3, 0).key("registry/shard")
    exact = np.bincount(shards_of(key, np.arange(agents), shards), share, shards)
    by_shard = {load.shard: load.reads for load in one.hot_shards(shards)}
    assert sum(by_shard.values()) == reads
    for shard in range(shards):
        sigma = math.sqrt(reads * exact[shard] * (1 - exact[shard]))
        assert abs(by_shard[shard] - reads * exact[shard]) < 5 * sigma
    top = int(shards_of(key, np.zeros(1, dtype=np.int64), shards)[0])
    first, others = share[0], float((share[1:] ** 2).sum())
    expected = first + (1 - first) / shards
    assert abs(exact[top] - expected) < 5 * math.sqrt(others / shards * (1 - 1 / shards))
    if exponent > 1:
        assert one.hot_shards(1)[0].shard == top


@pytest.mark.parametrize("burst", [1, 7, 100])
def test_a_flood_gets_the_burst_and_then_the_rate(burst: int) -> None:
    """Admitted by t of a dense flood from 0: burst + floor(t / step)."""
    bucket = TokenBucket(rate_nhz=50 * 10**9, burst=burst)
    meter = RegistrationMeter(RegistrationLimits(registry=bucket), 1)
    times = np.arange(0, 4 * SECOND_NS, 1_000_000, dtype=np.int64)
    admitted = np.cumsum(meter.admit_many(np.zeros(len(times), dtype=np.int64), times) == 0)
    closed = np.minimum(np.arange(1, len(times) + 1), burst + times // bucket.step_ns)
    assert (admitted == closed).all()


def test_admitted_never_exceed_the_envelope_of_any_interval() -> None:
    """In each window of length T at most burst + T / step requests are admitted (ITU-T I.371)."""
    bucket = TokenBucket(rate_nhz=100 * 10**9, burst=5)
    meter = RegistrationMeter(RegistrationLimits(gateway=bucket), 1)
    gaps = np.random.default_rng(2).exponential(SECOND_NS / 150, 2_000).astype(np.int64)
    times = np.cumsum(gaps)
    passed = times[meter.admit_many(np.zeros(len(times), dtype=np.int64), times) == 0]
    assert 500 < len(passed) < len(times)
    index = np.arange(len(passed))
    count = index[None, :] - index[:, None] + 1
    room = bucket.burst + (passed[None, :] - passed[:, None]) / bucket.step_ns
    assert (count <= room)[count > 0].all()


def test_poisson_arrivals_lose_what_erlang_says() -> None:
    """Burst 1 is a pure loss system with fixed dead time: blocked share a / (1 + a).

    Erlang's loss formula holds for any service distribution (insensitivity); a = rate x step.
    """
    load, arrivals = 0.6, 200_000
    bucket = TokenBucket(rate_nhz=1_000 * 10**9, burst=1)
    gaps = np.random.default_rng(4).exponential(bucket.step_ns / load, arrivals)
    times = np.cumsum(gaps).astype(np.int64)
    meter = RegistrationMeter(RegistrationLimits(gateway=bucket), 1)
    refused = (meter.admit_many(np.zeros(arrivals, dtype=np.int64), times) != 0).mean()
    expected = blocked(load)
    # Refusals come in runs between renewals: twice the binomial deviation bounds theirs.
    assert abs(refused - expected) < 4 * 2 * math.sqrt(expected * (1 - expected) / arrivals)


@pytest.mark.parametrize("replicas", [2, 3, 5, 7])
def test_a_quorum_waits_for_an_order_statistic(replicas: int) -> None:
    """Of n exponential trips the k-th smallest has mean sum(1 / (n - i), i < k) (Renyi 1953)."""
    rows, mean_ns = 40_000, 10**6
    trips = np.random.default_rng(replicas).exponential(mean_ns, (rows, replicas - 1))
    waits = quorum_waits_ns(trips.astype(np.int64), replicas)
    needed = replicas // 2
    terms = [1 / (replicas - 1 - i) for i in range(needed)]
    sigma = mean_ns * math.sqrt(sum(term**2 for term in terms) / rows)
    assert abs(waits.mean() - mean_ns * fastest(replicas - 1, needed)) < 5 * sigma
