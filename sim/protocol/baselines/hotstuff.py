"""Chained HotStuff: one vote a view, a block is final under three certificates of adjacent views.

Owns the course of views. Must not know how effects are carried out.

Source: Yin et al., "HotStuff: BFT Consensus in the Lens of Blockchain", arXiv:1803.05069, chained
HotStuff, in its event-driven form. Its pacemaker is left open there; here views end as in LibraBFT
and Bamboo (Gai et al., arXiv:2103.00777): timeouts go to all, n - f of them end a view, f + 1 of a
view ahead make others join. New-view messages carry the whole certificate to the next leader, which
waits for n - f of them.
"""

from __future__ import annotations

from sim.protocol.baselines.electorate import Electorate
from sim.protocol.baselines.messages import HighQcMessage
from sim.protocol.baselines.replica import Baseline
from sim.protocol.effects import (
    Broadcast,
    Certified,
    Effect,
    NoVote,
    Rejected,
    Send,
    SetTimer,
    TimeoutCertified,
    ViewChanged,
)
from sim.protocol.messages import Message, Proposal, TimeoutMessage, VoteMessage
from sim.protocol.multi_signature import (
    Accepted,
    AcceptedTimeout,
    RejectedVote,
    VoteCollector,
    check_certificate,
)
from sim.protocol.pacemaker import VIEWS_AHEAD, VIEWS_BEHIND, ConsensusParameters, Pacemaker
from sim.protocol.types import QC, Block, BlockId, Timeout, ValidatorId, Vote


class HotStuff(Baseline):
    """A replica of chained HotStuff. `reign`: views in a row that one leader keeps."""

    def __init__(
        self,
        me: ValidatorId,
        parameters: ConsensusParameters,
        electorate: Electorate,
        reign: int = 1,
    ) -> None:
        super().__init__(me, parameters, electorate)
        self.reign = reign
        self.view = 1
        self.high_qc = electorate.root
        self.locked_qc = electorate.root
        self.last_voted_view = 0
        self.certificates: dict[BlockId, QC] = {electorate.genesis.id: electorate.root}
        """Of the blocks above the last final one, and its own."""
        self._pacemaker = Pacemaker(parameters, electorate.pinned)
        self._pacemaker.enter(1, progress=True)
        self._collectors: dict[int, VoteCollector] = {}
        self._pending: dict[BlockId, QC] = {}
        self._news: dict[int, dict[ValidatorId, None]] = {}
        self._proposed = 0
        self._seen_ns: dict[BlockId, int] = {}

    def leader(self, view: int) -> ValidatorId:
        """Name the leader of a view."""
        return self.electorate.leader(view // self.reign)

    def start(self, out: list[Effect]) -> None:
        self._enter(self.view, "epoch", out)

    def tip(self) -> Block:
        return self.blocks.get(self.high_qc.block) or self.final

    def proof_of(self, block: Block) -> QC | None:
        return self.certificates.get(block.id)

    # Views

    def _enter(self, view: int, reason: str, out: list[Effect]) -> None:
        """Move to `view`, set its timer, and lead it if it is this replica's."""
        self.view = view
        failures = self._pacemaker.consecutive
        self._pacemaker.enter(view, progress=reason in ("certificate", "epoch"))
        if reason == "join":
            # A vote is no progress yet: the timer stays as it is until a certificate comes.
            self._pacemaker.consecutive = failures
        out.append(ViewChanged(0, view, reason))
        out.append(SetTimer((0, view, "view"), self._pacemaker.delay_ns()))
        for old in [v for v in self._collectors if v < view - VIEWS_BEHIND]:
            del self._collectors[old]
        for old in [v for v in self._news if v < view]:
            del self._news[old]
        if self.leader(view) == self.me:
            self._lead(out)

    def _lead(self, out: list[Effect]) -> None:
        """Propose once the certificate of the view before, or n - f new-views, are here."""
        if self.view <= self._proposed or self.leader(self.view) != self.me:
            return
        ready = self.high_qc.view == self.view - 1
        if not ready and len(self._news.get(self.view, ())) < self.electorate.quorum:
            return
        parent = self.blocks.get(self.high_qc.block)
        if parent is None:
            return
        # Genesis, and what was final before, has been here for long enough.
        interval_ns = self.parameters.min_block_interval_ns
        due_ns = self._seen_ns.get(parent.id, self.now_ns - interval_ns) + interval_ns
        if due_ns > self.now_ns:
            out.append(SetTimer((0, self.view, "propose"), due_ns - self.now_ns))
            return
        self._proposed = self.view
        block = Block(0, self.view, parent.height + 1, self.me, parent.id, self.high_qc)
        message = Proposal(block)
        out += (Send(self.me, message), Broadcast(message))

    def expire(self, epoch: int, view: int, purpose: str, out: list[Effect]) -> None:
        if view != self.view:
            return
        if purpose == "propose":
            self._lead(out)
        elif purpose == "view":
            self._time_out(out)

    def _time_out(self, out: list[Effect]) -> None:
        """Give up on the present view; said again each time the timer runs out."""
        self.last_voted_view = max(self.last_voted_view, self.view)
        high = self.high_qc
        message = TimeoutMessage(Timeout(0, self.view, high.view, high.block, self.me))
        out += (Send(self.me, message), Broadcast(message))
        self._pacemaker.expired += 1
        out.append(SetTimer((0, self.view, "view"), self._pacemaker.delay_ns()))

    def _on_timeout(self, sender: ValidatorId, timeout: Timeout, out: list[Effect]) -> None:
        if timeout.view < self.view:
            high = self.high_qc
            if high.view < timeout.view:
                # Who has voted stands one view further: without its word nobody may follow.
                late = Timeout(0, timeout.view, high.view, high.block, self.me)
                out.append(Send(timeout.signer, TimeoutMessage(late)))
            elif self._pacemaker.tells(self.me, timeout):
                out.append(Send(timeout.signer, HighQcMessage(self.view, high)))
            return
        added = self._pacemaker.add(timeout)
        if isinstance(added, RejectedVote):
            if added.reason not in ("duplicate", "late"):
                out.append(Rejected(sender, "timeout", added.reason))
            return
        if self._pacemaker.joins(timeout.view) and timeout.view > self.view:
            self._enter(timeout.view, "sync", out)
            self._time_out(out)
        if isinstance(added, AcceptedTimeout) and added.certificate is not None:
            tc = added.certificate
            out.append(TimeoutCertified(tc, len(tc.timeouts)))
            after = tc.view + 1
            self._enter(after, "timeout", out)
            out.append(Send(self.leader(after), HighQcMessage(after, self.high_qc)))

    def _on_high_qc(self, sender: ValidatorId, message: HighQcMessage, out: list[Effect]) -> None:
        if not self._take(sender, message.justify, out):
            return
        if self.view <= message.view <= self.view + VIEWS_AHEAD:
            self._news.setdefault(message.view, {})[sender] = None
            self._lead(out)

    # Blocks and votes

    def receive(self, sender: ValidatorId, message: Message, out: list[Effect]) -> None:
        if isinstance(message, VoteMessage):
            self._on_vote(sender, message.vote, out)
        elif isinstance(message, Proposal):
            self._on_proposal(sender, message, out)
        elif isinstance(message, TimeoutMessage):
            self._on_timeout(sender, message.timeout, out)
        elif isinstance(message, HighQcMessage):
            self._on_high_qc(sender, message, out)

    def _on_proposal(self, sender: ValidatorId, message: Proposal, out: list[Effect]) -> None:
        block = message.block
        if block.id in self.blocks:
            return
        reason = self._unsound(block)
        if reason is not None:
            out.append(Rejected(sender, "proposal", reason))
            return
        if block.parent not in self.blocks:
            self.keep_orphan(sender, message, out)
            return
        reason = self.insert(block)
        if reason is not None:
            out.append(Rejected(sender, "proposal", reason))
            return
        self._seen_ns[block.id] = self.now_ns
        self._take(sender, block.justify, out)
        self._update(block, out)
        self._vote(block, out)
        self._complete(sender, block, out)

    def _unsound(self, block: Block) -> str | None:
        justify = block.justify
        if block.epoch != 0 or block.proposer != self.leader(block.view):
            return "not_the_leader"
        if justify.block != block.parent or justify.view >= block.view:
            return "certificate_not_of_its_parent"
        if self.certificates.get(justify.block) is justify:
            return None
        return check_certificate(justify, self.electorate.pinned)

    def _vote(self, block: Block, out: list[Effect]) -> None:
        """Vote by the rule safeNode: the block extends the lock, or shows a higher certificate."""
        reason = None
        if block.view != self.view:
            reason = "not_the_view"
        elif block.view <= self.last_voted_view:
            reason = "voted_or_timed_out"
        elif block.justify.view <= self.locked_qc.view and not self.extends(
            block, self.locked_qc.block
        ):
            reason = "against_the_lock"
        if reason is not None:
            out.append(NoVote(0, block.view, block.id, reason))
            return
        self.last_voted_view = block.view
        vote = Vote(0, block.view, block.id, self.me)
        out.append(Send(self.leader(block.view + 1), VoteMessage(vote)))
        self._enter(block.view + 1, "join", out)

    def _on_vote(self, sender: ValidatorId, vote: Vote, out: list[Effect]) -> None:
        view = vote.view
        collector = self._collectors.get(view)
        if collector is None:
            if not self.view - VIEWS_BEHIND <= view <= self.view + VIEWS_AHEAD:
                out.append(Rejected(sender, "vote", "wrong_view"))
                return
            collector = self._collectors[view] = VoteCollector(self.electorate.pinned, view)
        added = collector.add(vote, verified=True)
        if isinstance(added, Accepted):
            if added.certificate is not None:
                out.append(Certified(added.certificate, self.electorate.quorum))
                self._take(sender, added.certificate, out)
        elif isinstance(added, RejectedVote):
            if added.reason != "late":
                out.append(Rejected(sender, "vote", added.reason))
        else:
            out.append(Rejected(sender, "vote", "double_vote"))

    def _take(self, sender: ValidatorId, qc: QC, out: list[Effect]) -> bool:
        """Take up a certificate; False when it is none. Its block is fetched where it is not here.

        The highest one moves this replica to the view after it, unless its vote has done so.
        """
        if self.certificates.get(qc.block) is not qc:
            if qc.view > 0 and check_certificate(qc, self.electorate.pinned) is not None:
                out.append(Rejected(sender, "certificate", "below_quorum"))
                return False
            if qc.block not in self.blocks:
                if qc.view > self.high_qc.view:
                    self._pending = {qc.block: qc}
                    self.ask(sender, qc.block, out)
                return True
            self.certificates.setdefault(qc.block, qc)
        if qc.view > self.high_qc.view:
            self.high_qc = qc
            if qc.view >= self.view:
                self._enter(qc.view + 1, "certificate", out)
            elif qc.view + 1 == self.view:
                self._pacemaker.consecutive = 0
                self._lead(out)
        return True

    def _update(self, block: Block, out: list[Effect]) -> None:
        """Move the lock to the head of the 2-chain below `block`, commit that of the 3-chain."""
        first = self.blocks.get(block.justify.block)
        if first is None or first.justify.view <= 0:
            return
        if first.justify.view > self.locked_qc.view:
            self.locked_qc = first.justify
        second = self.blocks.get(first.justify.block)
        if second is None or second.justify.view <= 0:
            return
        third = self.blocks.get(second.justify.block)
        if third is None or third.height <= self.final.height:
            return
        if third.view + 1 == second.view and second.view + 1 == first.view:
            self.commit(third, out)
            lowest = self.final.height
            for gone in [b for b in self.certificates if self._below(b, lowest)]:
                del self.certificates[gone]
            for gone in [b for b in self._seen_ns if self._below(b, lowest)]:
                del self._seen_ns[gone]

    def _below(self, block_id: BlockId, height: int) -> bool:
        block = self.blocks.get(block_id)
        return block is None or block.height < height

    def _complete(self, sender: ValidatorId, block: Block, out: list[Effect]) -> None:
        """Take up the certificate and the proposal that waited for `block`."""
        waiting = self._pending.pop(block.id, None)
        if waiting is not None:
            self._take(sender, waiting, out)
            self._lead(out)
        self.adopt_orphan(block, out)

    def take_synced(
        self, blocks: tuple[Block, ...], proof: QC | None, out: list[Effect]
    ) -> str | None:
        """Take up blocks whose certificates hold, without voting for any."""
        for block in blocks:
            if block.id in self.blocks:
                continue
            justify = block.justify
            if justify.block != block.parent or justify.view >= block.view:
                return "certificate_not_of_its_parent"
            if check_certificate(justify, self.electorate.pinned) is not None:
                return "below_quorum"
            reason = self.insert(block)
            if reason is not None:
                return reason
            self._take(self.me, justify, out)
            self._update(block, out)
            self._complete(self.me, block, out)
        if proof is not None:
            self._take(self.me, proof, out)
        return None
