"""Delay proposals: lead as late as the others' timers allow, to slow the chain unpunished."""

from __future__ import annotations

from typing import ClassVar

from sim.protocol.effects import Broadcast
from sim.protocol.messages import Proposal
from sim.world.adversary import Edited, Later


class DelayProposals:
    """Hold each own proposal back for `delay_ns`; nothing signed is wrong, so nothing convicts."""

    kind: ClassVar[str] = "delay_proposals"

    def __init__(self, delay_ns: int) -> None:
        self._delay_ns = delay_ns

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        return [
            Later(effect, self._delay_ns)
            if isinstance(effect, Broadcast) and isinstance(effect.message, Proposal)
            else effect
            for effect in effects
        ]
