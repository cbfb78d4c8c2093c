"""Attacks and faults on agents that cannot be are refused where they are written, with a remedy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.scenario.model import Scenario

TWO = "validators={count: 4, placement: {aws:us-gov-west-1: 2, aws:us-gov-east-1: 2}}"
LOAD = "messages: {arrivals: {kind: poisson, rate: 1 /s}}"
AGENTS = f"agents={{count: 1000, placement: [aws:us-gov-west-1], workload: {{{LOAD}}}}}"
DHT = "agents.directory.routing={kind: kademlia, nodes: {kind: agents}}"
SPAM = "kind: agent_spam, rate: 1 /s"
FLOOD = "kind: registration_flood, agents: {random: 5}, rate: 1 /s"
DROP = "kind: lookup_drop"
AWAY = "kind: mass_disconnect, at: 1 s, until: 2 s"
BURST = "kind: overload_burst, at: 1 s, factor: 2"


def attack(*stated: str) -> str:
    return f"adversaries=[{', '.join('{' + one + '}' for one in stated)}]"


def fault(stated: str) -> str:
    return f"faults=[{{{stated}}}]"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (attack(f"{SPAM}, agents: {{random: 5}}"), "`agent_spam` strikes agents, and there are"),
        (attack(f"{DROP}, nodes: {{random: 5}}"), "`lookup_drop` strikes agents, and there are"),
        (fault(AWAY), "`mass_disconnect` strikes agents, and there are none: state `agents`"),
    ],
)
def test_without_agents_there_is_nobody_to_strike(
    errors_of: Callable[..., list[str]], minimal: str, override: str, words: str
) -> None:
    errors = errors_of(minimal, [override])
    assert any(words in error and "kind" in error for error in errors), errors


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (attack(f"{SPAM}, agents: {{share: 120 %}}"), "120 % is above the greatest value, 100 %"),
        (attack(f"{SPAM}, agents: {{share: 0.01 %}}"), "0.01 % of 1,000 agents is nobody"),
        (attack(f"{SPAM}, agents: {{random: 1001}}"), "1,001 of 1,000 agents"),
        (attack(f"{SPAM}, agents: {{ids: [1000]}}"), "there is no agent 1000: 1,000 agents, 0 to"),
        (attack(f"{SPAM}, agents: {{ids: []}}"), "names nobody"),
        (
            attack(f"{SPAM}, agents: {{region: aws:us-gov-east-1}}"),
            "no agent lives in `aws:us-gov-east-1`: they live in aws:us-gov-west-1",
        ),
        (attack(f"{SPAM}, agents: {{gateways: [9]}}"), "validator 9 is no gateway of agents"),
        (attack(f"{SPAM}, agents: {{by_stake: 3}}"), "expected a selection of agents: one of"),
        (
            attack(f"{SPAM}, agents: {{random: 5}}, what: transactions, to: {{random: 2}}"),
            "transactions have no receiver",
        ),
        (
            attack(f"{SPAM}, agents: {{random: 5}}, when: {{reputation: 50 %}}"),
            "expected a trigger that the whole network can see: one of",
        ),
        (
            attack(f"{DROP}, nodes: {{share: 10 %}}"),
            "a `one_hop` directory asks hosts directly and has no nodes to own: state "
            "`agents.directory.routing` as `kademlia` or `hierarchical`",
        ),
        (
            attack("kind: table_poisoning, nodes: {share: 10 %}, contacts: 20 %"),
            "a `one_hop` directory asks hosts directly",
        ),
        (attack(f"{FLOOD}, shard: 4"), "there is no shard 4: 4 shards, 0 to 3"),
        (
            attack("kind: lying_host, hosts: {ids: [0]}, lie: stale"),
            "records have no older version that a host could show: state `agents.directory.repl",
        ),
        (attack("kind: lying_host, hosts: {ids: [7]}, lie: deny"), "there is no validator 7"),
        (
            attack(
                "kind: lying_host, hosts: {ids: [0]}, lie: deny",
                "kind: lying_host, hosts: {random: 1}, lie: stale",
            ),
            "a host of the registry may be in two minds: adversaries 0 (lying_host) and 1",
        ),
        (fault(f"{AWAY}, share: 0 %"), "0 % is below the least value"),
        (fault(f"{AWAY}, region: az:usgovtexas"), "no agent lives in `az:usgovtexas`"),
        (fault(f"{AWAY}, gateways: {{ids: [9]}}"), "there is no validator 9"),
        (fault("kind: mass_disconnect, at: 2 s, until: 1 s"), "`until` must be after `at`"),
        (fault(f"{BURST}, kinds: [renewals]"), "the agents' workload has no `renewals` to multi"),
        (fault("kind: overload_burst, at: 1 s, factor: 0.5"), "0.5 is below the least value, 1"),
        (fault("kind: shard_loss, at: 1 s"), "loses everything everywhere: state `hosts` or"),
        (fault("kind: shard_loss, at: 1 s, shards: [4]"), "there is no shard 4: 4 shards"),
    ],
)
def test_refused(
    errors_of: Callable[..., list[str]], minimal: str, override: str, words: str
) -> None:
    errors = errors_of(minimal, [TWO, AGENTS, override])
    assert any(words in error for error in errors), errors


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (attack(f"{DROP}, nodes: {{random: 1001}}"), "1,001 of 1,000 nodes of the DHT"),
        (attack(f"{DROP}, nodes: {{ids: [1]}}"), "expected a selection of DHT nodes: one of"),
        (attack(f"{DROP}, nodes: {{near: 1000, nodes: 3}}"), "there is no agent 1000"),
        (attack(f"{DROP}, nodes: {{near: 1, nodes: 1000}}"), "leave nobody honest"),
        (attack(f"{FLOOD}, shard: 1"), "a `kademlia` directory has no shards"),
        (fault("kind: shard_loss, at: 1 s, shards: [1]"), "a `kademlia` directory has no shards"),
        (
            attack(
                "kind: table_poisoning, nodes: {random: 9}, contacts: 1 %",
                "kind: table_poisoning, nodes: {random: 9}, contacts: 2 %",
            ),
            "the tables of the DHT are in two minds: adversaries 0 (table_poisoning) and 1",
        ),
        (
            attack(f"{DROP}, nodes: {{random: 9}}", "kind: lookup_misroute, nodes: {random: 9}"),
            "a node of the DHT may be in two minds: adversaries 0 (lookup_drop) and 1",
        ),
    ],
)
def test_refused_in_a_dht(
    errors_of: Callable[..., list[str]], minimal: str, override: str, words: str
) -> None:
    errors = errors_of(minimal, [TWO, AGENTS, DHT, override])
    assert any(words in error for error in errors), errors


@pytest.mark.parametrize(
    "override",
    [
        attack(f"{SPAM}, agents: {{share: 0.1 %}}, to: {{ids: [3]}}, when: {{level: {{}}}}"),
        attack(
            f"{DROP}, nodes: {{gateways: [0]}}",
            "kind: lookup_misroute, nodes: {gateways: [1]}",
            "kind: eclipse, nodes: {near: 4, nodes: 2}, victims: {ids: [4]}, then: drop, end: 1 s",
        ).replace("nodes: {gateways: [1]}", "nodes: {gateways: [1]}, start: 1 s"),
        fault(f"{AWAY}, within: 1 s, share: 50 %, gateways: {{random: 1}}, register: true"),
    ],
)
def test_accepted(loaded: Callable[..., Scenario], minimal: str, override: str) -> None:
    loaded(minimal, [TWO, AGENTS, DHT, override])
