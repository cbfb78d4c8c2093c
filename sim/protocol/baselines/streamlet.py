"""Streamlet: a leader an epoch of fixed length, one vote on a longest notarised chain.

Owns the course of epochs. Must not know how effects are carried out. Assumes synchronised clocks:
`now_ns` is the same everywhere.

Source: Chan and Shi, "Streamlet: Textbook Streamlined Blockchains", AFT 2020 (eprint 2020/088). An
epoch takes 2 Delta, which is the scenario's timer. The paper has everybody echo every message it
sees, n^3 messages an epoch; here a proposal carries the notarisation of its parent instead, and who
lacks a block asks its sender. That costs bytes and saves messages: both are counted.
"""

from __future__ import annotations

from sim.protocol.baselines.electorate import Electorate
from sim.protocol.baselines.replica import Baseline
from sim.protocol.effects import Broadcast, Certified, Effect, NoVote, Rejected, Send, SetTimer
from sim.protocol.effects import ViewChanged as EpochBegan
from sim.protocol.messages import Message, Proposal, VoteMessage
from sim.protocol.multi_signature import Accepted, RejectedVote, VoteCollector, check_certificate
from sim.protocol.pacemaker import VIEWS_AHEAD, VIEWS_BEHIND, ConsensusParameters
from sim.protocol.types import QC, Block, BlockId, ValidatorId, Vote

_PENDING = 16
"""Notarisations kept whose block is not here yet."""


class Streamlet(Baseline):
    """A player of Streamlet."""

    def __init__(
        self, me: ValidatorId, parameters: ConsensusParameters, electorate: Electorate
    ) -> None:
        super().__init__(me, parameters, electorate)
        self.longest = electorate.genesis
        """The tip of a longest notarised chain: the first that was seen."""
        self.certificates: dict[BlockId, QC] = {electorate.genesis.id: electorate.root}
        self._collectors: dict[int, VoteCollector] = {}
        self._pending: dict[BlockId, QC] = {}
        self._children: dict[BlockId, list[BlockId]] = {}
        self._voted = 0

    def start(self, out: list[Effect]) -> None:
        self._tick(out)

    def tip(self) -> Block:
        return self.longest

    def proof_of(self, block: Block) -> QC | None:
        return self.certificates.get(block.id)

    def _tick(self, out: list[Effect]) -> None:
        """Enter the epoch that the clock shows; its leader proposes at once."""
        length = self.parameters.timer_base_ns
        self.view = self.now_ns // length + 1
        out.append(EpochBegan(0, self.view, "epoch"))
        out.append(SetTimer((0, self.view, "epoch"), self.view * length - self.now_ns))
        for old in [v for v in self._collectors if v < self.view - VIEWS_BEHIND]:
            del self._collectors[old]
        if self.electorate.leader(self.view) == self.me and self._voted < self.view:
            parent = self.longest
            justify = self.certificates[parent.id]
            block = Block(0, self.view, parent.height + 1, self.me, parent.id, justify)
            message = Proposal(block)
            out += (Send(self.me, message), Broadcast(message))

    def expire(self, epoch: int, view: int, purpose: str, out: list[Effect]) -> None:
        if view == self.view:
            self._tick(out)

    def receive(self, sender: ValidatorId, message: Message, out: list[Effect]) -> None:
        if isinstance(message, VoteMessage):
            self._on_vote(sender, message.vote, out)
        elif isinstance(message, Proposal):
            self._on_proposal(sender, message, out)

    def _on_proposal(self, sender: ValidatorId, message: Proposal, out: list[Effect]) -> None:
        block = message.block
        if block.id in self.blocks:
            return
        reason = self._unsound(block)
        if reason is None and block.parent not in self.blocks:
            self.keep_orphan(sender, message, out)
            return
        if reason is None:
            reason = self._add(block, out)
        if reason is not None:
            out.append(Rejected(sender, "proposal", reason))
            return
        self._vote(block, out)
        self.adopt_orphan(block, out)

    def _unsound(self, block: Block) -> str | None:
        justify = block.justify
        if block.epoch != 0 or block.proposer != self.electorate.leader(block.view):
            return "not_the_leader"
        if justify.block != block.parent or justify.view >= block.view:
            return "certificate_not_of_its_parent"
        return check_certificate(justify, self.electorate.pinned)

    def _add(self, block: Block, out: list[Effect]) -> str | None:
        """Keep a block and take up the notarisations that came with it or waited for it."""
        reason = self.insert(block)
        if reason is None:
            self._children.setdefault(block.parent, []).append(block.id)
            self._notarise(block.justify, out)
            waiting = self._pending.pop(block.id, None)
            if waiting is not None:
                self._notarise(waiting, out)
        return reason

    def _vote(self, block: Block, out: list[Effect]) -> None:
        """Vote once an epoch, for a block on a longest notarised chain."""
        reason = None
        if block.view != self.view:
            reason = "not_the_view"
        elif block.view <= self._voted:
            reason = "voted_or_timed_out"
        elif block.height <= self.longest.height:
            reason = "not_on_a_longest_chain"
        if reason is not None:
            out.append(NoVote(0, block.view, block.id, reason))
            return
        self._voted = block.view
        message = VoteMessage(Vote(0, block.view, block.id, self.me))
        out += (Send(self.me, message), Broadcast(message))

    def _on_vote(self, sender: ValidatorId, vote: Vote, out: list[Effect]) -> None:
        collector = self._collectors.get(vote.view)
        if collector is None:
            if not self.view - VIEWS_BEHIND <= vote.view <= self.view + VIEWS_AHEAD:
                out.append(Rejected(sender, "vote", "wrong_view"))
                return
            collector = self._collectors[vote.view] = VoteCollector(
                self.electorate.pinned, vote.view
            )
        added = collector.add(vote, verified=True)
        if isinstance(added, Accepted):
            if added.certificate is not None:
                out.append(Certified(added.certificate, self.electorate.quorum))
                self._notarise(added.certificate, out, sender)
        elif not isinstance(added, RejectedVote):
            out.append(Rejected(sender, "vote", "double_vote"))

    def _notarise(self, qc: QC, out: list[Effect], sender: ValidatorId = -1) -> None:
        """Note that a block is notarised: chains grow, and three adjacent epochs finalise."""
        block = self.blocks.get(qc.block)
        if block is None:
            self._pending[qc.block] = qc
            if len(self._pending) > _PENDING:
                del self._pending[next(iter(self._pending))]
            return
        if block.id in self.certificates:
            return
        self.certificates[block.id] = qc
        if block.height > self.longest.height:
            self.longest = block
        parent = self.blocks.get(block.parent)
        if parent is not None:
            self._finalise(parent, block, out)
            above = self.blocks.get(parent.parent)
            if above is not None and parent.id in self.certificates:
                self._finalise(above, parent, out)
        for child in list(self._children.get(block.id, ())):
            held = self.blocks.get(child)
            if held is not None and child in self.certificates:
                self._finalise(block, held, out)

    def _finalise(self, middle: Block, last: Block, out: list[Effect]) -> None:
        """Commit `middle` if it, its parent and its child `last` are notarised in a row."""
        first = self.blocks.get(middle.parent)
        known = self.certificates
        if first is None or middle.height <= self.final.height or last.id not in known:
            return
        if middle.id not in known or first.id not in known:
            return
        if first.view + 1 != middle.view or middle.view + 1 != last.view:
            return
        if self.commit(middle, out) and len(known) > 2 * self.parameters.store_blocks:
            gone = [b for b in known if b not in self.blocks]
            for block_id in gone:
                del known[block_id]
                self._children.pop(block_id, None)

    def take_synced(
        self, blocks: tuple[Block, ...], proof: QC | None, out: list[Effect]
    ) -> str | None:
        """Take up blocks whose notarisations hold, without voting for any."""
        for block in blocks:
            if block.id in self.blocks:
                continue
            justify = block.justify
            if justify.block != block.parent or justify.view >= block.view:
                return "certificate_not_of_its_parent"
            if check_certificate(justify, self.electorate.pinned) is not None:
                return "below_quorum"
            reason = self._add(block, out)
            if reason is not None:
                return reason
            self.adopt_orphan(block, out)
        if proof is not None and check_certificate(proof, self.electorate.pinned) is None:
            self._notarise(proof, out)
        return None
