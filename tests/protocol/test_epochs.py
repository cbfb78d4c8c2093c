"""Epochs: pinned parameters, memberships that change hands, tails, proofs, who is behind."""

from __future__ import annotations

import pytest

from sim.protocol.adaptive_quorum import LEVELS, QuorumParameters
from sim.protocol.effects import (
    Broadcast,
    Certified,
    Committed,
    EpochChanged,
    LevelChanged,
    Rejected,
    RequestBlocks,
    Send,
)
from sim.protocol.epochs import check_proof, root_certificate
from sim.protocol.events import MessageReceived, OperationSubmitted, TimerFired
from sim.protocol.messages import EpochProofMessage, Message, Proposal, TimeoutMessage
from sim.protocol.types import QC, Block, EpochProof, Operation, Timeout
from tests.protocol.harness import (
    MS,
    STAKE,
    STEADY,
    Network,
    accounts,
    hash_delay,
    rules,
    settings,
    sign,
)


def hand_over() -> Network:
    """Four members unbond all their stake while four candidates register."""
    network = Network(genesis=accounts(4, candidates=4), private_ledgers=True).start()
    for old in range(4):
        operation = Operation("unbond", old, STAKE * 10, 0)
        network.push(old, OperationSubmitted(operation), 50 * MS)
    for new in range(4, 8):
        operation = Operation("register", new, STAKE * 10, 0)
        network.push(new, OperationSubmitted(operation), 50 * MS)
    return network


def test_every_validator_derives_the_same_parameters() -> None:
    network = Network(4, private_ledgers=True).start().run(5_000 * MS)
    pinned: dict[int, EpochChanged] = {}
    for change in network.seen(EpochChanged):
        assert pinned.setdefault(change.epoch, change) == change
    assert len(pinned) > 4


def test_an_epoch_commits_l_blocks_and_discards_its_tail() -> None:
    network = Network(4, ledger=rules(epoch_blocks=7)).start().run(5_000 * MS)
    blocks = network.seen(Committed, 0)
    last = blocks[-1].epoch
    assert last > 4
    for epoch in range(1, last):
        assert len([b for b in blocks if b.epoch == epoch]) == 7
    tree = network.validators[0].chain.tree
    for proof in network.validators[0].chain.proofs.values():
        tail = [c for c in tree.children(proof.root.id) if tree.get(c).epoch == proof.root.epoch]  # type: ignore[union-attr]
        assert tail, "someone had to build on the root to commit it"
        assert not any(b.block in tail for b in blocks)
        for block_id in tail:
            block = tree.get(block_id)
            assert block is not None
            content = (block.payload, block.operations, block.evidence, block.attendance)
            assert content == ((), (), (), ())


def test_who_closes_an_epoch_tells_the_others_also_when_its_votes_came_before_the_block() -> None:
    """Otherwise all wait for their timers: only the collector has the certificate."""
    overtaken, timeouts = [], []

    def link(sender: int, receiver: int, message: Message, now_ns: int) -> int:
        if isinstance(message, TimeoutMessage):
            timeouts.append(message)
        if isinstance(message, Proposal):
            block, there = message.block, network.validators[receiver]
            tail = block.height - there.chain.epoch.root_height > 7
            if tail and block.epoch == there.epoch and there.leader(block.view + 1) == receiver:
                overtaken.append(block.id)
                return 200 * MS
        return 20 * MS

    network = Network(4, ledger=rules(epoch_blocks=7), link=link)
    network.start().run(5_000 * MS)
    assert len(overtaken) > 4
    certified = {c.qc.block for c in network.seen(Certified)}
    assert certified.issuperset(overtaken[:-1])
    assert timeouts == []


def test_views_restart_and_old_votes_do_not_count() -> None:
    network = Network(4, ledger=rules(epoch_blocks=6)).start().run(4_000 * MS)
    first = {}
    for block in network.seen(Committed, 1):
        first.setdefault(block.epoch, block.view)
    assert set(first.values()) == {1}
    stale = [r for r in network.seen(Rejected) if (r.what, r.reason) == ("vote", "wrong_epoch")]
    assert stale, "a slow vote of the old epoch is refused, not counted"


def test_memberships_may_be_disjoint_from_one_epoch_to_the_next() -> None:
    network = hand_over().run(10_000 * MS)
    first = {e.epoch: e for e in network.seen(EpochChanged, 0)}
    assert first[2].weights_digest != first[1].weights_digest
    for old in range(4):
        assert not network.validators[old].is_member
    for new in range(4, 8):
        assert network.validators[new].is_member
        assert network.heights([new])[0] > 50
    assert network.conflicts() == []
    voters = {b.proposer for b in walk(network, 5) if b.epoch > 2}
    assert voters == {4, 5, 6, 7}


def walk(network: Network, node: int) -> list[Block]:
    tree = network.validators[node].chain.tree
    return list(tree.path(tree.final.id, 0, 1 << 30))


def test_who_left_still_follows() -> None:
    network = hand_over().run(10_000 * MS)
    assert min(network.heights(range(4))) > max(network.heights()) - 30


def test_the_level_moves_at_an_epoch_and_every_certificate_fits_its_epoch() -> None:
    never = STEADY.byzantine_ppm
    quorum = QuorumParameters(
        byzantine_ppm=never, timeouts_ppm=(100_000, 10**12), missed_ppm=never, cooldown_epochs=1
    )
    network = Network(7, ledger=rules(quorum=quorum), parameters=settings(timer_base_ns=300 * MS))
    network.down.add(6)
    network.start().run(30_000 * MS)
    changes = network.seen(LevelChanged, 0)
    assert [(c.old, c.new) for c in changes[:1]] == [(0, 1)]
    by_epoch = {e.epoch: e for e in network.seen(EpochChanged, 0)}
    raised = by_epoch[changes[0].epoch]
    numerator, denominator = LEVELS[1]
    assert raised.quorum == -(-raised.total_weight * numerator // denominator)
    weights = network.validators[0].chain.epoch.weights.weights
    needed = by_epoch[changes[0].epoch].quorum
    for block in walk(network, 0):
        if block.epoch == changes[0].epoch and block.justify.view:
            signed = sum(w for i, w in enumerate(weights) if block.justify.signers >> i & 1)
            assert signed >= needed


def test_a_stale_leader_of_the_old_epoch_moves_nobody_and_is_told() -> None:
    """Node 3 hears nothing while the others change epochs; its old timeouts count for nobody."""
    base = hash_delay(5)

    def deaf(sender: int, receiver: int, message: object, now_ns: int) -> int | None:
        if receiver == 3 and now_ns < 20_000 * MS:
            return None
        return base(sender, receiver, message, now_ns)  # type: ignore[arg-type]

    network = Network(4, link=deaf).start().run(20_000 * MS)
    assert network.validators[3].epoch == 1
    assert network.validators[0].epoch >= 2
    stale = next(
        Proposal(proposal_of(network, 3, view)) for view in range(1, 60) if leads(network, 3, view)
    )
    effects = network.validators[0].handle(MessageReceived(3, stale), network.now_ns)
    assert next(e for e in effects if isinstance(e, Rejected)).reason == "wrong_epoch"
    assert [e for e in effects if isinstance(e, Send)] == [
        Send(3, EpochProofMessage(network.validators[0].chain.proofs[1]))
    ]
    network.run(30_000 * MS)
    assert network.validators[3].epoch >= network.validators[0].epoch - 1
    assert network.heights([3])[0] > network.heights([0])[0] - 5
    assert network.conflicts() == []


def leads(network: Network, node: int, view: int) -> bool:
    return network.validators[node].leader(view) == node


def proposal_of(network: Network, node: int, view: int) -> Block:
    core = network.validators[node]
    genesis = core.ledger.genesis_block
    block = Block(1, view, 1, node, genesis.id, root_certificate(core.chain.epoch))
    return block.signed(sign(node, block.signed_bytes()))


def closing_proof() -> tuple[Network, EpochProof]:
    network = Network(4, ledger=rules(epoch_blocks=6)).start()
    network.run(10_000 * MS, stop=lambda: 1 in network.validators[0].chain.proofs)
    return network, network.validators[0].chain.proofs[1]


def forge(proof: EpochProof, how: str) -> EpochProof:
    root, path, qc = proof
    last = path[-1]
    if how == "empty_path":
        return EpochProof(root, (), qc)
    if how == "broken_path":
        other = Block(last.epoch, last.view, last.height, last.proposer, bytes(32), last.justify)
        return EpochProof(root, (other,), qc)
    if how == "below_quorum":
        return EpochProof(root, path, qc._replace(signers=1, signatures=(b"x",)))
    if how == "not_consecutive":
        late = Block(
            last.epoch, last.view + 3, last.height, last.proposer, last.parent, last.justify
        )
        return EpochProof(root, (late,), qc._replace(view=last.view + 3, block=late.id))
    return EpochProof(Block(9, 1, 6, 0, root.parent, root.justify), path, qc)


@pytest.mark.parametrize(
    "how", ["empty_path", "broken_path", "below_quorum", "not_consecutive", "wrong_epoch"]
)
def test_a_proof_is_judged_by_its_own_epoch(how: str) -> None:
    network, proof = closing_proof()
    parameters = network.validators[0].chain._tables[1]
    assert check_proof(proof, parameters) is None
    assert check_proof(forge(proof, how), parameters) == how


def test_a_proof_of_a_block_that_is_not_the_last_opens_nothing() -> None:
    """Any 2-chain is a sound path; only the ledger knows which block closes the epoch."""
    network = Network(4, ledger=rules(epoch_blocks=50)).start()
    network.run(20_000 * MS, stop=lambda: len(network.chains[0]) > 8)
    core = network.validators[0]
    qc = core.chain.high_qc
    last = core.chain.tree.get(qc.block)
    assert last is not None
    root = core.chain.tree.get(last.parent)
    assert root is not None
    proof = EpochProof(root, (last,), qc)
    effects = core.handle(MessageReceived(1, EpochProofMessage(proof)), network.now_ns)
    assert [e.reason for e in effects if isinstance(e, Rejected)] == ["not_the_last_block"]
    assert core.epoch == 1


def test_a_message_of_the_next_epoch_waits_for_the_proof() -> None:
    network, proof = closing_proof()
    fresh = Network(4, ledger=rules(epoch_blocks=6)).validators[2]
    behind = next(c for c in network.validators.values() if c.epoch == 1)
    ahead = network.validators[0]
    timeout = Timeout(2, 1, 0, proof.root.id, 0)
    effects = behind.handle(MessageReceived(0, TimeoutMessage(timeout)), network.now_ns)
    assert not [e for e in effects if isinstance(e, Rejected)]
    assert behind.epoch == 1
    effects = behind.handle(MessageReceived(0, EpochProofMessage(proof)), network.now_ns)
    assert behind.epoch == 2
    assert behind._pacemaker._collectors[1].weight == ahead.chain.epoch.weights.weights[0]
    effects = fresh.handle(MessageReceived(0, TimeoutMessage(timeout)), 0)
    timer = next(e for e in effects if hasattr(e, "timer_id"))
    effects = fresh.handle(TimerFired(timer.timer_id), timer.delay_ns)
    assert [e.peer for e in effects if isinstance(e, RequestBlocks)] == [0]


def test_a_root_certificate_is_good_for_the_epochs_own_root_only() -> None:
    network, proof = closing_proof()
    core = network.validators[0]
    view = next(v for v in range(1, 60) if core.leader(v) == 1)
    lie = QC(2, 0, proof.root.parent, 0)
    block = Block(2, view, proof.root.height, 1, proof.root.parent, lie)
    effects = core.handle(MessageReceived(1, Proposal(block)), network.now_ns)
    assert not [e for e in effects if isinstance(e, (Broadcast, Send))]
    reasons = {e.reason for e in effects if isinstance(e, Rejected)}
    assert reasons & {"not_the_root", "no_tc"}
