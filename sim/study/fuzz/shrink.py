"""Make a failing scenario smaller as long as the same monitor breaks: delta debugging.

Owns the order in which parts are tried without, and what must stay so that the failure means the
same. The unit of reduction is the mapping of plain YAML values, so whatever a scenario may say can
go: sections, list items, keys, validators; then times and counts get rounder. Source: Zeller,
Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 28 (2002).
Must not know how scenarios are run: it is given a test.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sim.scenario.quantities import DURATION, QuantityError
from sim.study.fuzz.die import time_text
from sim.study.fuzz.draw import heals_in_time
from sim.study.fuzz.text import scenario_text

Plain: TypeAlias = dict[str, Any]
Place: TypeAlias = tuple[str | int, ...]

NEEDED = ("schema", "title", "question", "duration", "network", "validators", "consensus", "expect")
"""Sections that no scenario can do without."""
KEPT = (
    "commit_within",
    "min_block_interval",
    "timer_base",
    "timer_max",
    "bandwidth",
    "kind",
    "schema",
)
"""Keys that are not dropped: without a pace a run is a hundred times as long, and longer timers
would make commits late for no other reason."""
TIMES = ("at", "until", "start", "end", "duration", "turn", "flap", "after")
COUNTS = ("seed", "epoch_blocks", "late_vote_leaders", "until_height")
MOST_PROBES = 600
"""Runs that one reduction may take."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest scenario found, and how many were run for it."""

    plain: Plain
    probes: int

    @property
    def lines(self) -> int:
        """Lines of YAML, comments apart."""
        return len(scenario_text(self.plain).splitlines())


def shrink(
    plain: Mapping[str, Any],
    fails: Callable[[Plain], bool],
    *,
    healed: bool = False,
    most: int = MOST_PROBES,
) -> Shrunk:
    """Return a scenario that still `fails` and in which no single reduction does.

    `healed`: the failure is that something does not come about, commits or convictions, so that
    the network must have healed in time for it. `plain` itself is taken to fail. Deterministic;
    stops after `most` runs.
    """
    best = copy.deepcopy(dict(plain))
    probes, tried = 0, {scenario_text(best)}
    improved = True
    while improved and probes < most:
        improved = False
        for candidate in candidates(best):
            text = scenario_text(candidate)
            if text in tried or _size(candidate) >= _size(best):
                continue
            tried.add(text)
            if healed and not heals_in_time(candidate):
                continue
            probes += 1
            if fails(candidate):
                best, improved = candidate, True
                break
            if probes >= most:
                break
    return Shrunk(best, probes)


def _size(plain: Plain) -> tuple[int, int, int, int]:
    """Rank scenarios: lines, then characters, then the sum of what is counted and timed."""
    text = scenario_text(plain)
    return len(text.splitlines()), len(text), _numbers(plain), _digits(text)


def _numbers(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(_numbers(item) for item in value.values())
    if isinstance(value, list):
        return sum(_numbers(item) for item in value)
    if isinstance(value, str):
        return _milliseconds(value) or 0
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _digits(text: str) -> int:
    return sum(character in "123456789" for character in text)


def candidates(plain: Plain) -> Iterator[Plain]:
    """Yield smaller scenarios, the boldest reductions first."""
    for key in [key for key in plain if key not in NEEDED]:
        yield _without(plain, (key,))
    for place, items in list(_lists(plain)):
        if place[-1] not in ("ids", "groups", "sides", "between", "placement", "amounts"):
            yield from _shorter_lists(plain, place, items)
    yield from _fewer_validators(plain)
    for place in list(_keys(plain)):
        yield _without(plain, place)
    for place, items in list(_lists(plain)):
        if place[-1] in ("ids", "groups", "placement"):
            yield from _shorter_lists(plain, place, items)
    yield from _rounder(plain)


def _shorter_lists(plain: Plain, place: Place, items: list[Any]) -> Iterator[Plain]:
    """Yield without halves of a list, then without single items."""
    if len(items) > 3:
        middle = len(items) // 2
        yield _with(plain, place, items[:middle])
        yield _with(plain, place, items[middle:])
    if len(items) > 1 or len(place) == 1:
        for index in reversed(range(len(items))):
            yield _with(plain, place, items[:index] + items[index + 1 :])


def _keys(value: Any, at: Place = ()) -> Iterator[Place]:
    """Yield the places of all keys below the sections, those of whole maps first."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if at and key not in KEPT:
                yield (*at, key)
            yield from _keys(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _keys(item, (*at, index))


def _lists(value: Any, at: Place = ()) -> Iterator[tuple[Place, list[Any]]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _lists(item, (*at, key))
    elif isinstance(value, list):
        yield at, value
        for index, item in enumerate(value):
            yield from _lists(item, (*at, index))


def _without(plain: Plain, place: Place) -> Plain:
    changed = copy.deepcopy(plain)
    at: Any = changed
    for step in place[:-1]:
        at = at[step]
    del at[place[-1]]
    return changed


def _with(plain: Plain, place: Place, value: Any) -> Plain:
    changed = copy.deepcopy(plain)
    at: Any = changed
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = copy.deepcopy(value)
    return changed


# Validators


def _fewer_validators(plain: Plain) -> Iterator[Plain]:
    """Yield with the least number of validators, then without each of them in turn."""
    count = plain["validators"]["count"]
    fewer = plain
    for _ in range(count - 4):
        fewer = _dismissed(fewer, fewer["validators"]["count"] - 1)
    if count > 5:
        yield fewer
    for who in reversed(range(count)):
        if count > 4:
            yield _dismissed(plain, who)


def _dismissed(plain: Plain, who: int) -> Plain:
    """Take a validator away; those of higher identity move down."""
    changed = copy.deepcopy(plain)
    validators = changed["validators"]
    validators["count"] -= 1
    amounts = validators.get("stake", {}).get("amounts")
    if amounts and who < len(amounts):
        del amounts[who]
    for place, items in list(_lists(changed)):
        if place[-1] == "ids":
            items[:] = [i - (i > who) for i in items if i != who]
    operations = changed.get("operations", [])
    changed_operations = [op for op in operations if op["validator"] != who]
    for operation in changed_operations:
        operation["validator"] -= operation["validator"] > who
    if "operations" in changed:
        changed["operations"] = changed_operations
    return changed


# Numbers


def _milliseconds(text: str) -> int | None:
    """Return a time in whole milliseconds; None for any other text."""
    try:
        return DURATION.parse(text) // 1_000_000 if text[:1].isdigit() else None
    except QuantityError:
        return None


def _leaves(value: Any, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*at, index))
    else:
        yield at, value


def _rounder(plain: Plain) -> Iterator[Plain]:
    """Yield with earlier and rounder times, and with smaller counts."""
    for place, value in list(_leaves(plain)):
        name = place[-1]
        if name in TIMES and isinstance(value, str):
            now_ms = _milliseconds(value)
            if now_ms:
                for rounder in _rounder_times(now_ms):
                    yield _with(plain, place, time_text(rounder))
        elif name in COUNTS and isinstance(value, int):
            for smaller in dict.fromkeys((1, 3, 10, value // 2)):
                if smaller < value:
                    yield _with(plain, place, smaller)


def _rounder_times(now_ms: int) -> list[int]:
    """List simpler times: whole seconds first, then halves, then tenths."""
    found = [1_000, now_ms // 2_000 * 1_000, now_ms // 1_000 * 1_000]
    found += [-(-now_ms // 1_000) * 1_000, now_ms // 500 * 500, now_ms // 100 * 100]
    return [each for each in dict.fromkeys(found) if each > 0 and each != now_ms]
