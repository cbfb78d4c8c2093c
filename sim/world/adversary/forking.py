"""Forking: lead HotStuff from the lock, so that the blocks above it are overwritten."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, cast

from sim.protocol.baselines.hotstuff import HotStuff
from sim.protocol.types import Block
from sim.world.adversary import Attack, Edited, rebuilt


class Forking(Attack):
    """Propose on the locked block, with its certificate, instead of on the highest certified one.

    Honest replicas vote for it, for it extends their lock: nothing that is signed breaks a rule,
    and nobody can prove it. In chained HotStuff the two blocks above the lock are lost each time,
    so with a share a of the leaders a chain keeps (1 - a)**2 of its blocks. Safety is not touched.

    Source: Gai et al., "Dissecting the Performance of Chained-BFT", arXiv:2103.00777.
    """

    kind: ClassVar[str] = "forking"

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        # Scenarios are refused where the validators run anything else.
        core = cast("HotStuff", self.scene.cores[me])

        def overwriting(block: Block) -> Block:
            lock = core.locked_qc
            locked = core.blocks.get(lock.block)
            if locked is None or locked.height + 1 >= block.height:
                return block
            return replace(block, parent=locked.id, height=locked.height + 1, justify=lock)

        return rebuilt(effects, me, overwriting)
