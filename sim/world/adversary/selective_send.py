"""Selective send: reach only a part of the others, another part each view."""

from __future__ import annotations

from typing import ClassVar

from sim.protocol.effects import Broadcast, RequestBlocks, Send
from sim.world.adversary import Attack, Edited, place, spread
from sim.world.network.dissemination import star_order


class SelectiveSend(Attack):
    """Send everything to a keyed share of the others only; members always hear one another.

    All that a member says in one view reaches the same others. A leader that reaches less than a
    quorum loses its view; one that reaches just a quorum makes the rest sync, and has no room for a
    slow voter. Nothing convicts it; safety is never touched.
    """

    kind: ClassVar[str] = "selective_send"

    def __init__(self, key: int, reach_ppm: int) -> None:
        self._key = key
        self._reach_ppm = reach_ppm

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        core, out = self.scene.cores[me], list[Edited]()
        for effect in effects:
            if isinstance(effect, Broadcast):
                out += spread(effect, self._reached(me, *place(effect, core)))
            elif isinstance(effect, Send):
                if effect.to == me or effect.to in self._reached(me, *place(effect, core)):
                    out.append(effect)
            elif not isinstance(effect, RequestBlocks) or effect.peer in self._reached(
                me, core.epoch, core.view
            ):
                out.append(effect)
        return out

    def _reached(self, me: int, epoch: int, view: int) -> list[int]:
        others = star_order(self.scene.others(), self._key, epoch << 32 | view)
        reached = others[: len(others) * self._reach_ppm // 1_000_000]
        return [member for member in self.scene.members if member != me] + reached
