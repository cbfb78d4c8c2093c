"""Crashes with and without persistence, gaps, losses, partitions, slow or idle leaders."""

from __future__ import annotations

from sim.protocol.effects import (
    Broadcast,
    Committed,
    Dropped,
    Effect,
    NoVote,
    Persist,
    PersistentState,
    Rejected,
    RequestBlocks,
    RequestPayload,
    Send,
    SetTimer,
    ViewChanged,
)
from sim.protocol.events import (
    BlocksReceived,
    MessageReceived,
    PayloadReady,
    Restarted,
    Started,
    TimerFired,
)
from sim.protocol.ledger import Ledger
from sim.protocol.messages import (
    BlocksRequest,
    BlocksResponse,
    CertificateRequest,
    CertificateResponse,
    Message,
    Proposal,
    TimeoutMessage,
    VoteMessage,
)
from sim.protocol.types import Block, CertificateRef, Operation, PayloadRef, Timeout
from sim.protocol.validator import Validator
from tests.protocol.harness import (
    MS,
    Link,
    Network,
    accounts,
    draw,
    hash_delay,
    rules,
    settings,
    sign,
)


def lossy(per_mille: int, seed: int = 1) -> Link:
    base = hash_delay(seed)

    def link(sender: int, receiver: int, message: Message, now_ns: int) -> int | None:
        if draw("drop", seed, sender, receiver, now_ns, type(message).__name__) % 1000 < per_mille:
            return None
        return base(sender, receiver, message, now_ns)

    return link


def cut(groups: tuple[set[int], ...], start_ms: int, end_ms: int, seed: int = 1) -> Link:
    base = hash_delay(seed)

    def link(sender: int, receiver: int, message: Message, now_ns: int) -> int | None:
        apart = not any(sender in g and receiver in g for g in groups)
        if apart and start_ms * MS <= now_ns < end_ms * MS:
            return None
        return base(sender, receiver, message, now_ns)

    return link


def test_a_crashed_leader_is_timed_out_and_the_chain_goes_on() -> None:
    network = Network(4)
    network.down.add(2)
    network.start().run(20_000 * MS)
    assert min(network.heights([0, 1, 3])) > 10
    assert any(v.reason == "timeout" for v in network.seen(ViewChanged))
    assert network.conflicts() == []


def test_two_crashed_of_four_stop_the_chain_and_one_back_starts_it() -> None:
    network = Network(4)
    network.down |= {2, 3}
    network.start([0, 1]).run(10_000 * MS)
    assert network.heights() == [0, 0, 0, 0]
    network.down.discard(3)
    network.push(3, Started(), 0)
    network.run(40_000 * MS)
    assert min(network.heights([0, 1, 3])) > 5


def test_loss_slows_and_never_splits() -> None:
    network = Network(4, link=lossy(150)).start().run(30_000 * MS)
    assert min(network.heights()) > 20
    assert network.conflicts() == []


def test_a_partition_halts_and_heals() -> None:
    network = Network(4, link=cut(({0, 1}, {2, 3}), 2_000, 8_000)).start()
    before = max(network.run(2_500 * MS).heights())
    assert max(network.run(7_900 * MS).heights()) <= before + 1
    assert min(network.run(15_000 * MS).heights()) > before + 10
    assert network.conflicts() == []


def test_timeouts_back_off_while_nothing_moves_and_reset_on_progress() -> None:
    network = Network(4)
    network.down |= {1, 2, 3}
    delays: list[int] = []
    original = network.execute

    def execute(node: int, effect: Effect) -> None:
        if isinstance(effect, SetTimer) and effect.timer_id[2] == "view":
            delays.append(effect.delay_ns)
        original(node, effect)

    network.execute = execute  # type: ignore[method-assign]
    network.start([0]).run(30_000 * MS)
    assert delays[:4] == [500 * MS, 750 * MS, 1_125 * MS, 1_687_500_000]
    assert delays[-1] == 4_000 * MS
    network.down.clear()
    for node in (1, 2, 3):
        network.push(node, Started(), 0)
    network.run(60_000 * MS)
    assert delays[-1] == 500 * MS


def test_a_gap_is_synced_across_epochs() -> None:
    network = Network(4, link=cut(({0, 1, 2}, {3}), 1_000, 60_000), private_ledgers=True).start()
    network.run(59_000 * MS)
    assert network.validators[0].epoch > network.validators[3].epoch + 1
    network.run(66_000 * MS)
    assert network.heights([3])[0] >= network.heights([0])[0] - 3
    assert network.conflicts() == []
    states = {(c.height, c.state) for c in network.seen(Committed)}
    assert len(states) == len({height for height, _ in states})


def test_sync_responses_are_bounded_and_ascending() -> None:
    network = Network(4, parameters=settings(sync_blocks=5), ledger=rules(epoch_blocks=200))
    network.start().run(4_000 * MS)
    core = network.validators[0]
    ask = BlocksRequest(core.chain.high_qc.block, 0, 1)
    (answer,) = core.handle(MessageReceived(1, ask), network.now_ns)
    assert isinstance(answer, Send)
    response = answer.message
    assert isinstance(response, BlocksResponse)
    assert [b.height for b in response.blocks] == [1, 2, 3, 4, 5]
    assert response.certificate is not None
    assert response.certificate.block == response.blocks[-1].id


def test_blocks_that_nobody_certified_are_not_believed() -> None:
    network = Network(4, ledger=rules(epoch_blocks=200)).start().run(3_000 * MS)
    source = network.validators[0].chain
    blocks = source.tree.path(source.high_qc.block, 0, 3)
    fresh = Validator(3, settings(), Ledger(network.rules, network.genesis))
    fresh.handle(Started(), 0)
    certificate = source.tree.certificate(blocks[-1].id)
    assert certificate is not None
    forged = certificate._replace(signers=1, signatures=(b"x",))
    for bad, reason in (
        (BlocksResponse(blocks, None, None), "uncertified"),
        (BlocksResponse(blocks, None, forged), "below_quorum"),
        (BlocksResponse(blocks[::2], None, certificate), "broken_chain"),
        (BlocksResponse(blocks[1:], None, certificate), "unconnected"),
    ):
        effects = fresh.handle(BlocksReceived(0, bad), 0)
        assert [e.reason for e in effects if isinstance(e, Rejected)] == [reason]
        assert len(fresh.chain.tree) == 1
    fresh.handle(BlocksReceived(0, BlocksResponse(blocks, None, certificate)), 0)
    assert fresh.chain.high_qc == certificate


def test_a_crash_keeps_what_was_persisted() -> None:
    network = Network(4, private_ledgers=True).start().run(2_000 * MS)
    network.crash(1)
    network.run(6_000 * MS)
    network.restart(1)
    voted = network.persisted[1]
    network.run(network.now_ns)
    core = network.validators[1]
    assert core._safety.last_voted_view >= voted.last_voted_view
    network.run(12_000 * MS)
    assert network.heights([1])[0] >= network.heights([0])[0] - 3
    assert network.conflicts() == []
    assert not network.accused()


def votes_in(effects: list[Effect]) -> list[VoteMessage]:
    sent = [e.message for e in effects if isinstance(e, Send)]
    return [m for m in sent if isinstance(m, VoteMessage)]


def vote_once() -> tuple[Validator, Proposal, PersistentState]:
    """Let validator 1 vote for the first block; return it, the proposal, what it persisted."""
    network = Network(4, parameters=settings(timer_base_ns=500 * MS))
    seen: list[Proposal] = []
    original = network.send

    def send(node: int, to: int, message: Message) -> None:
        if isinstance(message, Proposal):
            signed = network.signed(node, message)
            assert isinstance(signed, Proposal)
            seen.append(signed)
        original(node, to, message)

    network.send = send  # type: ignore[method-assign]
    network.start().run(100 * MS, stop=lambda: bool(seen))
    core = Validator(1, network.parameters, Ledger(network.rules, network.genesis))
    core.handle(Started(), 0)
    effects = core.handle(MessageReceived(0, seen[0]), 0)
    assert len(votes_in(effects)) == 1
    kinds = [type(e).__name__ for e in effects]
    assert kinds.index("Persist") < kinds.index("Send"), "on disk before it leaves"
    (persist,) = [e for e in effects if isinstance(e, Persist)]
    return core, seen[0], persist.state


def test_a_restarted_validator_does_not_vote_twice_in_a_view() -> None:
    core, proposal, state = vote_once()
    core.handle(Restarted(state), 0)
    twin = proposal_twin(proposal)
    effects = core.handle(MessageReceived(0, twin), 0)
    assert votes_in(effects) == []
    assert [e.reason for e in effects if isinstance(e, NoVote)] == ["voted_or_timed_out"]


def test_an_amnesiac_validator_does() -> None:
    core, proposal, _ = vote_once()
    core.handle(Restarted(None), 0)
    effects = core.handle(MessageReceived(0, proposal_twin(proposal)), 0)
    assert len(votes_in(effects)) == 1


def proposal_twin(proposal: Proposal) -> Proposal:
    """Another block of the same view and leader."""
    block = proposal.block
    extra = Operation("top_up", block.proposer, 1, 0)
    signed = extra._replace(signature=sign(block.proposer, extra.signed_bytes()))
    twin = Block(
        block.epoch,
        block.view,
        block.height,
        block.proposer,
        block.parent,
        block.justify,
        operations=(signed,),
    )
    return Proposal(twin)


def test_no_vote_in_a_view_after_its_timeout() -> None:
    core, proposal, _ = vote_once()
    fresh = Validator(2, core.parameters, core.ledger)
    fresh.handle(Started(), 0)
    effects = fresh.handle(TimerFired((1, 1, "view")), 0)
    kinds = [type(e).__name__ for e in effects]
    assert kinds.index("Persist") < kinds.index("Broadcast")
    effects = fresh.handle(MessageReceived(0, proposal), 0)
    assert votes_in(effects) == []
    assert [e.reason for e in effects if isinstance(e, NoVote)] == ["voted_or_timed_out"]


def test_a_stale_timer_has_no_effect() -> None:
    network = Network(4).start().run(1_000 * MS)
    core = network.validators[0]
    assert core.view > 2
    for stale in ((core.epoch, core.view - 1, "view"), (core.epoch - 1, core.view, "view")):
        assert core.handle(TimerFired(stale), network.now_ns) == []


def test_a_leader_paces_its_blocks_by_its_own_clock() -> None:
    network = Network(4, parameters=settings(min_block_interval_ns=400 * MS)).start()
    network.run(10_000 * MS)
    assert 18 <= network.heights([0])[0] <= 25, "10 s hold at most 25 blocks 400 ms apart"
    assert not [v for v in network.seen(ViewChanged) if v.reason == "timeout"]


def test_an_idle_chain_makes_empty_blocks() -> None:
    network = Network(4).start().run(2_000 * MS)
    tree = network.validators[0].chain.tree
    blocks = tree.path(tree.final.id, 0, 1 << 30)
    assert len(blocks) > 10
    assert all(block.payload == () for block in blocks)


def test_transactions_commit_exactly_once_across_losses_and_forks() -> None:
    refs = [
        (100 * MS * step, PayloadRef(gateway, 10 * step, 10 * step + 9, 700))
        for step in range(60)
        for gateway in range(4)
    ]
    network = Network(
        4,
        link=lossy(60),
        parameters=settings(mempool_refs=12, max_block_refs=6, max_block_transactions=50),
    )
    network.offered = refs
    network.start().run(90_000 * MS)
    assert network.seen(Dropped), "the mempool overflowed, and what it dropped came again"
    tree = network.validators[0].chain.tree
    blocks = tree.path(tree.final.id, 0, 1 << 30)
    assert all(len(block.payload) <= 5 for block in blocks)
    by_gateway: dict[int, list[PayloadRef]] = {}
    for block in blocks:
        for ref in block.payload:
            by_gateway.setdefault(ref.gateway, []).append(ref)
    for gateway in range(4):
        numbers = [n for ref in by_gateway[gateway] for n in range(ref.first, ref.last + 1)]
        assert numbers == list(range(600))
    assert network.conflicts() == []


def test_no_vote_before_the_payload_is_held() -> None:
    network = Network(4)
    network.offered = [(1_000 * MS, PayloadRef(0, 0, 4, 10))]
    core = network.validators[1]
    leader = next(v for v in network.validators.values() if v.leader(1) == v.me)
    leader.handle(Started(), 0)
    effects = leader.handle(PayloadReady((PayloadRef(0, 0, 4, 10),), 1), 0)
    proposal = next(e.message for e in effects if isinstance(e, Broadcast))
    core.handle(Started(), 0)
    effects = core.handle(MessageReceived(leader.me, proposal), 0)
    (request,) = [e for e in effects if isinstance(e, RequestPayload)]
    assert votes_in(effects) == []
    ready = PayloadReady(request.refs, request.request_id)
    assert len(votes_in(core.handle(ready, 5))) == 1
    assert core.handle(ready, 6) == []


def test_payload_that_never_comes_is_reported_with_the_timeout() -> None:
    network = Network(4)
    core = network.validators[1]
    leader = next(v for v in network.validators.values() if v.leader(1) == v.me)
    leader.handle(Started(), 0)
    effects = leader.handle(PayloadReady((PayloadRef(0, 0, 4, 10),), 1), 0)
    proposal = next(e.message for e in effects if isinstance(e, Broadcast))
    core.handle(Started(), 0)
    core.handle(MessageReceived(leader.me, proposal), 0)
    effects = core.handle(TimerFired((1, 1, "view")), 500 * MS)
    assert [e.reason for e in effects if isinstance(e, NoVote)] == ["payload_missing"]


def test_a_lie_about_the_high_certificate_never_reaches_a_tc() -> None:
    """A timeout that names a certificate nobody has waits; it is pulled from a few, not counted."""
    network = Network(4, ledger=rules(epoch_blocks=200)).start().run(1_000 * MS)
    core = network.validators[1]
    view = core.view
    lie = Timeout(1, view, view - 1, b"\7" * 32, 0)
    if core.chain.known_view >= view - 1:
        lie = lie._replace(view=view + 3, high_qc_view=view + 2)
    effects = core.handle(MessageReceived(0, TimeoutMessage(lie)), network.now_ns)
    ref = CertificateRef(1, lie.high_qc_view, lie.high_qc_block)
    assert effects == [Send(0, CertificateRequest(ref))]
    assert core._pacemaker._collectors == {}


def test_a_certificate_is_pulled_and_an_unknown_block_synced() -> None:
    network = Network(4, ledger=rules(epoch_blocks=200)).start().run(1_000 * MS)
    ahead = network.validators[0]
    qc = ahead.chain.high_qc
    fresh = Validator(3, settings(), Ledger(network.rules, accounts(4)))
    fresh.handle(Started(), 0)
    timeout = Timeout(1, qc.view + 1, qc.view, qc.block, 0)
    asked = fresh.handle(MessageReceived(0, TimeoutMessage(timeout)), 0)
    assert asked == [Send(0, CertificateRequest(qc.ref))]
    (answer,) = ahead.handle(MessageReceived(3, CertificateRequest(qc.ref)), network.now_ns)
    assert isinstance(answer, Send)
    assert answer.message == CertificateResponse(qc)
    effects = fresh.handle(MessageReceived(0, answer.message), 0)
    assert RequestBlocks(0, qc.block, 0, 1) in effects
    assert fresh._pacemaker._collectors[timeout.view].weight > 0, "now it counts"


def test_a_new_machine_with_the_old_disk_signs_nothing_before_it_is_back_in_its_epoch() -> None:
    """The blocks are lost, the small state is not: no second vote in any epoch gone by."""
    network = Network(4, private_ledgers=True, ledger=rules(epoch_blocks=6)).start()
    network.run(3_000 * MS)
    disk = network.persisted[2]
    assert disk.epoch > 2
    first = network.validators[0].chain.tree.path(network.chains[0][0].block, 0, 1)[0]
    fresh = Validator(2, network.parameters, Ledger(network.rules, network.genesis))
    effects = fresh.handle(Restarted(disk), 0)
    effects += fresh.handle(MessageReceived(0, Proposal(first)), 0)
    effects += fresh.handle(TimerFired((1, 1, "view")), 10)
    assert not [e for e in effects if isinstance(e, (Broadcast, Persist))]
    assert votes_in(effects) == []
    network.crash(2)
    network.validators[2] = fresh
    network.restart(2)
    network.run(12_000 * MS)
    assert fresh.is_member
    assert fresh.epoch > disk.epoch
    assert network.conflicts() == []
    assert network.accused() == {}
