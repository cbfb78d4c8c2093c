"""Promises that the protocol cannot keep are refused before the first event."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sim.record.summary import METRICS as MEASURED
from sim.scenario.checks import METRICS, measured_name
from sim.scenario.exposure import liveness_limit_ppm, safety_limit_ppm
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from sim.scenario.offered import offered
from sim.scenario.warnings import warnings_of

ROOT = Path(__file__).parents[2]
TEN = ["validators={count: 10, placement: [aws:us-gov-west-1]}"]


def test_metrics_are_those_that_the_summary_has() -> None:
    named = [measured_name(name) for name in METRICS]
    assert sorted(named) == sorted(metric.name for metric in MEASURED)


def test_limits_are_those_of_the_quorum() -> None:
    assert [safety_limit_ppm(level) for level in (0, 1, 2)] == [340_000, 500_000, 640_000]
    assert [liveness_limit_ppm(level) for level in (0, 1, 2)] == [330_000, 250_000, 180_000]


@pytest.mark.parametrize(
    ("nodes", "level", "refused"),
    [
        ("{ids: [0, 1, 2]}", 0, False),
        ("{ids: [0, 1, 2, 3]}", 0, True),
        ("{ids: [0, 1, 2, 3]}", 1, False),
        ("{random: 4}", 0, True),
        ("{by_stake: 5}", 1, True),
        ("{by_weight: 6}", 2, False),
        ("{by_weight: 7}", 2, True),
        ("{region: aws:us-gov-west-1}", 2, True),
    ],
)
def test_too_many_double_signers_cannot_leave_safety(
    errors_of: Callable[..., list[str]],
    loaded: Callable[..., Scenario],
    minimal: str,
    nodes: str,
    level: int,
    refused: bool,
) -> None:
    text = minimal + f"adversaries: [{{kind: equivocate, nodes: {nodes}}}]\n"
    overrides = [*TEN, f"quorum.initial_level={level}"]
    if refused:
        (error,) = errors_of(text, overrides)
        assert error.startswith("8:13: expect.0.safety: validators that may sign twice own ")
        # Who expects the violation, or only keeps silent, is let through.
        loaded(text, [*overrides, "expect.0.safety=violated"])
        loaded(text, [*overrides, "adversaries.0.kind=silent"])
    else:
        loaded(text, overrides)


def test_adversaries_and_amnesia_count_together_and_once(
    errors_of: Callable[..., list[str]], loaded: Callable[..., Scenario], minimal: str
) -> None:
    text = minimal + (
        "adversaries: [{kind: double_vote, nodes: {ids: [0, 1, 2]}}]\n"
        "faults: [{kind: amnesia_crash, nodes: {ids: [2]}, at: 1 s, until: 2 s}]\n"
    )
    loaded(text, TEN)
    (error,) = errors_of(text, [*TEN, "faults.0.nodes.ids=[3]"])
    assert "own 40 % of the voting weight" in error


def test_stake_decides_who_owns_how_much(
    errors_of: Callable[..., list[str]], loaded: Callable[..., Scenario], minimal: str
) -> None:
    amounts = ", ".join(["9000000"] * 2 + ["500000"] * 8)
    text = minimal + "adversaries: [{kind: double_vote, nodes: {ids: [0, 1]}}]\n"
    listed = f"validators.stake={{kind: listed, amounts: [{amounts}]}}"
    loaded(text, [*TEN, listed])
    overrides = [*TEN, listed, "weights={stake: 100 %, reputation: 0 %, uptime: 0 %, cap: 40 %}"]
    (error,) = errors_of(text, overrides)
    assert "expect.0.safety" in error


def test_silence_beyond_the_liveness_limit_is_warned_of(
    loaded: Callable[..., Scenario], minimal: str
) -> None:
    text = minimal + "adversaries: [{kind: silent, nodes: {ids: [0, 1]}}]\n"
    live = ["expect=[{liveness: {commit_within: 5 s}}]"]
    crash = ["faults=[{kind: crash, nodes: {ids: [2, 3]}, at: 1 s}]"]
    assert warnings_of(loaded(text, [*TEN, *live])) == []
    (warning,) = warnings_of(loaded(text, [*TEN, *live, *crash]))
    assert "40 % of the voting weight" in warning
    assert "33 %" in warning
    assert warnings_of(loaded(text, [*TEN, *crash])) == []
    healed = ["faults.0.until=2 s", "adversaries.0.end=9 s"]
    assert warnings_of(loaded(text, [*TEN, *live, *crash, *healed])) == []


def test_a_cap_that_cannot_hold_is_warned_of(loaded: Callable[..., Scenario], minimal: str) -> None:
    (warning,) = warnings_of(loaded(minimal))
    assert "cap" in warning
    assert "25 %" in warning


AGENTS = """\
agents:
  count: 1000
  placement: [aws:us-gov-west-1]
  workload:
    messages: {arrivals: {kind: poisson, rate: 2 /s}}
    transactions: {arrivals: {kind: closed_loop, think: 4 s, share: 50 %}}
"""


@pytest.mark.parametrize(
    ("override", "messages"),
    [
        ("duration=10 s", 20_000),
        # A Weibull of shape 1 is exponential: three of four are online.
        (
            "agents.sessions={kind: weibull, on_shape: 1, on_scale: 30 s, off_shape: 1, "
            "off_scale: 10 s}",
            15_000,
        ),
        (
            "agents.workload.messages.arrivals={kind: bursts, rate: 1 /s, burst_rate: 5 /s, "
            "calm: 3 s, burst: 1 s}",
            20_000,
        ),
        # Over whole periods a swing leaves the mean alone; over the first quarter it is the sine's
        # integral, 1 + 2 / pi.
        (
            "agents.workload.messages.arrivals={kind: diurnal, rate: 2 /s, amplitude: 100 %, "
            "period: 5 s}",
            20_000,
        ),
        (
            "agents.workload.messages.arrivals={kind: diurnal, rate: 2 /s, amplitude: 100 %, "
            "period: 40 s}",
            round(20_000 * (1 + 2 / 3.141592653589793)),
        ),
    ],
)
def test_the_load_on_offer_is_the_mean_of_the_workload(
    loaded: Callable[..., Scenario], minimal: str, override: str, messages: int
) -> None:
    scenario = loaded(minimal + AGENTS, ["duration=10 s", override])
    assert offered(scenario)["messages"] == messages


def test_expecting_more_than_is_offered_is_warned_of(
    loaded: Callable[..., Scenario], minimal: str
) -> None:
    def about(checks: str) -> list[str]:
        scenario = loaded(minimal + AGENTS, ["duration=10 s", f"expect=[{checks}]", *TEN])
        return warnings_of(scenario)

    assert about("{metric: messages_delivered, at_least: 20000}") == []
    (warning,) = about("{metric: messages_delivered, at_least: 21000}")
    assert "21,000 messages_delivered are expected" in warning
    assert "about 20,000 messages" in warning
    (warning,) = about("{metric: transactions_committed, at_least: 1500}")
    assert "about 1,250 transactions" in warning
    assert about("{metric: messages_delivered, at_most: 21000}") == []


@pytest.mark.parametrize("name", ["smoke", "seven_nodes", "thousand_agents", "million_agents"])
def test_committed_scenarios_ask_for_what_is_on_offer(name: str) -> None:
    warnings = warnings_of(load_scenario(ROOT / "scenarios" / f"{name}.yaml"))
    assert [warning for warning in warnings if not warning.startswith("weights.cap")] == []


@pytest.mark.parametrize("name", ["smoke", "seven_nodes"])
def test_lanes_may_be_shared_with_agents_and_without(name: str) -> None:
    path = ROOT / "scenarios" / f"{name}.yaml"
    assert load_scenario(path, ["network.lanes=shared"]).network.lanes == "shared"


def test_validators_by_name_are_told_apart_whatever_stake_they_are_dealt(
    errors_of: Callable[..., list[str]], loaded: Callable[..., Scenario], minimal: str
) -> None:
    """Stakes dealt out by chance hide whose weight is whose, not who is who."""
    overrides = [*TEN, "validators.stake={kind: lognormal, median: 1000000, sigma: 0.5}"]

    def attacks(second: str) -> str:
        both = "{kind: silent, nodes: {ids: [1, 2]}}", f"{{kind: silent, nodes: {second}}}"
        return minimal + f"adversaries: [{', '.join(both)}]\n"

    loaded(attacks("{ids: [3]}"), overrides)
    (error,) = errors_of(attacks("{ids: [2]}"), overrides)
    assert "validator 2 is in two minds" in error
    (error,) = errors_of(attacks("{by_stake: 1}"), overrides)
    assert "a validator may be in two minds" in error
