"""Loading: all errors at once, at their places, in words; what loads is what was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from sim.scenario.load import ScenarioErrors, load_scenario
from sim.scenario.model import Scenario

Load = Callable[..., Scenario]
Errors = Callable[..., list[str]]

AGENTS = """\
agents:
  count: 100
  placement: {aws:us-gov-west-1: 40 %, aws:us-gov-east-1: 60 %}
  workload:
    messages: {arrivals: {kind: poisson, rate: 0.2 /s}}
"""


def test_values_are_plain_integers(loaded: Load, minimal: str) -> None:
    scenario = loaded(minimal + AGENTS)
    assert scenario.consensus.timer_base_ns == 500_000_000
    assert scenario.network.bandwidth_bits_per_s == 10**9
    assert scenario.agents is not None
    assert scenario.agents.placement.amounts == (400_000, 600_000)
    assert scenario.name == "case"
    with pytest.raises(FrozenInstanceError):
        scenario.seed = 3  # type: ignore[misc]
    _no_float(scenario)


def _no_float(value: Any) -> None:
    assert not isinstance(value, float | Fraction)
    if is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            _no_float(getattr(value, item.name))
    elif isinstance(value, tuple):
        for item in value:
            _no_float(item)


def test_all_errors_come_at_once_at_their_places(errors_of: Errors) -> None:
    text = """\
schema: creto-sim/2
titel: Four
question: 4
duration: 10
network: {bandwith: 1 Gbit/s, loss: 60 %}
validators:
  count: 4
  placement: {aws:us-gov-west-1: 3}
consensus:
  timer_base: on
  dissemination: {kind: trea, fanout: 3}
weights: {stake: 41 %}
faults:
  - {kind: crash, nodes: {random: 1}, at: 2 s, untl: 3 s}
  - {kind: crash, at: 2 s}
  - 3
expect: []
"""
    found = errors_of(text)
    expected = [
        "1:1: `title` is missing",
        "1:9: schema: `creto-sim/2` is not one of: creto-sim/1",
        "2:1: titel: `titel` is not known here; did you mean `title`?",
        "3:11: question: expected text; quote it if it is meant as text",
        "4:11: duration: 10 is a bare number; a duration needs a unit, such as `10 ms`",
        "5:1: network: `bandwidth` is missing",
        "5:11: network.bandwith: `bandwith` is not known here; did you mean `bandwidth`?",
        "5:37: network.loss: 60 % is above the greatest value, 50 %",
        "8:3: validators.placement: places 3 validators, `count` is 4",
        "10:15: `on` is a boolean in YAML 1.1 and text in YAML 1.2; write `true` or `false`, or "
        "quote it",
        "11:25: consensus.dissemination.kind: kind `trea` is not known here; did you mean `tree`?",
        "12:1: weights: stake, reputation and uptime add up to 101 %, not 100 %",
        "14:48: faults.0.untl: `untl` is not known here; did you mean `until`?",
        "15:5: faults.1: `nodes` is missing",
        "16:5: faults.2: expected a map of settings",
        "17:9: expect: expects nothing, so nothing could be met",
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("seed: -1", "9:7: seed: -1 is below the least value, 0"),
        ("seed: 1.5", "9:7: seed: expected a whole number"),
        ("seed: true", "9:7: seed: expected a whole number"),
        ("replicates: 0", "9:13: replicates: 0 is below the least value, 1"),
        ("duration: 10 ms", "9:11: duration: 10 ms is below the least value, 100 ms"),
        ("record: {detail: all}", "9:18: record.detail: `all` is not one of: rounds, blocks or"),
        ("record: blocks", "9:9: record: expected a map of settings"),
        ("record: [1]", "9:9: record: expected a map of settings"),
        ("operations: 3", "9:13: operations: expected a list"),
        ("quorum: {byzantine: [1 %]}", "9:21: quorum.byzantine"),
        ("quorum: {byzantine: [5 %, 1 %]}", "9:21: quorum.byzantine: the threshold of level 1"),
        ("quorum: {liveness_guard: 1}", "9:26: quorum.liveness_guard: expected `true` or `false`"),
        ("name: Has Space", "9:7: name: `Has Space` is not a name of small letters"),
        ("crypto: {costs: nowhere}", "9:17: crypto.costs: costs nowhere: neither a file nor"),
        ("agents: {count: 1}", "9:17: agents.count: 1 is below the least value, 2"),
        ("adversaries: [{kind: silent}]", "9:15: adversaries.0: `nodes` is missing"),
        ("adversaries: [{nodes: {random: 1}}]", "9:15: adversaries.0: `kind` is missing"),
        (
            "adversaries: [{kind: silent, nodes: {rand: 1}}]",
            "9:30: adversaries.0.nodes: expected a selection of validators: one of `ids`",
        ),
        (
            "adversaries: [{kind: silent, nodes: {random: 5}}]",
            "9:46: adversaries.0.nodes.random: 5 of 4 validators",
        ),
        (
            "adversaries: [{kind: silent, nodes: {random: 1, ids: [1]}}]",
            "9:38: adversaries.0.nodes.random: `random` is not known here",
        ),
        (
            "adversaries: [{kind: silent, nodes: {ids: [1, 9]}}]",
            "9:47: adversaries.0.nodes.ids.1: there is no validator 9: 4 at genesis, 0 to 3",
        ),
        (
            "adversaries: [{kind: silent, nodes: {ids: [1, 1]}}]",
            "9:47: adversaries.0.nodes.ids.1: validator 1 is named twice",
        ),
        (
            "adversaries: [{kind: silent, nodes: {region: az:usgovtexas}}]",
            "9:46: adversaries.0.nodes.region: no validator runs in `az:usgovtexas`",
        ),
        (
            "adversaries: [{kind: silent, nodes: {random: 1}, start: 2 min}]",
            "9:57: adversaries.0.start: 2 min is not before the end of the run, 60 s",
        ),
        (
            "faults: [{kind: crash, nodes: {random: 1}, at: 5 s, until: 5 s}]",
            "9:60: faults.0.until: `until` must be after `at`, 5 s",
        ),
        (
            "faults: [{kind: partition, groups: [{ids: [1]}, {ids: [1]}], at: 1 s, until: 2 s}]",
            "9:49: faults.0.groups.1: `1` is in two groups",
        ),
        (
            "operations: [{kind: register, validator: 1, amount: 5, at: 1 s}]",
            "9:42: operations.0.validator: validator 1 is registered at genesis",
        ),
        (
            "operations: [{kind: unbond, validator: 1, at: 1 s}]",
            "9:14: operations.0: `unbond` needs an `amount`",
        ),
        ("ledger: {min_stake: 2000000}", "5:1: validators.stake: 0 validators hold the minimum"),
        (
            "ledger: {reputation: {floor: 60 %}}",
            "9:10: ledger.reputation: needs floor <= prior <= ceiling",
        ),
    ],
)
def test_each_mistake_is_named(errors_of: Errors, minimal: str, line: str, found: str) -> None:
    errors = errors_of(minimal + line + "\n")
    assert any(error.startswith(found) for error in errors), errors


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("validators.count=3", "--set:1:18: validators.count: 3 validators tolerate no fault"),
        ("consensus.timer_max=1 ms", "--set:1:21: consensus.timer_max: is below `timer_base`"),
        (
            "consensus.min_block_interval=500 ms",
            "--set:1:30: consensus.min_block_interval: 500 ms is not below `timer_base`, 500 ms",
        ),
        ("consensus.epoch_blocks=5", "--set:1:24: consensus.epoch_blocks: an epoch needs"),
        (
            "consensus.dissemination={kind: tree, fanout: 4}",
            "--set:1:46: consensus.dissemination.fanout: 4 is not below the number of validators",
        ),
        ("validators.placement=[aws:us-gov-wst-1]", "--set:1:23: validators.placement.0: region"),
        ("validators.placement=[]", "--set:1:22: validators.placement: expected amounts"),
        ("validators.stake={kind: listed, amounts: [1, 2]}", "--set:1:42: validators.stake"),
        ("network.regions={aws:us-east-1: {latitude: 1, longitude: 1}}", "--set:1:18: network"),
        ("network.rules=[{kind: drop}]", "--set:1:16: network.rules.0: names no links"),
        (
            "network.rules=[{kind: drop, between: [{ids: [0]}, {ids: [1]}], from: {ids: [2]}}]",
            "--set:1:16: network.rules.0: has both",
        ),
        ("network.rules=[{kind: drop, between: [{ids: [0]}]}]", "--set:1:38: network.rules.0"),
        ("expect=[{metric: bloks_committed, at_least: 1}]", "--set:1:18: expect.0.metric: `bloks"),
        ("expect=[{metric: epochs}]", "--set:1:9: expect.0: states neither"),
        ("expect=[{metric: epochs, at_least: 3, at_most: 2}]", "--set:1:48: expect.0.at_most"),
        ("expect=[{metric: block_latency_p99, at_most: 3}]", "--set:1:46: expect.0.at_most: 3 is"),
        ("expect=[{metric: messages_delivered, at_least: 1}]", "--set:1:18: expect.0.metric"),
        ("expect=[{liveness: {commit_within: 2 min}}]", "--set:1:36: expect.0.liveness"),
        ("expect=[{liveness: {commit_within: 1 s, after: 1 h}}]", "--set:1:48: expect.0.liveness"),
        ("expect=[{level: {}}]", "--set:1:10: expect.0.level: states neither"),
        ("expect=[{safty: held}]", "--set:1:9: expect.0: expected an expectation: one of"),
        ("nothing", "--set:1:1: `nothing` is not `a.b.c=value`"),
        ("title.a=1", "--set:1:1: `title.a` leads nowhere"),
        ("expect.7.safety=held", "--set:1:1: `expect.7.safety` leads nowhere"),
        ("extends=x.yaml", "--set:1:1: `extends` cannot be overridden"),
        ("seed=[1", "--set:1:8: not YAML"),
        ("seed=yes", "--set:1:6: `yes` is a boolean"),
        ("seed=", "--set:1:6: "),
        ("seed=1\nduration: 3 s", "--set:1:6: an override is one line"),
    ],
)
def test_overrides_go_through_the_same_checks(
    errors_of: Errors, minimal: str, override: str, found: str
) -> None:
    errors = errors_of(minimal, [override])
    assert any(error.startswith(found) for error in errors), errors


def test_overrides_take_effect_in_order(loaded: Load, minimal: str) -> None:
    scenario = loaded(minimal, ["seed=3", "consensus.epoch_blocks=9", "seed=4"])
    assert (scenario.seed, scenario.consensus.epoch_blocks) == (4, 9)
    scenario = loaded(minimal, ["expect.0={metric: epochs, at_least: 2}"])
    assert len(scenario.expect) == 1


def test_seed_and_replicates_override(tmp_path: Path, minimal: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(minimal)
    scenario = load_scenario(path, seed=7, replicates=3)
    assert (scenario.seed, scenario.replicates) == (7, 3)
    with pytest.raises(ScenarioErrors, match="replicates: 0 is below the least value, 1"):
        load_scenario(path, replicates=0)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("  access: [{share: 50 %}]", "agents.access: the shares of the classes add up to 50 %"),
        ("  directory: {shards: 5}", "agents.directory.shards: 5 shards on 4 validators"),
        ("  directory: {lease: 1 min}", "agents.directory.lease: leases run out and nobody"),
        ("  directory: {registered: 90 %}", "agents.directory.registered: some agents are not"),
        ("  retries: {max: 1 s}", "agents.retries.max: is below `timeout`"),
        ("  transaction_fanout: 4", "agents.transaction_fanout: 4 is not below the number"),
        ("  gateways: {region: aws:us-east-1}", "agents.gateways.region: no validator runs in"),
    ],
)
def test_agents_must_fit_together(errors_of: Errors, minimal: str, line: str, found: str) -> None:
    errors = errors_of(minimal + AGENTS + line + "\n")
    assert any(found in error and error.startswith("14:") for error in errors), errors


def test_shares_of_the_agents_add_up(errors_of: Errors, minimal: str) -> None:
    found = errors_of(minimal + AGENTS.replace("60 %", "59 %"))
    assert found == ["11:3: agents.placement: the shares add up to 99 %, not 100 %"]
    found = errors_of(minimal + AGENTS.replace("60 %", "60"))
    assert found == [
        "11:59: agents.placement.aws:us-gov-east-1: 60 is a bare number; a share needs a unit, "
        "such as `60 %`"
    ]


def test_a_map_keeps_what_its_field_has_by_default(loaded: Load, minimal: str) -> None:
    text = minimal + AGENTS + "  transaction_batch: {age: 1 s}\n  ingress: {queue: 7}\n"
    agents = loaded(text).agents
    assert agents is not None
    assert (agents.transaction_batch.count, agents.transaction_batch.age_ns) == (2_000, 10**9)
    assert (agents.ingress.servers, agents.ingress.queue) == (4, 7)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_scenario(tmp_path / "none.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"title: a\nquestion: caf\xe9\n")
    with pytest.raises(ScenarioErrors, match=r"latin.yaml:2:1: not UTF-8 text"):
        load_scenario(path)
    path.write_text("- a\n")
    with pytest.raises(ScenarioErrors, match=r"latin.yaml:1:1: expected a map of settings"):
        load_scenario(path)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My Case (2).yaml", "my_case_2"),
        ("a.b.yml", "a_b"),
        ("\u00e9.yaml", "scenario"),
        ("x", "x"),
    ],
)
def test_a_scenario_without_a_name_has_its_files(
    tmp_path: Path, minimal: str, file: str, name: str
) -> None:
    path = tmp_path / file
    path.write_text(minimal)
    assert load_scenario(path).name == name
    path.write_text(minimal + "name: chosen\n")
    assert load_scenario(path).name == "chosen"
