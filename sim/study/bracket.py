"""Find the edge of what holds: step out until something fails, step in, then halve the bracket.

Owns: which amounts are tried, in which order, and when it is enough. Must not know: what is tried.
It takes for granted that what holds at some amount holds at every easier one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

MILLION = 1_000_000


class CannotTry(Exception):
    """An amount that no trial can be made of, and why; it bounds the search, it decides nothing."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """The edge lies between `held`, the hardest that held, and `failed`, the easiest that did not.

    Either is None where there is none: `why` then says what kept the search from finding it.
    """

    held: int | None
    failed: int | None
    why: str = ""


def find_edge(
    start: int,
    holds: Callable[[int], bool],
    *,
    harder_is_more: bool,
    precision_ppm: int = 100_000,
    reach: int = 64,
    easier: int | None = None,
) -> Bracket:
    """Return the bracket around the edge, its ends within `precision_ppm` of each other.

    `start`: where to begin; each step outwards doubles or halves, up to `reach` times from there.
    `easier`: an amount that is known to hold; the search then never goes below it. Amounts are
    positive integers, and neighbours are as near as it gets. `holds` may raise CannotTry.
    """
    # Steps are counted in difficulty, so that both directions are one search.
    held, failed, why = easier, None, ""
    at = start
    while max(at, start) <= reach * min(at, start):
        try:
            fine = holds(at)
        except CannotTry as error:
            why = str(error)
            break
        if fine:
            held = at
        else:
            failed = at
        if held is not None and failed is not None:
            break
        harder = fine
        at = at * 2 if harder == harder_is_more else at // 2
        if at < 1:
            why = "there is nothing between 1 and 0"
            break
    else:
        side = "held" if failed is None else "failed"
        why = f"all that was tried {side}, up to {reach} times from the start"
    if held is None or failed is None:
        return Bracket(held, failed, why)
    return _halve(held, failed, holds, precision_ppm)


def _halve(held: int, failed: int, holds: Callable[[int], bool], precision_ppm: int) -> Bracket:
    while True:
        low, high = min(held, failed), max(held, failed)
        middle = isqrt(low * high)
        near = high * MILLION <= low * (MILLION + precision_ppm)
        if near or middle == high or high - low < 2:
            return Bracket(held, failed)
        middle = max(middle, low + 1)
        try:
            fine = holds(middle)
        except CannotTry as error:
            return Bracket(held, failed, str(error))
        if fine:
            held = middle
        else:
            failed = middle
