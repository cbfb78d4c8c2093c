"""The phase diagram: Byzantine share by quorum level, whether safety breaks and whether it halts.

Owns: the two strategies that meet the limits exactly, the cells of the diagram, and what theory
says of each. Safety: twins, two copies of each Byzantine identity on the two sides of a cut, which
is partition, equivocation and double voting at once. Halting: silence. Theory is stated twice: as
the lines 2q - 1 and 1 - q, and as the exact count of votes that ceil(q W) asks for.
Must not know: how a diagram is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias

import polars as pl

from sim.engine.build import build
from sim.engine.run import rare_collections
from sim.engine.world import World
from sim.monitor.binomial import interval_ppm
from sim.protocol.adaptive_quorum import LEVELS, quorum_weight
from sim.protocol.types import WEIGHT_UNIT
from sim.record.recorder import NullRecorder
from sim.scenario.adversaries import Silent, Twins
from sim.scenario.attacks import Attack
from sim.scenario.checks import Safety
from sim.scenario.fields import Placement
from sim.scenario.model import Consensus, Network, Quorum, Scenario, Validators
from sim.scenario.selection import Random

Outcome: TypeAlias = Literal["safety_violated", "halted"]

SECOND_NS = 1_000_000_000
LOOK_NS = SECOND_NS // 2
"""Simulated time between two looks at whether it has happened."""
DURATION_NS = 30 * SECOND_NS
"""Time given to a run: 120 lost views of `TIMER_NS` and a block interval. A side that can decide
does so once three leaders in a row are its own, which at two thirds of the leaders is missed in so
many views with a chance below 1e-9."""
TIMER_NS = 200_000_000
BLOCK_NS = 50_000_000
WHOLE_RUN = 1_000_000
"""Blocks an epoch: the run stays in one, at one level."""


class Theory(NamedTuple):
    """What is expected of a cell.

    `happens`: by the exact count of votes. `by_line`: by the share alone. `near`: within one
    validator's weight of the line, where the two may differ.
    """

    happens: bool
    by_line: bool
    near: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: so many of `runs` had the outcome."""

    outcome: Outcome
    level: int
    validators: int
    byzantine: int
    runs: int
    hits: int

    @property
    def theory(self) -> Theory:
        return theory(self.outcome, self.validators, self.byzantine, self.level)

    @property
    def interval_ppm(self) -> tuple[int, int]:
        """The exact binomial interval of the probability, at 95 % confidence."""
        return interval_ppm(self.hits, self.runs)

    @property
    def agrees(self) -> bool:
        """Whether every run came out as the count of votes says."""
        return self.hits == (self.runs if self.theory.happens else 0)


class Unit(NamedTuple):
    """One run to make. It can be pickled."""

    outcome: Outcome
    level: int
    validators: int
    byzantine: int
    replicate: int
    seed: int


def theory(outcome: Outcome, validators: int, byzantine: int, level: int) -> Theory:
    """Say what must happen with `byzantine` of `validators` equal weights.

    Safety breaks iff the smaller of two sides, with all the Byzantine copies, has a quorum, and
    somebody honest is on either side. The chain halts iff those who speak have none.
    """
    weight = WEIGHT_UNIT // validators
    quorum = quorum_weight(weight * validators, level)
    honest = validators - byzantine
    share, limit = Fraction(byzantine, validators), line(outcome, level)
    near = abs(share - limit) < Fraction(1, validators)
    if outcome == "halted":
        return Theory(honest * weight < quorum, share > limit, near)
    side = honest // 2
    happens = side > 0 and (byzantine + side) * weight >= quorum
    return Theory(happens, share >= limit, near)


def line(outcome: Outcome, level: int) -> Fraction:
    """Return the limit as a share of the weight: 2q - 1 for safety, 1 - q for halting."""
    q = Fraction(*LEVELS[level])
    return 2 * q - 1 if outcome == "safety_violated" else 1 - q


def phase_diagram(
    outcome: Outcome,
    validators: int,
    *,
    levels: Sequence[int] = (0, 1, 2),
    byzantine: Iterable[int] | None = None,
    runs: int = 1,
    seed: int = 1,
    executor: Executor | None = None,
) -> tuple[Cell, ...]:
    """Simulate every cell `runs` times, by level, then by count.

    `byzantine`: the counts; None means all that leave two honest validators, for one alone cannot
    disagree. Who is Byzantine, the sides, leaders and delays are drawn anew in each run. With an
    `executor` the runs are spread over its workers; the cells are the same. Raises ValueError for
    fewer than four validators or for counts beyond.
    """
    counts = tuple(range(validators - 1)) if byzantine is None else tuple(byzantine)
    if validators < 4 or not all(0 <= count <= validators - 2 for count in counts):
        raise ValueError(f"{validators} validators, Byzantine counts {counts}: need two honest")
    places = [(level, count) for level in levels for count in counts]
    units = [
        Unit(outcome, level, validators, count, replicate, seed)
        for level, count in places
        for replicate in range(runs)
    ]
    found = list(map(happened, units) if executor is None else executor.map(happened, units))
    return tuple(
        Cell(outcome, level, validators, count, runs, sum(found[i * runs : (i + 1) * runs]))
        for i, (level, count) in enumerate(places)
    )


def happened(unit: Unit) -> bool:
    """Simulate one run and say whether it had the outcome; ends as soon as that is settled."""
    world = build(scenario(unit), unit.replicate, NullRecorder())
    breaks = unit.outcome == "safety_violated"
    with rare_collections():
        world.start()
        for now_ns in range(LOOK_NS, DURATION_NS + 1, LOOK_NS):
            world.advance(now_ns)
            if breaks and _disagree(world):
                return True
            if not breaks and world.observer.blocks_committed:
                return False
    return not breaks


def _disagree(world: World) -> bool:
    return any(m.violation is not None for m in world.watch.monitors if m.name == "agreement")


def scenario(unit: Unit) -> Scenario:
    """Return the scenario of a run: one epoch, equal weights, a level that stays."""
    nodes = Random(random=max(1, unit.byzantine))
    attack: Attack = Twins(kind="twins", nodes=nodes)
    if unit.outcome == "halted":
        attack = Silent(kind="silent", nodes=nodes)
    return Scenario(
        schema_version="creto-sim/1",
        name="phase",
        title="A cell of the phase diagram",
        question="Does it break?",
        seed=unit.seed,
        duration_ns=DURATION_NS,
        network=Network(bandwidth_bits_per_s=10**9),
        validators=Validators(
            count=unit.validators, placement=Placement(("aws:us-gov-west-1",)), candidates=None
        ),
        consensus=Consensus(
            timer_base_ns=TIMER_NS,
            timer_backoff_ppm=1_000_000,
            min_block_interval_ns=BLOCK_NS,
            epoch_blocks=WHOLE_RUN,
        ),
        quorum=Quorum(initial_level=unit.level),
        adversaries=(attack,) if unit.byzantine else (),
        expect=(Safety(safety="held"),),
    )


def frame(cells: Sequence[Cell]) -> pl.DataFrame:
    """Return a row a cell: counts, the probability with its interval and the lines, in ppm."""
    rows = []
    for cell in cells:
        low, high = cell.interval_ppm
        expected = cell.theory
        rows.append(
            {
                "outcome": cell.outcome,
                "level": cell.level,
                "validators": cell.validators,
                "byzantine": cell.byzantine,
                "share_ppm": cell.byzantine * 1_000_000 // cell.validators,
                "line_ppm": int(line(cell.outcome, cell.level) * 1_000_000),
                "runs": cell.runs,
                "hits": cell.hits,
                "probability_ppm": cell.hits * 1_000_000 // cell.runs,
                "low_ppm": low,
                "high_ppm": high,
                "expected": int(expected.happens),
                "expected_by_line": int(expected.by_line),
                "near_line": int(expected.near),
            }
        )
    return pl.DataFrame(rows)
