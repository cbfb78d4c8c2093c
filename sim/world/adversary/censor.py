"""Censor: leave chosen gateways' transactions or chosen validators' operations out of blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from sim.protocol.types import Block
from sim.world.adversary import Attack, Edited, own_vote, rebuilt


class Censor(Attack):
    """Propose without the victims' payload and operations; refuse votes for them, if asked to.

    By leading alone it delays a victim until the next honest leader: a censor of share b of the
    views holds an operation up for 1 / (1 - b) views on average, and nothing convicts it. With
    `refuse_votes`, members cast no vote for a block that serves a victim: once they weigh more
    than 1 - q such a block is never certified, so the victim is shut out while blocks without it
    pass, at the price of every view in which an honest leader includes it.
    """

    kind: ClassVar[str] = "censor"

    def __init__(
        self, gateways: tuple[int, ...], validators: tuple[int, ...], refuse_votes: bool
    ) -> None:
        self._gateways = frozenset(gateways)
        self._validators = frozenset(validators)
        self._refuse_votes = refuse_votes

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        effects = rebuilt(effects, me, self._censored)
        if self._refuse_votes:
            effects = [effect for effect in effects if not self._serves(me, effect)]
        return effects

    def _censored(self, block: Block) -> Block:
        payload = tuple(r for r in block.payload if r.gateway not in self._gateways)
        operations = tuple(o for o in block.operations if o.validator not in self._validators)
        if len(payload) == len(block.payload) and len(operations) == len(block.operations):
            return block
        return replace(block, payload=payload, operations=operations, signature=b"")

    def _serves(self, me: int, effect: Edited) -> bool:
        vote = own_vote(effect, me)
        block = None if vote is None else self.scene.cores[me].chain.tree.get(vote.block)
        return block is not None and self._censored(block) is not block
