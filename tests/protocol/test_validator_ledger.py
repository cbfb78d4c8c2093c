"""What validators bring into the chain: late votes, evidence, operations; and 150 of them."""

from __future__ import annotations

from typing import Any

from sim.protocol.accountability import vote_of
from sim.protocol.effects import Accused, Broadcast, Committed, LevelChanged, Rejected
from sim.protocol.events import MessageReceived, OperationSubmitted, Started
from sim.protocol.messages import EvidenceMessage, LateVotes, Proposal, VoteMessage
from sim.protocol.multi_signature import members
from sim.protocol.types import Block, Evidence, Operation, PayloadRef, Vote
from tests.protocol.harness import MS, STAKE, Network, hash_delay, rules, settings, sign
from tests.protocol.test_validator_faults import proposal_twin


def final_blocks(network: Network, node: int = 0) -> tuple[Block, ...]:
    tree = network.validators[node].chain.tree
    return tree.path(tree.final.id, 0, 1 << 30)


def slow_region(slow: int) -> Any:
    """Everyone is 10 ms apart but `slow`, whose messages take 18 ms: always after the quorum."""

    def link(sender: int, receiver: int, message: object, now_ns: int) -> int:
        return (18 if slow in (sender, receiver) else 10) * MS

    return link


def test_late_votes_earn_attendance_that_certificates_do_not_show() -> None:
    network = Network(7, ledger=rules(epoch_blocks=100), link=slow_region(5)).start()
    network.run(1_500 * MS)
    blocks = final_blocks(network)
    others = [b for b in blocks if b.proposer != 5 and b.justify.view]
    missing = sum(not b.justify.signers >> 5 & 1 for b in others)
    assert missing > len(others) // 2, "the quorum is full before its vote comes"
    late = [vote for b in blocks for vote in b.attendance if vote.voter == 5]
    assert len(late) > len(blocks) // 3
    assert len({(v.block, v.voter) for v in late}) == len(late), "credited once"
    tally = network.validators[0].ledger.state(blocks[-1].id).tally
    assert tally.attended[5] > tally.expected // 2


def test_without_forwarding_the_slow_region_is_punished() -> None:
    plain = Network(
        7,
        ledger=rules(epoch_blocks=100),
        link=slow_region(5),
        parameters=settings(late_vote_leaders=0),
    ).start()
    plain.run(1_500 * MS)
    tally = plain.validators[0].ledger.state(final_blocks(plain)[-1].id).tally
    assert tally.attended[5] < tally.expected // 2
    assert not any(block.attendance for block in final_blocks(plain))


def test_conflicting_late_votes_are_evidence() -> None:
    network = Network(4).start().run(1_000 * MS)
    core = network.validators[0]
    vote = some_vote(network)
    other = vote._replace(block=b"\3" * 32)
    effects = core.handle(MessageReceived(1, LateVotes((vote, other))), network.now_ns)
    assert [e.evidence.kind for e in effects if isinstance(e, Accused)] == ["double_vote"]
    assert [type(e.message) for e in effects if isinstance(e, Broadcast)] == [EvidenceMessage]


def some_vote(network: Network) -> Vote:
    """One signer's vote out of the highest certificate."""
    qc = network.validators[0].chain.high_qc
    return vote_of(qc, members(qc.signers)[0])


def test_two_proposals_of_a_view_are_evidence_for_all() -> None:
    network = Network(4, ledger=rules(epoch_blocks=100))

    def mind(net: Network, node: int, effects: list[Any]) -> list[Any]:
        told = [e.message for e in effects if isinstance(e, Broadcast)]
        twins = [proposal_twin(m) for m in told if isinstance(m, Proposal)]
        return [*effects, *map(Broadcast, twins)]

    network.minds[2] = mind
    network.start().run(3_000 * MS)
    assert {key[:2] for key in network.accused()} == {("double_proposal", 2)}
    books = network.validators[0].ledger.state(final_blocks(network)[-1].id).books
    assert books.stake.burned > 0
    keys = [e.key() for b in final_blocks(network) for e in b.evidence]
    assert keys
    assert len(keys) == len(set(keys)), "one offence is in one block"
    assert network.conflicts() == []


def test_evidence_is_refused_without_substance_and_told_on_only_by_who_saw_it() -> None:
    network = Network(4).start().run(500 * MS)
    vote = some_vote(network)
    core = network.validators[(vote.voter + 1) % 4]
    empty = Evidence("double_vote", 3, 1, 1)
    assert core.handle(MessageReceived(1, EvidenceMessage(empty)), network.now_ns) == []
    pair = tuple(sorted((vote, vote._replace(block=b"\0" * 32)), key=lambda v: v.block))
    sound = Evidence("double_vote", vote.voter, vote.epoch, vote.view, votes=pair)
    effects = core.handle(MessageReceived(1, EvidenceMessage(sound)), network.now_ns)
    assert [type(e) for e in effects] == [Accused]
    assert core.handle(MessageReceived(2, EvidenceMessage(sound)), network.now_ns) == []
    guilty = network.validators[vote.voter]
    assert guilty.handle(MessageReceived(1, EvidenceMessage(sound)), network.now_ns) == []


def test_operations_reach_the_ledger_in_nonce_order() -> None:
    network = Network(4).start()
    for nonce in (1, 0, 2):
        operation = Operation("top_up", 1, STAKE, nonce)
        network.push(1, OperationSubmitted(operation), 20 * MS)
    network.run(3_000 * MS)
    applied = [op for b in final_blocks(network) for op in b.operations]
    assert [(op.validator, op.nonce) for op in applied] == [(1, 0), (1, 1), (1, 2)]
    stake = network.validators[2].ledger.state(final_blocks(network, 2)[-1].id).books.stake
    assert stake.bonded[1] == STAKE * 13


def test_a_forged_signature_has_no_effect_but_a_reason() -> None:
    network = Network(4).start().run(500 * MS)
    core = network.validators[0]
    forged = VoteMessage(some_vote(network))
    effects = core.handle(MessageReceived(3, forged, False), network.now_ns)
    assert effects == [Rejected(3, "vote", "invalid_signature")]


def test_a_stranger_to_the_view_is_rejected() -> None:
    network = Network(4, ledger=rules(epoch_blocks=200)).start().run(500 * MS)
    core = network.validators[0]
    view = next(v for v in range(core.view + 1, 99) if core.leader(v) not in (0, 3))
    block = Block(1, view, 1, 3, bytes(32), core.chain.high_qc)
    signed = block.signed(sign(3, block.signed_bytes()))
    effects = core.handle(MessageReceived(3, Proposal(signed)), network.now_ns)
    assert effects == [Rejected(3, "proposal", "not_the_leader")]


def test_a_block_that_is_too_large_or_out_of_order_gets_no_vote() -> None:
    network = Network(4, parameters=settings(max_block_transactions=10))
    core = network.validators[1]
    leader = core.leader(1)
    for node in network.validators.values():
        node.handle(Started(), 0)
    genesis = core.ledger.genesis_block
    for payload, reason in (
        ((PayloadRef(0, 0, 10, 5),), "too_large"),
        ((PayloadRef(0, 5, 6, 5),), "gap"),
    ):
        block = Block(1, 1, 1, leader, genesis.id, core.chain.high_qc, None, payload)
        core._proposals.clear()
        effects = core.handle(MessageReceived(leader, Proposal(block)), 0)
        assert effects == [Rejected(leader, "proposal", reason)]


def test_a_hundred_and_fifty_validators() -> None:
    """Smoke: epochs, transactions, an equivocator, a level change, one chain."""
    count = 150
    network = Network(
        count,
        ledger=rules(epoch_blocks=12),
        link=fast_hash_delay,
        checked=False,
        parameters=settings(timer_base_ns=2_000 * MS, min_block_interval_ns=100 * MS),
    )
    network.offered = [
        (at * 100 * MS, PayloadRef(g, at * 5, at * 5 + 4, 500))
        for at in range(10)
        for g in range(0, count, 10)
    ]
    network.start().run(5_000 * MS)
    assert min(network.heights()) >= 20
    assert network.conflicts() == []
    assert network.validators[7].epoch >= 2
    committed = sum(ref.tx_count for b in final_blocks(network) for ref in b.payload)
    assert committed == 10 * 15 * 5
    needed = {b.justify.signers.bit_count() for b in final_blocks(network) if b.justify.view}
    assert min(needed) >= 98, "101 equal votes of 150, a little less when weights have moved"
    states = {(c.height, c.state) for c in network.seen(Committed)}
    assert len(states) == max(network.heights())
    assert not network.seen(LevelChanged)


def fast_hash_delay(sender: int, receiver: int, message: object, now_ns: int) -> int:
    """10 to 50 ms by a cheap integer hash."""
    mixed = (sender * 73_856_093) ^ (receiver * 19_349_663) ^ (now_ns * 83_492_791)
    return 10 * MS + (mixed & 0xFFFFFFFF) % (40 * MS)


def test_delays_do_not_change_what_is_committed_only_when() -> None:
    """Two seeds of delays: both chains hold the same transactions, each in its gateway's order."""
    chains = []
    for seed in (1, 2):
        network = Network(4, link=hash_delay(seed))
        network.offered = [(at * 50 * MS, PayloadRef(0, at, at, 9)) for at in range(20)]
        network.start().run(4_000 * MS)
        chains.append([ref for b in final_blocks(network) for ref in b.payload])
    assert chains[0] == chains[1]
    assert len(chains[0]) == 20
