"""Silent: the validator receives and never answers, as a crash that nobody can see."""

from __future__ import annotations

from typing import ClassVar

from sim.protocol.effects import Broadcast, Send
from sim.world.adversary import Edited


class Silent:
    """Send nothing at all. Costs liveness once silent weight exceeds 1 - q; never safety."""

    kind: ClassVar[str] = "silent"

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        return [effect for effect in effects if not isinstance(effect, Send | Broadcast)]
