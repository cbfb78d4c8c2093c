"""Rollout: validators are restarted into a new version, all at once, in waves, or a few first.

Each is down for `downtime` and comes back with what it had persisted; an identity never runs twice,
so a blue-green switch is one wave with a short downtime. A bad version is slow, does not come up,
or is an adversary's. Once it is called off, at a stated time or for what is observed, the rollout
stops and whoever has the new version goes back. Shows in: commits of the restarted validators,
longest gap between commits, and how many validators the new version reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from sim.world.faults import Fault, Target


@dataclass(frozen=True, slots=True)
class Rollout(Fault):
    """Restart one wave of a rollout."""

    kind: ClassVar[str] = "rollout"
    nodes: tuple[int, ...]

    @property
    def target(self) -> str:
        return "restart"

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.crash(node)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.restart(node, amnesia=False)


@dataclass(frozen=True, slots=True)
class BadVersion(Fault):
    """Slow the workers of one wave while it runs a bad version; at 10**6 ppm it is as fast."""

    kind: ClassVar[str] = "rollout"
    nodes: tuple[int, ...]
    factor_ppm: int

    @property
    def target(self) -> str:
        return "bad_version"

    def begin(self, target: Target) -> None:
        for node in self.nodes:
            target.slow(node, self.factor_ppm, on=True)

    def end(self, target: Target) -> None:
        for node in self.nodes:
            target.slow(node, self.factor_ppm, on=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a new version is rolled out.

    `first`: size of the first wave, after which there is a pause of `bake_ns`; `wave`, `pause_ns`:
    of the others. `factor_ppm`: how slow a bad version is; 0: it does not come up; None: it is as
    fast as the old one. `noticed_ns`: from the first restart's end to when it is called off; None:
    no time is stated.
    """

    downtime_ns: int
    first: int
    bake_ns: int
    wave: int
    pause_ns: int
    factor_ppm: int | None = None
    noticed_ns: int | None = None

    def ends_ns(self, nodes: int, at_ns: int) -> int:
        """Return when the last wave of a rollout to so many validators is up."""
        waves = -(-max(0, nodes - self.first) // self.wave)
        pauses = self.bake_ns + self.pause_ns * (waves - 1) if waves else 0
        return at_ns + self.downtime_ns * (waves + 1) + pauses


class Wave(NamedTuple):
    """Some validators that are restarted together; `at_ns`: they stop, `up_ns`: they start."""

    nodes: tuple[int, ...]
    at_ns: int
    up_ns: int


def waves(nodes: Sequence[int], at_ns: int, plan: Plan) -> list[Wave]:
    """Return the waves in order of time, validators in the order given, if nothing stops them."""
    found: list[Wave] = []
    size, pause = plan.first, plan.bake_ns
    while nodes:
        wave, nodes = tuple(nodes[:size]), nodes[size:]
        found.append(Wave(wave, at_ns, at_ns + plan.downtime_ns))
        at_ns += plan.downtime_ns + pause
        size, pause = plan.wave, plan.pause_ns
    return found


class Course:
    """How far one rollout has come: who has which version, and whether it was called off.

    Each step says what begins (True) and ends (False) at its instant, in order.
    """

    def __init__(self, nodes: Sequence[int], at_ns: int, plan: Plan) -> None:
        self.plan = plan
        self.waves = waves(nodes, at_ns, plan)
        self.called_off = False
        self.running: dict[int, None] = {}
        """Who runs the new version."""
        self.reached: dict[int, None] = {}
        """Who has had it, or was to come up with it."""
        self.stopped: list[Wave] = []
        """Waves that have been stopped for the new version."""
        self._new: list[Wave] = []
        self._dead: list[Wave] = []

    @property
    def noticed_ns(self) -> int | None:
        """When it is called off whatever is observed; None: never."""
        stated = self.plan.noticed_ns
        return None if stated is None or not self.waves else self.waves[0].up_ns + stated

    def stop(self, wave: Wave) -> list[tuple[Fault, bool]]:
        """A wave is due to stop."""
        if self.called_off:
            return []
        self.stopped.append(wave)
        return [(Rollout(wave.nodes), True)]

    def start(self, wave: Wave) -> list[tuple[Fault, bool]]:
        """A wave is due to start, if it was stopped: with the old version if it is called off."""
        if wave not in self.stopped:
            return []
        if self.called_off:
            return [(Rollout(wave.nodes), False)]
        self.reached.update(dict.fromkeys(wave.nodes))
        if self.plan.factor_ppm == 0:
            self._dead.append(wave)
            return []
        self._new.append(wave)
        self.running.update(dict.fromkeys(wave.nodes))
        steps: list[tuple[Fault, bool]] = [(Rollout(wave.nodes), False)]
        if self.plan.factor_ppm is not None:
            steps.append((BadVersion(wave.nodes, self.plan.factor_ppm), True))
        return steps

    def call_off(self) -> list[tuple[Fault, bool]]:
        """Stop it, and whoever runs the new version."""
        self.called_off = True
        self.running.clear()
        factor, slow = self.plan.factor_ppm, list[tuple[Fault, bool]]()
        if factor is not None:
            slow += [(BadVersion(wave.nodes, factor), False) for wave in self._new]
        return slow + [(Rollout(wave.nodes), True) for wave in self._new]

    def back(self) -> list[tuple[Fault, bool]]:
        """Whoever was stopped then, or never came up, starts with the old version."""
        return [(Rollout(wave.nodes), False) for wave in (*self._dead, *self._new)]
