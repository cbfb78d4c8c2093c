"""Capacity: the search is right on known edges, and finds the edge of a world that theory knows."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sim import load_scenario, open_run, run
from sim.cli.main import main
from sim.record.runs import RunError
from sim.scenario.checks import CountCheck
from sim.scenario.model import Scenario
from sim.study.bracket import CannotTry, find_edge
from sim.study.capacity import Capacity, Plan, Told, measure_capacity, open_capacity
from sim.study.capacity_figures import save
from sim.study.forecast import line_through
from sim.study.resources import (
    Unworkable,
    amount_text,
    expectations,
    relief,
    trial_scenario,
    turned,
)
from sim.study.saturation import WARM_UP_SHARE, class_loads
from sim.study.sweep import Workers
from sim.study.trials import Trial

SECOND = 1_000_000_000
HERE = Workers(count=0)
SERVICE_MS = 4
AGENTS, RATE = 200, 2
SLOW = f"""\
schema: creto-sim/1
title: Four gateways with one slow server each
question: How many messages a second does a gateway take?
duration: 5 s
network: {{bandwidth: 1 Gbit/s}}
validators: {{count: 4, placement: {{aws:us-gov-west-1: 2, aws:us-gov-east-1: 2}}}}
consensus: {{timer_base: 1 s, min_block_interval: 200 ms, epoch_blocks: 20}}
agents:
  count: {AGENTS}
  placement: {{aws:us-gov-west-1: 50 %, aws:us-gov-east-1: 50 %}}
  workload:
    messages: {{arrivals: {{kind: poisson, rate: {RATE} /s}}}}
  ingress: {{servers: 1, service: {SERVICE_MS} ms}}
expect:
  - safety: held
  - {{metric: messages_delivered, at_least: 1600}}
  - {{metric: delivery_latency_p99, at_most: 250 ms}}
  - {{metric: offenders_punished, at_least: 0}}
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    path = tmp_path_factory.mktemp("slow") / "slow.yaml"
    path.write_text(SLOW)
    return load_scenario(path)


# -- the search ---------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", [1, 3, 99, 100, 101, 730, 4_096, 90_000])
@pytest.mark.parametrize("harder_is_more", [True, False])
def test_the_bracket_holds_the_edge(edge: int, harder_is_more: bool) -> None:
    tried: list[int] = []

    def holds(amount: int) -> bool:
        tried.append(amount)
        return amount <= edge if harder_is_more else amount >= edge

    found = find_edge(100, holds, harder_is_more=harder_is_more, precision_ppm=50_000, reach=2_000)
    assert len(tried) == len(set(tried)) <= 12 + 6
    if not harder_is_more and edge == 1:
        assert (found.held, found.failed) == (1, None)
        assert "between 1 and 0" in found.why
        return
    assert found.held is not None
    assert found.failed is not None
    easy, hard = (found.held, found.failed) if harder_is_more else (found.failed, found.held)
    assert easy <= edge <= hard
    low, high = sorted((found.held, found.failed))
    assert high - low == 1 or high <= low * 1.05


def test_a_search_that_meets_no_edge_says_so() -> None:
    assert find_edge(8, lambda _: True, harder_is_more=True, reach=4).held == 32
    assert "held" in find_edge(8, lambda _: True, harder_is_more=True, reach=4).why
    nothing = find_edge(8, lambda _: False, harder_is_more=True, reach=4)
    assert (nothing.held, nothing.failed) == (None, 2)
    assert "failed" in nothing.why


def test_what_cannot_be_tried_bounds_the_search() -> None:
    def holds(amount: int) -> bool:
        if amount > 30:
            raise CannotTry("too large for this machine")
        return True

    found = find_edge(8, holds, harder_is_more=True)
    assert (found.held, found.failed, found.why) == (16, None, "too large for this machine")


# -- lines --------------------------------------------------------------------------------------


def test_a_line_is_carried_on_exactly() -> None:
    line = line_through([(x, 3 + 2 * x) for x in (1.0, 2.0, 4.0, 8.0)])
    assert line is not None
    ahead = line.at(1_000)
    assert ahead.estimate == pytest.approx(2_003)
    assert ahead.half_width == pytest.approx(0, abs=1e-6)
    assert line.rises()
    assert line_through([(1, 1), (2, 2)]) is None
    assert line_through([(1, 1), (1, 2), (1, 3)]) is None


def test_prediction_intervals_cover_the_next_run() -> None:
    """Nominal 0.95; 2,000 experiments have a standard error of 0.005."""
    rng = np.random.default_rng(7)
    x = [1.0, 2.0, 3.0, 4.0, 6.0]
    covered = 0
    for _ in range(2_000):
        line = line_through([(each, 1 + each + rng.normal(0, 0.3)) for each in x])
        assert line is not None
        covered += line.at(20.0).covers(21 + rng.normal(0, 0.3))
    assert covered / 2_000 == pytest.approx(0.95, abs=0.025)


def test_noise_without_a_slope_seldom_rises() -> None:
    rng = np.random.default_rng(8)
    noise = [[(float(x), rng.normal()) for x in range(6)] for _ in range(500)]
    rising = sum(line.rises() for each in noise if (line := line_through(each)) is not None)
    assert rising / 500 == pytest.approx(0.025, abs=0.03)


# -- what is turned -----------------------------------------------------------------------------


def test_load_multiplies_every_rate(slow: Scenario) -> None:
    loaded = turned(slow, "load", 2_500)
    assert loaded.agents is not None
    assert loaded.agents.workload.messages is not None
    assert loaded.agents.workload.messages.arrivals.rate_nhz == 5 * SECOND  # type: ignore[union-attr]
    assert replace(loaded, agents=None) == replace(slow, agents=None)
    assert turned(slow, "load", 1_000) == slow


def test_validators_keep_their_shares_and_bandwidth_is_one_number(slow: Scenario) -> None:
    more = trial_scenario(slow, "validators", 10, duration_ns=5 * SECOND, replicates=3)
    assert more.validators.placement.amounts == (5, 5)
    assert more.replicates == 3
    assert turned(slow, "bandwidth", 7).network.bandwidth_bits_per_s == 7


def test_expected_traffic_grows_with_load_and_shrinks_with_time(slow: Scenario) -> None:
    checks = expectations(slow, 2.0, slow.duration_ns).checks
    assert [c.at_least for c in checks if isinstance(c, CountCheck)] == [3_200, 0]
    shorter = expectations(slow, 2.0, slow.duration_ns // 5)
    assert [c.at_least for c in shorter.checks if isinstance(c, CountCheck)] == [640]
    assert shorter.set_aside == ("offenders_punished at least 0",)


def test_what_cannot_be_turned_is_refused_in_words(slow: Scenario) -> None:
    with pytest.raises(Unworkable, match=r"at 3 validators .* Byzantine agreement"):
        trial_scenario(slow, "validators", 3, duration_ns=SECOND, replicates=1)
    with pytest.raises(Unworkable, match="needs agents"):
        trial_scenario(replace(slow, agents=None), "load", 1_000, duration_ns=SECOND, replicates=1)


@pytest.mark.parametrize(
    ("station", "lane", "setting"),
    [
        ("uplink", "agents", "network.bandwidth"),
        ("cpu", "agents", "validators.workers.agents"),
        ("block", "batches", "consensus.max_block_refs"),
        ("ingress", "agents", "agents.ingress.servers"),
        ("shard", "agents", "agents.directory.servers"),
    ],
)
def test_relief_doubles_what_a_station_has(
    slow: Scenario, station: str, lane: str, setting: str
) -> None:
    found = relief(slow, station, lane)
    assert found is not None
    assert found.setting == setting
    assert found.scenario != slow
    assert relief(slow, "ledger", lane) is None


# -- a world whose edge is known ----------------------------------------------------------------


@pytest.fixture(scope="module")
def found(slow: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Capacity:
    out = tmp_path_factory.mktemp("capacity")
    plan = Plan(of="load", replicates=1, duration_ns=slow.duration_ns, precision_ppm=200_000)
    seen: list[Trial] = []

    def stop_early(trial: Trial) -> None:
        seen.append(trial)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_capacity(slow, plan, out, workers=HERE, told=Told(tried=stop_early))
    return measure_capacity(slow, plan, out, workers=HERE)


def test_the_knee_is_where_the_servers_saturate(found: Capacity) -> None:
    """One server of 4 ms takes 250 a second; its gateway gets a quarter of 400 a second."""
    saturation = 1_000 / SERVICE_MS / (AGENTS * RATE / 4)
    held, failed = found.bracket.held, found.bracket.failed
    assert held is not None
    assert failed is not None
    assert held / 1_000 <= saturation * 1.1
    assert failed / 1_000 >= saturation * 0.8
    assert failed <= held * 1.2
    assert found.headroom == held / 1_000 - 1
    assert found.bottleneck is not None
    assert found.bottleneck.name == "ingress, agents"
    assert found.bottleneck.where.startswith("validator ")
    assert 0.75e6 <= found.bottleneck.sustained_ppm <= 1.05e6
    assert not found.odd


def test_relieving_the_bottleneck_moves_the_knee(found: Capacity) -> None:
    assert found.relieved is not None
    assert found.relieved.relief.setting == "agents.ingress.servers"
    held, before = found.relieved.bracket.held, found.bracket.held
    assert held is not None
    assert before is not None
    # Twice the servers carry twice the load, each end known to a fifth.
    assert 1.6 <= held / before <= 2.6


def test_the_line_below_the_knee_is_the_offered_work(found: Capacity) -> None:
    """Utilisation is arrivals a second times service time, so 10 M agents need that many times."""
    ahead = [f for f in found.forecasts if f.figure == "ingress, agents" and f.agents == 10**7]
    (forecast,) = ahead
    expected = 10**7 * RATE / 4 * SERVICE_MS / 1_000
    assert forecast.value.estimate == pytest.approx(expected, rel=0.25)
    assert forecast.run_up_to <= AGENTS * 4


def test_an_interrupted_search_keeps_what_was_whole(found: Capacity, slow: Scenario) -> None:
    runs = sorted(found.path.glob("trials/*/*/DONE"))
    runs = [path for path in runs if not path.parent.is_symlink()]
    assert len(runs) == len(found.trials)
    before = {path: path.stat().st_mtime_ns for path in runs}
    again = measure_capacity(slow, found.plan, found.path.parent.parent, workers=HERE)
    assert again.path == found.path
    assert again.bracket == found.bracket
    assert {path: path.stat().st_mtime_ns for path in runs} == before


def test_a_search_is_read_back_from_its_tables(found: Capacity) -> None:
    again = open_capacity(found.path)
    assert again.bracket == found.bracket
    assert again.forecasts == found.forecasts
    assert again.bottleneck == found.bottleneck
    assert again.headroom == found.headroom
    assert again.relieved is not None
    assert found.relieved is not None
    assert again.relieved.bracket.held == found.relieved.bracket.held
    told = [(t.setting, t.amount, t.verdict, t.missed, t.loads) for t in found.trials]
    assert [(t.setting, t.amount, t.verdict, t.missed, t.loads) for t in again.trials] == told
    with pytest.raises(RunError, match="no search that has ended"):
        open_capacity(found.path / "trials")


def test_datasets_tell_the_search(found: Capacity) -> None:
    trials = pl.read_parquet(found.path / "trials.parquet")
    assert trials.height == len(found.trials)
    missed = trials.filter(pl.col("verdict") == "missed")
    assert missed.height
    assert (missed["missed"] != "").all()
    stations = pl.read_parquet(found.path / "stations.parquet")
    assert set(stations["station"]) >= {"ingress", "egress", "cpu", "uplink", "downlink"}
    assert (found.path / "DONE").exists()
    for file in save(found):
        assert file.stat().st_size > 5_000


def test_sustained_load_is_busy_time_after_the_warm_up(found: Capacity) -> None:
    trial = found.trials[0]
    tried = open_run(found.path / trial.folder)
    loads = {load.name: load for load in class_loads(tried, found.scenario)}
    rows = tried.table("stations").filter(pl.col("class") == "ingress").collect()
    settled = rows.filter(pl.col("second") >= math.floor(5 * WARM_UP_SHARE))
    busiest = settled.group_by("station").agg(pl.col("busy_ns").sum())["busy_ns"].to_numpy().max()
    assert loads["ingress, agents"].sustained_ppm == int(busiest) * 10**6 // (4 * SECOND)
    by_region = dict(loads["ingress, agents"].by_region)
    assert max(by_region.values()) == loads["ingress, agents"].sustained_ppm
    assert sorted(by_region) == ["aws:us-gov-east-1", "aws:us-gov-west-1"]


def test_checking_transactions_loads_every_validator(tmp_path: Path) -> None:
    """600 transactions a second, 262 us each (pqcrypto), on one worker: 15.7 %."""
    text = SLOW.replace("messages: {", "transactions: {").replace("rate: 2 /s", "rate: 3 /s")
    text = text.replace("validators: {", "validators: {workers: {agents: 1}, ")
    expected = text.index("expect:")
    path = tmp_path / "checking.yaml"
    path.write_text(text[:expected] + "expect: [{safety: held}]\n")
    scenario = load_scenario(path)
    finished = open_run(run(scenario, tmp_path / "out").path)
    loads = {load.name: load for load in class_loads(finished, scenario)}
    checking = loads["cpu, agents"]
    assert checking.where == "every validator"
    assert checking.sustained_ppm == pytest.approx(600 * 0.2619e-3 * 1e6, rel=0.1)
    # Half of the link is the agents', half of that is for batches of 5,120-byte transactions, each
    # sent to three others by the quarter of all gateways that took it.
    wire = 600 * 5_120 * 8 * 3 / 4 / 0.25e9
    assert loads["uplink, batches"].sustained_ppm == pytest.approx(wire * 1e6, rel=0.1)


# -- the command --------------------------------------------------------------------------------


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["creto-sim", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("columns", [80, 120])
def test_the_page_fits_the_terminal(
    slow: Scenario,
    found: Capacity,
    columns: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rich.console import Console

    from sim.cli.capacity import show

    monkeypatch.setenv("COLUMNS", str(columns))
    show(Console(width=columns, highlight=False), found)
    page = capsys.readouterr().out
    assert all(len(line.rstrip()) <= columns for line in page.splitlines())
    assert len(page.splitlines()) <= 50
    assert found.bracket.held is not None
    for said in ("knee", "headroom", "bottleneck", "relief", "extrapolated", "10 M agents"):
        assert said in page
    assert amount_text("load", found.bracket.held) in page


def test_the_command_searches_the_fewest_validators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "slow.yaml"
    path.write_text(SLOW)
    out = tmp_path / "results"
    asked = ("capacity", path, "--of", "validators", "--duration", "2 s", "--workers", 0)
    assert command(monkeypatch, *asked, "--out", out) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Byzantine agreement needs" in said  # two are too few
    assert "at most 4 validators holds" in said
    assert "offenders_punished at least 0 (shorter than the scenario)" in said


def test_what_cannot_be_searched_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "swept.yaml"
    path.write_text(SLOW + "sweep: {grid: {seed: [1, 2]}}\n".replace("seed", "agents.count"))
    assert command(monkeypatch, "capacity", path, "--out", tmp_path) == 2
    assert "agents.count" in capsys.readouterr().err
    path.write_text(SLOW + "sweep: {grid: {agents.count: [100, 200]}}\n")
    assert command(monkeypatch, "capacity", path, "--out", tmp_path) == 2
    assert "take `sweep` and `until` out" in capsys.readouterr().err
    assert command(monkeypatch, "capacity", path, "--of", "money") == 2
    assert "one of load, agents, validators, bandwidth" in capsys.readouterr().err
    assert command(monkeypatch, "capacity", path, "--duration", "1 h") == 2
    assert "scenario's own 5 s" in capsys.readouterr().err
