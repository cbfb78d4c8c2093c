"""The registry against its twin, and what quorums promise, under any calls and faults."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sim.world.registry.placement import first_hosts, place
from tests.registry.registry_pair import (
    CAPABILITIES,
    IDENTS,
    MS,
    NODES,
    REGION,
    REGIONS,
    Pair,
    parameters,
)

idents = st.sampled_from(IDENTS)
nodes = st.integers(0, NODES - 1)
regions = st.integers(0, REGIONS - 1)
CHANGES = ("renew", "re_home", "leave")


def pair(
    *, reads: Any, writes: Any, replicas: int, lag_ms: int = 0, lease_ms: int = 0, seed: int = 0
) -> Pair:
    p = parameters(
        placement=place(first_hosts(range(NODES), REGION, 3), range(NODES), REGION, replicas),
        reads=reads,
        writes=writes,
        replication_lag_ns=lag_ms * MS,
        lease_ns=lease_ms * MS,
    )
    return Pair(p, seed)


class Machine(RuleBasedStateMachine):
    """Draws a registry, then calls it and the twin alike."""

    @initialize(
        reads=st.sampled_from(["nearest", "quorum"]),
        writes=st.sampled_from(["one", "quorum"]),
        lag_ms=st.sampled_from([0, 30, 500]),
        lease_ms=st.sampled_from([0, 300, 2_000]),
        replicas=st.integers(1, 4),
        seed=st.integers(0, 9),
    )
    def build(self, **drawn: Any) -> None:
        self.pair = pair(**drawn)
        self.pair.populate()

    @rule(ms=st.integers(0, 400))
    def wait(self, ms: int) -> None:
        self.pair.wait(ms)

    @rule(
        ident=idents,
        home=nodes,
        region=regions,
        capability=st.integers(0, CAPABILITIES - 1),
        attempt=st.integers(0, 3),
    )
    def register(self, **drawn: int) -> None:
        self.pair.register(**drawn)

    @rule(ident=idents, what=st.sampled_from(CHANGES), home=nodes)
    def change(self, ident: int, what: str, home: int) -> None:
        self.pair.change(ident, what, home)

    @rule(ident=idents, gateway=nodes, attempt=st.integers(0, 3))
    def read(self, **drawn: int) -> None:
        self.pair.read(**drawn)

    @rule()
    def expire(self) -> None:
        self.pair.expire()

    @rule(node=nodes)
    def crash(self, node: int) -> None:
        self.pair.crash(node)

    @rule(region=regions)
    def crash_region(self, region: int) -> None:
        self.pair.crash_region(region)

    @rule(node=nodes)
    def recover(self, node: int) -> None:
        self.pair.recover(node)

    @rule()
    def recover_all(self) -> None:
        self.pair.recover_all()

    @invariant()
    def both_say_the_same(self) -> None:
        self.pair.check()


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRegistryMachine = Machine.TestCase


def act(one: Pair, dice: random.Random, faults: bool = True) -> None:
    """Make one call: mostly reads, writes and short waits."""
    ident, node = dice.choice(IDENTS), dice.randrange(NODES)
    kind = dice.choices(
        ["wait", "register", "change", "read", "expire", "crash", "crash_region", "recover", "all"],
        [20, 10, 12, 40, 2, 4, 2, 6, 2] if faults else [20, 10, 12, 40, 2, 0, 0, 0, 0],
    )[0]
    if kind == "wait":
        one.wait(dice.choice([0, 1, 5, 20, 50, 120, 400]))
    elif kind == "register":
        region, capability = dice.randrange(REGIONS), dice.randrange(CAPABILITIES)
        one.register(ident, node, region, capability, dice.randrange(3))
    elif kind == "change":
        one.change(ident, dice.choices(CHANGES, [4, 4, 1])[0], node)
    elif kind == "read":
        one.read(ident, node, dice.randrange(3))
    elif kind == "expire":
        one.expire()
    elif kind == "crash":
        one.crash(node)
    elif kind == "crash_region":
        one.crash_region(node % REGIONS)
    elif kind == "recover":
        one.recover(node)
    else:
        one.recover_all()


@pytest.mark.parametrize("writes", ["one", "quorum"])
@pytest.mark.parametrize("reads", ["nearest", "quorum"])
def test_long_histories(reads: str, writes: str) -> None:
    """Random calls and crashes, 24 histories of 200; the counts show that much happened."""
    seen: Counter[str] = Counter()
    for seed in range(24):
        dice = random.Random(f"{reads}/{writes}/{seed}")
        one = pair(
            reads=reads,
            writes=writes,
            replicas=dice.choice([1, 2, 3, 3, 4]),
            lag_ms=dice.choice([0, 30, 500]),
            lease_ms=dice.choice([0, 300, 2_000]),
            seed=seed,
        )
        one.populate()
        for _ in range(200):
            act(one, dice)
            one.check()
        one.recover_all()
        one.wait(5_000)
        one.read(IDENTS[0], 0, 0)
        assert one.registry.pending_writes() == 0
        seen.update(one.registry.counts)
    wanted = ["found", "not_registered", "lease_ended", "host_down", "re_homed", "left", "renewed"]
    wanted += ["no_quorum"] if "quorum" in (reads, writes) else []
    wanted += ["failed"] if writes == "quorum" else ["lost"]
    wanted += [] if reads == writes == "quorum" else ["stale"]
    assert {reason: seen[reason] for reason in wanted if seen[reason] < 20} == {}


@pytest.mark.parametrize(("writes", "loses"), [("one", True), ("quorum", False)])
@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_single_regions_down(writes: str, loses: bool, replicas: int) -> None:
    """One region after another crashes and returns: quorums lose nothing, `one` does."""
    lost = 0
    for seed in range(12):
        dice = random.Random(f"{writes}/{replicas}/{seed}")
        one = pair(reads="nearest", writes=writes, replicas=replicas, lag_ms=200, seed=seed)
        one.populate()
        for _ in range(10):
            for _ in range(15):
                act(one, dice, faults=False)
            one.crash_region(dice.randrange(REGIONS))
            one.check()
            for _ in range(8):
                act(one, dice, faults=False)
            one.wait(2_000)
            one.recover_all()
            one.check()
        lost += one.registry.counts["lost"]
    assert (lost > 0) == loses
