"""Stake grinding: try block contents until the beacon makes friends the leaders to come."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from sim.protocol.pacemaker import leader
from sim.protocol.types import Block, EpochParameters, Operation
from sim.world.adversary import Attack, Edited, rebuilt
from sim.world.chance import mix

_FAR_NONCE = 1 << 32
"""No validator makes so many operations: one with this nonce has no effect but on the id."""


class StakeGrinding(Attack):
    """As leader of an epoch's last block, choose its id among `tries` for the next epoch's leaders.

    The beacon is the id of that block, and an operation without effect, signed by the member
    itself, makes as many ids as are wanted. Each try is scored by the views that members would
    lead in the next epoch, the one that closes it counting as all the others together: who leads
    that one grinds again. Gains the best of `tries` draws instead of one; costs an operation in a
    block, and convicts nobody. Rotation by turns leaves it the offset to choose, weighted draws
    every view.
    """

    kind: ClassVar[str] = "stake_grinding"

    def __init__(self, key: int, tries: int) -> None:
        self._key = key
        self._tries = tries

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        return rebuilt(effects, me, lambda block: self._ground(me, block))

    def _ground(self, me: int, block: Block) -> Block:
        core = self.scene.cores[me]
        ledger, length = core.ledger, core.ledger.parameters.epoch_blocks
        state = ledger.state(block.parent)
        room = len(block.operations) < core.parameters.max_block_operations
        if state.epoch != block.epoch or state.blocks != length - 1 or not room:
            return block
        ledger.apply(block)
        following = ledger.next_epoch(block).parameters
        best, chosen = self._score(following, block.id, core.parameters.leader), block
        for attempt in range(self._tries):
            nonce = _FAR_NONCE + mix(self._key, block.view, attempt) % _FAR_NONCE
            idle = Operation("unjail", me, 0, nonce)
            tried = replace(block, operations=(*block.operations, idle), signature=b"")
            score = self._score(following, tried.id, core.parameters.leader)
            if score > best:
                best, chosen = score, tried
        if chosen is block:
            return block
        signed = self.scene.sign_operation(chosen.operations[-1])
        return replace(chosen, operations=(*block.operations, signed))

    def _score(self, epoch: EpochParameters, beacon: bytes, kind: str) -> int:
        """Count the views that members lead if all goes well, the closing one as all others."""
        trial = replace(epoch, root=beacon, beacon=beacon, memo={})
        length = next(iter(self.scene.cores.values())).ledger.parameters.epoch_blocks
        led = [self.scene.owns(leader(trial, view, kind)) for view in range(1, length + 1)]
        return sum(led) + length * led[-1]
