"""Attendance theft: as collector and leader, credit friends and rob the others of their votes."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from sim.protocol.effects import Send
from sim.protocol.events import Event, MessageReceived
from sim.protocol.messages import LateVotes, VoteMessage
from sim.protocol.multi_signature import bitmap_weight
from sim.protocol.types import Block, Vote
from sim.world.adversary import Attack, Edited, own_vote, rebuilt


class AttendanceTheft(Attack):
    """Hide the victims' votes where a certificate can do without them; credit the members' own.

    As collector a member never counts a victim's vote as long as the others make the quorum, and
    forwards no late vote of a victim; as leader it credits none, and credits every member's vote
    that it has seen. The victims' attendance falls by the share of blocks that members collect,
    and with it uptime, reputation and weight; what an honest collector has counted stays. Credit
    needs the vote's signature, so nobody is credited who did not vote. Nothing convicts.
    """

    kind: ClassVar[str] = "attendance_theft"

    def __init__(self, victims: tuple[int, ...]) -> None:
        self._victims = frozenset(victims)
        self._votes: dict[tuple[int, int, int], Vote] = {}

    def see(self, me: int, event: Event, now_ns: int) -> list[Edited] | None:
        if not isinstance(event, MessageReceived) or not event.verified:
            return None
        message = event.message
        if isinstance(message, VoteMessage) and message.vote.voter in self._victims:
            return [] if self._needless(me) else None
        if isinstance(message, LateVotes):
            spared = tuple(v for v in message.votes if v.voter not in self._victims)
            if len(spared) < len(message.votes):
                core = self.scene.cores[me]
                left = event._replace(message=LateVotes(spared))
                return self.edit(me, list(core.handle(left, now_ns)), now_ns) if spared else []
        return None

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        kept: list[Edited] = []
        for effect in effects:
            vote = own_vote(effect, me)
            if vote is not None:
                signed = self.scene.sign(me, VoteMessage(vote))
                assert isinstance(signed, VoteMessage)
                self._note(signed.vote)
            elif isinstance(effect, Send) and isinstance(effect.message, LateVotes):
                votes = tuple(v for v in effect.message.votes if v.voter not in self._victims)
                if not votes:
                    continue
                effect = Send(effect.to, LateVotes(votes))
            kept.append(effect)
        return rebuilt(kept, me, lambda block: self._credited(me, block))

    def _note(self, vote: Vote) -> None:
        self._votes[vote.epoch, vote.view, vote.voter] = vote
        while len(self._votes) > 16 * len(self.scene.members):
            del self._votes[next(iter(self._votes))]

    def _needless(self, me: int) -> bool:
        """Say whether a quorum can be had without any victim."""
        epoch = self.scene.cores[me].chain.epoch
        weights = epoch.weights.weights
        bitmap = sum(1 << i for i, w in enumerate(weights) if w and i not in self._victims)
        return bitmap_weight(bitmap, epoch.weights) >= epoch.quorum

    def _credited(self, me: int, block: Block) -> Block:
        """Leave the victims' late votes out and put the members' in, as far as they count."""
        core = self.scene.cores[me]
        state = core.ledger.state(block.parent)
        if state.epoch != block.epoch:
            return block
        votes = {v[:4]: v for v in block.attendance if v.voter not in self._victims}
        open_for = {credit.block: credit.voters for credit in state.tally.recent}
        open_for[block.parent] = block.justify.signers
        for vote in self._votes.values():
            if vote.block in open_for and not open_for[vote.block] >> vote.voter & 1:
                votes.setdefault(vote[:4], vote)
        limit = core.parameters.max_block_attendance
        attendance = tuple(votes[key] for key in sorted(votes))[:limit]
        if attendance == block.attendance:
            return block
        return replace(block, attendance=attendance, signature=b"")
