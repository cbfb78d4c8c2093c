"""Importance splitting: the chance that something which builds up in steps ever gets that far.

Owns: fixed-effort multilevel splitting over any process that can be copied, and the one process
that studies ask about: late or Byzantine weight, where validators fall behind and recover. Must not
know: SimPy. A whole simulated world cannot be copied half-way, so this is a model of its own,
whose rates come from runs or assumptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.study.statistics.intervals import F64, Interval, checked, mean_interval
from sim.world.chance import Chance

States = NDArray[Any]
"""One row a path; what a row holds is the process's own matter."""

_GOES_ON = 0.2
"""Share of the paths that reach the next level: near the optimum of 0.2032 (Rubino and Tuffin,
"Rare Event Simulation using Monte Carlo Methods", 2009, section 3.3)."""
_MOST_LEVELS = 200


class Process(Protocol):
    """A Markov chain on rows that can be copied."""

    def start(self, paths: int, random: np.random.Generator) -> States:
        """Return the states of `paths` paths at step 0."""
        ...

    def step(self, states: States, random: np.random.Generator) -> States:
        """Return the states one step later."""
        ...

    def score(self, states: States) -> F64:
        """Return how far each path is; the event is that it gets above a target."""
        ...


@dataclass(frozen=True, slots=True)
class Split:
    """A small chance. `levels`: the scores at which paths were copied, the target last."""

    interval: Interval
    levels: tuple[float, ...]
    repetitions: int


class LateWeight:
    """Validators that fall behind and recover, each by itself, once a step.

    `weights`: by validator; `falls`, `recovers`: chances a step; `byzantine`: weight that is
    missing throughout. A step is as long as the rates say; short against recovery, or paths leap
    over levels and the interval of `split` gets wide.
    """

    def __init__(
        self, weights: ArrayLike, falls: ArrayLike, recovers: ArrayLike, byzantine: int = 0
    ) -> None:
        self.weights = np.asarray(weights, dtype=np.float64)
        self.falls = np.broadcast_to(np.asarray(falls, np.float64), self.weights.shape)
        self.recovers = np.broadcast_to(np.asarray(recovers, np.float64), self.weights.shape)
        self.byzantine = byzantine
        for chances in (self.falls, self.recovers):
            if not ((chances >= 0) & (chances <= 1)).all():
                raise ValueError("a chance lies between 0 and 1")

    def start(self, paths: int, random: np.random.Generator) -> States:
        """Begin with everybody on time."""
        return np.zeros((paths, self.weights.size), dtype=np.bool_)

    def step(self, states: States, random: np.random.Generator) -> States:
        draws = random.random(states.shape)
        return np.where(states, draws >= self.recovers, draws < self.falls)

    def score(self, states: States) -> F64:
        return np.asarray(states @ self.weights + self.byzantine, dtype=np.float64)


def split(
    process: Process,
    target: float,
    steps: int,
    *,
    chance: Chance,
    effort: int = 1000,
    repetitions: int = 30,
    levels: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> Split:
    """Estimate P(the score exceeds `target` at some step from 0 to `steps`).

    `effort`: paths a level; `levels`: intermediate scores, rising, None for those of a pilot with
    draws of its own. At each level the paths that got there are copied at random up to `effort`;
    the product of the shares that got there is unbiased whatever the levels. The interval is
    Student's over independent repetitions; where none gets to the end its upper end is infinite:
    take more effort. Source: Glasserman, Heidelberger, Shahabuddin, Zajic, "Multilevel splitting
    for estimating rare event probabilities", Operations Research 47 (1999); Garvels, "The
    splitting method in rare event simulation" (2000), section 2.3, on fixed effort.
    """
    if steps < 1 or effort < 2 or repetitions < 2:
        raise ValueError("splitting takes steps, two paths and two repetitions at least")
    checked(confidence)
    if levels is None:
        pilot = chance.stream("study/splitting/pilot")
        levels = pilot_levels(process, target, steps, effort, pilot)
    rising = [float(level) for level in levels if level < target]
    if rising != sorted(rising):
        raise ValueError(f"levels must rise: {list(levels)}")
    stages = (*rising, float(target))
    estimates = [
        _once(process, stages, steps, effort, chance.stream(f"study/splitting/{number}"))
        for number in range(repetitions)
    ]
    if not any(estimates):
        return Split(Interval(0.0, 0.0, np.inf, confidence, repetitions), stages, repetitions)
    found = mean_interval(estimates, confidence)
    interval = Interval(
        found.estimate, max(0.0, found.lower), min(1.0, found.upper), confidence, repetitions
    )
    return Split(interval, stages, repetitions)


def pilot_levels(
    process: Process, target: float, steps: int, effort: int, random: np.random.Generator
) -> list[float]:
    """Return levels that about a fifth of the paths reach, each from the one before."""
    levels: list[float] = []
    states, times = process.start(effort, random), np.zeros(effort, dtype=np.int64)
    while len(levels) < _MOST_LEVELS:
        best = _highest(process, states, times, steps, random)
        level = float(np.quantile(best, 1 - _GOES_ON, method="higher"))
        # The event is to exceed a level: the highest score that enough paths exceed.
        below = best[best < level]
        level = float(below.max()) if below.size else level
        if level >= target or (levels and level <= levels[-1]):
            return levels
        levels.append(level)
        states, times = _reach(process, states, times, level, steps, random)
        if not times.size:
            return levels[:-1]
        picked = random.integers(times.size, size=effort)
        states, times = states[picked], times[picked]
    return levels


def _once(
    process: Process,
    stages: Sequence[float],
    steps: int,
    effort: int,
    random: np.random.Generator,
) -> float:
    """Return one unbiased estimate."""
    estimate = 1.0
    states, times = process.start(effort, random), np.zeros(effort, dtype=np.int64)
    for stage in stages:
        there, when = _reach(process, states, times, stage, steps, random)
        estimate *= when.size / effort
        if not when.size:
            return 0.0
        picked = random.integers(when.size, size=effort)
        states, times = there[picked], when[picked]
    return estimate


def _reach(
    process: Process,
    states: States,
    times: NDArray[np.int64],
    level: float,
    steps: int,
    random: np.random.Generator,
) -> tuple[States, NDArray[np.int64]]:
    """Run paths until each exceeds `level` or its steps are over; return those that exceed it.

    In the state and at the step in which they first do.
    """
    there: list[States] = []
    when: list[NDArray[np.int64]] = []
    while times.size:
        over = process.score(states) > level
        there.append(states[over])
        when.append(times[over])
        going = ~over & (times < steps)
        states, times = states[going], times[going]
        if times.size:
            states, times = process.step(states, random), times + 1
    return np.concatenate(there), np.concatenate(when)


def _highest(
    process: Process,
    states: States,
    times: NDArray[np.int64],
    steps: int,
    random: np.random.Generator,
) -> F64:
    """Return the highest score that each path has until its steps are over."""
    best = process.score(states)
    alive = np.arange(times.size)
    times = times.copy()
    while True:
        going = times < steps
        states, times, alive = states[going], times[going], alive[going]
        if not alive.size:
            return best
        states, times = process.step(states, random), times + 1
        best[alive] = np.maximum(best[alive], process.score(states))
