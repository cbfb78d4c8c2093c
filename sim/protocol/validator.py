"""One validator: chained two-phase BFT as a state machine without clock, keys or transport.

Owns the course of views: which message leads to which vote, timeout, proposal or question. It must
not know how effects are carried out; the rules themselves live in the parts it stands on.

Source: Gelashvili et al., "Jolteon and Ditto", arXiv:2106.10362; weights and quorum by epoch.
"""

from __future__ import annotations

from sim.protocol.accountability import stale_timeouts
from sim.protocol.effects import (
    Broadcast,
    Certified,
    Dropped,
    Effect,
    NoVote,
    Persist,
    PersistentState,
    Rejected,
    RequestPayload,
    Send,
    SetTimer,
    TimeoutCertified,
    ViewChanged,
)
from sim.protocol.events import (
    BlocksReceived,
    Event,
    MessageReceived,
    OperationSubmitted,
    PayloadReady,
    Restarted,
    Started,
    TimerFired,
)
from sim.protocol.evidence import double_proposal, double_vote, tc_rule, vote_rule
from sim.protocol.messages import (
    BlocksRequest,
    CertificateRequest,
    CertificateResponse,
    EpochProofMessage,
    EvidenceMessage,
    LateVotes,
    Message,
    OperationMessage,
    Proposal,
    TimeoutCertificateMessage,
    TimeoutMessage,
    VoteMessage,
)
from sim.protocol.multi_signature import (
    Accepted,
    AcceptedTimeout,
    Conflict,
    RejectedVote,
    VoteCollector,
    bitmap_weight,
)
from sim.protocol.pacemaker import VIEWS_AHEAD, VIEWS_BEHIND, Pacemaker
from sim.protocol.proposing import assemble, refusal
from sim.protocol.replica import Replica
from sim.protocol.safety import SafetyRules
from sim.protocol.sync import ANYTHING, concerns
from sim.protocol.types import TC, Block, BlockId, CertificateRef, Timeout, ValidatorId

AWAITED_PAYLOADS = 8
"""Questions about payload kept open at once."""
BLOCKS_COMPARED = 4
"""Certified blocks against which the timeouts of a TC are held."""
BROKEN_BLOCKS = 16
"""Proposals against the TC rule that are remembered, to convict who votes for them."""
_new = tuple.__new__
_METHODS: dict[type, str] = {
    MessageReceived: "_on_unverified",
    TimerFired: "_on_timer",
    PayloadReady: "_on_payload",
    BlocksReceived: "_on_blocks",
    Restarted: "_on_restarted",
    Started: "_on_started",
    OperationSubmitted: "_on_submitted",
    TimeoutCertificateMessage: "_on_timeout_certificate",
    CertificateRequest: "_on_certificate_request",
    CertificateResponse: "_on_certificate",
    EpochProofMessage: "_on_epoch_proof",
    LateVotes: "_on_late_votes",
    EvidenceMessage: "_on_evidence",
    OperationMessage: "_on_operation",
    BlocksRequest: "_on_blocks_request",
}
"""By type of what came: the method that takes it; what comes n times a view has its own."""


class Validator(Replica):
    """Vote, time out and lead. `handle` is total: whatever others do, it answers with effects."""

    def handle(self, event: Event, now_ns: int) -> list[Effect]:
        """Take one event at local time `now_ns` and return what to do, in order.

        `now_ns` is only ever subtracted from an earlier one of the same validator. After a safety
        violation under `halt` nothing is answered any more.
        """
        out: list[Effect] = []
        if self.chain.halted:
            return out
        self._now_ns = now_ns
        if isinstance(event, MessageReceived) and event.verified:
            self._receive(event.sender, event.message, out)
        else:
            getattr(self, _METHODS[type(event)])(event, out)
        return out

    def _forget_volatile(self) -> None:
        super()._forget_volatile()
        self._restored: PersistentState | None = None
        self._safety = SafetyRules(self.me, self.epoch)
        self._pacemaker = Pacemaker(self.parameters, self.chain.epoch)
        self._requests = 0
        self._restart_views()

    def _restart_views(self) -> None:
        self.view = 0
        self._collectors: dict[int, VoteCollector] = {}
        self._proposals: dict[int, Block] = {}
        self._awaiting: dict[int, Block | None] = {}
        self._broken: dict[BlockId, Block] = {}
        self._held: dict[ValidatorId, tuple[ValidatorId, Timeout]] = {}
        self._last_tc: TC | None = None
        self._waiting_tc: tuple[ValidatorId, TC] | None = None
        self._parent_seen: tuple[BlockId, int] | None = None

    # Life

    def _on_started(self, event: Started, out: list[Effect]) -> None:
        self.chain.announce(out)
        self._opened(out)
        self._poll(out)

    def _on_restarted(self, event: Restarted, out: list[Effect]) -> None:
        """Come back with what was on disk, or, after an amnesia crash, with nothing."""
        if event.persisted is None:
            self._forget()
        else:
            self._forget_volatile()
            self._restored = event.persisted
        self.chain.announce(out)
        self._opened(out)
        self._poll(out)
        if self.is_member:
            self._ask_someone(out)

    def _opened(self, out: list[Effect]) -> None:
        """Begin an epoch at view 1, or where the disk says that this validator was in it."""
        self._pacemaker.open(self.chain.epoch)
        self._safety.open(self.epoch)
        self._restart_views()
        restored, view = self._restored, 1
        if restored is not None and restored.epoch > self.epoch:
            # It has signed in a later epoch: until that one is synced it must not sign again.
            self.is_member = False
        elif restored is not None:
            self._restored = None
            if restored.epoch == self.epoch:
                self._safety.restore(restored)
                if restored.high_qc.block not in self.chain.tree:
                    self.chain.pending[restored.high_qc.block] = restored.high_qc
                view = max(1, restored.last_voted_view)
        if self.is_member:
            out.append(Persist(self._safety.state(self.chain.high_qc)))
        self._enter(max(view, self.chain.high_qc.view + 1), "epoch", out)

    def _on_submitted(self, event: OperationSubmitted, out: list[Effect]) -> None:
        message = OperationMessage(event.operation)
        out += (Send(self.me, message), Broadcast(message))

    # Messages and timers

    def _on_unverified(self, event: MessageReceived, out: list[Effect]) -> None:
        out.append(Rejected(event.sender, concerns(event.message), "invalid_signature"))

    def _receive(self, sender: ValidatorId, message: Message, out: list[Effect]) -> None:
        if isinstance(message, VoteMessage):
            self._on_vote(sender, message, out)
        elif isinstance(message, Proposal):
            self._on_proposal(sender, message, out)
        elif isinstance(message, TimeoutMessage):
            self._on_timeout(sender, message, out)
        else:
            getattr(self, _METHODS[type(message)])(sender, message, out)

    def _on_timer(self, event: TimerFired, out: list[Effect]) -> None:
        epoch, number, purpose = event.timer_id
        if epoch != self.epoch:
            return
        if purpose == "early":
            if self._early:
                self.sync.ask(number, ANYTHING, self.chain, self._now_ns, out)
        elif purpose == "poll":
            if number == self._polls:
                self._poll(out)
        elif number == self.view:
            if purpose == "propose":
                self._lead(out)
            elif purpose == "view" and self.is_member:
                self._time_out(out)

    # Views

    def _progressed(self, out: list[Effect]) -> None:
        chain = self.chain
        if chain.high_qc.view >= self.view:
            self._enter(chain.high_qc.view + 1, "certificate", out)
        if self._waiting_tc is not None:
            sender, tc = self._waiting_tc
            self._waiting_tc = None
            self._take_tc(sender, tc, out)
        if self._held:
            known = chain.known_view
            ready = [s for s, (_, t) in self._held.items() if t.high_qc_view <= known]
            for signer in ready:
                self._count_timeout(*self._held.pop(signer), out)
        if self._last_tc is not None:
            self._lead(out)

    def _enter(self, view: int, reason: str, out: list[Effect]) -> None:
        """Move to `view`, set its timer, and lead it if it is this validator's."""
        known = self._at(view)
        certified = reason == "certificate"
        self.view = view
        self._pacemaker.enter(view, progress=certified or reason == "epoch")
        out.append(known.entered if certified else ViewChanged(self.epoch, view, reason))
        if self._collectors:
            self._forward_late(view, out)
        if len(self._proposals) > 2 * VIEWS_BEHIND:
            self._proposals = {v: b for v, b in self._proposals.items() if v >= view - VIEWS_BEHIND}
        if self.is_member:
            if certified:
                out.append(known.timer)
            else:
                out.append(SetTimer((self.epoch, view, "view"), self._pacemaker.delay_ns()))
            if known.leader == self.me:
                self._lead(out)

    def _forward_late(self, view: int, out: list[Effect]) -> None:
        """Hand votes that came after their certificate to the next leaders; drop old collectors.

        Two views later the slow regions' votes are in as well.
        """
        for old in [v for v in self._collectors if v <= view - 2]:
            collector = self._collectors[old]
            if collector.late:
                message = LateVotes(tuple(collector.late))
                collector.late.clear()
                coming = range(view + 1, view + 1 + self.parameters.late_vote_leaders)
                out.extend(Send(to, message) for to in dict.fromkeys(map(self.leader, coming)))
            if old < view - VIEWS_BEHIND:
                del self._collectors[old]

    def _time_out(self, out: list[Effect]) -> None:
        """Give up on the present view; said again each time the timer runs out."""
        waiting = [b for b in self._awaiting.values() if b is not None and b.view == self.view]
        out.extend(NoVote(self.epoch, self.view, b.id, "payload_missing") for b in waiting)
        self._awaiting.clear()
        timeout = self._safety.timeout(self.view, self.chain.high_qc)
        message = TimeoutMessage(timeout)
        out.append(Persist(self._safety.state(self.chain.high_qc)))
        out += (Send(self.me, message), Broadcast(message))
        self._pacemaker.expired += 1
        out.append(SetTimer((self.epoch, self.view, "view"), self._pacemaker.delay_ns()))

    # Proposals and votes

    def _on_proposal(self, sender: ValidatorId, message: Proposal, out: list[Effect]) -> None:
        block = message.block
        tree = self.chain.tree
        if block.epoch != self.epoch:
            self._other_epoch(sender, message, block.epoch, out)
            return
        if block.id in tree or not self._sound(sender, block, out):
            return
        if not self._take_certificate(sender, block.justify, out):
            return
        if block.tc is not None and not self._take_tc(sender, block.tc, out):
            return
        if block.parent not in tree:
            self.sync.keep_orphan(sender, message, out)
            return
        reason = refusal(block, self.chain, self.parameters) or self.chain.insert(block, out)
        if reason is not None:
            out.append(Rejected(sender, "proposal", reason))
            return
        self._parent_seen = (block.id, self._now_ns)
        self._consider(block, out)
        self._complete(sender, block, out)

    def _sound(self, sender: ValidatorId, block: Block, out: list[Effect]) -> bool:
        """Check who proposed and on what; convict a second proposal of a view."""
        view, reason = block.view, None
        if view < 1 or block.proposer != self.leader(view):
            reason = "not_the_leader"
        elif self.view - VIEWS_BEHIND <= view <= self.view + VIEWS_AHEAD:
            first = self._proposals.setdefault(view, block)
            if first is not block and first.id != block.id:
                self._accuse(double_proposal(first, block), out, tell=True)
        if reason is None:
            reason = vote_rule(block)
            if reason is not None:
                self._broken[block.id] = block
                if len(self._broken) > BROKEN_BLOCKS:
                    del self._broken[next(iter(self._broken))]
        if reason is not None:
            out.append(Rejected(sender, "proposal", reason))
        return reason is None

    def _complete(self, sender: ValidatorId, block: Block, out: list[Effect]) -> None:
        first = self._proposals.get(block.view, block)
        signed = first.signature and block.signature
        if signed and first.id != block.id and first.proposer == block.proposer:
            self._accuse(double_proposal(first, block), out, tell=True)
        super()._complete(sender, block, out)

    def _consider(self, block: Block, out: list[Effect]) -> None:
        """Vote for a block of the present view once its payload is held."""
        if not self.is_member:
            return
        reason = "not_the_view" if block.view != self.view else self._safety.refusal(block)
        if reason is not None:
            out.append(NoVote(block.epoch, block.view, block.id, reason))
        elif block.payload:
            out.append(RequestPayload(block.payload, self._await(block, out)))
        else:
            self._vote(block, out)

    def _await(self, block: Block | None, out: list[Effect]) -> int:
        self._requests += 1
        self._awaiting[self._requests] = block
        if len(self._awaiting) > AWAITED_PAYLOADS:
            del self._awaiting[next(iter(self._awaiting))]
            out.append(Dropped("payload_requests", 1, "full"))
        return self._requests

    def _on_payload(self, event: PayloadReady, out: list[Effect]) -> None:
        if event.request_id not in self._awaiting:
            return
        block = self._awaiting.pop(event.request_id)
        if block is None:
            self.pool.add_refs(event.refs, self._final_state().next_tx, out)
            self._propose(out)
        elif block.view == self.view and self._safety.refusal(block) is None:
            self._vote(block, out)

    def _vote(self, block: Block, out: list[Effect]) -> None:
        vote = self._safety.vote(block)
        out.append(_new(Persist, (self._safety.state(self.chain.high_qc),)))
        out.append(_new(Send, (self.leader(block.view + 1), _new(VoteMessage, (vote,)))))

    def _on_vote(self, sender: ValidatorId, message: VoteMessage, out: list[Effect]) -> None:
        vote = message.vote
        if vote.epoch != self.epoch:
            self._other_epoch(sender, message, vote.epoch, out)
            return
        collector = self._collectors.get(vote.view)
        if collector is None:
            reason = None
            if not self.view - VIEWS_BEHIND <= vote.view <= self.view + VIEWS_AHEAD:
                reason = "wrong_view"
            elif self.leader(vote.view + 1) != self.me:
                reason = "not_the_collector"
            if reason is not None:
                out.append(Rejected(sender, "vote", reason))
                return
            collector = VoteCollector(self.chain.epoch, vote.view)
            self._collectors[vote.view] = collector
        result = collector.add(vote, True)
        if type(result) is Accepted:
            qc = result.certificate
            if qc is not None:
                out.append(Certified(qc, bitmap_weight(qc.signers, self.chain.epoch.weights)))
                self._take_certificate(sender, qc, out, formed=True)
        elif type(result) is Conflict:
            self._accuse(double_vote(result.first, result.second), out, tell=True)
        elif type(result) is RejectedVote and result.reason != "late":
            out.append(Rejected(sender, "vote", result.reason))
        if self._broken and vote.block in self._broken:
            evidence = tc_rule(vote, self._broken[vote.block])
            if evidence is not None:
                self._accuse(evidence, out, tell=True)

    # Timeouts

    def _on_timeout(self, sender: ValidatorId, message: TimeoutMessage, out: list[Effect]) -> None:
        timeout = message.timeout
        if timeout.epoch != self.epoch:
            self._other_epoch(sender, message, timeout.epoch, out)
            return
        weights = self.chain.epoch.weights.weights
        if not 0 <= timeout.signer < len(weights) or not weights[timeout.signer]:
            out.append(Rejected(sender, "timeout", "stranger"))
        elif timeout.view < self.view:
            if self._pacemaker.tells(self.me, timeout):
                self._bring_up(sender, timeout.view, out)
            out.append(Rejected(sender, "timeout", "late"))
        elif timeout.high_qc_view > self.chain.known_view:
            # Counted only once its certificate is at hand: a lie about it must not reach a TC.
            ref = CertificateRef(timeout.epoch, timeout.high_qc_view, timeout.high_qc_block)
            self._held[timeout.signer] = (sender, timeout)
            self.sync.pull(sender, ref, self._now_ns, out)
        else:
            if timeout.high_qc_block in self.chain.pending:  # blocks asked for, maybe in vain
                self.sync.ask(sender, timeout.high_qc_block, self.chain, self._now_ns, out)
            self._count_timeout(sender, timeout, out)

    def _count_timeout(self, sender: ValidatorId, timeout: Timeout, out: list[Effect]) -> None:
        result = self._pacemaker.add(timeout)
        if type(result) is RejectedVote:
            out.append(Rejected(sender, "timeout", result.reason))
        elif type(result) is AcceptedTimeout and result.certificate is not None:
            tc = result.certificate
            out.append(TimeoutCertified(tc, self._pacemaker.weight(tc.view)))
            self._take_tc(sender, tc, out)
        elif self.is_member and self._pacemaker.joins(timeout.view):
            last = self._safety.last_timeout
            if last is None or last.view < timeout.view:
                if timeout.view > self.view:
                    self._enter(timeout.view, "sync", out)
                self._time_out(out)

    def _bring_up(self, peer: ValidatorId, view: int, out: list[Effect]) -> None:
        """Show a peer that is behind how this validator came to its view."""
        if not self._may_tell(peer, view):
            return
        if self._last_tc is not None and self._last_tc.view + 1 == self.view:
            out.append(Send(peer, TimeoutCertificateMessage(self._last_tc)))
        elif self.chain.high_qc.view:
            out.append(Send(peer, CertificateResponse(self.chain.high_qc)))

    def _on_timeout_certificate(
        self, sender: ValidatorId, message: TimeoutCertificateMessage, out: list[Effect]
    ) -> None:
        if message.tc.epoch == self.epoch:
            self._take_tc(sender, message.tc, out)

    def _take_tc(self, sender: ValidatorId, tc: TC, out: list[Effect]) -> bool:
        """Enter the view after `tc`; False when it is no certificate of this epoch."""
        if tc.view < self.view:
            return True
        reason = self.chain.check_tc(tc)
        if reason is not None:
            out.append(Rejected(sender, "tc", reason))
            return False
        if tc.high_qc_view > self.chain.known_view:
            best = max(tc.timeouts, key=lambda t: t.high_qc_view)
            self._waiting_tc = (sender, tc)
            ref = CertificateRef(tc.epoch, best.high_qc_view, best.high_qc_block)
            self.sync.pull(sender, ref, self._now_ns, out)
            return True
        self._last_tc = tc
        for evidence in stale_timeouts(tc, self.chain.latest(BLOCKS_COMPARED)):
            self._accuse(evidence, out, tell=False)
        self._enter(tc.view + 1, "timeout", out)
        return True

    # Leading

    def _lead(self, out: list[Effect]) -> None:
        """Propose in this view if it is ours, its certificate is at hand and the pace allows."""
        view, chain = self.view, self.chain
        if self.leader(view) != self.me or not self._safety.may_propose(view):
            return
        if not self.is_member or self._ticket() is False:
            return
        seen = self._parent_seen
        if seen is not None and seen[0] == chain.high_qc.block:
            wait_ns = seen[1] + self.parameters.min_block_interval_ns - self._now_ns
            if wait_ns > 0:
                out.append(SetTimer((self.epoch, view, "propose"), wait_ns))
                return
        if None not in self._awaiting.values():
            out.append(RequestPayload((), self._await(None, out)))

    def _ticket(self) -> TC | bool | None:
        """What entitles to propose: None needs no TC; False when nothing does yet."""
        view, high = self.view, self.chain.high_qc.view
        if high == view - 1:
            return None
        tc = self._last_tc
        if tc is not None and tc.view == view - 1 and high >= tc.high_qc_view:
            return tc
        return False

    def _propose(self, out: list[Effect]) -> None:
        view, ticket = self.view, self._ticket()
        mine = self.leader(view) == self.me and self._safety.may_propose(view)
        if not mine or isinstance(ticket, bool):
            return
        block = assemble(self.chain, self.pool, self.parameters, me=self.me, view=view, tc=ticket)
        self._safety.propose(view)
        message = Proposal(block)
        out.append(Persist(self._safety.state(self.chain.high_qc)))
        out += (Send(self.me, message), Broadcast(message))
