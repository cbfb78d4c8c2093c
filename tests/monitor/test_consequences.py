"""Monitors of what an epoch pins, of what follows an offence, and of how branches end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sim.monitor.base import Violation
from sim.monitor.pinned import drift, overlap_exceeds_third
from sim.monitor.punishment import Terms
from sim.monitor.watch import Watch
from sim.protocol.adaptive_quorum import quorum_weight
from sim.protocol.effects import Certified, Dropped, Reconciled, ViewChanged
from sim.protocol.fork_detector import BlockTree
from sim.protocol.messages import VoteMessage
from sim.protocol.types import QC, Block, EpochParameters, Evidence, Vote, WeightTable
from tests.monitor.test_monitors import ROOT, Chain, accuse, commit, only, parameters

TERMS = Terms(unbonding_epochs=2, block_evidence=4)
EVIDENCE = Evidence("double_vote", 3, 0, 1)


class Standing:
    """What the engine shows of one validator: a tree, and what it judges by."""

    def __init__(self, tree: BlockTree, epoch: EpochParameters) -> None:
        self.tree = tree
        self.epoch = epoch


def watch(chain: Chain, **other: Any) -> Watch:
    return chain.watch(**({"commit_within_ns": None, "terms": TERMS} | other))


def table(*weights: int) -> WeightTable:
    return WeightTable(weights, sum(weights))


def pins(weights: WeightTable, quorum: int) -> EpochParameters:
    return replace(parameters(1, ROOT), weights=weights, quorum=quorum)


def tree_of(chain: Chain, final: int, blocks: list[Block] | None = None) -> BlockTree:
    root = Block(0, 0, 0, 0, bytes(32), QC(0, 0, bytes(32), 0))
    tree = BlockTree(root, lambda qc: 30)
    parent = root.id
    for block in chain.line if blocks is None else blocks:
        placed = replace(block, parent=parent)
        tree.insert(placed)
        tree.certify(QC(0, placed.view, placed.id, 0b0111))
        parent = placed.id
        if placed.height == final:
            tree.finalize(placed.id)
    return tree


# Quorums and weights


@pytest.mark.parametrize("level", [0, 1, 2])
def test_quorums_of_one_table_overlap_enough(level: int) -> None:
    equal = table(*[10**8] * 10)
    epoch = pins(equal, quorum_weight(equal.total, level))
    assert overlap_exceeds_third(epoch, epoch)


def test_a_third_itself_is_not_enough() -> None:
    equal = table(*[1] * 9)
    assert not overlap_exceeds_third(pins(equal, 6), pins(equal, 6))
    assert overlap_exceeds_third(pins(equal, 7), pins(equal, 6))


def test_a_drift_of_seven_thousandths_takes_the_lowest_level_below_a_third() -> None:
    even = table(*[10**9] * 100)
    moved = table(10**9 + 7 * 10**8, 10**9 - 7 * 10**8, *[10**9] * 98)
    assert drift(even, moved)[0] * 1000 == drift(even, moved)[1] * 7
    ones = [pins(each, quorum_weight(each.total, 0)) for each in (even, moved)]
    assert overlap_exceeds_third(ones[0], ones[0])
    assert not overlap_exceeds_third(*ones)


def test_two_tables_of_one_epoch_fire_the_monitor_of_overlap() -> None:
    chain = Chain()
    watched = watch(chain)
    tree = tree_of(chain, 0)
    even = pins(table(10, 10, 10, 10), 27)
    for now_ns in (1, 2):
        for node in range(3):
            watched.stands(node, now_ns, Standing(tree, even))  # type: ignore[arg-type]
    assert watched.finish(3) == ()
    other = pins(table(13, 9, 9, 9), 27)
    watched.stands(3, 4, Standing(tree, other))  # type: ignore[arg-type]
    assert watched.finish(4) == (), "validator 3 is not believed"
    watched.stands(2, 5, Standing(tree, other))  # type: ignore[arg-type]
    found = only(watched)
    assert (found.monitor, found.node, found.window_from_ns) == ("quorum_overlap", 2, 1)
    assert found.proof["drift_ppm"] == 75_000


def test_a_weight_above_the_cap() -> None:
    chain = Chain()
    tree = tree_of(chain, 0)
    whale = pins(table(*(10**6 * part for part in (31, 23, 23, 23))), 9 * 10**7)
    for cap_ppm, fires in ((320_000, False), (300_000, True)):
        watched = watch(chain, cap_ppm=cap_ppm)
        watched.stands(0, 5, Standing(tree, whale))  # type: ignore[arg-type]
        found = watched.finish(5)
        assert [v.monitor for v in found] == ["weight_cap"] * fires
    assert found[0].proof["validator"] == 0


# Offences


def collected(watched: Watch, **other: Any) -> None:
    """Let validator 0 form the certificate of view 1 of epoch 0 and go on to view 2."""
    qc = QC(0, 1, b"\x01" * 32, 0b0111)
    watched.observe(0, 1, ViewChanged(0, 1, "epoch"))
    for block in (b"\x01", b"\x02"):
        vote = Vote(0, 1, block * 32, 3)._replace(**other)
        watched.heard(0, 2, VoteMessage(vote))
    watched.observe(0, 3, Certified(qc, 30))


def test_two_votes_of_one_view_that_nobody_accuses() -> None:
    watched = watch(Chain())
    collected(watched)
    found = only(watched)
    assert (found.monitor, found.node) == ("conviction", 0)
    assert (found.proof["offender"], found.proof["view"]) == (3, 1)


def test_an_accusation_by_anybody_is_enough() -> None:
    watched = watch(Chain())
    collected(watched)
    watched.observe(2, 9, accuse(3))
    assert watched.finish(10) == ()


def test_what_a_collector_cannot_have_noticed_is_excused() -> None:
    for excuse in ("late", "stranger", "full", "restart", "no_collector"):
        chain = Chain()
        if excuse == "stranger":
            chain.epochs[0] = replace(chain.epochs[0], weights=table(10, 10, 10, 0))
        watched = watch(chain)
        if excuse == "late":
            watched.observe(0, 1, ViewChanged(0, 30, "sync"))
            watched.heard(0, 2, VoteMessage(Vote(0, 1, b"\x01" * 32, 3)))
            watched.heard(0, 2, VoteMessage(Vote(0, 1, b"\x02" * 32, 3)))
        elif excuse == "restart":
            watched.observe(0, 1, ViewChanged(0, 1, "epoch"))
            watched.heard(0, 1, VoteMessage(Vote(0, 1, b"\x01" * 32, 3)))
            watched.restarted(0, 1)
            watched.heard(0, 1, VoteMessage(Vote(0, 1, b"\x02" * 32, 3)))
        elif excuse == "no_collector":
            watched.observe(1, 1, ViewChanged(0, 1, "epoch"))
            watched.heard(1, 2, VoteMessage(Vote(0, 1, b"\x01" * 32, 3)))
            watched.heard(1, 2, VoteMessage(Vote(0, 1, b"\x02" * 32, 3)))
        else:
            collected(watched)
        if excuse == "full":
            watched.observe(0, 4, Dropped("evidence", 1, "full"))
        assert watched.finish(10) == (), excuse


def proposal(chain: Chain, *, evidence: tuple[Evidence, ...] = ()) -> Block:
    """Make the chain's first block one of validator 0."""
    return chain.add(1, 1, ROOT, QC(0, 0, ROOT, 0), evidence=evidence)


def committed(chain: Chain, watched: Watch, block: Block) -> tuple[Violation, ...]:
    watched.proposed(block, 10)
    watched.observe(1, 20, commit(block))
    return watched.finish(30)


def test_evidence_that_its_proposer_left_out() -> None:
    chain = Chain()
    watched = watch(chain)
    watched.observe(0, 5, accuse(3))
    (found,) = committed(chain, watched, proposal(chain))
    assert (found.monitor, found.node, found.window_from_ns) == ("evidence_proposed", 0, 5)
    assert found.proof["offender"] == 3


def test_evidence_that_is_proposed_or_lost_in_a_restart() -> None:
    for restart in (False, True):
        chain = Chain()
        watched = watch(chain)
        watched.observe(0, 5, accuse(3))
        if restart:
            watched.restarted(0, 6)
        block = proposal(chain, evidence=() if restart else (EVIDENCE,))
        assert committed(chain, watched, block) == ()


def test_who_accused_later_than_it_proposed_is_excused() -> None:
    chain = Chain()
    watched = watch(chain)
    block = proposal(chain)
    watched.proposed(block, 4)
    watched.observe(0, 5, accuse(3))
    watched.observe(1, 20, commit(block))
    assert watched.finish(30) == ()


def test_who_accused_while_its_block_was_held_back_is_excused() -> None:
    chain = Chain()
    watched = watch(chain)
    block = proposal(chain)
    watched.proposed(block, 4)
    watched.observe(0, 5, accuse(3))
    assert committed(chain, watched, block) == ()


@pytest.mark.parametrize(("weight", "kept"), [(0, False), (10, False), (10, True)])
def test_a_convict_has_no_vote_in_the_next_epoch(weight: int, kept: bool) -> None:
    chain = Chain()
    watched = watch(chain)
    block = proposal(chain, evidence=(EVIDENCE,))
    watched.observe(0, 5, commit(block))
    weights = chain.epochs[0].weights if kept else table(11, 11, 11, weight)
    chain.epochs[1] = replace(parameters(1, block.id), weights=weights)
    after = Block(1, 1, 2, 0, block.id, QC(1, 0, block.id, 0))
    chain.blocks[after.id] = after
    watched.observe(0, 9, commit(after))
    found = watched.finish(10)
    assert [v.monitor for v in found] == ["jail"] * (weight > 0 and not kept)


# Branches


def test_a_fork_choice_that_leaves_the_final_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain()
    watched = watch(chain)
    tree = tree_of(chain, 3)
    standing = Standing(tree, chain.epochs[0])
    watched.stands(0, 5, standing)  # type: ignore[arg-type]
    assert watched.finish(5) == ()
    monkeypatch.setattr(BlockTree, "fork_choice", lambda self: self.final.parent)
    watched.stands(0, 6, standing)  # type: ignore[arg-type]
    assert only(watched).monitor == "fork_choice"


def test_a_branch_that_lost_is_returned_or_held_by_the_winner() -> None:
    """Of three batches one is returned, one is on the branch that won, and one is lost."""
    chain = Chain(3)
    payloads = [block.payload[0] for block in chain.line]
    winner = Chain(1)
    for returned, lost in (((payloads[1],), 1), (tuple(payloads[1:]), 0)):
        watched = watch(chain)
        orphaned = tuple(block.id for block in chain.line)
        watched.observe(0, 5, Reconciled(3, orphaned, returned))
        tree = tree_of(chain, 1, winner.line)
        watched.ended(9, [Standing(tree, chain.epochs[0])])  # type: ignore[list-item]
        found = watched.finish(9)
        assert [v.monitor for v in found] == ["reconciliation"] * lost
        assert all(v.proof["batches_lost"] == lost for v in found)


def test_a_conflict_that_the_monitor_of_agreement_missed() -> None:
    chain = Chain()
    rival = [replace(block, view=block.view + 10) for block in chain.line]
    sides = [tree_of(chain, 3), tree_of(chain, 2, rival)]
    standings = [Standing(tree, chain.epochs[0]) for tree in sides]
    watched = watch(chain)
    watched.ended(9, standings)  # type: ignore[arg-type]
    assert only(watched).monitor == "conflict_noticed"
    noticed = watch(chain)
    one, two = chain.line[0], chain.add(1, 9, ROOT, QC(0, 0, ROOT, 0))
    noticed.observe(0, 1, commit(one))
    noticed.observe(1, 2, commit(two))
    noticed.ended(9, standings)  # type: ignore[arg-type]
    assert [v.monitor for v in noticed.finish(9)] == ["agreement", "accountability"]
    same = watch(chain)
    same.ended(9, [standings[0], standings[0]])  # type: ignore[list-item]
    assert same.finish(9) == ()
