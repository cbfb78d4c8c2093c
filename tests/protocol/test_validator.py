"""Validators commit one chain, in the pure test network."""

from __future__ import annotations

from sim.protocol.effects import Committed
from tests.protocol.harness import MS, Network


def test_four_validators_commit_the_same_chain() -> None:
    network = Network(4).start().run(3_000 * MS)
    assert min(network.heights()) >= 20
    assert network.conflicts() == []
    states = {(c.height, c.state) for c in network.seen(Committed)}
    assert len(states) == max(network.heights())
