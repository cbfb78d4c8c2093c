"""The block tree: fork kinds, fork choice, finality, reconciliation, bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.protocol.effects import Forked
from sim.protocol.fork_detector import BlockTree
from sim.protocol.multi_signature import members
from sim.protocol.types import QC, TC, Block, PayloadRef, Timeout

GENESIS = Block(1, 0, 0, 0, b"\0" * 32, QC(1, 0, b"\0" * 32, 0))
QUORUM = 0b0111


def certificate(block: Block, signers: int = QUORUM) -> QC:
    return QC(block.epoch, block.view, block.id, signers)


def child(
    parent: Block,
    view: int,
    *,
    tc_high: int | None = None,
    signers: int = QUORUM,
    proposer: int | None = None,
    payload: tuple[PayloadRef, ...] = (),
    epoch: int = 1,
) -> Block:
    """A block on a certified parent; `tc_high`: its TC's signers 0..2 all report that view."""
    justify = certificate(parent, signers) if parent.view else QC(epoch, 0, parent.id, 0)
    tc = None
    if tc_high is not None:
        said = tuple(Timeout(epoch, view - 1, tc_high, parent.id, s) for s in range(3))
        tc = TC(epoch, view - 1, said)
    who = view if proposer is None else proposer
    return Block(epoch, view, parent.height + 1, who, parent.id, justify, tc, payload)


def tree(root: Block = GENESIS, **limits: int) -> BlockTree:
    return BlockTree(root, lambda qc: len(members(qc.signers)), **limits)


def grow(t: BlockTree, *blocks: Block) -> list[Forked]:
    return [fork for block in blocks for fork in t.insert(block)]


def test_equivocation_is_two_blocks_of_one_place() -> None:
    t = tree()
    one, two = child(GENESIS, 1), child(GENESIS, 1, payload=(PayloadRef(0, 0, 1, 9),))
    assert grow(t, one) == []
    assert grow(t, two) == [Forked("equivocation", GENESIS.id, (one.id, two.id))]


def test_equivocation_is_seen_across_different_parents() -> None:
    t = tree()
    a = child(GENESIS, 1)
    b = child(a, 2)
    low, high = child(a, 4, tc_high=1, proposer=9), child(b, 4, tc_high=2, proposer=9)
    forks = grow(t, a, b, low, high)
    assert forks[-1] == Forked("equivocation", a.id, (low.id, high.id))


def test_two_proposers_of_one_view_are_no_equivocation() -> None:
    t = tree()
    one, two = child(GENESIS, 1, proposer=1), child(GENESIS, 1, proposer=2)
    assert [f.kind for f in grow(t, one, two)] == ["view_change"]


def test_view_change_leaves_an_uncertified_block_behind() -> None:
    t = tree()
    a = child(GENESIS, 1)
    lost, next_one = child(a, 2), child(a, 3, tc_high=1)
    assert grow(t, a, lost, next_one) == [Forked("view_change", a.id, (lost.id, next_one.id))]
    assert t.certify(certificate(next_one)) == []


def test_partition_is_a_certificate_that_a_timeout_quorum_did_not_know() -> None:
    t = tree()
    a = child(GENESIS, 1)
    hidden, later = child(a, 2), child(a, 4, tc_high=1)
    assert [f.kind for f in grow(t, a, hidden, later)] == ["view_change"]
    assert t.certify(certificate(hidden)) == []
    assert t.certify(certificate(later)) == [Forked("partition", a.id, (hidden.id, later.id))]
    assert t.certify(certificate(later)) == []  # told once


def test_partition_is_seen_through_the_justification_of_a_descendant() -> None:
    t = tree()
    a = child(GENESIS, 1)
    hidden, later = child(a, 2), child(a, 4, tc_high=1)
    grow(t, a, hidden, later)
    assert t.insert(child(hidden, 6, tc_high=2)) == []
    assert [f.kind for f in t.insert(child(later, 5))] == ["partition"]


@pytest.mark.parametrize(("voters", "kind"), [(0b0111, "amnesia"), (0b11000, "partition")])
def test_amnesia_is_a_timeout_that_forgets_a_vote(voters: int, kind: str) -> None:
    """Signers 0..2 report QC view 1 at view 4; who voted for `witness` knew the QC of view 2."""
    t = tree()
    a = child(GENESIS, 1)
    early = child(a, 2)
    witness = child(early, 3)
    late = child(a, 5, tc_high=1)
    grow(t, a, early, witness, late)
    t.certify(certificate(witness, voters))
    assert t.certify(certificate(late)) == [Forked(kind, a.id, (early.id, late.id))]


def test_a_certified_block_against_the_vote_rule_counts_as_amnesia() -> None:
    t = tree()
    a = child(GENESIS, 1)
    early, late = child(a, 2), child(a, 5)  # no TC for view 4
    grow(t, a, early, late)
    t.certify(certificate(early))
    assert [f.kind for f in t.certify(certificate(late))] == ["amnesia"]


def test_many_branches_each_make_one_fork() -> None:
    t = tree()
    branches = [child(GENESIS, view, tc_high=0) for view in range(2, 8)]
    forks = grow(t, *branches)
    assert [f.branches for f in forks] == [(a.id, b.id) for a, b in pairwise(branches)]
    assert t.children(GENESIS.id) == tuple(b.id for b in branches)


def test_tail_of_a_closed_epoch_is_no_fork_and_no_orphan() -> None:
    t = tree()
    root = child(GENESIS, 1)
    fresh = Block(2, 1, 2, 5, root.id, QC(2, 0, root.id, 0))
    t.insert(root)
    rest = chain(t, root, range(2, 5))
    assert grow(t, fresh) == []
    t.finalize(root.id)
    # The discarded tail is longer, yet the new epoch is what an observer follows.
    t.certify(certificate(fresh))
    assert t.fork_choice() == fresh.id
    done = t.finalize(fresh.id)
    assert done.orphaned == ()
    assert done.tail == tuple(rest)
    # A latecomer of the tail is tail as well.
    last = child(rest[-1], 5)
    t.insert(last)
    after = Block(2, 2, 3, 6, fresh.id, certificate(fresh))
    t.insert(after)
    assert t.finalize(after.id).tail == (last,)


def chain(t: BlockTree, parent: Block, views: range, signers: int = QUORUM) -> list[Block]:
    """Insert a certified chain; its first block has a TC if it skips views."""
    made: list[Block] = []
    for view in views:
        skipped = view != parent.view + 1
        block = child(parent, view, tc_high=parent.view if skipped else None, signers=signers)
        if block.id not in t:
            t.insert(block)
        t.certify(certificate(block, signers))
        made.append(block)
        parent = block
    return made


def test_fork_choice_prefers_the_longest_then_the_heaviest_then_the_lowest_id() -> None:
    t = tree()
    short = chain(t, GENESIS, range(10, 12), signers=0b11111)
    long = chain(t, GENESIS, range(20, 23), signers=0b0111)
    assert t.fork_choice() == long[-1].id
    t.insert(child(short[-1], 12))
    assert t.fork_choice() == long[-1].id  # not certified: does not count
    heavy = chain(t, GENESIS, range(30, 33), signers=0b1111)
    assert t.fork_choice() == heavy[-1].id
    twin = chain(t, GENESIS, range(40, 43), signers=0b1111)
    assert t.fork_choice() == min(heavy[-1].id, twin[-1].id)


def test_fork_choice_never_crosses_finality() -> None:
    """A longer, heavier branch beside the final block must not be followed."""
    t = tree()
    ours = chain(t, GENESIS, range(1, 3))
    t.finalize(ours[0].id)
    theirs = chain(t, GENESIS, range(10, 30), signers=0b11111)
    assert t.fork_choice() == ours[1].id
    t.finalize(ours[1].id)
    assert t.fork_choice() == ours[1].id
    assert theirs[-1].id in t


def test_finalize_returns_the_chain_and_the_orphans_once() -> None:
    t = tree()
    a, b, c = chain(t, GENESIS, range(1, 4))
    lost = child(a, 5, tc_high=1)
    grow(t, lost)
    assert t.finalize(c.id) == ((a, b, c), (lost,), (), None)
    assert t.final == c
    assert t.finalize(b.id) == ((), (), (), None)
    latecomer = child(lost, 7, tc_high=5)
    grow(t, latecomer)
    (d,) = chain(t, c, range(4, 5))
    assert t.finalize(d.id).orphaned == (latecomer,)


def test_conflicting_commits_are_a_finality_fork_and_move_nothing() -> None:
    t = tree()
    ours = chain(t, GENESIS, range(1, 4))
    theirs = chain(t, GENESIS, range(10, 12))
    t.finalize(ours[1].id)
    done = t.finalize(theirs[0].id)
    assert done == ((), (), (), Forked("finality", GENESIS.id, (ours[1].id, theirs[0].id)))
    assert t.final == ours[1]


def test_reconcile_moves_to_the_longer_branch_and_returns_what_it_lacks() -> None:
    t = tree()
    shared, only_ours = PayloadRef(0, 0, 4, 100), PayloadRef(1, 0, 9, 100)
    ours = child(GENESIS, 1, payload=(shared, only_ours))
    above = child(ours, 2)
    grow(t, ours, above)
    t.certify(certificate(above))
    theirs = child(GENESIS, 4, tc_high=0, payload=(shared,))
    grow(t, theirs)
    rest = chain(t, theirs, range(5, 8))
    t.finalize(ours.id)
    t.finalize(theirs.id)
    result = t.reconcile(rest[0].id)
    assert result.winner == rest[0].id
    assert result.depth == 1
    assert result.orphaned == (ours, above)
    assert result.adopted == (theirs, rest[0])
    assert result.returned == (only_ours,)
    assert t.final == rest[0]
    assert t.fork_choice() == rest[-1].id
    assert t.finalize(rest[1].id).final == (rest[1],)
    assert t.finalize(above.id).fork is not None


def test_reconcile_keeps_the_better_branch() -> None:
    t = tree()
    ours = chain(t, GENESIS, range(1, 5))
    theirs = child(GENESIS, 10, tc_high=0, payload=(PayloadRef(2, 0, 0, 1),))
    grow(t, theirs)
    t.certify(certificate(theirs))
    t.finalize(ours[0].id)
    result = t.reconcile(theirs.id)
    assert (result.winner, result.depth, result.adopted) == (ours[0].id, 0, ())
    assert result.orphaned == (theirs,)
    assert result.returned == theirs.payload
    assert t.final == ours[0]


@pytest.mark.parametrize(("ours", "theirs"), [(0b0111, 0b1111), (0b1111, 0b0111)])
def test_reconcile_weighs_votes_between_equal_lengths(ours: int, theirs: int) -> None:
    t = tree()
    a = chain(t, GENESIS, range(1, 3), signers=ours)
    b = chain(t, GENESIS, range(10, 12), signers=theirs)
    t.finalize(a[0].id)
    winner = a[0] if ours > theirs else b[0]
    assert t.reconcile(b[0].id).winner == winner.id


def test_two_sides_reconcile_to_the_same_branch() -> None:
    finals = []
    for mine, other in ((0, 1), (1, 0)):
        t = tree()
        sides = (chain(t, GENESIS, range(1, 4)), chain(t, GENESIS, range(10, 13)))
        t.finalize(sides[mine][0].id)
        t.reconcile(sides[other][0].id)
        finals.append(t.fork_choice())
    assert finals[0] == finals[1]


def test_reconcile_refuses_what_is_no_conflict() -> None:
    t = tree()
    (a,) = chain(t, GENESIS, range(1, 2))
    with pytest.raises(ValueError, match="does not conflict"):
        t.reconcile(a.id)
    with pytest.raises(ValueError, match="unknown"):
        t.reconcile(b"?" * 32)


def test_insert_says_what_it_cannot_take() -> None:
    t = tree(capacity=2)
    a = child(GENESIS, 1)
    b = child(a, 2)
    assert t.check_insert(b) == "unknown_parent"
    grow(t, a)
    assert t.check_insert(a) == "known"
    skewed = Block(1, 2, 5, 2, a.id, certificate(a))
    assert t.check_insert(skewed) == "wrong_height"
    grow(t, b)
    c = child(b, 3)
    assert t.check_insert(c) == "full"
    with pytest.raises(ValueError, match="full"):
        t.insert(c)
    t.finalize(a.id)
    assert t.check_insert(c) is None


@pytest.mark.parametrize(
    "bad",
    [
        QC(1, 0, GENESIS.id, 0),
        QC(1, 9, b"?" * 32, QUORUM),
        QC(2, 1, b"", QUORUM),
        QC(1, 3, b"", QUORUM),
    ],
)
def test_certificates_of_another_place_have_no_effect(bad: QC) -> None:
    t = tree()
    a = child(GENESIS, 1)
    grow(t, a)
    wrong = bad if bad.block else bad._replace(block=a.id)
    assert t.certify(wrong) == []
    assert t.certificate(a.id) is None
    assert t.fork_choice() == GENESIS.id


def test_memory_is_bounded_and_the_last_blocks_answer_sync() -> None:
    t = tree(keep=10)
    parent, old = GENESIS, []
    for step in range(300):
        block = child(parent, 2 * step + 2, tc_high=parent.view)
        t.insert(block)
        if step % 3 == 0:
            t.insert(child(parent, 2 * step + 3, tc_high=parent.view))
        t.finalize(block.id)
        old.append(block)
        parent = block
    assert len(t) <= 11 + 4
    assert t.path(parent.id, 290, 100) == tuple(old[-10:])
    assert t.path(parent.id, 294, 3) == tuple(old[294:297])
    assert t.path(parent.id, 300, 3) == ()
    assert GENESIS.id not in t
    assert t.extends(parent.id, old[-11].id)
    assert not t.extends(parent.id, GENESIS.id)


def brute_choice(blocks: list[Block], certified: dict[bytes, int], final: Block) -> bytes:
    by_id = {b.id: b for b in blocks}

    def line(block: Block) -> list[Block]:
        path = [block]
        while path[-1].parent in by_id:
            path.append(by_id[path[-1].parent])
        return path

    tips = [b for b in blocks if b.id in certified and final in line(b)]
    if not tips:
        return final.id
    ranked = []
    for tip in tips:
        path = line(tip)
        above = path[: path.index(final)]
        ranked.append((-tip.height, -sum(certified.get(b.id, 0) for b in above), tip.id))
    return min(ranked)[2]


@given(st.data())
def test_fork_choice_is_the_definition_on_random_trees(data: st.DataObject) -> None:
    t = tree()
    blocks, certified = [GENESIS], {}
    final = GENESIS
    for view in range(1, data.draw(st.integers(2, 14))):
        parent = data.draw(st.sampled_from(blocks))
        if parent.id not in certified and parent.view:
            certified[parent.id] = 3
        block = child(parent, view, tc_high=parent.view)
        t.insert(block)
        blocks.append(block)
        if data.draw(st.booleans()) and block.id not in certified:
            signers = data.draw(st.integers(1, 31))
            t.certify(certificate(block, signers))
            certified[block.id] = len(members(signers))
        if data.draw(st.integers(0, 3)) == 0:
            chosen = data.draw(st.sampled_from(blocks))
            if t.extends(chosen.id, final.id):
                before, final = final, chosen
                done = t.finalize(chosen.id)
                assert len(done.final) == chosen.height - before.height
                assert not done.fork
        assert t.fork_choice() == brute_choice(blocks, certified, final)
        assert t.final == final


def test_heights_held_follow_finality_and_branches() -> None:
    t = tree(keep=2)
    assert (t.lowest_height, t.highest_height()) == (0, 0)
    chain = [GENESIS]
    for view in range(1, 8):
        chain.append(child(chain[-1], view))
        grow(t, chain[-1])
    t.finalize(chain[5].id)
    assert (t.lowest_height, t.highest_height()) == (3, 7)
    late = child(chain[7], 9, proposer=3)
    grow(t, late)
    assert t.highest_height() == 8
