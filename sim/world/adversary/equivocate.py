"""Equivocate: as leader, propose two blocks in one view, each to a part of the validators."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from sim.protocol.effects import Broadcast, Send
from sim.protocol.messages import Proposal
from sim.protocol.types import Block
from sim.world.adversary import Edited
from sim.world.adversary.double_vote import strikes
from sim.world.network.dissemination import star_order


class Equivocate:
    """Send a stripped twin of the block to a keyed part of the others; to friends both.

    Halves are certified by nobody and seen together by nobody: the view is lost, and nobody can
    convict. With a smaller part misled the true block is certified, the misled fetch it and hold
    two signed proposals of one view.

    The twin lacks the payload, attendance and operations of the true one; a block that has none
    has no twin, and goes out unchanged. `validators`: how many identities there are to address.
    `probability_ppm`: share of the led views in which it does so.
    """

    kind: ClassVar[str] = "equivocate"

    def __init__(
        self,
        key: int,
        probability_ppm: int,
        twin_share_ppm: int,
        members: tuple[int, ...],
        validators: int,
    ) -> None:
        self._key = key
        self._twin_share_ppm = twin_share_ppm
        self._probability_ppm = probability_ppm
        self._members = members
        self._validators = validators

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        out: list[Edited] = []
        for effect in effects:
            if isinstance(effect, Broadcast) and isinstance(effect.message, Proposal):
                out.extend(self._split(me, effect))
            else:
                out.append(effect)
        return out

    def _split(self, me: int, broadcast: Broadcast) -> list[Edited]:
        proposal = broadcast.message
        assert isinstance(proposal, Proposal)
        block = proposal.block
        twin = _strip(block)
        if twin.id == block.id or not strikes(
            self._key, block.epoch, block.view, self._probability_ppm
        ):
            return [broadcast]
        sides = (proposal, Proposal(twin))
        friends = [member for member in self._members if member != me]
        out: list[Edited] = [Send(to, side) for to in friends for side in sides]
        others = [to for to in range(self._validators) if to not in (me, *friends)]
        misled = len(others) * self._twin_share_ppm // 1_000_000
        for place, to in enumerate(star_order(others, self._key, block.view)):
            out.append(Send(to, sides[place < misled]))
        return out


def _strip(block: Block) -> Block:
    return replace(block, payload=(), attendance=(), operations=(), signature=b"")
