"""Attach attacks to the validators they own, for the time they last.

Owns the place of an attack between the driver and a core: it sees what the core is told, edits
what the core asks for, and is woken by its own alarms. Must not know what an attack is up to.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple

from sim.engine.node import Core
from sim.protocol.chain import Chain
from sim.protocol.events import Event, Restarted
from sim.protocol.validator import Validator
from sim.world.adversary import Alarm, Attack, Edited, Later, place
from sim.world.adversary.when import Trigger
from sim.world.faults.rollout import Course


class Engagement(NamedTuple):
    """One attack (its `place` in the scenario) and when it is on.

    start_ns <= now < end_ns, of a version only with members that run it, and then wherever
    `trigger` says so; None: always.
    """

    place: int
    attack: Attack
    start_ns: int
    end_ns: int
    trigger: Trigger | None = None
    version: Course | None = None
    """The rollout whose version it is."""

    @property
    def late(self) -> bool:
        """Whether its members are honest until more happens than that it begins."""
        return self.attack.corrupts or self.version is not None

    def on(self, me: int, now_ns: int) -> bool:
        """Say whether it is on for member `me`, triggers apart."""
        if not self.start_ns <= now_ns < self.end_ns:
            return False
        return self.version is None or me in self.version.running


class Wake(NamedTuple):
    """The token of an alarm: the engagement that asked for it, by rank, and its own token."""

    rank: int
    token: Any


class Mind:
    """A core in the hands of attacks, which are applied in the scenario's order.

    It stands in the core's place: `handle` returns what leaves the validator.
    """

    def __init__(self, core: Validator, engagements: tuple[Engagement, ...]) -> None:
        self.core = core
        self.host: Core = core
        """What runs the core: itself, or the struck computer under it."""
        self._me = core.me
        self._engagements = engagements
        self._begun = [False] * len(engagements)

    @property
    def chain(self) -> Chain:
        return self.core.chain

    def handle(self, event: Event, now_ns: int) -> list[Any]:
        """Show `event` to the attacks that are on, then, unless one keeps it, to the core."""
        if isinstance(event, Restarted):
            self._begun = [False] * len(self._begun)
        begun = self._begin(now_ns)
        for rank, engaged in enumerate(self._engagements):
            if self._on(engaged, now_ns, None):
                taken = engaged.attack.see(self._me, event, now_ns)
                if taken is not None:
                    return begun + _addressed(taken, rank)
        return begun + self.edit(list(self.host.handle(event, now_ns)), now_ns)

    def edit(self, effects: list[Edited], now_ns: int) -> list[Edited]:
        """Pass `effects` through all attacks that are on; what one holds back the next edits."""
        for rank, engaged in enumerate(self._engagements):
            if engaged.on(self._me, now_ns):
                effects = self._edited(effects, rank, now_ns)
        return effects

    def _edited(self, effects: list[Edited], rank: int, now_ns: int) -> list[Edited]:
        engaged = self._engagements[rank]

        def kind(effect: Edited) -> tuple[bool, int | None]:
            delay_ns = effect.delay_ns if isinstance(effect, Later) else None
            return self._on(engaged, now_ns, effect), delay_ns

        out: list[Edited] = []
        for (acts, delay_ns), run in groupby(effects, kind):
            part: list[Edited] = [e.effect if isinstance(e, Later) else e for e in run]
            if acts:
                part = _addressed(engaged.attack.edit(self._me, part, now_ns), rank)
            out += part if delay_ns is None else _held_back(part, delay_ns)
        return out

    def woken(self, alarm: Wake | None, now_ns: int) -> list[Edited]:
        """Return what an alarm, or (None) the start of an attack, leads to."""
        begun = self._begin(now_ns)
        if alarm is None:
            return begun
        engaged = self._engagements[alarm.rank]
        if not engaged.on(self._me, now_ns):
            return begun
        return begun + _addressed(engaged.attack.woken(self._me, alarm.token, now_ns), alarm.rank)

    def _begin(self, now_ns: int) -> list[Edited]:
        out: list[Edited] = []
        for rank, engaged in enumerate(self._engagements):
            if not self._begun[rank] and engaged.on(self._me, now_ns):
                self._begun[rank] = True
                out += _addressed(engaged.attack.begin(self._me, now_ns), rank)
        return out

    def _on(self, engaged: Engagement, now_ns: int, effect: Edited | None) -> bool:
        if not engaged.on(self._me, now_ns):
            return False
        if engaged.trigger is None:
            return True
        core = self.core
        effect = effect.effect if isinstance(effect, Later) else effect
        epoch, view = (core.epoch, core.view) if effect is None else place(effect, core)
        return engaged.trigger(core, epoch, view)


def _held_back(effects: list[Edited], delay_ns: int) -> list[Edited]:
    """Hold effects back, those that are held back already for so much longer."""
    return [
        Later(effect.effect, effect.delay_ns + delay_ns)
        if isinstance(effect, Later)
        else Later(effect, delay_ns)  # type: ignore[arg-type]
        for effect in effects
    ]


def _addressed(effects: list[Edited], rank: int) -> list[Edited]:
    """Note on alarms whose they are."""
    return [
        Alarm(Wake(rank, effect.token), effect.delay_ns)
        if isinstance(effect, Alarm) and not isinstance(effect.token, Wake)
        else effect
        for effect in effects
    ]
