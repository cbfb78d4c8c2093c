"""Statistics against theory: coverage, closed forms, textbook cases."""

from __future__ import annotations

from math import inf, isnan, pi, sin
from pathlib import Path

import numpy as np
import pytest

from sim.record.runs import RunError, open_run
from sim.scenario.load import load_scenario
from sim.scenario.sweep import sobol_design
from sim.scenario.until import Until
from sim.study.statistics.censored import survival, survival_of, transaction_times
from sim.study.statistics.intervals import (
    mean_interval,
    paired_interval,
    proportion_interval,
    quantile_interval,
    quantile_ranks,
)
from sim.study.statistics.sensitivity import (
    sobol_indices,
    sobol_of,
)
from sim.study.statistics.steady import (
    NoSteadyState,
    mser5,
    overlapping_batch_means,
    steady_mean,
)
from sim.study.stopping import next_target
from sim.study.sweep import Workers, run_study
from sim.world.chance import Chance
from tests.study.studies import study, study_file


def test_the_t_interval_is_the_textbook_s() -> None:
    # Student's own sleep data (Biometrika 1908): mean 1.58, s 1.23; t(9, 0.975) = 2.262.
    found = mean_interval([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    assert found.estimate == pytest.approx(1.58)
    assert (found.lower, found.upper) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert isnan(mean_interval([3.0]).lower)
    assert mean_interval([3.0, 3.0]).width == 0
    assert mean_interval([1.0, -1.0]).relative_width == inf
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1.0, float("nan")])
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([1.0, 2.0], 95)


def test_the_t_interval_covers_as_often_as_it_says() -> None:
    values = np.random.default_rng(1).normal(5, 2, (4000, 8))
    covered = sum(mean_interval(row).covers(5) for row in values)
    assert 0.94 <= covered / 4000 <= 0.96


def test_pairs_cancel_what_they_share() -> None:
    random = np.random.default_rng(2)
    shared = random.normal(100, 50, 40)
    left, right = shared + random.normal(0, 1, 40), shared + 3 + random.normal(0, 1, 40)
    found = paired_interval(left, right)
    assert found.covers(3)
    assert found.half_width < 1
    assert mean_interval(right).half_width > 10
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_interval([1.0, 2.0], [1.0])


def test_proportions_have_the_exact_interval() -> None:
    # Clopper and Pearson (1934): 3 of 10 at 95 %: 0.0667 to 0.6525.
    found = proportion_interval(3, 10)
    assert (found.lower, found.upper) == pytest.approx((0.0667, 0.6525), abs=1e-4)
    assert proportion_interval(0, 59).upper < 0.0607
    assert proportion_interval(0, 20).lower == 0


def test_quantile_ranks_fail_no_more_often_than_they_may() -> None:
    from scipy.stats import binom

    for n, q, confidence in ((20, 0.5, 0.95), (100, 0.99, 0.95), (500, 0.99, 0.9), (7, 0.5, 0.95)):
        lower, upper = quantile_ranks(n, q, confidence)
        side = (1 - confidence) / 2
        assert binom.cdf(lower - 1, n, q) <= side
        assert binom.sf(upper - 1, n, q) <= side
        # One rank further in would fail too often.
        assert binom.cdf(lower, n, q) > side
        assert binom.sf(upper - 2, n, q) > side
    assert quantile_ranks(20, 0.5) == (6, 15)  # David and Nagaraja: Y(6), Y(15) at 95.9 %
    assert quantile_ranks(5, 0.5) == (0, 6)


def test_quantile_intervals_cover_at_least_as_often_as_they_say() -> None:
    values = np.random.default_rng(3).exponential(1, (2000, 60))
    covered = sum(quantile_interval(row, 0.9).covers(-np.log(0.1)) for row in values)
    assert covered / 2000 >= 0.945
    assert quantile_interval(range(1, 101), 0.99).estimate == 99
    assert quantile_interval(range(1, 101), 0.99).upper == inf


def autoregressive(seeds: int, n: int, rho: float) -> np.ndarray:
    """AR(1) series with mean 10 from its stationary law."""
    random = np.random.default_rng(4)
    noise = random.normal(0, np.sqrt(1 - rho * rho), (seeds, n))
    series = np.empty((seeds, n))
    series[:, 0] = random.normal(0, 1, seeds)
    for step in range(1, n):
        series[:, step] = rho * series[:, step - 1] + noise[:, step]
    return series + 10


def test_batch_means_allow_for_correlation() -> None:
    rows = autoregressive(600, 4000, 0.6)
    covered = sum(overlapping_batch_means(row).covers(10) for row in rows)
    naive = sum(mean_interval(row).covers(10) for row in rows)
    assert 0.92 <= covered / 600 <= 0.975
    assert naive / 600 < 0.75
    with pytest.raises(NoSteadyState, match="99 values"):
        overlapping_batch_means(np.zeros(99))


def test_batch_means_estimate_the_variance_of_the_mean() -> None:
    # AR(1): n Var(mean) -> (1 + rho) / (1 - rho) = 4 at rho = 0.6.
    rows = autoregressive(200, 4000, 0.6)
    halves = [overlapping_batch_means(row, batch=100).half_width for row in rows]
    reach = 2.0024  # t quantile, 1.5 x 39 = 58.5 degrees
    variance = np.mean([(half / reach) ** 2 for half in halves]) * 4000
    assert variance == pytest.approx(4.0, rel=0.06)


def test_warm_up_is_cut_where_it_ends() -> None:
    random = np.random.default_rng(5)
    settled = random.normal(10, 1, 2000)
    warm = settled + 40 * np.exp(-np.arange(2000) / 60)
    assert 150 <= mser5(warm) <= 500
    assert mser5(settled) <= 200
    found = steady_mean(warm)
    assert found.mean.covers(10)
    assert not mean_interval(warm).covers(10)
    with pytest.raises(NoSteadyState, match="run it longer"):
        mser5(np.arange(1000.0) ** 2)


def test_mser5_is_its_definition() -> None:
    values = np.random.default_rng(6).normal(0, 1, 200) + np.linspace(3, 0, 200) ** 3
    batches = values.reshape(-1, 5).mean(axis=1)
    errors = [
        ((batches[d:] - batches[d:].mean()) ** 2).sum() / (40 - d) ** 2 for d in range(40 - 5)
    ]
    best = int(np.argmin(errors))
    if best >= 20:
        with pytest.raises(NoSteadyState):
            mser5(values)
    else:
        assert mser5(values) == 5 * best


def test_survival_is_the_textbook_s() -> None:
    # 6-MP arm of Freireich et al. (1963): Klein and Moeschberger, table 4.1.
    ended = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    pending = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    found = survival(ended, pending)
    assert found.times.tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert found.share.tolist() == pytest.approx(
        [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=5e-4
    )
    assert found.error.tolist() == pytest.approx(
        [0.076, 0.087, 0.096, 0.107, 0.114, 0.128, 0.135], abs=6e-4
    )
    median = found.quantile(0.5)
    assert (median.estimate, median.lower, median.upper) == (23, 13, inf)
    assert found.quantile(0.9).estimate == inf
    assert (found.total, found.censored) == (21, 12)


def test_without_censoring_survival_is_the_empirical_law() -> None:
    random = np.random.default_rng(7)
    values = random.exponential(1, 500)
    found = survival(values)
    assert found.quantile(0.9).estimate == quantile_interval(values, 0.9).estimate
    twice = survival(values, (), np.full(500, 2))
    assert twice.share.tolist() == pytest.approx(found.share.tolist())
    # Cutting half of them off at 1 moves the estimate far less than leaving them out.
    cut = random.random(500) < 0.5
    ended = values[~(cut & (values > 1))]
    known = survival(ended, np.ones(int((cut & (values > 1)).sum())))
    true = -np.log(0.2)
    assert abs(known.quantile(0.8).estimate - true) < abs(np.quantile(ended, 0.8) - true)
    with pytest.raises(ValueError, match="no times"):
        survival([])


def test_median_intervals_under_censoring_cover() -> None:
    random = np.random.default_rng(8)
    covered = 0
    for _ in range(600):
        values, limits = random.exponential(1, 80), random.exponential(2, 80)
        done = values <= limits
        found = survival(values[done], limits[~done]).quantile(0.5)
        covered += found.covers(np.log(2))
    assert 0.92 <= covered / 600 <= 0.98


def test_uncommitted_transactions_stay_in_the_latency(tmp_path: Path) -> None:
    agents = {
        "count": 50,
        "placement": ["aws:us-gov-west-1"],
        "workload": {"transactions": {"arrivals": {"kind": "poisson", "rate": "4 /s"}}},
    }
    # From 2 s on nobody commits: three of four validators are down to the end.
    faults = [{"kind": "crash", "nodes": {"ids": [1, 2, 3]}, "at": "2 s", "until": "4 s"}]
    scenario = study(tmp_path, duration="4 s", agents=agents, faults=faults)
    outcome = run_study(scenario, tmp_path / "out", workers=Workers(count=0))
    assert outcome.state == "complete", outcome.verdict
    run = open_run(outcome.path)
    times = transaction_times(run)
    assert times.censored > 300
    naive = float(np.repeat(times.ended, times.ended_count).mean())
    found = survival_of(times)
    assert naive < 1e9
    assert found.quantile(0.9).estimate == inf
    assert found.quantile(0.2).estimate < 1e9
    assert found.censored == times.censored
    offered = run.table("traffic").collect().filter(kind="transaction", outcome="offered")
    assert times.total + times.dropped == offered.get_column("messages").sum()


@pytest.mark.parametrize("width", ["20 %", "14 %", "10 %", "6 %"])
def test_sequential_stopping_covers_as_often_as_it_says(width: str) -> None:
    until = Until(
        metric="blocks_committed",
        relative_width_ppm=int(width[:-2]) * 10_000,
        max_replicates=2000,
    )
    covered = 0
    for seed in range(2000):
        values = np.random.default_rng(seed).normal(10, 2, 2000)
        covered += mean_interval(values[: _stopped(values, until)]).covers(10)
    assert 0.93 <= covered / 2000 <= 0.97


def _stopped(values: np.ndarray, until: Until) -> int:
    n = 30
    while (more := next_target(list(values[:n]), until)) is not None:
        assert n < more <= until.max_replicates
        n = more
    return n


def test_stopping_is_a_function_of_the_values() -> None:
    until = Until(metric="forks", relative_width_ppm=100_000, max_replicates=200)
    values: list[float | None] = list(np.random.default_rng(9).normal(10, 2, 200))
    assert next_target(values[:30], until) == next_target(list(reversed(values[:30])), until)
    assert next_target([4.0] * 30, until) is None
    assert next_target([None] * 30, until) is None
    assert next_target([0.0] * 29 + [1.0], until) == 200
    assert next_target([*values[:29], None], until) == 33
    assert next_target([*values[:10], *[None] * 20], until) == 90
    assert next_target(values, until) is None
    assert 60 <= _stopped(np.array(values, dtype=float), until) <= 90


def test_a_pilot_has_thirty_replicates_at_least(tmp_path: Path) -> None:
    from sim.scenario.errors import ScenarioErrors

    until = {"metric": "commit_latency_p50", "relative_width": "5 %", "max_replicates": 40}
    path = study_file(tmp_path, replicates=10, until=until)
    with pytest.raises(ScenarioErrors) as caught:
        load_scenario(path)
    said = " ".join(str(error) for error in caught.value.errors)
    assert "needs a pilot of at least 30 replicates, `replicates` is 10" in said
    assert "`commit_latency_p50` needs agents, and there are none" in said


def ishigami(points: np.ndarray) -> np.ndarray:
    x, y, z = (points * 2 * pi - pi).T
    return np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x)


def test_sobol_indices_of_the_ishigami_function() -> None:
    # Ishigami and Homma (1990), a = 7, b = 0.1: first 0.3139, 0.4424, 0; total 0.5576, 0.4424,
    # 0.2437.
    design = sobol_design(3, 1024, 1)
    assert design.shape == (1024 * 5, 3)
    found = sobol_indices(ishigami(design), ["x", "y", "z"], chance=Chance(1, 0))
    assert [row.first.estimate for row in found] == pytest.approx([0.3139, 0.4424, 0], abs=0.03)
    assert [row.total.estimate for row in found] == pytest.approx(
        [0.5576, 0.4424, 0.2437], abs=0.03
    )
    assert all(row.first.lower < row.first.estimate < row.first.upper for row in found)
    assert found[0].first.covers(0.3139)
    again = sobol_indices(ishigami(design), ["x", "y", "z"], chance=Chance(1, 0))
    assert again == found
    assert sin(0) == 0
    with pytest.raises(ValueError, match="power of two"):
        sobol_design(3, 100, 1)
    with pytest.raises(ValueError, match="no setting matters"):
        sobol_indices(np.ones(40), ["x", "y", "z"], chance=Chance(1, 0))


@pytest.mark.slow
def test_a_setting_that_matters_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    ranges = {
        "consensus.min_block_interval": ["20 ms", "120 ms"],
        "consensus.store_blocks": [1000, 2000],
    }
    swept = study(tmp_path, record={"detail": "rounds"}, sweep={"base": 4, "sobol": ranges})
    assert len(swept.points()) == 4 * 4
    run = open_run(run_study(swept, tmp_path / "out", workers=Workers(count=0)).path)
    matters, idle = sobol_of(run, "blocks_committed")
    assert matters.path == "consensus.min_block_interval"
    assert matters.total.estimate > 0.8
    assert abs(idle.total.estimate) < 0.05
    with pytest.raises(RunError, match="no setting matters"):
        sobol_of(run, "forks")
