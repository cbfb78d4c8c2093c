"""Evidence suppression: neither pass on nor propose what convicts a friend."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from sim.protocol.effects import Broadcast
from sim.protocol.messages import EvidenceMessage
from sim.protocol.types import Block
from sim.world.adversary import Attack, Edited, rebuilt


class EvidenceSuppression(Attack):
    """Keep evidence against the protected out of own blocks, and out of what is broadcast.

    A member that collects hides an offence that nobody else saw for good; what one honest
    validator holds is proposed by the next honest leader. So it delays punishment by the views
    that members lead, and prevents it only where all collectors and leaders are members. Unbonding
    stake can escape meanwhile: that is why unbonding takes epochs.
    """

    kind: ClassVar[str] = "evidence_suppression"

    def __init__(self, protected: tuple[int, ...]) -> None:
        self._protected = frozenset(protected)

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        kept = [effect for effect in effects if not self._tells(effect)]
        return rebuilt(kept, me, self._cleared)

    def _tells(self, effect: Edited) -> bool:
        if not isinstance(effect, Broadcast) or not isinstance(effect.message, EvidenceMessage):
            return False
        return effect.message.evidence.offender in self._protected

    def _cleared(self, block: Block) -> Block:
        kept = tuple(e for e in block.evidence if e.offender not in self._protected)
        if len(kept) == len(block.evidence):
            return block
        return replace(block, evidence=kept, signature=b"")
