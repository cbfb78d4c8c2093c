"""Out again: resolved YAML loads to an equal scenario, and digests tell scenarios apart."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from sim.scenario.resolved import canonical_json

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "scenarios").glob("*.yaml"))

EVERYTHING = """\
replicates: 3
network:
  bandwidth: 1 Gbit/s
  regions: {moon: {latitude: -0.5, longitude: 179.999999}}
  rules:
    - {kind: delay, between: [{ids: [0]}, {regions: [moon]}], amount: 5 ms, probability: 1 ppm}
    - {kind: drop, from: {ids: [1, 2]}, start: 1 s, end: 2 s}
    - {kind: duplicate, to: {ids: [1]}, probability: 5 %}
    - {kind: corrupt, to: {ids: [1]}, probability: 0.5 %}
validators:
  count: 8
  placement: {aws:us-gov-west-1: 7, moon: 1}
  stake: {kind: listed, amounts: [500000, 500000, 500000, 500000, 500000, 9, 9, 0]}
  candidates: {placement: {moon: 2}}
operations: [{kind: register, validator: 9, amount: 5, at: 1 s}]
agents:
  count: 50
  placement: [moon, aws:us-gov-west-1]
  gateways: {ids: [0, 7]}
  sessions: {kind: weibull}
  workload:
    messages:
      arrivals: {kind: bursts, rate: 1 /s, burst_rate: 3 /s, calm: 1 s, burst: 1 s}
      destinations: {kind: community}
    transactions: {arrivals: {kind: closed_loop, think: 1 s}}
    lookups: {by_id: {arrivals: {kind: diurnal, rate: 1 /h, period: 30 s}}}
    renewals: {arrivals: {kind: poisson, rate: 1 /min}}
faults:
  - {kind: amnesia_crash, nodes: {ids: [3]}, at: 1 s, until: 2 s}
  - {kind: slow_node, nodes: {by_stake: 2}, at: 1 s, factor: 2.5}
  - {kind: throttle, nodes: {by_weight: 2}, at: 1 s, bandwidth_left: 10 %}
  - {kind: partition, groups: [{regions: [moon]}], at: 1 s, until: 9 s, one_way: true, flap: 1 s}
adversaries:
  - {kind: delay_proposals, nodes: {region: moon}, amount: 200 ms, start: 3 s}
  - {kind: equivocate, nodes: {random: 1}, when: {probability: 50 %}, end: 3 s}
expect:
  - safety: held
  - liveness: {commit_within: 9 s}
  - level: {reached: 1, returned: 0}
  - {metric: certificates_bytes, at_most: 3 GB}
  - {metric: block_latency_p50, at_most: 900 ms}
sweep: {zip: {quorum.guard_margin: [1 %, 2.5 %], consensus.timer_backoff: [1.25, 2]}}
"""


@pytest.fixture
def everything(loaded: Callable[..., Scenario], minimal: str) -> Scenario:
    """A scenario that uses every part of the format."""
    head = [line for line in minimal.splitlines(keepends=True) if line.startswith(("s", "t", "q"))]
    return loaded("".join(head) + "consensus: {timer_base: 500 ms}\n" + EVERYTHING)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_committed_scenarios_survive_a_round_trip(path: Path, tmp_path: Path) -> None:
    _round_trip(load_scenario(path), tmp_path)


def test_everything_survives_a_round_trip(everything: Scenario, tmp_path: Path) -> None:
    _round_trip(everything, tmp_path)
    for point in everything.points():
        _round_trip(point.scenario, tmp_path)


def _round_trip(scenario: Scenario, folder: Path) -> None:
    copy = folder / "copy.yaml"
    copy.write_text(scenario.to_yaml(), encoding="utf-8")
    again = load_scenario(copy)
    assert again == scenario
    assert again.digest == scenario.digest
    assert again.to_yaml() == scenario.to_yaml()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    title=st.text(min_size=1, max_size=40).filter(lambda text: text.strip() == text != ""),
    seed=st.integers(0, 2**63 - 1),
    timer=st.integers(10**6, 10**12),
    loss=st.integers(0, 5 * 10**8),
)
def test_any_values_survive_a_round_trip(
    tmp_path: Path, title: str, seed: int, timer: int, loss: int
) -> None:
    base = load_scenario(ROOT / "scenarios" / "smoke.yaml")
    consensus = replace(base.consensus, timer_base_ns=timer, timer_max_ns=max(timer, 10**12))
    network = replace(base.network, loss_ppb=loss)
    title = " ".join(title.split())
    if not title.isprintable() or not title:
        title = "text"
    scenario = replace(base, title=title, seed=seed, consensus=consensus, network=network)
    _round_trip(scenario, tmp_path)


@pytest.mark.parametrize("text", ["on", "1e3", "0123", "12:30", "a: b", "# no", "'", "true", "5"])
def test_texts_that_yaml_would_read_otherwise_are_quoted(text: str, tmp_path: Path) -> None:
    base = load_scenario(ROOT / "scenarios" / "smoke.yaml")
    _round_trip(replace(base, title=text), tmp_path)


def test_the_digest_is_that_of_the_canonical_form(everything: Scenario) -> None:
    text = canonical_json(everything)
    assert everything.digest == hashlib.sha256(text.encode()).hexdigest()
    assert replace(everything, seed=2).digest != everything.digest
    assert replace(everything, sweep=None).digest != everything.digest


def test_the_digest_knows_the_order_of_regions(
    loaded: Callable[..., Scenario], minimal: str
) -> None:
    there = loaded(minimal, ["validators.placement={aws:us-east-1: 2, aws:us-west-2: 2}"])
    back = loaded(minimal, ["validators.placement={aws:us-west-2: 2, aws:us-east-1: 2}"])
    assert there.digest != back.digest


def test_the_digest_does_not_know_how_it_was_written(
    loaded: Callable[..., Scenario], minimal: str
) -> None:
    assert (
        loaded(minimal, ["duration=60000 ms", "quorum={initial_level: 0}"]).digest
        == loaded(minimal).digest
    )


def test_digests_agree_between_processes() -> None:
    code = (
        "from sim.scenario.load import load_scenario;"
        "print(load_scenario('scenarios/million_agents.yaml').digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    "text", ["two\nlines", "a\n\nb\n", " led", "tab\tin", "é\u2028\x85ö", "a: |"]
)
def test_texts_of_any_shape_survive(text: str, tmp_path: Path) -> None:
    base = load_scenario(ROOT / "scenarios" / "smoke.yaml")
    _round_trip(replace(base, question=text), tmp_path)
