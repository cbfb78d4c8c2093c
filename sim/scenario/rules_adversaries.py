"""Rules of the `adversaries` section: minds that contradict each other, attacks that cannot be.

Owns: what may be asked of coalitions. Must not know: YAML, places in files, how attacks work.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from sim.scenario.adversaries import (
    EVERYTHING,
    Adversary,
    ByEpochs,
    ByHeights,
    ByLevel,
    ByViews,
    Censor,
    LevelThenSilence,
    Sleeper,
    Twins,
    Withhold,
)
from sim.scenario.exposure import named
from sim.scenario.model import Ledger, Validators, Weights
from sim.scenario.quantities import SHARE
from sim.scenario.rulebook import Finding, needs
from sim.scenario.selection import ENDS, Heaviest, Lightest


@needs("adversaries", "validators", "weights")
def _minds_agree(adversaries: Any, validators: Validators, weights: Weights) -> Iterator[Finding]:
    """Refuse two minds on one aspect of one validator at one time."""
    if validators.placement.amounts is not None and (
        sum(validators.placement.amounts) != validators.count
    ):
        return
    voting: list[tuple[int, Any]] = [
        (i, each) for i, each in enumerate(adversaries) if isinstance(each, Adversary)
    ]
    owned = {i: named(adversary.nodes, validators, weights) for i, adversary in voting}
    for (i, first), (j, second) in combinations(voting, 2):
        shared = _contradiction(first.aspects, second.aspects)
        if shared is None or not overlap(first, second):
            continue
        whom = _both(owned[i], owned[j])
        if whom is None:
            continue
        yield (
            ("adversaries", j, "nodes"),
            f"{whom} in two minds: adversaries {i} ({first.kind}) and {j} ({second.kind}) both "
            f"decide on {shared}; give them other validators or other times",
        )


def _contradiction(first: tuple[str, ...], second: tuple[str, ...]) -> str | None:
    if first == EVERYTHING or second == EVERYTHING:
        return "everything that leaves it"
    return next((f"its {aspect}" for aspect in first if aspect in second), None)


def overlap(first: Any, second: Any) -> bool:
    """Say whether two adversaries are at work at one time."""
    before = first.end_ns is not None and first.end_ns <= second.start_ns
    after = second.end_ns is not None and second.end_ns <= first.start_ns
    return not before and not after


def _both(first: list[int] | None, second: list[int] | None) -> str | None:
    """Say who is owned by both; None where nobody is."""
    if first is None or second is None:
        # A draw may hit whom the other one owns: refused, or a replicate would fail by chance.
        return "a validator may be"
    common = sorted(i for i in first if i in second)
    return f"validator {common[0]} is" if common else None


@needs("validators", "weights", maybe=("faults", "adversaries"))
def _selections_choose_somebody(
    validators: Validators, weights: Weights, faults: Any, adversaries: Any
) -> Iterator[Finding]:
    for section, items in (("faults", faults), ("adversaries", adversaries)):
        for index, item in enumerate(items):
            nodes = getattr(item, "nodes", None)
            for kind, key in ((Heaviest, "heaviest"), (Lightest, "lightest")):
                if isinstance(nodes, kind) and not named(nodes, validators, weights):
                    share = SHARE.format(getattr(nodes, f"{key}_ppm"))
                    yield (
                        (section, index, "nodes", key),
                        f"chooses nobody: the {key} validator owns more than {share} of the weight",
                    )


@needs("adversaries")
def _triggers_can_fire(adversaries: Any) -> Iterator[Finding]:
    for index, adversary in enumerate(adversaries):
        when = adversary.when
        path = ("adversaries", index, "when")
        if isinstance(when, ByLevel):
            if when.level.at_least > when.level.at_most:
                yield (*path, "level"), "`at_least` is above `at_most`: it would never act"
            continue
        for key, kind in (("heights", ByHeights), ("views", ByViews), ("epochs", ByEpochs)):
            if isinstance(when, kind):
                numbers = getattr(when, key)
                if numbers.highest is not None and numbers.highest < numbers.lowest:
                    yield (*path, key), "`to` is before `from`: it would never act"


@needs("adversaries", "validators", "weights", "ledger")
def _attacks_can_be(
    adversaries: Any, validators: Validators, weights: Weights, ledger: Ledger
) -> Iterator[Finding]:
    for index, adversary in enumerate(adversaries):
        path = ("adversaries", index)
        if isinstance(adversary, Sleeper):
            yield from _sleeper(path, adversary, ledger)
        elif isinstance(adversary, Censor):
            if adversary.gateways is None and adversary.validators is None:
                yield path, "censors nobody: state `gateways` or `validators`"
        elif isinstance(adversary, Withhold):
            if not adversary.what:
                yield (*path, "what"), "withholds nothing"
        elif isinstance(adversary, LevelThenSilence):
            members = named(adversary.nodes, validators, weights)
            if members is not None and adversary.provokers >= len(members):
                yield (
                    (*path, "provokers"),
                    f"{adversary.provokers} of {len(members)} members provoke: nobody is left to "
                    "fall silent",
                )
        elif isinstance(adversary, Twins):
            yield from _twins(path, adversary)


def _sleeper(path: tuple[Any, ...], adversary: Sleeper, ledger: Ledger) -> Iterator[Finding]:
    if adversary.until_reputation_ppm is None and adversary.until_height is None:
        yield path, "never wakes: state `until_reputation` or `until_height`"
    elif adversary.until_reputation_ppm is not None:
        ceiling = ledger.reputation.ceiling_ppm
        if adversary.until_reputation_ppm > ceiling:
            yield (
                (*path, "until_reputation"),
                f"{SHARE.format(adversary.until_reputation_ppm)} is above the ceiling of "
                f"reputation, {SHARE.format(ceiling)}: it would never wake",
            )


def _twins(path: tuple[Any, ...], adversary: Twins) -> Iterator[Finding]:
    if adversary.sides is None:
        return
    if adversary.turn_ns is not None:
        yield (*path, "turn"), "sides that are given do not take turns: leave out one of the two"
    first, second = adversary.sides
    for key, kind in ENDS.items():
        if isinstance(first, kind) and isinstance(second, kind):
            common = [x for x in getattr(first, key) if x in getattr(second, key)]
            if common:
                yield (*path, "sides", 1), f"`{common[0]}` is on both sides"
