"""Equivocate: as leader, propose two blocks in one view, each to half of the validators."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from sim.protocol.effects import Broadcast, Send
from sim.protocol.messages import Proposal
from sim.protocol.types import Block
from sim.world.adversary import Edited
from sim.world.adversary.double_vote import strikes
from sim.world.chance import mix


class Equivocate:
    """Send the true block to one keyed half and a stripped twin to the other; to friends both.

    The twin lacks the payload, attendance and operations of the true one; a block that has none
    has no twin, and goes out unchanged. `validators`: how many identities there are to address.
    `probability_ppm`: share of the led views in which it does so.
    """

    kind: ClassVar[str] = "equivocate"

    def __init__(
        self, key: int, probability_ppm: int, members: tuple[int, ...], validators: int
    ) -> None:
        self._key = key
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
        out: list[Edited] = []
        for to in range(self._validators):
            if to == me:
                continue
            if to in self._members:
                out.extend(Send(to, side) for side in sides)
            else:
                out.append(Send(to, sides[mix(self._key, to, block.view) & 1]))
        return out


def _strip(block: Block) -> Block:
    return replace(block, payload=(), attendance=(), operations=(), signature=b"")
