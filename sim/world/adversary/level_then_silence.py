"""Level then silence: provoke a high quorum by proven offences, then leave it short of votes."""

from __future__ import annotations

from typing import ClassVar

from sim.world.adversary import Attack, Edited, Scene
from sim.world.adversary.double_vote import DoubleVote
from sim.world.adversary.silent import quieted


class LevelThenSilence(Attack):
    """The first `provokers` members vote twice until `level` is in force; the rest then go silent.

    Safety is bought with liveness: at 82 % the chain halts when more than 18 % are silent, where at
    67 % it would have stood 33 %. A halted chain commits no step down, so the level never falls.
    The liveness guard sees proven and missed weight of the past only: it stops the attack when the
    provokers alone use up 1 - q - margin, and cannot when few provokers suffice, for the silence
    comes after the level. The price is the provokers' stake and membership.
    """

    kind: ClassVar[str] = "level_then_silence"

    def __init__(self, key: int, provokers: int, level: int) -> None:
        self._double_vote = DoubleVote(key)
        self._provokers = provokers
        self._level = level
        self.silent = False

    def join(self, scene: Scene) -> None:
        super().join(scene)
        self._double_vote.join(scene)

    def edit(self, me: int, effects: list[Edited], now_ns: int) -> list[Edited]:
        if self.scene.cores[me].chain.epoch.level >= self._level:
            self.silent = True
        if me in self.scene.members[: self._provokers]:
            return effects if self.silent else self._double_vote.edit(me, effects, now_ns)
        return quieted(effects) if self.silent else effects
