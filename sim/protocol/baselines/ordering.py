"""PBFT's normal case: a primary orders, replicas prepare and commit in sequence, with checkpoints.

Owns one view's slots, execution and catching up. Must not know how views end.

Source: Castro and Liskov, "Practical Byzantine Fault Tolerance", OSDI 1999, with signatures.
(epoch, view) of what is shown and signed is (view, sequence number). Blocks stand on one another
where requests do not, hence one rule more: a primary proposes, and a backup prepares, only above
what it has itself prepared. Then what is prepared above a block keeps that block in every later
view. What a commit certificate proves is executed, prepared here or not.
"""

from __future__ import annotations

from sim.protocol.baselines.electorate import Electorate
from sim.protocol.baselines.messages import (
    CheckpointMessage,
    CommitMessage,
    Prepared,
    PrepareMessage,
    phase,
)
from sim.protocol.baselines.replica import Baseline
from sim.protocol.baselines.tally import Tally
from sim.protocol.effects import (
    Broadcast,
    Certified,
    Effect,
    Rejected,
    Send,
    SetTimer,
    ViewChanged,
)
from sim.protocol.messages import Message, Proposal
from sim.protocol.multi_signature import check_certificate
from sim.protocol.pacemaker import ConsensusParameters, delay_ns
from sim.protocol.types import QC, Block, BlockId, ValidatorId, Vote


class Slot:
    """What one sequence number has brought in the present view."""

    __slots__ = ("block", "commit_id", "commits", "committed", "prepared", "prepares", "said")

    def __init__(self, electorate: Electorate, view: int, primary: ValidatorId, number: int):
        self.block: Block | None = None
        self.commit_id: BlockId = b""
        # The primary's proposal stands for its prepare, so one vote less is asked of the others.
        self.prepares = Tally(electorate.table(view, primary), number)
        self.commits = Tally(electorate.table(view), number)
        self.said = False
        """Whether this replica has answered the proposal."""
        self.prepared = False
        self.committed = False


CHECKPOINT_INTERVAL = 16


class Ordering(Baseline):
    """A replica between two view changes. `interval`: sequence numbers between checkpoints.

    `epoch` is the view, `view` the sequence number that is waited for.
    """

    def __init__(
        self,
        me: ValidatorId,
        parameters: ConsensusParameters,
        electorate: Electorate,
        interval: int = CHECKPOINT_INTERVAL,
    ) -> None:
        super().__init__(me, parameters, electorate)
        self.interval = interval
        self.stable = 0
        self.stable_block = electorate.genesis.id
        self.stable_proof: QC | None = None
        self.view = 1
        self.changing = False
        """Whether this replica has given up on the views below its own and waits for a new one."""
        self.proofs: dict[BlockId, QC] = {}
        """Commit certificates of some final blocks, to help who is behind."""
        self._slots: dict[int, Slot] = {}
        self._prepared: dict[int, Prepared] = {}
        self._checkpoints: dict[int, Tally] = {}
        self._held: list[tuple[ValidatorId, Message]] = []
        self._failures = 0
        self._seen_ns = 0
        self._again: list[Prepared] = []
        """What the present view began with: proposed again, by number from `_floor` down."""
        self._floor = 0

    @property
    def primary(self) -> ValidatorId:
        return self.electorate.leader(self.epoch)

    def tip(self) -> Block:
        return self.final

    def proof_of(self, block: Block) -> QC | None:
        return self.proofs.get(block.id)

    def start(self, out: list[Effect]) -> None:
        out.append(ViewChanged(self.epoch, self.view, "epoch"))
        self._arm(out)
        for number in sorted(self._slots):
            self._repeat(self._slots[number], out)
        self._lead(out)

    def _repeat(self, slot: Slot, out: list[Effect]) -> None:
        """Say again what a crash may have kept from leaving."""
        block = slot.block
        if block is None or self.changing:
            return
        if slot.said and self.primary != self.me:
            self._vote(PrepareMessage(Vote(self.epoch, block.height, block.id, self.me)), out)
        if slot.prepared:
            vote = Vote(self.epoch, block.height, slot.commit_id, self.me)
            self._vote(CommitMessage(vote), out)

    def _vote(self, message: Message, out: list[Effect]) -> None:
        out += (Send(self.me, message), Broadcast(message))

    # The normal case

    def _slot(self, number: int) -> Slot:
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = Slot(self.electorate, self.epoch, self.primary, number)
        return slot

    def _lead(self, out: list[Effect]) -> None:
        """Propose what comes after the last prepared block."""
        if self.changing or self.primary != self.me:
            return
        number = self.final.height
        parent = self.final
        while True:
            slot = self._slots.get(number + 1)
            if slot is None or slot.block is None:
                break
            if not slot.prepared:
                return
            number, parent = number + 1, slot.block
        if not self._floor <= number < self.stable + 2 * self.interval:
            return
        due_ns = self._seen_ns + self.parameters.min_block_interval_ns
        if due_ns > self.now_ns:
            out.append(SetTimer((self.epoch, number + 1, "propose"), due_ns - self.now_ns))
            return
        self._seen_ns = self.now_ns
        root = self.electorate.root
        block = Block(self.epoch, number + 1, number + 1, self.me, parent.id, root)
        message = Proposal(block)
        self._slot(number + 1).said = True
        self._vote(message, out)

    def receive(self, sender: ValidatorId, message: Message, out: list[Effect]) -> None:
        if isinstance(message, (PrepareMessage, CommitMessage)):
            vote = message.vote
            if vote.epoch == self.epoch and not self.changing:
                self._count(sender, message, vote, out)
            elif vote.epoch >= self.epoch:
                self._ahead(sender, message, vote.epoch, out)
        elif isinstance(message, Proposal):
            if message.block.epoch == self.epoch and not self.changing:
                self._on_proposal(sender, message, out)
            elif message.block.epoch >= self.epoch:
                self._ahead(sender, message, message.block.epoch, out)
        elif isinstance(message, CheckpointMessage):
            self._on_checkpoint(sender, message.vote, out)
        else:
            self.receive_of_views(sender, message, out)

    def receive_of_views(self, sender: ValidatorId, message: Message, out: list[Effect]) -> None:
        """Take a message about views."""
        raise NotImplementedError

    def give_up(self, view: int, reason: str, out: list[Effect]) -> None:
        """Leave the present view for `view`."""
        raise NotImplementedError

    def _ahead(self, sender: ValidatorId, message: Message, view: int, out: list[Effect]) -> None:
        """Keep what overtook the new view; who missed that learns by blocks that it is over."""
        if self.changing and view == self.epoch:
            if len(self._held) < 4 * self.electorate.size:
                self._held.append((sender, message))
        elif view > self.epoch:
            self.ask(sender, b"", out)

    def _on_proposal(self, sender: ValidatorId, message: Proposal, out: list[Effect]) -> None:
        block = message.block
        number = block.height
        if block.id in self.blocks:
            return
        reason = None
        if block.proposer != self.primary:
            reason = "not_the_leader"
        elif block.view != number:
            reason = "wrong_height"
        elif not self.final.height < number <= self.stable + 2 * self.interval:
            reason = "outside_the_watermarks"
        elif number <= self._floor:
            reason = "proposed_again_otherwise"
        if reason is None and block.parent not in self.blocks:
            self.keep_orphan(sender, message, out)
            return
        slot = self._slot(number)
        if reason is None and slot.block is not None:
            reason = "double_proposal"
        if reason is None:
            reason = self.insert(block)
        if reason is not None:
            out.append(Rejected(sender, "proposal", reason))
            return
        self._accept(slot, block)
        self._prepare(number, out)
        self.adopt_orphan(block, out)

    def _accept(self, slot: Slot, block: Block) -> None:
        slot.block = block
        slot.commit_id = phase("commit", block.id)

    def _prepare(self, number: int, out: list[Effect]) -> None:
        """Prepare what has been proposed, one number above what is prepared here."""
        slot = self._slots.get(number)
        if slot is None or slot.block is None:
            return
        below = self._slots.get(number - 1)
        ready = number - 1 <= self.final.height or (below is not None and below.prepared)
        if ready and not slot.said:
            slot.said = True
            if self.primary != self.me:
                vote = Vote(self.epoch, number, slot.block.id, self.me)
                self._vote(PrepareMessage(vote), out)
        self._settle(number, slot, out)

    def _count(self, sender: ValidatorId, message: Message, vote: Vote, out: list[Effect]) -> None:
        number = vote.view
        slot = self._slots.get(number)
        if slot is None:
            if not self.stable < number <= self.stable + 2 * self.interval:
                if number > self.stable + 2 * self.interval:
                    self.ask(sender, b"", out)
                return
            slot = self._slot(number)
        preparing = isinstance(message, PrepareMessage)
        tally = slot.prepares if preparing else slot.commits
        reason = tally.add(vote)
        if reason is None:
            if tally.certificate is not None and not slot.committed:
                self._settle(number, slot, out)
        elif reason != "duplicate":
            out.append(Rejected(sender, "vote", reason))

    def _settle(self, number: int, slot: Slot, out: list[Effect]) -> None:
        """Move a slot on as far as its votes allow: prepared, committed."""
        block, qc = slot.block, slot.prepares.certificate
        if block is None:
            if slot.commits.certificate is not None:
                self._miss(number, slot.commits.certificate, out)
            return
        below = self._slots.get(number - 1)
        ready = number - 1 <= self.final.height or (below is not None and below.prepared)
        if not slot.prepared and ready and qc is not None and qc.block == block.id:
            slot.prepared = True
            self._prepared[number] = Prepared(block, qc)
            out.append(Certified(qc, self.electorate.quorum))
            self._vote(CommitMessage(Vote(self.epoch, number, slot.commit_id, self.me)), out)
            self._lead(out)
            self._prepare(number + 1, out)
        proof = slot.commits.certificate
        if proof is not None and proof.block == slot.commit_id and not slot.committed:
            slot.committed = True
            self._execute(out)

    def _miss(self, number: int, proof: QC, out: list[Effect]) -> None:
        """Fetch a block that was committed without this replica."""
        if number <= self.final.height:
            return
        for signer in range(self.electorate.size):
            if proof.signers >> signer & 1 and signer != self.me:
                self.ask(signer, b"", out)
                return

    def _execute(self, out: list[Effect]) -> None:
        """Execute committed blocks in order; say so at each checkpoint."""
        before = self.final.height
        while True:
            slot = self._slots.get(self.final.height + 1)
            if slot is None or not slot.committed or slot.block is None:
                break
            block, proof = slot.block, slot.commits.certificate
            if proof is None or not self._commit(block, proof, out):
                return
            if not slot.prepared:
                # Without its prepares a view change can start from its commits alone.
                self._settle_checkpoint(block.height, block.id, proof)
        if self.final.height > before:
            self._arm(out)
            self._lead(out)

    def _commit(self, block: Block, proof: QC, out: list[Effect]) -> bool:
        before = self.final
        if not self.commit(block, out):
            return False
        if before.height % self.parameters.sync_blocks:
            self.proofs.pop(before.id, None)
        self.proofs[block.id] = proof
        for gone in [b for b in self.proofs if b not in self.blocks]:
            del self.proofs[gone]
        self._failures = 0
        self.view = block.height + 1
        if block.height % self.interval == 0:
            on = phase("checkpoint", block.id)
            self._vote(CheckpointMessage(Vote(0, block.height, on, self.me)), out)
        return True

    # Checkpoints

    def _on_checkpoint(self, sender: ValidatorId, vote: Vote, out: list[Effect]) -> None:
        number = vote.view
        ahead = self.stable + 4 * self.interval
        if not self.stable < number <= ahead or number % self.interval:
            if number > ahead:
                self.ask(sender, b"", out)
            return
        tally = self._checkpoints.get(number)
        if tally is None:
            tally = self._checkpoints[number] = Tally(self.electorate.table(0), number)
        reason = tally.add(vote)
        if reason is not None and reason != "duplicate":
            out.append(Rejected(sender, "checkpoint", reason))
        elif tally.certificate is not None and number > self.stable:
            if number > self.final.height:
                self.ask(sender, b"", out)
            else:
                block = self._final_at(number)
                self._settle_checkpoint(number, block, tally.certificate)
                self._lead(out)

    def _final_at(self, number: int) -> BlockId:
        """Return the final block of a number that is still kept."""
        block = self.final
        while block.height > number:
            block = self.blocks[block.parent]
        return block.id

    def _settle_checkpoint(self, number: int, block: BlockId, proof: QC) -> None:
        """Discard what a stable checkpoint covers."""
        self.stable, self.stable_block, self.stable_proof = number, block, proof
        for old in [n for n in self._slots if n <= number]:
            del self._slots[old]
        for old in [n for n in self._prepared if n <= number]:
            del self._prepared[old]
        for old in [n for n in self._checkpoints if n <= number]:
            del self._checkpoints[old]

    # Timers and views

    def _arm(self, out: list[Effect]) -> None:
        delay = delay_ns(self.parameters, self._failures)
        out.append(SetTimer((self.epoch, self.final.height, "view"), delay))

    def expire(self, epoch: int, view: int, purpose: str, out: list[Effect]) -> None:
        if epoch != self.epoch:
            return
        if purpose == "propose":
            self._lead(out)
        elif purpose == "view" and (self.changing or view == self.final.height):
            self.give_up(self.epoch + 1, "timeout", out)

    def _propose_again(self, out: list[Effect]) -> None:
        """Take what the view began with as proposed by its primary, as far as it connects here."""
        for entry in self._again:
            block = entry.block
            if block.id not in self.blocks and block.parent in self.blocks:
                self.insert(block)
            if block.id in self.blocks and block.height > self.stable:
                slot = self._slot(block.height)
                if slot.block is None:
                    self._accept(slot, block)
                    self._prepare(block.height, out)

    # Catching up

    def excerpt(self, path: list[Block]) -> tuple[list[Block], QC | None]:
        """Return the first blocks of a path up to one that can be proved."""
        for end in range(min(len(path), self.parameters.sync_blocks), 0, -1):
            proof = self.proofs.get(path[end - 1].id)
            if proof is not None:
                return path[:end], proof
        return [], None

    def more(self, blocks: tuple[Block, ...]) -> bool:
        return blocks[-1].height % self.parameters.sync_blocks == 0

    def take_synced(
        self, blocks: tuple[Block, ...], proof: QC | None, out: list[Effect]
    ) -> str | None:
        """Execute blocks that a commit certificate proves.

        If the last was proposed in a later view than this replica is in, that view has begun, and
        nothing above it was proposed again: it follows that view, and votes from there on.
        """
        last = blocks[-1]
        if proof is None or proof.block != phase("commit", last.id) or proof.view != last.height:
            return "uncertified"
        if check_certificate(proof, self.electorate.table(proof.epoch)) is not None:
            return "below_quorum"
        for block in blocks:
            if block.id not in self.blocks:
                reason = self.insert(block)
                if reason is not None:
                    return reason
        if last.height <= self.final.height or not self._commit(last, proof, out):
            return None
        if last.height > self.stable:
            self._settle_checkpoint(last.height, last.id, proof)
        begun = last.epoch > self.epoch or (self.changing and last.epoch == self.epoch)
        if begun and last.epoch == proof.epoch:
            self.epoch, self.changing, self._slots = last.epoch, False, {}
            self._again, self._floor, self._held = [], last.height, []
            out.append(ViewChanged(self.epoch, self.view, "sync"))
        if not self.changing:
            self._propose_again(out)
            for number in sorted(self._slots):
                self._prepare(number, out)
        self._execute(out)
        self._arm(out)
        return None
