"""Workload and sessions against theory: fixed seeds, bands of 4.5 standard errors."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sim.world.agents import draws, kinds
from sim.world.agents import parameters as p
from sim.world.agents.population import draw_population, session_tables
from sim.world.agents.workload import Cell, Workload
from sim.world.chance import Chance, interpolate_array
from tests.agents.cases import MS, PPM, SECOND, basic, network

CHANCE = Chance(11, 0)
BAND = 4.5


def workload(agents: int, traffic: p.Traffic, **changed: Any) -> Workload:
    third = agents // 3
    parameters = basic(placement=(agents - third, third), traffic=(traffic,), **changed)
    keys = draws.keys_of(CHANCE)
    people = draw_population(parameters, network(2), keys)
    return Workload(parameters, people, keys, CHANCE)


def messages(arrivals: Any, **changed: Any) -> p.Traffic:
    return p.Traffic(kind=kinds.MESSAGE, arrivals=arrivals, size_bytes=100, **changed)


def cells(source: Workload, count: int, first: int = 0) -> list[Cell]:
    return [source.cell(number) for number in range(first, first + count)]


def near(found: float, expected: float, error: float) -> bool:
    return abs(found - expected) < BAND * error


def test_poisson_counts_have_mean_and_variance_of_their_rate() -> None:
    drawn = cells(workload(2_000, messages(p.Poisson(rate_nhz=500_000_000))), 1_200)
    counts = np.array([len(cell.time_ns) for cell in drawn])
    mean = 2_000 * 0.5 * 0.1
    assert near(counts.mean(), mean, math.sqrt(mean / len(counts)))
    # Variance of the sample variance of a Poisson: mu / n + 2 mu^2 / (n - 1).
    spread = math.sqrt(mean / len(counts) + 2 * mean**2 / (len(counts) - 1))
    assert near(counts.var(ddof=1), mean, spread)


def test_times_and_senders_are_uniform_and_independent() -> None:
    drawn = cells(workload(2_000, messages(p.Poisson(rate_nhz=10**9))), 300)
    for number, cell in enumerate(drawn):
        assert cell.time_ns.min() > number * kinds.GRID_NS
        assert cell.time_ns.max() <= (number + 1) * kinds.GRID_NS
        assert cell.first == number << kinds.ID_INDEX_BITS
    time = np.concatenate([c.time_ns % kinds.GRID_NS for c in drawn]) / kinds.GRID_NS
    sender = np.concatenate([c.source for c in drawn]) / 2_000
    for values in (time, sender):
        assert near(values.mean(), 0.5, math.sqrt(1 / 12 / len(values)))
        bins = np.histogram(values, bins=20, range=(0, 1))[0]
        chi = ((bins - len(values) / 20) ** 2 / (len(values) / 20)).sum()
        assert near(chi, 19, math.sqrt(2 * 19))
    assert abs(np.corrcoef(time, sender)[0, 1]) < BAND / math.sqrt(len(time))


def test_a_cell_is_the_same_whichever_was_drawn_before() -> None:
    traffic = messages(p.Poisson(rate_nhz=10**9))
    in_order = cells(workload(2_000, traffic), 130)
    source = workload(2_000, traffic)
    for number in (129, 3, 64, 63, 129):
        for found, expected in zip(source.cell(number), in_order[number], strict=True):
            assert np.array_equal(found, expected)


def test_popularity_follows_zipf() -> None:
    traffic = messages(
        p.Poisson(rate_nhz=20 * 10**9), destinations=p.Destinations(zipf_exponent_micro=1_100_000)
    )
    drawn = cells(workload(500, traffic), 200)
    target = np.concatenate([c.target for c in drawn])
    counts = np.sort(np.bincount(target, minlength=500))[::-1]
    weights = np.arange(1, 501) ** -1.1
    share = weights / weights.sum()
    for rank in (0, 1, 2, 5, 20):
        error = math.sqrt(share[rank] * (1 - share[rank]) / len(target))
        # A message to oneself goes to the next agent: at most one in 500 moves.
        assert abs(counts[rank] / len(target) - share[rank]) < BAND * error + share[rank] / 500
    slope = np.polyfit(np.log(np.arange(1, 21)), np.log(counts[:20]), 1)[0]
    assert -1.2 < slope < -1.0


def test_locality_and_communities_take_their_shares() -> None:
    where = p.Destinations(locality_ppm=300_000, community_ppm=500_000, members=10)
    source = workload(3_000, messages(p.Poisson(rate_nhz=5 * 10**9), destinations=where))
    drawn = cells(source, 60)
    sender = np.concatenate([c.source for c in drawn]).astype(np.int64)
    target = np.concatenate([c.target for c in drawn]).astype(np.int64)
    assert (sender != target).all()
    region = (np.arange(3_000) >= 2_000).astype(int)
    own = np.array([2_000, 1_000])[region[sender]] / 3_000
    expected = (0.3 + 0.7 * own).mean()
    error = math.sqrt(0.25 / len(sender))
    assert near((region[sender] == region[target]).mean(), expected, error)
    factor, _, offset = source._mates.tolist()
    circle = lambda agent: (agent * factor + offset) % 3_000 // 10  # noqa: E731
    inside = 0.7 * 0.5 + (0.3 + 0.7 * 0.5) * 10 / 3_000
    # A tenth of the draws inside a community hit the sender, and move to a neighbour outside it.
    assert near((circle(sender) == circle(target)).mean(), inside * 0.9, error + 0.003)


def test_bursts_have_the_mean_rate_of_their_states() -> None:
    bursts = p.Bursts(rate_nhz=10**9, burst_rate_nhz=9 * 10**9, calm_ns=300 * MS, burst_ns=100 * MS)
    counts = np.array([len(c.time_ns) for c in cells(workload(200, messages(bursts)), 4_000)])
    mean = 200 * 0.1 * (1 * 0.75 + 9 * 0.25)
    # Means of 40 blocks of ten seconds each: cells next to one another are not independent.
    blocks = counts.reshape(40, 100).mean(axis=1)
    assert near(blocks.mean(), mean, blocks.std(ddof=1) / math.sqrt(40))
    assert counts.var() > 5 * mean


def test_days_swing_about_their_mean_by_their_amplitude() -> None:
    day = p.Diurnal(
        rate_nhz=10**9, amplitude_ppm=600_000, period_ns=10 * SECOND, peak_ns=2 * SECOND
    )
    drawn = cells(workload(3_000, messages(day)), 400)
    counts = np.array([len(c.time_ns) for c in drawn]).reshape(4, 100).mean(axis=0)
    middle = (np.arange(100) + 0.5) / 10
    expected = 300 * (1 + 0.6 * np.cos(2 * math.pi * (middle - 2) / 10))
    assert (np.abs(counts - expected) < BAND * np.sqrt(expected / 4) + 1).all()


def test_phases_shift_regions_apart() -> None:
    day = p.Diurnal(rate_nhz=10**9, amplitude_ppm=PPM, period_ns=SECOND, phases_ns=(0, SECOND // 2))
    drawn = cells(workload(6_000, messages(day)), 100)
    source = np.concatenate([c.source for c in drawn if len(c.source)])
    time = np.concatenate([c.time_ns for c in drawn]) % SECOND
    swing = np.cos(2 * math.pi * time / SECOND)
    assert swing[source < 4_000].mean() > 0.4
    assert swing[source >= 4_000].mean() < -0.4


def test_registrations_come_from_those_who_are_not() -> None:
    traffic = p.Traffic(
        kind=kinds.REGISTRATION, arrivals=p.Poisson(rate_nhz=10**9), size_bytes=5_000
    )
    directory = replace(basic().directory, registered_ppm=900_000)
    source = workload(1_000, traffic, directory=directory)
    people = draw_population(source._parameters, network(2), draws.keys_of(CHANCE))
    drawn = np.concatenate([c.source for c in cells(source, 100)])
    assert len(drawn) > 500
    assert (people.lease_until_ns[drawn] == 0).all()
    assert (people.lease_until_ns > 0).sum() == 900


@pytest.mark.parametrize(
    ("shape", "scale"), [(0.38, 1e12), (0.61511, 1e13), (1.0, 1e9), (2.5, 1e10)]
)
def test_session_tables_keep_the_mean_and_quantiles_of_a_weibull(
    shape: float, scale: float
) -> None:
    table = np.array(draws.weibull_table(shape, scale), dtype=np.float64) * 1e3
    mean = ((table[1:] + table[:-1]) / 2).mean()
    assert mean == pytest.approx(draws.weibull_mean_ns(shape, scale), rel=0.01)
    for u in (0.25, 0.5, 0.9, 0.99):
        exact = scale * (-math.log(1 - u)) ** (1 / shape)
        assert table[int(u * 4096)] == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize(
    ("shape", "scale"), [(0.47648, 2e13), (0.61511, 1e13), (1.0, 1e9), (2.5, 1e10)]
)
def test_residual_lives_are_those_of_equilibrium(shape: float, scale: float) -> None:
    """Mean residual life E[T^2] / 2 E[T] (the inspection paradox); exponential: unchanged."""
    table = np.array(draws.weibull_residual_table(shape, scale), dtype=np.float64) * 1e3
    mean = ((table[1:] + table[:-1]) / 2).mean()
    second = scale**2 * math.gamma(1 + 2 / shape)
    assert mean == pytest.approx(second / (2 * draws.weibull_mean_ns(shape, scale)), rel=0.02)
    if shape == 1.0:
        whole = np.array(draws.weibull_table(shape, scale), dtype=np.float64)
        assert table[2048] / 1e3 == pytest.approx(whole[2048], rel=0.01)


def test_population_starts_in_equilibrium() -> None:
    sessions = p.Sessions(
        on_shape_micro=600_000,
        on_scale_ns=60 * SECOND,
        off_shape_micro=500_000,
        off_scale_ns=20 * SECOND,
    )
    parameters = basic(placement=(30_000, 10_000), sessions=sessions)
    people = draw_population(parameters, network(2), draws.keys_of(CHANCE))
    online = (people.session & 1) == 1
    mean_on = draws.weibull_mean_ns(0.6, 60 * SECOND)
    mean_off = draws.weibull_mean_ns(0.5, 20 * SECOND)
    share = mean_on / (mean_on + mean_off)
    assert near(online.mean(), share, math.sqrt(share * (1 - share) / 40_000))
    table = np.array(session_tables(sessions).residual[1], dtype=np.int64)
    grid = (np.arange(1 << 12, dtype=np.uint64) << np.uint64(52)) | np.uint64(1 << 51)
    expected = np.median(interpolate_array(table, grid)) * 1e3
    found = np.median((people.session >> 1)[online])
    assert found == pytest.approx(expected, rel=0.05)


def test_identities_are_distinct_and_homes_spread_evenly() -> None:
    parameters = basic(placement=(9_001, 3_000), access=_classes())
    people = draw_population(parameters, network(2), draws.keys_of(CHANCE))
    assert len(np.unique(people.ident)) == 12_001
    homes = np.bincount(people.home, minlength=5)
    assert homes.tolist() == [4_501, 4_500, 1_500, 1_500, 0]
    assert (people.home != people.secondary).all()
    shares = np.bincount(people.access) / 12_001
    assert near(shares[0], 0.25, math.sqrt(0.25 * 0.75 / 12_001))


def _classes() -> tuple[p.AccessClass, ...]:
    return (
        p.AccessClass(share_ppm=250_000, median_ns=MS, spread_ns=0),
        p.AccessClass(share_ppm=750_000, median_ns=MS, spread_ns=0),
    )
