"""Run one scenario for its violations alone: no tables, no files.

Owns what counts as a failure of a random scenario. Below the limits any broken invariant does.
Where more weight may sign twice than two quorums have in common, conflicting commits may happen,
and whatever follows from them; all else must hold: enough of the guilty are convicted, nobody else.
Must not know how scenarios are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.engine.build import build
from sim.engine.world import World
from sim.monitor.base import Violation
from sim.monitor.progress import Liveness as LivenessMonitor
from sim.monitor.verdict import CONFLICT
from sim.protocol.adaptive_quorum import LEVELS
from sim.record.recorder import NullRecorder
from sim.scenario.checks import Safety
from sim.scenario.model import Scenario
from sim.scenario.validate import validate

INTERNAL_ERROR = "internal_error"
"""Stands for a monitor where the run ended in an exception: misbehaviour of others is data, so an
exception is a bug."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken invariant: the monitor, when (ns, simulated), and the proof as text."""

    monitor: str
    time_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a scenario came to.

    `breaches`: those that should not be, earliest first. `over`: so much weight may have signed
    twice that safety was not to be expected. `conflicts`: honest validators disagreed.
    """

    breaches: tuple[Breach, ...]
    over: bool
    conflicts: bool
    refused: str = ""
    """Why it is no scenario at all; nothing ran."""

    @property
    def monitors(self) -> tuple[str, ...]:
        return tuple(breach.monitor for breach in self.breaches)


def probe(plain: Mapping[str, Any]) -> Found:
    """Run a scenario given as plain YAML values, replicate 0, and say what broke.

    Who probes many should hold `sim.engine.run.rare_collections`: a look for garbage costs as much
    as a scenario.
    """
    scenario, findings = validate(plain)
    if scenario is None:
        path, message = findings[0]
        where = ".".join(str(step) for step in path)
        return Found((), over=False, conflicts=False, refused=f"{where}: {message}")
    try:
        world = build(scenario, 0, NullRecorder())
        world.start()
        world.advance(scenario.duration_ns)
        violations = world.close(scenario.duration_ns)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        breach = Breach(INTERNAL_ERROR, 0, text)
        return Found((breach,), over=False, conflicts=False)
    over = _asks_for_conflict(scenario) or may_disagree(world)
    conflicts = any(violation.monitor == "agreement" for violation in violations)
    excused = CONFLICT if over else frozenset[str]()
    if over and conflicts:
        # Who has seen two conflicting commits halts, or is busy returning to one branch.
        excused |= {LivenessMonitor.name}
    breaches = [_breach(v) for v in violations if v.monitor not in excused]
    return Found(tuple(breaches), over=over, conflicts=conflicts)


def _breach(violation: Violation) -> Breach:
    return Breach(violation.monitor, violation.time_ns, str(violation))


def _asks_for_conflict(scenario: Scenario) -> bool:
    return any(isinstance(c, Safety) and c.safety == "violated" for c in scenario.expect)


def may_disagree(world: World) -> bool:
    """Say whether, in some epoch, who may sign twice weighed 2q - 1 or more.

    Who may: validators that an adversary owned, and those that lost their memory. Genesis weights
    decide what a scenario may expect; reputation, uptime and slashing move them afterwards.
    """
    accountable = world.watch.accountable
    for parameters in world.observer.epochs():
        weights, level = parameters.weights, parameters.level
        numerator, denominator = LEVELS[level]
        held = sum(w for i, w in enumerate(weights.weights) if not accountable >> i & 1)
        if held * denominator >= (2 * numerator - denominator) * weights.total:
            return True
    return False
