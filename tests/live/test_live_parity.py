"""One chain, two drivers: sockets and SimPy commit the same blocks and reach the same ledger.

The golden trace says block by block what both must commit. Rewrite it, after a change of the
protocol that is meant, with CRETO_REWRITE_TRACES=1.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sim.engine.build import build
from sim.engine.protocol_parameters import consensus_parameters, ledger_parameters
from sim.live.cluster import Plan, run_cluster
from sim.protocol.effects import Committed, Observation, Rejected, ViewChanged
from sim.protocol.ledger import Account
from sim.protocol.types import Block, Operation, PayloadRef
from sim.record.recorder import NullRecorder
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario

HERE = Path(__file__).parent
SCENARIO = HERE / "parity.yaml"
TRACE = HERE / "parity_trace.txt"
HEIGHT = 24
"""Four epochs of six blocks."""
MS = 1_000_000


class Script:
    """Transactions by who asks and how often: validator i brings in those of gateway i.

    Each reply follows the one before without gap. Odd voters hold what others bring in only after
    a while, so that the delayed answer is taken in both drivers.
    """

    def __init__(self) -> None:
        self.asked = [0] * 4
        self._next = [0] * 4
        self.transactions: list[PayloadRef] = []

    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]:
        turn = self.asked[validator]
        self.asked[validator] = turn + 1
        first = self._next[validator]
        count = 10 + (7 * turn + 3 * validator) % 50
        self._next[validator] = first + count
        return (PayloadRef(validator, first, first + count - 1, 200 * count),)

    def ready_ns(self, validator: int, refs: tuple[PayloadRef, ...], now_ns: int) -> int:
        return now_ns + (3 * MS if validator % 2 else 0)

    def give_back(self, validator: int, refs: tuple[PayloadRef, ...]) -> None:
        raise AssertionError("the mempool holds all that the script brings in")

    def commit(self, block: Block, now_ns: int) -> None:
        self.transactions.extend(block.payload)


def plan_of(scenario: Scenario, *, suite: str | None) -> Plan:
    """Give a live cluster what `sim.engine.world.build` gives the simulated one."""
    rules = scenario.validators
    nonces = dict.fromkeys(range(rules.count), 0)
    wallets = dict.fromkeys(range(rules.count), 0)
    operations = []
    for asked in scenario.operations:
        assert asked.at_ns == 0
        who = asked.validator
        operations.append(Operation(asked.kind, who, asked.amount, nonces[who]))
        nonces[who] += 1
        wallets[who] += asked.amount if asked.kind == "top_up" else 0
    genesis = tuple(
        Account(
            stake=1_000_000,
            reputation=rules.initial_reputation_ppm,
            uptime=rules.initial_uptime_ppm,
            free=wallets[who],
        )
        for who in range(rules.count)
    )
    return Plan(
        consensus=consensus_parameters(scenario),
        ledger=ledger_parameters(scenario),
        genesis=genesis,
        operations=tuple(operations),
        suite=suite,
        seed=scenario.seed,
        limit_ns=15_000 * MS,
    )


def under_simpy(scenario: Scenario, script: Script) -> list[list[Committed]]:
    """Run the scenario under SimPy; return what each validator committed, in order."""
    world = build(scenario, 0, NullRecorder())
    world.driver.payload = script
    chains: list[list[Committed]] = [[] for _ in world.nodes]
    before = world.driver._witness

    class Listening:
        def observe(self, node: int, now_ns: int, observation: Observation) -> None:
            if isinstance(observation, Committed):
                chains[node].append(observation)
            assert not isinstance(observation, Rejected), observation
            assert not isinstance(observation, ViewChanged) or observation.reason != "timeout"
            before.observe(node, now_ns, observation)

    world.driver._witness = Listening()
    world.start()
    world.advance(5_000 * MS)
    world.close(5_000 * MS)
    return chains


def trace(chain: list[Committed] | tuple[Committed, ...]) -> str:
    lines = ["# height epoch view block state"]
    lines += [
        f"{c.height} {c.epoch} {c.view} {c.block.hex()} {c.state.hex()}" for c in chain[:HEIGHT]
    ]
    return "\n".join(lines) + "\n"


def golden() -> str:
    return TRACE.read_text(encoding="ascii")


@pytest.mark.parametrize("signatures", ["modelled", "real"])
def test_simpy_commits_the_golden_chain(signatures: str) -> None:
    scenario = load_scenario(SCENARIO, [f"crypto.signatures={signatures}"])
    chains = under_simpy(scenario, Script())
    traces = [trace(chain) for chain in chains]
    if os.environ.get("CRETO_REWRITE_TRACES"):
        TRACE.write_text(traces[0], encoding="ascii")
    assert traces == [golden()] * 4


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_delays_make_the_same_chain(seed: int) -> None:
    """The premise of parity: other jitter, other broadcast orders, no other block."""
    chains = under_simpy(load_scenario(SCENARIO, seed=seed), Script())
    assert [trace(chain) for chain in chains] == [golden()] * 4


@pytest.mark.parametrize("suite", [None, "pycryptodome"], ids=["modelled", "real"])
def test_sockets_commit_the_golden_chain(suite: str | None) -> None:
    script = Script()
    plan = plan_of(load_scenario(SCENARIO), suite=suite)
    outcome = run_cluster(plan, script, height=HEIGHT)
    assert outcome.reached
    assert [trace(chain) for chain in outcome.commits] == [golden()] * 4
    assert sum(script.asked) >= HEIGHT


def test_the_golden_chain_has_all_that_could_differ() -> None:
    """Transactions, operations and epoch ends are in the trace, or parity would say little."""
    scenario = load_scenario(SCENARIO)
    world = build(scenario, 0, NullRecorder())
    world.driver.payload = Script()
    world.start()
    world.advance(5_000 * MS)
    chain = [line.split() for line in golden().splitlines()[1:]]
    assert [int(row[0]) for row in chain] == list(range(1, HEIGHT + 1))
    assert {int(row[1]) for row in chain} == {1, 2, 3, 4}
    assert len({row[4] for row in chain}) == HEIGHT
    tree = world.nodes[0].validator.chain.tree
    blocks = [tree.get(bytes.fromhex(row[3])) for row in chain]
    assert all(block is not None and block.payload for block in blocks)
    operations = [op for block in blocks if block is not None for op in block.operations]
    assert len(operations) == len(scenario.operations)
    ends = {block.height for block in blocks if block is not None and block.operations}
    assert max(ends) > scenario.consensus.epoch_blocks
    weights = world.nodes[0].validator.chain.epoch.weights
    assert len(set(weights.weights)) == 1
    assert world.nodes[0].validator.chain.epoch.quorum > 3 * weights.weights[0]
