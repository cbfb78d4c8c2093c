"""Limits of the source document (phase7.md): the work is asserted, the time is printed."""

from __future__ import annotations

import time
from typing import Literal

import pytest

from sim.protocol.adaptive_quorum import quorum_weight
from sim.protocol.ledger import Account, Ledger, LedgerParameters
from sim.protocol.multi_signature import (
    Accepted,
    VoteCollector,
    bitmap_weight,
    check_certificate,
    members,
)
from sim.protocol.stake_manager import StakeParameters
from sim.protocol.types import QC, WEIGHT_UNIT, Block, EpochParameters, Vote
from sim.protocol.weighted_voting import PPM, WeightParameters, weight_table
from sim.study.limits import BLOCKS, fork, weigh

pytestmark = pytest.mark.benchmark

N = 150


def tell(what: str, elapsed_s: float, count: int, target: str) -> None:
    print(f"\n{what}: {elapsed_s / count * 1e6:,.2f} us each over {count:,} ({target})")


@pytest.mark.parametrize("combine", ["additive", "stake_multiplied"])
def test_weights_of_150_validators(combine: Literal["additive", "stake_multiplied"]) -> None:
    """Target: under 1 ms."""
    found = weigh(combine)
    tell(f"weights of {N}, {combine}", sum(found.times_ns) / 1e9, len(found.times_ns), "1,000 us")
    assert WEIGHT_UNIT - N <= found.table.total <= WEIGHT_UNIT
    assert len(set(found.table.weights)) > N // 2
    assert max(found.table.weights) <= WEIGHT_UNIT * 15 // 100


@pytest.mark.parametrize("width", [2, 10, 500])
def test_forks_over_a_thousand_blocks(width: int) -> None:
    """Target: detection and resolution under 5 s. All branches live, certified, then resolved."""
    found = fork(width)
    ms = found.elapsed_ns / 1e6
    print(f"\n{BLOCKS} blocks in {width} branches: {ms:,.1f} ms (target 5,000 ms)")
    assert found.kinds.count("view_change") == width - 1
    assert found.kinds.count("partition") == width - 1
    assert found.chosen_is_a_tip
    assert found.orphaned == BLOCKS * (width - 1) // width
    assert found.conflict_found
    assert found.reconciled


def test_votes_of_a_view_at_150() -> None:
    """Aim: a vote counted in under 1.5 us; a certificate judged."""
    table = weight_table([1] * N, [PPM] * N, [PPM] * N, WeightParameters())
    quorum = quorum_weight(table.total, 0)
    parameters = EpochParameters(1, b"r", 0, table, 0, quorum, table.total - quorum, b"r")
    views = 300
    votes = [[Vote(1, view, b"b" * 32, v, b"s") for v in range(N)] for view in range(views)]
    certificates = []
    start = time.perf_counter()
    for view in range(views):
        collector = VoteCollector(parameters, view)
        for vote in votes[view]:
            answer = collector.add(vote, True)
            if type(answer) is Accepted and answer.certificate is not None:
                certificates.append(answer.certificate)
    tell("votes counted", time.perf_counter() - start, views * N, "aim 1.5 us")
    assert len(certificates) == views
    assert all(len(members(qc.signers)) == 101 for qc in certificates)
    bitmap_weight.cache_clear()
    start = time.perf_counter()
    verdicts = [check_certificate(qc, parameters) for qc in certificates[1:]]
    tell("certificates judged", time.perf_counter() - start, views - 1, "no target")
    assert verdicts == [None] * (views - 1)


def test_ledger_of_150_validators() -> None:
    """A block applied and digested; epochs of ten blocks included."""
    rules = LedgerParameters(stake=StakeParameters(min_stake=1), epoch_blocks=10)
    ledger = Ledger(rules, [Account(1_000 + i) for i in range(N)])
    tip, epoch, view = ledger.genesis_block, 1, 0
    count = 300
    start = time.perf_counter()
    for height in range(1, count + 1):
        signers = (1 << N) - 1 if view else 0
        block = Block(epoch, view + 1, height, height % N, tip.id, QC(epoch, view, tip.id, signers))
        state = ledger.apply(block)
        state.digest()
        tip, view = block, block.view
        if state.epoch != epoch:
            epoch, view = state.epoch, 0
    tell(f"blocks applied at n = {N}", time.perf_counter() - start, count, "no target")
    assert (state.height, state.epoch) == (count, 1 + count // 10)
    assert state.supply == ledger.minted
