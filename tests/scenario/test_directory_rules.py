"""What a directory cannot be is refused where it is written, with the limit and the remedy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.scenario.model import Scenario

AGENTS = (
    "agents={count: 1000, placement: [aws:us-gov-west-1], "
    "workload: {messages: {arrivals: {kind: poisson, rate: 1 /s}}}}"
)
TWO = "validators={count: 4, placement: {aws:us-gov-west-1: 2, aws:us-gov-east-1: 2}}"
DHT = "agents.directory.routing"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (f"{DHT}={{kind: chord}}", "chord"),
        (f"{DHT}={{kind: kademlia, k: 0}}", "0 is below the least value, 1"),
        (f"{DHT}={{kind: kademlia, k: 65}}", "65 is above the greatest value, 64"),
        (f"{DHT}={{kind: kademlia, style: iterative, alpha: 4, k: 3}}", "4 is above k, 3"),
        (f"{DHT}={{kind: kademlia, alpha: 3}}", "has one question in flight: use `iterative`"),
        (f"{DHT}={{kind: kademlia, disjoint_paths: 3, k: 2}}", "3 is above k, 2"),
        (
            f"{DHT}={{kind: kademlia, nodes: {{kind: agents}}, id_bits: 29}}",
            "29 bits are too few for 1,000 nodes: 2^id_bits must reach 1,000 times the square of "
            "that, so state 30 or more",
        ),
        (f"{DHT}={{kind: kademlia, nodes: {{kind: routers, per_region: 0}}}}", "below the least"),
        ("agents.directory={routing: {kind: kademlia}, shards: 2}", "has no shards"),
        (
            "agents.directory.replicas=3",
            "3 replicas, but gateways are in 2 regions and no two copies share one: ask for at "
            "most 2, or place gateways in more regions",
        ),
        ("agents.directory={replicas: 17}", "17 is above the greatest value, 16"),
        ("agents.directory.reads=quorum", "a quorum of one replica is that replica"),
        ("agents.directory.writes=quorum", "state `replicas` of 2 or more, or leave it out"),
        ("agents.directory.writes=all", "`all` is not one of: one or quorum"),
        ("agents.directory.replication_lag=1 s", "there is no copy to send"),
        ("agents.directory.record_size=1 KiB", "no record moves to another host"),
        (
            "agents.directory={replicas: 2, writes: quorum, replication_lag: 1 s}",
            "copies that a quorum waits for leave at once",
        ),
        ("agents.directory.registration_limits={rate: 1 /s}", "nobody registers"),
        ("agents.directory.registration_limits={gateway_burst: 2}", "limits nothing"),
    ],
)
def test_refused(
    errors_of: Callable[..., list[str]], minimal: str, override: str, words: str
) -> None:
    errors = errors_of(minimal, [TWO, AGENTS, override])
    assert any(words in error for error in errors), errors
    place = override.split("=")[0].removesuffix("={")
    assert all(place.split(".")[-1] in error or "agents.directory" in error for error in errors)


def test_one_gateway_leaves_nobody_to_move_to(
    errors_of: Callable[..., list[str]], minimal: str
) -> None:
    alone = [TWO, AGENTS, "agents.gateways={ids: [0]}", "agents.directory.re_home=true"]
    (error,) = errors_of(minimal, alone)
    assert "one gateway only" in error


@pytest.mark.parametrize(
    "override",
    [
        "agents.directory={replicas: 2, reads: quorum, writes: quorum, record_size: 1 KiB}",
        "agents.directory={replicas: 2, replication_lag: 2 s, re_home: true}",
        f"{DHT}={{kind: hierarchical, nodes: {{kind: agents}}, id_bits: 30, k: 3}}",
        f"{DHT}={{kind: kademlia, style: iterative, alpha: 3, k: 3, b: 8, disjoint_paths: 3}}",
    ],
)
def test_accepted(loaded: Callable[..., Scenario], minimal: str, override: str) -> None:
    loaded(minimal, [TWO, AGENTS, override])
