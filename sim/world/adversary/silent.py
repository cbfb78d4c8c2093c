"""Silent: the validator receives and never answers, as a crash that nobody can see."""

from __future__ import annotations

from typing import ClassVar

from sim.protocol.effects import RequestBlocks
from sim.world.adversary import Attack, Edited, message_of


class Silent(Attack):
    """Send nothing at all: no votes, proposals, timeouts, answers.

    Up to 1 - q of the weight it costs the views that it would lead; above, the chain halts. It
    never touches safety, and nobody can prove it: absence costs reputation and uptime only.
    """

    kind: ClassVar[str] = "silent"

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        return quieted(effects)


def quieted(effects: list[Edited]) -> list[Edited]:
    """Return the effects that nobody else can notice."""
    return [
        effect
        for effect in effects
        if message_of(effect) is None and not isinstance(effect, RequestBlocks)
    ]
