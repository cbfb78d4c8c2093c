"""Limits of the source document (phase7.md): the work is asserted, the time is printed."""

from __future__ import annotations

import time

import pytest

from sim.protocol.adaptive_quorum import quorum_weight
from sim.protocol.fork_detector import BlockTree
from sim.protocol.ledger import Account, Ledger, LedgerParameters
from sim.protocol.multi_signature import (
    Accepted,
    VoteCollector,
    bitmap_weight,
    check_certificate,
    members,
)
from sim.protocol.stake_manager import StakeParameters
from sim.protocol.types import QC, TC, WEIGHT_UNIT, Block, EpochParameters, Timeout, Vote
from sim.protocol.weighted_voting import PPM, WeightParameters, weight_table

pytestmark = pytest.mark.benchmark

N = 150
BLOCKS = 1_000


def tell(what: str, elapsed_s: float, count: int, target: str) -> None:
    print(f"\n{what}: {elapsed_s / count * 1e6:,.2f} us each over {count:,} ({target})")


@pytest.mark.parametrize("combine", ["additive", "stake_multiplied"])
def test_weights_of_150_validators(combine: str) -> None:
    """Target: under 1 ms."""
    parameters = WeightParameters(combine=combine)
    stakes = [10**9 + 7 * i**4 for i in range(N)]
    reputations = [400_000 + 3_000 * (i % 150) for i in range(N)]
    uptimes = [PPM - 911 * i for i in range(N)]
    rounds = 50
    start = time.perf_counter()
    for _ in range(rounds):
        table = weight_table(stakes, reputations, uptimes, parameters)
    tell(f"weights of {N}, {combine}", time.perf_counter() - start, rounds, "target 1,000 us")
    assert WEIGHT_UNIT - N <= table.total <= WEIGHT_UNIT
    assert len(set(table.weights)) > N // 2
    assert max(table.weights) <= WEIGHT_UNIT * 15 // 100


def branches(width: int) -> list[Block]:
    """A thousand blocks in `width` interleaved branches of one root, each with justifications."""
    root = Block(1, 0, 0, 0, bytes(32), QC(1, 0, bytes(32), 0))
    tips = [root] * width
    made = [root]
    for view in range(1, BLOCKS + 1):
        parent = tips[view % width]
        quorum = ((1 << 101) - 1) << (view % 50)
        justify = QC(1, parent.view, parent.id, quorum if parent.view else 0)
        said = tuple(Timeout(1, view - 1, parent.view, parent.id, s) for s in range(101))
        tc = None if view == parent.view + 1 else TC(1, view - 1, said)
        block = Block(1, view, parent.height + 1, view % N, parent.id, justify, tc)
        tips[view % width] = block
        made.append(block)
    return made


@pytest.mark.parametrize("width", [2, 10, 500])
def test_forks_over_a_thousand_blocks(width: int) -> None:
    """Target: detection and resolution under 5 s. All branches live, certified, then resolved."""
    root, *blocks = branches(width)
    start = time.perf_counter()
    tree = BlockTree(root, lambda qc: qc.signers.bit_count(), keep=BLOCKS)
    forks = [fork for block in blocks for fork in tree.insert(block)]
    for block in blocks[-width:]:
        quorum = ((1 << 101) - 1) << (block.view % 50)
        forks += tree.certify(QC(1, block.view, block.id, quorum))
    chosen = tree.fork_choice()
    done = tree.finalize(blocks[0].id)
    loser = next(b for b in blocks[-width:] if not tree.extends(b.id, blocks[0].id))
    conflict = tree.finalize(loser.id)
    result = tree.reconcile(loser.id)
    elapsed = time.perf_counter() - start
    print(f"\n{BLOCKS} blocks in {width} branches: {elapsed * 1e3:,.1f} ms (target 5,000 ms)")
    assert [f.kind for f in forks].count("view_change") == width - 1
    assert [f.kind for f in forks].count("partition") == width - 1
    assert tree.get(chosen) in blocks[-width:]
    assert len(done.orphaned) == BLOCKS * (width - 1) // width
    assert conflict.fork is not None
    assert result.orphaned


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
