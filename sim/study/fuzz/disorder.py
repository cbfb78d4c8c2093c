"""Random faults and link rules, all of which have ended when a scenario heals.

Owns the ranges of what breaks. Must not know adversaries, nor what a scenario expects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from sim.scenario.quantities import DURATION
from sim.study.fuzz.die import STEP_MS, Die, percent_text, time_text

Settings: TypeAlias = dict[str, Any]

MOST_FAULTS = 4
MOST_RULES = 3


def _owned(die: Die, kind: str, who: Sequence[int], heal_ms: int) -> Settings:
    at_ms, until_ms = die.window_ms(heal_ms)
    nodes = die.some(who, 1, max(1, len(who) // 2))
    return {
        "kind": kind,
        "nodes": {"ids": nodes},
        "at": time_text(at_ms),
        "until": time_text(until_ms),
    }


def crash(die: Die, everyone: Sequence[int], heal_ms: int) -> Settings:
    """Draw a crash of up to half of all, or a reboot of any number: what is on disk must do."""
    if die.chance(50):
        return _owned(die, "crash", everyone, heal_ms)
    at_ms = die.time_ms(0, heal_ms - STEP_MS)
    until_ms = min(heal_ms, at_ms + die.time_ms(STEP_MS, 400))
    return {
        "kind": "crash",
        "nodes": {"ids": die.some(everyone, 1, len(everyone))},
        "at": time_text(at_ms),
        "until": time_text(until_ms),
    }


def slow_node(die: Die, everyone: Sequence[int], heal_ms: int) -> Settings:
    """Draw computers that are up to ten times slower.

    More would leave queues that outlast the healing: what waits keeps the pace at which it came.
    """
    return _owned(die, "slow_node", everyone, heal_ms) | {"factor": die.pick((2, 5, 10))}


def throttle(die: Die, everyone: Sequence[int], heal_ms: int) -> Settings:
    """Draw lines that keep 5 % to 50 % of their bandwidth; as with slow nodes, no less."""
    left = percent_text(die.pick((5, 10, 50)))
    return _owned(die, "throttle", everyone, heal_ms) | {"bandwidth_left": left}


def partition(die: Die, everyone: Sequence[int], heal_ms: int) -> Settings:
    """Draw a partition: of one or two groups and the rest, one-way or flapping now and then."""
    at_ms, until_ms = die.window_ms(heal_ms)
    first = die.some(everyone, 1, len(everyone) - 1)
    groups = [{"ids": first}]
    rest = [i for i in everyone if i not in first]
    if len(rest) > 1 and die.chance(30):
        groups.append({"ids": die.some(rest, 1, len(rest) - 1)})
    fault: Settings = {
        "kind": "partition",
        "groups": groups,
        "at": time_text(at_ms),
        "until": time_text(until_ms),
    }
    if die.chance(25):
        fault["one_way"] = True
    if die.chance(20):
        fault["flap"] = time_text(die.time_ms(STEP_MS, 1_000))
    return fault


def clock_skew(die: Die, everyone: Sequence[int], heal_ms: int) -> Settings:
    """Draw clocks that run at half or at twice the pace, and timers with them."""
    rate = die.pick((Decimal("0.5"), Decimal("0.9"), Decimal("1.1"), 2))
    return _owned(die, "clock_skew", everyone, heal_ms) | {"rate": rate}


def slow_disk(die: Die, everyone: Sequence[int], heal_ms: int) -> Settings:
    """Draw disks that take 5 to 50 ms for what must be on them before a vote leaves."""
    write = time_text(die.pick((5, 20, 50)))
    return _owned(die, "slow_disk", everyone, heal_ms) | {"write": write}


def failing_disk(die: Die, everyone: Sequence[int], heal_ms: int) -> Settings:
    """Draw disks on which writes fail."""
    share = percent_text(die.pick((20, 100)))
    return _owned(die, "failing_disk", everyone, heal_ms) | {"share": share}


def full_disk(die: Die, everyone: Sequence[int], heal_ms: int) -> Settings:
    """Draw disks that are full."""
    return _owned(die, "full_disk", everyone, heal_ms)


def kms_outage(die: Die, everyone: Sequence[int], heal_ms: int) -> Settings:
    """Draw validators whose key service is out, so that they cannot sign."""
    return _owned(die, "kms_outage", everyone, heal_ms)


def link_reordering(die: Die, everyone: Sequence[int], heal_ms: int) -> Settings:
    """Draw senders whose messages overtake one another."""
    at_ms, until_ms = die.window_ms(heal_ms)
    return {
        "kind": "link_reordering",
        "from": {"ids": die.some(everyone, 1, len(everyone))},
        "within": time_text(die.time_ms(STEP_MS, 1_000)),
        "at": time_text(at_ms),
        "until": time_text(until_ms),
    }


FAULTS: dict[str, Callable[[Die, Sequence[int], int], Settings]] = {
    "crash": crash,
    "slow_node": slow_node,
    "throttle": throttle,
    "partition": partition,
    "clock_skew": clock_skew,
    "slow_disk": slow_disk,
    "failing_disk": failing_disk,
    "full_disk": full_disk,
    "kms_outage": kms_outage,
    "link_reordering": link_reordering,
}
"""By kind: how one is drawn of (die, all validators, when it has to be over)."""


def faults(die: Die, everyone: Sequence[int], heal_ms: int) -> list[Settings]:
    """Draw which kinds of faults there are, and up to `MOST_FAULTS` of those."""
    kinds = die.some(sorted(FAULTS), 1, MOST_FAULTS)
    wanted = die.whole(1, MOST_FAULTS)
    found: list[Settings] = []
    for _ in range(wanted):
        fault = FAULTS[die.pick(kinds)](die, everyone, heal_ms)
        if not any(_twice(fault, other) for other in found):
            found.append(fault)
    return found


def _twice(fault: Settings, other: Settings) -> bool:
    """Say whether both crash one validator at one time, which a scenario may not ask for."""
    if fault["kind"] != "crash" or other["kind"] != "crash":
        return False
    apart = DURATION.parse(fault["until"]) <= DURATION.parse(other["at"]) or DURATION.parse(
        other["until"]
    ) <= DURATION.parse(fault["at"])
    return not apart and any(i in other["nodes"]["ids"] for i in fault["nodes"]["ids"])


def amnesia(die: Die, forgetful: Sequence[int], heal_ms: int) -> Settings:
    """Draw a crash that loses what was persisted: who forgets may vote twice."""
    at_ms, until_ms = die.window_ms(heal_ms)
    return {
        "kind": "amnesia_crash",
        "nodes": {"ids": list(forgetful)},
        "at": time_text(at_ms),
        "until": time_text(until_ms),
    }


def rules(die: Die, everyone: Sequence[int], heal_ms: int) -> list[Settings]:
    """Draw link rules: who is delayed, dropped, doubled or garbled on the way to whom."""
    found = []
    for _ in range(die.whole(1, MOST_RULES)):
        kind = die.pick(("delay", "drop", "duplicate", "corrupt"))
        start_ms, end_ms = die.window_ms(heal_ms)
        rule: Settings = {"kind": kind}
        first = die.some(everyone, 1, len(everyone) - 1)
        if die.chance(50):
            other = die.some([i for i in everyone if i not in first], 1, len(everyone))
            rule["between"] = [{"ids": first}, {"ids": other}]
        else:
            rule[die.pick(("from", "to"))] = {"ids": first}
        if kind == "delay":
            rule["amount"] = time_text(die.time_ms(STEP_MS, 2_000))
        if kind != "delay" or die.chance(30):
            rule["probability"] = percent_text(die.pick((5, 20, 50, 100)))
        found.append(rule | {"start": time_text(start_ms), "end": time_text(end_ms)})
    return found
