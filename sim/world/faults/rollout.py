"""Rollout: validators are restarted into a new version, all at once, in waves, or a few first.

Each is down for `downtime` and comes back with what it had persisted; an identity never runs twice,
so a blue-green switch is one wave with a short downtime. A bad version is slow, or does not come
up. Once it is noticed the rollout stops and whoever has it goes back. Shows in: commits of the
restarted validators, longest gap between commits, and how many validators a bad version reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sim.world.faults import Fault, Span, Target


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
    """Slow the workers of one wave while it runs a bad version."""

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
    of the others. `factor_ppm`: how slow a bad version is; 0: it does not come up; None: it is
    good.
    `noticed_ns`: from the first restart's end to when a bad version is noticed; None: never.
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


def waves(nodes: Sequence[int], at_ns: int, plan: Plan) -> list[tuple[Fault, Span]]:
    """Return every restart and every stretch of a bad version, in order of time.

    Validators are taken in the order given. A wave that is down when a bad version is noticed comes
    up with the old one; whoever runs the bad one is restarted then, all at once.
    """
    found: list[tuple[Fault, Span]] = []
    noticed = None
    if plan.factor_ppm is not None and plan.noticed_ns is not None:
        noticed = at_ns + plan.downtime_ns + plan.noticed_ns
    begin, size, pause = at_ns, plan.first, plan.bake_ns
    while nodes and (noticed is None or begin < noticed):
        wave, nodes = tuple(nodes[:size]), nodes[size:]
        found += _one(wave, Span(begin, begin + plan.downtime_ns), plan, noticed)
        begin += plan.downtime_ns + pause
        size, pause = plan.wave, plan.pause_ns
    return sorted(found, key=lambda step: step[1].at_ns)


def _one(
    wave: tuple[int, ...], down: Span, plan: Plan, noticed_ns: int | None
) -> list[tuple[Fault, Span]]:
    """Return what becomes of one wave."""
    up = down.at_ns + plan.downtime_ns
    restart = Rollout(wave)
    if plan.factor_ppm is None or (noticed_ns is not None and up >= noticed_ns):
        return [(restart, down)]
    back = None if noticed_ns is None else Span(noticed_ns, noticed_ns + plan.downtime_ns)
    if plan.factor_ppm == 0:
        return [(restart, Span(down.at_ns, None if back is None else back.until_ns))]
    bad = (BadVersion(wave, plan.factor_ppm), Span(up, noticed_ns))
    return [(restart, down), bad] + ([] if back is None else [(restart, back)])
