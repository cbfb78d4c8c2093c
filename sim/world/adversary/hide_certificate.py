"""Hide a certificate: as leader after a timeout, build below what the timeouts know of."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from sim.protocol.types import Block
from sim.world.adversary import Attack, Edited, rebuilt


class HideCertificate(Attack):
    """Propose on the parent of the highest certificate's block, wherever a view follows a timeout.

    The proposal carries the true timeout certificate, and a justification that is older than the
    highest one in it: the block in between would be forked off though it may be committed already.
    The rule of voting is there for exactly this, so honest validators reject it
    (`justification_below_tc`), the view is lost, and who votes for it is convicted. A view that
    follows a certificate gives the attack nothing to do.
    """

    kind: ClassVar[str] = "hide_certificate"

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        return rebuilt(effects, me, lambda block: self._lowered(me, block))

    def _lowered(self, me: int, block: Block) -> Block:
        hidden = self.scene.cores[me].chain.tree.get(block.parent)
        if block.tc is None or hidden is None or hidden.epoch != block.epoch:
            return block
        older = hidden.justify
        if older.view >= block.tc.high_qc_view:
            return block
        return replace(
            block,
            height=hidden.height,
            parent=older.block,
            justify=older,
            payload=(),
            operations=(),
            attendance=(),
            evidence=(),
            signature=b"",
        )
