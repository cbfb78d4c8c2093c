"""Tendermint: heights of rounds, each of a proposal, prevotes and precommits; values are locked.

Owns the course of heights and rounds. Must not know how effects are carried out.

Source: Buchman, Kwon, Milosevic, "The latest gossip on BFT consensus", arXiv:1807.04938, algorithm
1; comments name its lines. (epoch, view) of what is shown and signed is (height, round), and rounds
count from 1, as views do; 0 stands where the paper has -1. The paper
takes for granted that gossip delivers everything in the end; here links may lose messages, so who
makes no progress says its last words again, and a proposal of a locked value carries the prevotes
that locked it. A block carries the precommits of the one before it.
"""

from __future__ import annotations

from sim.protocol.baselines.electorate import Electorate
from sim.protocol.baselines.messages import (
    Declaration,
    PrecommitMessage,
    PrevoteMessage,
    ReproposalMessage,
    phase,
)
from sim.protocol.baselines.replica import Baseline
from sim.protocol.baselines.tally import Tally
from sim.protocol.effects import (
    Broadcast,
    Certified,
    Effect,
    NoVote,
    Rejected,
    Send,
    SetTimer,
    ViewChanged,
)
from sim.protocol.messages import Message, Proposal
from sim.protocol.multi_signature import check_certificate
from sim.protocol.pacemaker import ConsensusParameters, delay_ns
from sim.protocol.types import QC, Block, BlockId, ValidatorId, Vote

PROPOSE, PREVOTE, PRECOMMIT = 0, 1, 2
NIL = b""
ROUNDS_AHEAD = 64
"""Messages of rounds further ahead than this are refused."""
EARLY_PER_VALIDATOR = 6
"""Messages of the next height that are kept, a validator."""


class Round:
    """What one round of the present height has brought."""

    __slots__ = ("block", "heard", "polka_round", "precommits", "prevotes", "timed")

    def __init__(self, electorate: Electorate, height: int, number: int) -> None:
        table = electorate.table(height)
        self.block: Block | None = None
        self.polka_round = 0
        """The proposal's valid round."""
        self.prevotes = Tally(table, number)
        self.precommits = Tally(table, number)
        self.heard: dict[ValidatorId, None] = {}
        self.timed: dict[str, None] = {}


class Tendermint(Baseline):
    """A process of Tendermint."""

    def __init__(
        self, me: ValidatorId, parameters: ConsensusParameters, electorate: Electorate
    ) -> None:
        super().__init__(me, parameters, electorate)
        self.step = PROPOSE
        self.locked: tuple[int, BlockId] = (0, NIL)
        """lockedRound and lockedValue."""
        self.valid: tuple[int, Block | None, QC | None] = (0, None, None)
        """validRound, validValue and the prevotes that made it so."""
        self.decided: dict[BlockId, QC] = {electorate.genesis.id: electorate.root}
        """The precommits of the last decided block."""
        self._rounds: dict[int, Round] = {}
        self._early: list[tuple[ValidatorId, Message]] = []
        self._said: list[Message] = []
        self._began_ns = 0
        self._restate(1)

    def _restate(self, number: int) -> None:
        self.epoch, self.view = self.final.height + 1, number

    def tip(self) -> Block:
        return self.final

    def proof_of(self, block: Block) -> QC | None:
        return self.decided.get(block.id)

    def proposer(self, height: int, number: int) -> ValidatorId:
        """Name who proposes in a round; the turn moves with heights and with rounds."""
        return self.electorate.leader(height + number - 1)

    # Heights and rounds

    def start(self, out: list[Effect]) -> None:
        """Begin, or go on after a crash: in the same round, saying the same again."""
        out.append(ViewChanged(self.epoch, self.view, "epoch"))
        self._round(self.view).timed.clear()
        out.extend(Send(self.me, message) for message in self._said)
        self._repeat(out)
        if self.step == PROPOSE:
            self._open(out)
        self._review(self.view, out)

    def _round(self, number: int) -> Round:
        found = self._rounds.get(number)
        if found is None:
            found = self._rounds[number] = Round(self.electorate, self.epoch, number)
        return found

    def _start_round(self, number: int, reason: str, out: list[Effect]) -> None:
        """StartRound, lines 11 to 21."""
        self._restate(number)
        for old in [r for r in self._rounds if r < number - ROUNDS_AHEAD]:
            del self._rounds[old]
        self.step = PROPOSE
        self._said = []
        out.append(ViewChanged(self.epoch, number, reason))
        self._open(out)
        self._again(out)
        self._review(number, out)

    def _open(self, out: list[Effect]) -> None:
        if self.proposer(self.epoch, self.view) != self.me:
            self._arm("propose", out)
            return
        due_ns = self._began_ns + self.parameters.min_block_interval_ns
        if self.view == 1 and due_ns > self.now_ns:
            out.append(SetTimer((self.epoch, 1, "due"), due_ns - self.now_ns))
        else:
            self._propose(out)

    def _propose(self, out: list[Effect]) -> None:
        _, block, polka = self.valid
        message: Message
        if block is not None and polka is not None:
            unsigned = ReproposalMessage(Declaration(self.me, b""), block, self.view, polka)
            said = Declaration(self.me, unsigned.content())
            message = unsigned._replace(declaration=said)
        else:
            parent = self.final
            justify = self.decided[parent.id]
            block = Block(self.epoch, self.view, self.epoch, self.me, parent.id, justify)
            message = Proposal(block)
        self._say(message, out)

    def _say(self, message: Message, out: list[Effect]) -> None:
        self._said.append(message)
        out += (Send(self.me, message), Broadcast(message))

    def _arm(self, purpose: str, out: list[Effect]) -> None:
        """Start a timeout of the present round, once; it grows with the round."""
        timed = self._round(self.view).timed
        if purpose not in timed:
            timed[purpose] = None
            delay = delay_ns(self.parameters, self.view - 1)
            out.append(SetTimer((self.epoch, self.view, purpose), delay))

    def _again(self, out: list[Effect]) -> None:
        """Arm the timer after which the round's words are said again."""
        delay = 2 * delay_ns(self.parameters, self.view - 1)
        out.append(SetTimer((self.epoch, self.view, "again"), delay))

    def _repeat(self, out: list[Effect]) -> None:
        out.extend(Broadcast(message) for message in self._said)
        self._again(out)

    def expire(self, epoch: int, view: int, purpose: str, out: list[Effect]) -> None:
        """OnTimeoutPropose, OnTimeoutPrevote, OnTimeoutPrecommit: lines 57 to 67."""
        if (epoch, view) != (self.epoch, self.view):
            return
        if purpose == "propose" and self.step == PROPOSE:
            self._prevote(NIL, out)
        elif purpose == "prevote" and self.step == PREVOTE:
            self._precommit(NIL, out)
        elif purpose == "precommit":
            self._start_round(view + 1, "timeout", out)
        elif purpose == "due" and self.step == PROPOSE:
            self._propose(out)
        elif purpose == "again":
            self._repeat(out)

    # Votes

    def _prevote(self, block_id: BlockId, out: list[Effect]) -> None:
        self.step = PREVOTE
        on = NIL if block_id == NIL else phase("prevote", block_id)
        self._say(PrevoteMessage(Vote(self.epoch, self.view, on, self.me)), out)

    def _precommit(self, block_id: BlockId, out: list[Effect]) -> None:
        self.step = PRECOMMIT
        self._say(PrecommitMessage(Vote(self.epoch, self.view, block_id, self.me)), out)

    # Messages

    def receive(self, sender: ValidatorId, message: Message, out: list[Effect]) -> None:
        if isinstance(message, (PrevoteMessage, PrecommitMessage)):
            height, number = message.vote.epoch, message.vote.view
        elif isinstance(message, Proposal):
            height, number = message.block.epoch, message.block.view
        elif isinstance(message, ReproposalMessage):
            height, number = message.block.epoch, message.round
        else:
            return
        if height != self.epoch:
            self._other_height(sender, height, message, out)
            return
        if number > self.view + ROUNDS_AHEAD:
            out.append(Rejected(sender, "round", "wrong_view"))
            return
        if isinstance(message, PrevoteMessage):
            self._count(sender, self._round(number).prevotes, message.vote, out, final=False)
        elif isinstance(message, PrecommitMessage):
            self._count(sender, self._round(number).precommits, message.vote, out, final=True)
        elif isinstance(message, Proposal):
            self._on_proposal(sender, message.block, out)
        else:
            self._on_reproposal(sender, message, out)
        if height == self.epoch:
            self._hear(sender, number, out)

    def _other_height(
        self, sender: ValidatorId, height: int, message: Message, out: list[Effect]
    ) -> None:
        """Keep what is of the next height; further ahead, somebody has what is missing here."""
        if height == self.epoch + 1:
            if len(self._early) < EARLY_PER_VALIDATOR * self.electorate.size:
                self._early.append((sender, message))
            if sum(1 for who, _ in self._early if who == sender) > 2:
                self.ask(sender, b"", out)
        elif height > self.epoch:
            self.ask(sender, b"", out)

    def _count(
        self, sender: ValidatorId, tally: Tally, vote: Vote, out: list[Effect], *, final: bool
    ) -> None:
        before = tally.certificate
        reason = tally.add(vote)
        if reason is not None:
            if reason != "duplicate":
                out.append(Rejected(sender, "vote", reason))
            return
        qc = tally.certificate
        if qc is not before and qc is not None and qc.block != NIL and final:
            out.append(Certified(qc, self.electorate.quorum))
        # Between quorums a vote changes nothing; each review costs a look at all rules.
        if tally.voters >= self.electorate.quorum:
            self._review(vote.view, out)

    def _on_proposal(self, sender: ValidatorId, block: Block, out: list[Effect]) -> None:
        reason = None
        if block.proposer != self.proposer(block.epoch, block.view):
            reason = "not_the_leader"
        elif block.height != self.epoch or block.parent != self.final.id:
            reason = "wrong_height"
        elif block.justify.block != block.parent:
            reason = "certificate_not_of_its_parent"
        else:
            reason = check_certificate(block.justify, self.electorate.table(block.height - 1))
        if reason is None:
            reason = self._keep(block)
        if reason is not None:
            out.append(Rejected(sender, "proposal", reason))
            return
        found = self._round(block.view)
        if found.block is None:
            found.block = block
            self._review(block.view, out)

    def _on_reproposal(
        self, sender: ValidatorId, message: ReproposalMessage, out: list[Effect]
    ) -> None:
        block, number, polka = message.block, message.round, message.polka
        declared = message.declaration
        reason = None
        if declared.signer != self.proposer(block.epoch, number):
            reason = "not_the_leader"
        elif declared.said != message.content():
            reason = "invalid_signature"
        elif block.height != self.epoch or block.parent != self.final.id:
            reason = "wrong_height"
        elif not 0 < polka.view < number or polka.block != phase("prevote", block.id):
            reason = "certificate_of_another_block"
        else:
            reason = check_certificate(polka, self.electorate.table(self.epoch))
            reason = reason or self._keep(block)
        if reason is not None:
            out.append(Rejected(sender, "proposal", reason))
            return
        found = self._round(number)
        if found.block is None:
            found.block, found.polka_round = block, polka.view
            earlier = self._round(polka.view)
            if earlier.block is None:
                earlier.block = block
            if polka.view > self.valid[0]:
                self.valid = (polka.view, block, polka)
            self._review(number, out)

    def _keep(self, block: Block) -> str | None:
        return None if block.id in self.blocks else self.insert(block)

    def _hear(self, sender: ValidatorId, number: int, out: list[Effect]) -> None:
        """Follow f + 1 validators to a later round: line 55."""
        if number <= self.view:
            return
        heard = self._round(number).heard
        heard[sender] = None
        if len(heard) > self.electorate.faults:
            self._start_round(number, "sync", out)

    # Rules

    def _review(self, number: int, out: list[Effect]) -> None:
        """Apply every rule that what is known of a round calls for."""
        found = self._round(number)
        decision = found.precommits.certificate
        if decision is not None and decision.block != NIL:
            block = self.blocks.get(decision.block)
            if block is None:
                self._ask_for(decision, out)
            elif self._decide(block, decision, out):
                return
        if number != self.view:
            return
        polka = found.prevotes.certificate
        if self.step == PROPOSE and found.block is not None:
            self._answer_proposal(found, found.block, out)
        if polka is not None:
            self._on_polka(found, polka, out)
        if self.step == PREVOTE and found.prevotes.voters >= self.electorate.quorum:
            self._arm("prevote", out)
        if found.precommits.voters >= self.electorate.quorum:
            self._arm("precommit", out)

    def _ask_for(self, decision: QC, out: list[Effect]) -> None:
        """Fetch a decided block from one of those who precommitted it."""
        for signer in range(self.electorate.size):
            if decision.signers >> signer & 1 and signer != self.me:
                self.ask(signer, decision.block, out)
                return

    def _answer_proposal(self, found: Round, block: Block, out: list[Effect]) -> None:
        """Prevote for the proposal unless the lock is against it: lines 22 to 33."""
        locked_round, locked = self.locked
        if found.polka_round == 0:
            free = locked_round == 0 or locked == block.id
        else:
            free = locked_round <= found.polka_round or locked == block.id
        if not free:
            out.append(NoVote(self.epoch, self.view, block.id, "against_the_lock"))
        self._prevote(block.id if free else NIL, out)

    def _on_polka(self, found: Round, polka: QC, out: list[Effect]) -> None:
        """Lock and precommit what has a quorum of prevotes: lines 36 to 46."""
        if polka.block == NIL:
            if self.step == PREVOTE:
                self._precommit(NIL, out)
            return
        block = found.block
        if block is None or phase("prevote", block.id) != polka.block or self.step < PREVOTE:
            return
        if self.view > self.valid[0]:
            self.valid = (self.view, block, polka)
        if self.step == PREVOTE:
            self.locked = (self.view, block.id)
            self._precommit(block.id, out)

    def _decide(self, block: Block, decision: QC, out: list[Effect]) -> bool:
        """Commit and begin the next height: lines 49 to 54."""
        if block.height != self.epoch:
            return False
        self.decided = {block.id: decision}
        if not self.commit(block, out):
            return True
        self._next_height(out)
        return True

    def _next_height(self, out: list[Effect]) -> None:
        self.locked = (0, NIL)
        self.valid = (0, None, None)
        self._rounds = {}
        self._began_ns = self.now_ns
        self._restate(1)
        early, self._early = self._early, []
        self._start_round(1, "certificate", out)
        for sender, message in early:
            self.receive(sender, message, out)

    def take_synced(
        self, blocks: tuple[Block, ...], proof: QC | None, out: list[Effect]
    ) -> str | None:
        """Decide blocks by the precommits that the next one, or the answer, holds."""
        for place, block in enumerate(blocks):
            if block.height < self.epoch:
                continue
            last = place + 1 == len(blocks)
            decision = proof if last else blocks[place + 1].justify
            if decision is None or decision.block != block.id:
                return "uncertified"
            if check_certificate(decision, self.electorate.table(block.height)) is not None:
                return "below_quorum"
            reason = self._keep(block)
            if reason is not None:
                return reason
            self._decide(block, decision, out)
            if self.halted:
                return None
        return None
