"""Invented history: answer who is behind with blocks that members alone have certified."""

from __future__ import annotations

from typing import ClassVar

from sim.protocol.chain import Chain
from sim.protocol.effects import Send
from sim.protocol.events import Event, MessageReceived
from sim.protocol.messages import BlocksRequest, BlocksResponse, VoteMessage
from sim.protocol.types import QC, Block, Vote
from sim.world.adversary import Attack, Edited

_BLOCKS = 3
"""A block, and two above it that would commit it."""


class InventedHistory(Attack):
    """Answer requests for blocks with an invented chain, signed by the members and by nobody else.

    It grows from a block that the asker holds, in views of its own, and each certificate carries
    the members' true votes: what it lacks is a quorum, so honest askers reject it
    (`below_quorum`) and ask somebody else once they hear of something again. It costs them the
    time of a question; members of a quorum's weight would own the chain anyway.
    """

    kind: ClassVar[str] = "invented_history"

    def see(self, me: int, event: Event, now_ns: int) -> list[Edited] | None:
        if not isinstance(event, MessageReceived) or self.scene.owns(event.sender):
            return None
        request = event.message
        chain = self.scene.cores[me].chain
        if not isinstance(request, BlocksRequest) or request.epoch != chain.epoch.epoch:
            return None
        answer = self._invented(me, chain, request.above_height)
        return None if answer is None else [Send(event.sender, answer)]

    def _invented(self, me: int, chain: Chain, height: int) -> BlocksResponse | None:
        """Build upon the final block of that height; None where this member has none."""
        tree, epoch = chain.tree, chain.epoch
        ground = tree.path(tree.final.id, height - 1, 1)
        if not ground or height < epoch.root_height:
            return None
        parent, justify = ground[0], QC(epoch.epoch, 0, epoch.root, 0)
        if parent.id != epoch.root:
            known = tree.certificate(parent.id)
            if known is None:
                return None
            justify = known
        blocks: list[Block] = []
        for _ in range(_BLOCKS):
            view, above = justify.view + 1, parent.height + 1
            parent = Block(epoch.epoch, view, above, me, parent.id, justify)
            justify = self._certified(parent)
            blocks.append(parent)
        return BlocksResponse(tuple(blocks), None, justify)

    def _certified(self, block: Block) -> QC:
        """Let every member vote for a block: a certificate in all but its weight."""
        signers, signatures = 0, []
        for member in self.scene.members:
            vote = Vote(block.epoch, block.view, block.id, member)
            signed = self.scene.sign(member, VoteMessage(vote))
            assert isinstance(signed, VoteMessage)
            signers |= 1 << member
            signatures.append(signed.vote.signature)
        return QC(block.epoch, block.view, block.id, signers, tuple(signatures))
