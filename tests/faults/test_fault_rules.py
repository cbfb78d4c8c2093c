"""Faults that cannot be are refused with their place in the file, the limit and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sim.scenario.load import ScenarioErrors, load_scenario
from sim.scenario.model import Scenario
from sim.scenario.warnings import warnings_of

HEAD = """\
schema: creto-sim/1
title: Seven validators
question: Do they commit?
duration: 10 s
network: {bandwidth: 1 Gbit/s}
validators: {count: 7, placement: {aws:us-gov-west-1: 4, az:usgovtexas: 3}}
consensus: {timer_base: 500 ms}
expect: [{safety: held}]
faults:
"""
FIRST = HEAD.count("\n") + 1
WHEN = "at: 1 s, until: 2 s"
ONE = "nodes: {ids: [1]}"
RATES = "every: {kind: exponential, mean: 2 ms}, lasting: {kind: fixed, value: 2 ms}"
ROLLOUT = "kind: rollout, nodes: {random: 7}, at: 1 s"
SWITCH = f"{ROLLOUT}, downtime: 1 s, strategy: {{kind: blue_green}}"


@pytest.fixture
def refusals(tmp_path: Path) -> Callable[..., list[str]]:
    """Return what is wrong with faults, as `line:path: message`."""

    def errors(*faults: str) -> list[str]:
        path = tmp_path / "case.yaml"
        path.write_text(HEAD + "".join(f"  - {{{f}}}\n" for f in faults), encoding="utf-8")
        with pytest.raises(ScenarioErrors) as caught:
            load_scenario(path)
        found = [str(error).removeprefix(f"{path}:") for error in caught.value.errors]
        return [f"{text.split(':', 1)[0]}:{text.split(': ', 1)[1]}" for text in found]

    return errors


@pytest.mark.parametrize(
    ("fault", "path", "message"),
    [
        (
            f"kind: crash, nodes: {{ids: [9]}}, {WHEN}",
            "nodes.ids.0",
            "no validator 9: 7 at genesis",
        ),
        (f"kind: crash, {ONE}, at: 2 s, until: 1 s", "until", "must be after `at`, 2 s"),
        (f"kind: crash, {ONE}, at: 2 s, until: 2 s", "until", "must be after `at`, 2 s"),
        (f"kind: crash, {ONE}, at: -1 s", "at", "`-1 s` is not a duration"),
        (f"kind: crash, {ONE}, at: 11 s", "at", "it would never happen"),
        (
            f"kind: crash, {ONE}, at: 0 s, every: {{kind: exponential, mean: 1 s}}",
            "",
            "never goes: state `lasting`",
        ),
        (
            f"kind: crash, {ONE}, at: 0 s, lasting: {{kind: exponential, mean: 0 s}}",
            "lasting.mean",
            "below the least value, 1 ms",
        ),
        (
            f"kind: crash, nodes: {{random: 7}}, at: 0 s, strikes: each, {RATES}",
            "every",
            "about 17,500 times in the run; at most 10,000",
        ),
        (f"kind: crash, {ONE}, strikes: each, {WHEN}", "strikes", "for faults by rates"),
        (
            f"kind: crash, {ONE}, at: 0 s, lasting: {{kind: known, figure: vm_restrat}}",
            "lasting.figure",
            "did you mean `vm_restart`?",
        ),
        (f"kind: crash, name: 1, {ONE}, {WHEN}", "name", "expected a name of small letters"),
        (
            f"kind: crash, nodes: {{region: aws:us-east-1}}, {WHEN}",
            "nodes.region",
            "no validator runs in `aws:us-east-1`",
        ),
        (
            f"kind: crash, nodes: {{zone: aws:us-gov-west-1/4}}, {WHEN}",
            "nodes.zone",
            "has 3 zone(s)",
        ),
        (
            f"kind: crash, nodes: {{zone: aws:us-gov-wst-1/1}}, {WHEN}",
            "nodes.zone",
            "did you mean `aws:us-gov-west-1`?",
        ),
        (f"kind: crash, nodes: {{zone: here}}, {WHEN}", "nodes.zone", "is not a zone: a region"),
        (
            f"kind: crash, nodes: {{provider: gcp}}, {WHEN}",
            "nodes.provider",
            "no validator runs at `gcp`; providers: aws, az",
        ),
        (f"kind: amnesia_crash, {ONE}, at: 1 s", "", "nothing to forget: state `until`"),
        (f"kind: amnesia_crash, {ONE}, at: 1 s, until: 10 s", "until", "nothing to forget"),
        ("kind: partition, groups: [{ids: [1]}], at: 1 s", "", "never heals: state `until`"),
        (
            "kind: partition, groups: [{ids: [1]}], at: 3 s, until: 2 s",
            "until",
            "must be after `at`, 3 s",
        ),
        (f"kind: partition, groups: [], {WHEN}", "groups", "at least one group"),
        (
            f"kind: partition, groups: [{{ids: [1, 5]}}, {{providers: [az]}}], {WHEN}",
            "groups.1",
            "`5` is in two groups",
        ),
        (
            f"kind: partition, groups: [{{zones: [az:usgovtexas/2]}}], {WHEN}",
            "groups.0.zones.0",
            "has 1 zone(s)",
        ),
        (f"kind: partition, groups: [{{zones: []}}], {WHEN}", "groups.0.zones", "names nobody"),
        (f"kind: link_loss, {WHEN}", "", "names no links: state `between`, `from` or `to`"),
        (
            f"kind: link_loss, between: [{{ids: [1]}}, {{ids: [2]}}], to: {{ids: [3]}}, {WHEN}",
            "",
            "has both `between` and `from` or `to`",
        ),
        (f"kind: link_loss, from: {{ids: [8]}}, {WHEN}", "from.ids.0", "no validator 8"),
        (
            f"kind: link_loss, from: {{ids: [1]}}, probability: 0 %, {WHEN}",
            "probability",
            "0 % is below the least value",
        ),
        (f"kind: link_delay, from: {{ids: [1]}}, {WHEN}", "", "`amount` is missing"),
        (f"kind: zone_outage, zones: [], {WHEN}", "zones", "names no place"),
        (
            f"kind: region_outage, regions: [aws:us-east-1], {WHEN}",
            "regions.0",
            "no validator runs in `aws:us-east-1`",
        ),
        (f"kind: region_outage, regions: [mars], {WHEN}", "regions.0", "`mars` is not known"),
        (
            f"kind: region_outage, regions: [az:usgovtexas, az:usgovtexas], {WHEN}",
            "regions.1",
            "is named twice",
        ),
        (f"kind: provider_outage, providers: [gcp], {WHEN}", "providers.0", "runs at `gcp`"),
        (f"kind: clock_skew, {ONE}, {WHEN}", "", "state `ahead`, `behind` or `rate`"),
        (
            f"kind: clock_skew, {ONE}, ahead: 1 s, behind: 1 s, {WHEN}",
            "",
            "both `ahead` and `behind`",
        ),
        (f"kind: kms_throttle, {ONE}, {WHEN}", "", "limits nothing: state `quota`"),
        (f"kind: kms_throttle, {ONE}, delay: 1 s, burst: 2, {WHEN}", "", "has no `quota`"),
        (f"kind: slow_disk, {ONE}, write: 0 s, {WHEN}", "write", "0 s is below the least value"),
        (
            f"{ROLLOUT}, downtime: 1 s, strategy: {{kind: rolling, pause: 1 s}}",
            "strategy",
            "lasts until 14 s, beyond the end of the run, 10 s",
        ),
        (
            f"{ROLLOUT}, downtime: 1 ms, strategy: {{kind: rolling, wave: 8}}",
            "strategy.wave",
            "8 of 7 validators",
        ),
        (
            f"{ROLLOUT}, until: 2 s, downtime: 1 ms, strategy: {{kind: blue_green}}",
            "until",
            "`until` is not known here",
        ),
        (f"{SWITCH}, abort_on: {{}}", "abort_on", "nothing would call it off: state `alerts`"),
        (
            f"{SWITCH}, abort_on: {{alerts: [offence_prove]}}",
            "abort_on.alerts.0",
            "no rule is called `offence_prove`; did you mean `offence_proved`?",
        ),
        (
            f"{SWITCH}, abort_on: {{alerts: [reconciled, agent_retries_high]}}",
            "abort_on.alerts.1",
            "`agent_retries_high` needs `agents`, which is left out",
        ),
        (
            f"{SWITCH}, abort_on: {{monitors: [agreement, liveness]}}",
            "abort_on.monitors.1",
            "`liveness` is not a monitor; one of: agreement",
        ),
        (
            f"{SWITCH}, abort_on: {{monitors: [jail, no_lost_message]}}",
            "abort_on.monitors.1",
            "`no_lost_message` needs agents, and there are none",
        ),
        (
            f"{SWITCH}, abort_on: {{monitors: [jail, jail]}}",
            "abort_on.monitors.1",
            "`jail` is named twice",
        ),
        (
            f"{SWITCH}, abort_on: {{no_commit_for: 500 ms}}",
            "abort_on.no_commit_for",
            "500 ms is below the least value, 1 s",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    refusals: Callable[..., list[str]], fault: str, path: str, message: str
) -> None:
    (error,) = refusals(fault)
    where = f"{FIRST}:faults.0{'.' * bool(path)}{path}: "
    assert error.startswith(where), error
    assert message in error


def test_all_errors_come_at_once(refusals: Callable[..., list[str]]) -> None:
    errors = refusals(
        f"kind: crash, nodes: {{ids: [9]}}, {WHEN}", f"kind: clock_skew, {ONE}, {WHEN}"
    )
    assert [error.split(":")[0] for error in errors] == [str(FIRST), str(FIRST + 1)]


def test_two_crashes_of_one_validator_at_one_time(refusals: Callable[..., list[str]]) -> None:
    (error,) = refusals(
        "kind: crash, nodes: {ids: [0, 1]}, at: 1 s, until: 3 s",
        "kind: crash, nodes: {by_weight: 1}, at: 2 s",
    )
    assert error.startswith(f"{FIRST + 1}:faults.1.at: validator 0 is down then already")
    assert error.endswith("fault 0 (crash) lasts from 1 s to 3 s")


def test_two_faults_of_one_name_would_share_draws(refusals: Callable[..., list[str]]) -> None:
    faults = [f"kind: crash, name: a, nodes: {{ids: [{i}]}}, {WHEN}" for i in (1, 2)]
    (error,) = refusals(*faults)
    assert error.startswith(f"{FIRST + 1}:faults.1.name: `a` is the name of fault 0 too")


@pytest.mark.parametrize(
    ("faults", "gone"),
    [
        (["kind: kms_outage, nodes: {provider: aws}, at: 1 s"], True),
        (["kind: full_disk, nodes: {ids: [0, 1, 2]}, at: 1 s"], True),
        (["kind: failing_disk, nodes: {ids: [0, 1, 2]}, at: 1 s"], True),
        (["kind: region_outage, regions: [aws:us-gov-west-1], at: 1 s"], True),
        (["kind: zone_outage, zones: [aws:us-gov-west-1/1], at: 1 s"], False),
        (["kind: failing_disk, nodes: {ids: [0, 1, 2]}, share: 50 %, at: 1 s"], False),
        (["kind: kms_outage, nodes: {provider: aws}, at: 1 s, until: 2 s"], False),
        (["kind: provider_outage, providers: [aws], cut_off: true, at: 1 s"], False),
        ([f"kind: crash, nodes: {{provider: aws}}, at: 1 s, {RATES}"], False),
    ],
)
def test_who_is_gone_for_good_is_warned_of(tmp_path: Path, faults: list[str], gone: bool) -> None:
    """Above 1 - q to the end of the run, liveness cannot be sure."""
    text = HEAD.replace("{safety: held}", "{liveness: {commit_within: 3 s}}")
    path = tmp_path / "case.yaml"
    path.write_text(text + "".join(f"  - {{{f}}}\n" for f in faults), encoding="utf-8")
    loaded: Scenario = load_scenario(path)
    assert any("down to the end" in warning for warning in warnings_of(loaded)) is gone
