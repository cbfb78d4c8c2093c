"""Equivocate: as leader, propose two blocks in one view, each to a part of the validators."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from sim.protocol.effects import Broadcast, Send
from sim.protocol.messages import Proposal
from sim.protocol.types import Block
from sim.world.adversary import Attack, Edited
from sim.world.network.dissemination import star_order


class Equivocate(Attack):
    """Send a stripped twin of the block to a keyed part of the others; to friends both.

    Halves are certified by nobody and seen together by nobody: the view is lost, and nobody can
    convict. With a smaller part misled the true block is certified, the misled fetch it and hold
    two signed proposals of one view.

    The twin lacks the payload, attendance and operations of the true one; a block that has none
    has no twin, and goes out unchanged.
    """

    kind: ClassVar[str] = "equivocate"

    def __init__(self, key: int, twin_share_ppm: int) -> None:
        self._key = key
        self._twin_share_ppm = twin_share_ppm

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        out: list[Edited] = []
        for effect in effects:
            if isinstance(effect, Broadcast) and isinstance(effect.message, Proposal):
                out.extend(self._split(me, effect, effect.message))
            else:
                out.append(effect)
        return out

    def _split(self, me: int, broadcast: Broadcast, proposal: Proposal) -> list[Edited]:
        block = proposal.block
        twin = _strip(block)
        if twin.id == block.id:
            return [broadcast]
        sides = (proposal, Proposal(twin))
        friends = [member for member in self.scene.members if member != me]
        out: list[Edited] = [Send(to, side) for to in friends for side in sides]
        others = self.scene.others()
        misled = len(others) * self._twin_share_ppm // 1_000_000
        for rank, to in enumerate(star_order(others, self._key, block.view)):
            out.append(Send(to, sides[rank < misled]))
        return out


def _strip(block: Block) -> Block:
    return replace(block, payload=(), attendance=(), operations=(), signature=b"")
