"""A replica: it follows the chain by certificates, changes epochs, catches up, accuses.

Owns everything a validator does that needs no signature of its own over votes, timeouts or
proposals. Must not know the vote rule, timers of views, what leaders put in blocks.
"""

from __future__ import annotations

from sim.protocol import accountability
from sim.protocol.chain import Chain
from sim.protocol.effects import Accused, Broadcast, Dropped, Effect, Rejected, Send, SetTimer
from sim.protocol.events import BlocksReceived
from sim.protocol.evidence import double_vote
from sim.protocol.ledger import Ledger, LedgerState
from sim.protocol.mempool import Mempool
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
    TimeoutMessage,
)
from sim.protocol.pacemaker import ConsensusParameters, View, Views, leader, look_at, members
from sim.protocol.sync import ANYTHING, Sync, answer, check_response, concerns
from sim.protocol.types import (
    QC,
    Block,
    BlockId,
    EpochParameters,
    EpochProof,
    Evidence,
    ValidatorId,
    Vote,
)

EARLY_MESSAGES = 512
"""Messages of the next epoch kept until its proof is here."""
CERTIFICATES_COMPARED = 64
"""Views whose certificate is kept at least, to convict who signs another one."""


class Replica:
    """State that survives from view to view. Subclasses say what a new view and epoch mean."""

    def __init__(self, me: ValidatorId, parameters: ConsensusParameters, ledger: Ledger) -> None:
        self.me = me
        self.parameters = parameters
        self.ledger = ledger
        self._now_ns = 0
        self._forget()

    def _forget(self) -> None:
        """Start from genesis with empty hands."""
        parameters = self.parameters
        self.chain = Chain(
            self.ledger,
            keep=parameters.store_blocks,
            on_safety_violation=parameters.on_safety_violation,
        )
        self._forget_volatile()

    def _forget_volatile(self) -> None:
        """Lose what a crash loses: all but the blocks and what was concluded from them."""
        parameters = self.parameters
        n = len(self.chain.epoch.weights.weights)
        self.pool = Mempool(
            refs=parameters.mempool_refs,
            operations=parameters.mempool_operations,
            evidence=4 * n,
            votes=4 * n,
        )
        self.sync = Sync(self.me, parameters.timer_base_ns)
        self._early: list[tuple[ValidatorId, Message]] = []
        self._told: dict[ValidatorId, tuple[int, int]] = {}
        self._polls = 0
        self._formed: BlockId | None = None
        self._join_epoch()

    def _join_epoch(self) -> None:
        self.epoch = self.chain.epoch.epoch
        self.is_member = self.chain.epoch.weights.weights[self.me] > 0
        memo = self.chain.epoch.memo
        self._views: Views = memo.setdefault(("views", self.parameters), {})
        self._by_view: dict[int, QC] = {}

    def leader(self, view: int) -> ValidatorId:
        """Name the leader of a view of the present epoch."""
        return self._at(view).leader

    def _at(self, view: int) -> View:
        views = self._views
        return views.get(view) or look_at(views, view, self.chain.epoch, self.parameters)

    # What a subclass adds

    def _progressed(self, out: list[Effect]) -> None:
        """Called when a certificate was adopted in the present epoch."""

    def _opened(self, out: list[Effect]) -> None:
        """Called when a new epoch was opened and announced."""

    def _receive(self, sender: ValidatorId, message: Message, out: list[Effect]) -> None:
        """Handle a verified message."""

    # Certificates and epochs

    def _take_certificate(
        self, sender: ValidatorId, qc: QC, out: list[Effect], *, formed: bool = False
    ) -> bool:
        """Judge and take up a certificate; False when what came with it is void now.

        `formed`: this validator's collector made it, so nobody else has it yet; that holds as well
        where the block comes after its votes.
        """
        chain = self.chain
        view = qc.view
        if view and chain.tree.certificate(qc.block) is not None:
            return qc.epoch == self.epoch
        reason = chain.check(qc)
        if reason is not None:
            out.append(Rejected(sender, "certificate", reason))
            if reason == "not_the_root":
                self._show_proof(sender, out)
            return False
        old = chain.epoch
        if formed:
            self._formed = qc.block
        if view and self._by_view.setdefault(view, qc) is not qc:
            self._compare(qc, out)
        if len(self._by_view) > 2 * CERTIFICATES_COMPARED:
            newest = sorted(self._by_view)[-CERTIFICATES_COMPARED:]
            self._by_view = {view: self._by_view[view] for view in newest}
        if chain.adopt(qc, out) == "unknown_block":
            self.sync.ask(sender, qc.block, chain, self._now_ns, out)
        if chain.conflict is not None:
            self._answer_conflict(out)
        if chain.epoch is not old:
            self._change_epoch(old, out, formed=formed)
            return False
        if chain.returned:
            self._take_back(out)
        self._progressed(out)
        return not chain.halted

    def _take_back(self, out: list[Effect]) -> None:
        returned, self.chain.returned = self.chain.returned, []
        self.pool.add_refs(returned, self._final_state().next_tx, out)

    def _final_state(self) -> LedgerState:
        return self.ledger.state(self.chain.tree.final.id)

    def _change_epoch(self, old: EpochParameters, out: list[Effect], *, formed: bool) -> None:
        """Enter the epoch that `chain` has just opened.

        Who formed the certificate that closed the old one gives it to all: whoever holds the
        blocks derives the proof from it. New members hold nothing, they get the proof itself.
        """
        chain = self.chain
        proof = chain.proofs[old.epoch]
        if formed:
            message = EpochProofMessage(proof)
            first = leader(chain.epoch, 1, self.parameters.leader)
            if first != self.me:
                out.append(Send(first, message))
            out.append(Broadcast(CertificateResponse(proof.qc)))
            weights = old.weights.weights
            newcomers = (m for m in members(chain.epoch) if not weights[m])
            out.extend(Send(m, message) for m in newcomers if m not in (self.me, first))
        chain.announce(out)
        self._take_back(out)
        self._join_epoch()
        self._told.clear()
        self.sync = Sync(self.me, self.parameters.timer_base_ns)
        self._opened(out)
        self._poll(out)
        early, self._early = self._early, []
        for sender, held in early:
            self._receive(sender, held, out)

    def _poll(self, out: list[Effect]) -> None:
        """Without a vote nobody is obliged to write: ask a member now and then."""
        if self.is_member:
            return
        self._ask_someone(out)
        out.append(SetTimer((self.epoch, self._polls, "poll"), self.parameters.timer_base_ns))

    def _ask_someone(self, out: list[Effect]) -> None:
        """Ask a member for whatever it follows, another one each time."""
        self._polls += 1
        everyone = [m for m in members(self.chain.epoch) if m != self.me]
        peer = everyone[(self.me + self._polls) % len(everyone)]
        self.sync.ask(peer, ANYTHING, self.chain, self._now_ns, out)

    def _other_epoch(
        self, sender: ValidatorId, message: Message, epoch: int, out: list[Effect]
    ) -> None:
        """Help who is behind, keep what is ahead until the proof is here."""
        if epoch < self.epoch:
            out.append(Rejected(sender, concerns(message), "wrong_epoch"))
            proof = self.chain.proofs.get(epoch)
            asks = isinstance(message, (Proposal, TimeoutMessage))
            if proof is not None and asks and self._may_tell(sender, epoch):
                out.append(Send(sender, EpochProofMessage(proof)))
            return
        if epoch == self.epoch + 1 and len(self._early) < EARLY_MESSAGES:
            if not self._early:
                # The proof is likely under way: it is larger than what overtook it.
                delay_ns = self.parameters.timer_base_ns // 4
                out.append(SetTimer((self.epoch, sender, "early"), delay_ns))
            self._early.append((sender, message))
            return
        out.append(Dropped("early", 1, "full" if epoch == self.epoch + 1 else "far_epoch"))
        self.sync.ask(sender, ANYTHING, self.chain, self._now_ns, out)

    def _may_tell(self, peer: ValidatorId, what: int) -> bool:
        """Bound what one peer can make this validator send: one answer a matter and a while."""
        known, since_ns = self._told.get(peer, (None, 0))
        if known == what and self._now_ns - since_ns < self.parameters.timer_base_ns // 2:
            return False
        self._told[peer] = (what, self._now_ns)
        return True

    def _on_epoch_proof(
        self, sender: ValidatorId, message: EpochProofMessage, out: list[Effect]
    ) -> None:
        self._take_proof(sender, message.proof, out)

    def _take_proof(self, sender: ValidatorId, proof: EpochProof, out: list[Effect]) -> None:
        chain = self.chain
        if proof.root.epoch > self.epoch:
            self.sync.ask(sender, ANYTHING, chain, self._now_ns, out)
            return
        old = chain.epoch
        current = proof.root.epoch == self.epoch
        reason = chain.close(proof, out) if current else chain.contradict(proof, out)
        if chain.conflict is not None:
            self._answer_conflict(out)
        if reason == "unknown_root":
            self.sync.ask(sender, proof.root.id, chain, self._now_ns, out)
        elif reason is not None:
            out.append(Rejected(sender, "epochproof", reason))
        elif chain.epoch is not old:
            self._change_epoch(old, out, formed=False)

    # Catching up

    def _on_blocks_request(
        self, sender: ValidatorId, request: BlocksRequest, out: list[Effect]
    ) -> None:
        out.append(Send(sender, answer(self.chain, request, self.parameters.sync_blocks)))

    def _on_blocks(self, event: BlocksReceived, out: list[Effect]) -> None:
        """Take up a peer's blocks as far as they are proved, then ask for the rest."""
        sender, response, verified = event
        self.sync.answered()
        if not verified:
            out.append(Rejected(sender, "blocks", "invalid_signature"))
            return
        chain, epoch = self.chain, self.epoch
        missing = next(iter(chain.pending), ANYTHING)
        if response.blocks:
            reason = check_response(chain, response)
            if reason is not None:
                out.append(Rejected(sender, "blocks", reason))
                if reason == "unconnected":
                    self._look_deeper(sender, response.blocks[-1].id, out)
                return
            self.sync.depth, self.sync.floor = 0, response.blocks[-1].height
            for block in response.blocks:
                if self.epoch != epoch:
                    break
                self._take_synced(sender, block, out)
        if self.epoch == epoch and response.certificate is not None:
            self._take_certificate(sender, response.certificate, out)
        if self.epoch == epoch and response.proof is not None:
            self._take_proof(sender, response.proof, out)
        elif missing and not response.blocks and response.proof is None:
            self._look_deeper(sender, missing, out)
            return
        if self.epoch != epoch:
            self.sync.ask(sender, ANYTHING, self.chain, self._now_ns, out)
        elif response.blocks and chain.pending:
            self.sync.ask(sender, next(iter(chain.pending)), chain, self._now_ns, out)
        elif len(response.blocks) == self.parameters.sync_blocks:
            self.sync.ask(sender, ANYTHING, chain, self._now_ns, out)
        else:
            self.sync.floor = None

    def _take_synced(self, sender: ValidatorId, block: Block, out: list[Effect]) -> None:
        """Insert a proved block, then take up what waited for it."""
        if block.id in self.chain.tree:
            return
        if block.justify.view:
            self._take_certificate(sender, block.justify, out)
        if block.epoch == self.epoch and self.chain.insert(block, out) is None:
            self._complete(sender, block, out)

    def _complete(self, sender: ValidatorId, block: Block, out: list[Effect]) -> None:
        """Take up the certificate and the proposal that waited for `block`."""
        waiting = self.chain.pending.get(block.id) if self.chain.pending else None
        if waiting is not None:
            self._take_certificate(sender, waiting, out, formed=waiting.block == self._formed)
        orphan = self.sync.orphans.pop(block.id, None) if self.sync.orphans else None
        if orphan is not None:
            self._receive(*orphan, out)

    def _look_deeper(self, sender: ValidatorId, wanted: BlockId, out: list[Effect]) -> None:
        """The peer's branch parts from ours below our final block: look for where.

        Down to the epoch's root; below it the two proofs of the epoch before contradict.
        """
        chain = self.chain
        self.sync.floor = None
        if chain.tree.final.height - self.sync.depth > chain.epoch.root_height:
            self.sync.depth = 2 * self.sync.depth + 1
            self.sync.ask(sender, wanted, chain, self._now_ns, out)
            return
        self._show_proof(sender, out)

    def _show_proof(self, peer: ValidatorId, out: list[Effect]) -> None:
        """Show a peer whose epoch has another root how ours was decided: the proofs contradict.

        Nothing else would tell it where the epoch's quorum needs both sides, and so forms no
        certificate whose block is missing on one of them.
        """
        proof = self.chain.proofs.get(self.epoch - 1)
        if proof is not None and self._may_tell(peer, -1):
            out.append(Send(peer, EpochProofMessage(proof)))

    def _on_certificate_request(
        self, sender: ValidatorId, request: CertificateRequest, out: list[Effect]
    ) -> None:
        qc = self.chain.certificate(request.ref.block)
        if qc is not None and qc.ref == request.ref:
            out.append(Send(sender, CertificateResponse(qc)))

    def _on_certificate(
        self, sender: ValidatorId, message: CertificateResponse, out: list[Effect]
    ) -> None:
        qc = message.certificate
        if qc.epoch == self.epoch:
            self._take_certificate(sender, qc, out)
        elif qc.epoch > self.epoch:
            self.sync.ask(sender, ANYTHING, self.chain, self._now_ns, out)

    # Accusing, operations, late votes

    def _accuse(self, evidence: Evidence, out: list[Effect], *, tell: bool) -> None:
        """Take up evidence. `tell`: it was seen here alone, so all others are told."""
        mine = evidence.offender == self.me
        if mine or self.ledger.check_accusation(self.chain.tree.final.id, evidence) is not None:
            return
        refused = self.pool.add_evidence(evidence)
        if refused == "full":
            out.append(Dropped("evidence", 1, "full"))
        elif refused is None:
            out.append(Accused(evidence))
            if tell:
                out.append(Broadcast(EvidenceMessage(evidence)))

    def _compare(self, qc: QC, out: list[Effect]) -> None:
        """Hold a certificate against the one of its view that was seen before."""
        twin = self._by_view[qc.view]
        if twin.block != qc.block:
            for evidence in accountability.double_votes(twin, qc):
                self._accuse(evidence, out, tell=False)

    def _answer_conflict(self, out: list[Effect]) -> None:
        """Convict whoever made two conflicting commits possible."""
        ours, theirs = self.chain.conflict or ((), ())
        self.chain.conflict = None
        for evidence in accountability.convict(ours, theirs):
            self._accuse(evidence, out, tell=False)

    def _on_evidence(
        self, sender: ValidatorId, message: EvidenceMessage, out: list[Effect]
    ) -> None:
        self._accuse(message.evidence, out, tell=False)

    def _on_late_votes(self, sender: ValidatorId, message: LateVotes, out: list[Effect]) -> None:
        """Keep late votes for a proposal; a conflicting pair is evidence that nobody else has."""
        weights = self.chain.epoch.weights.weights
        for vote in message.votes[: len(weights)]:
            if vote.epoch != self.epoch or not 0 <= vote.voter < len(weights):
                continue
            known = self.pool.add_vote(vote) if weights[vote.voter] else None
            if isinstance(known, Vote):
                self._accuse(double_vote(known, vote), out, tell=True)
            elif known == "full":
                out.append(Dropped("late_votes", 1, "full"))

    def _on_operation(
        self, sender: ValidatorId, message: OperationMessage, out: list[Effect]
    ) -> None:
        operation = message.operation
        nonces = self._final_state().books.nonces
        reason: str | None = "unknown_validator"
        if 0 <= operation.validator < len(nonces):
            reason = self.pool.add_operation(operation, nonces[operation.validator])
        if reason is not None and reason != "known":
            out.append(Rejected(sender, "operation", reason))
