"""Sweeps: settings that take several values: all combinations, side by side, or a Sobol design.

Owns: the `sweep` section and the enumeration of its points.
Must not know: which settings exist (the checks of a point find those that do not).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKey
from sim.scenario.errors import Key
from sim.scenario.fields import Count, Marker
from sim.scenario.quantities import DIMENSIONS, Dimension, QuantityError
from sim.scenario.rulebook import Finding, needs

MAX_POINTS = 10_000
OWN_KEYS = (
    *("schema", "name", "title", "question", "extends", "sweep", "seed", "replicates"),
    *("until", "record"),
)
"""Keys that a sweep cannot vary: replicates vary the seed, the others do not change a run."""

Value: TypeAlias = str | int | bool | Decimal | list[Any] | dict[str, Any]
Axis: TypeAlias = tuple[str, tuple[Value, ...]]
End: TypeAlias = str | int | Decimal
Range: TypeAlias = tuple[str, tuple[End, End]]
"""A setting and the two ends between which all its values are equally likely."""
_DIGITS = 6
"""Of a quantity that is drawn: as many as people read, and 1e-6 of it at most."""
_MICRO = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Axes(Marker):
    """`{a.b.c: [value, ...], ...}`, kept as pairs in the order written."""

    def parse(self, value: object) -> tuple[Axis, ...]:
        if not isinstance(value, dict) or not value:
            raise QuantityError("expected settings with lists of values, `{a.b: [1, 2]}`")
        bad: list[tuple[str | int, str]] = []
        for path, values in value.items():
            if path.split(".")[0] in OWN_KEYS:
                bad.append((Key(path), f"a sweep cannot vary `{path}`"))
            elif not isinstance(values, list) or not values:
                bad.append((path, "expected a list of values"))
        if bad:
            raise QuantityError("bad axes", tuple(bad))
        return tuple((path, tuple(values)) for path, values in value.items())

    def plain(self, value: tuple[Axis, ...]) -> dict[str, object]:
        return {path: list(values) for path, values in value}

    def json_schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "array", "minItems": 1},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Every combination of the values; the last setting varies fastest."""

    __pydantic_config__ = STRICT
    grid: Annotated[tuple[Axis, ...], Axes()]
    """Values by setting, written as a path: `validators.count: [50, 100, 150]`."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.grid

    @property
    def size(self) -> int:
        total = 1
        for _, values in self.grid:
            total *= len(values)
        return total

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Yield, for each point, the rank of each axis's value."""
        return itertools.product(*(range(len(values)) for _, values in self.grid))


@dataclass(frozen=True, slots=True, kw_only=True)
class Zip:
    """The first values together, then the second ones, and so on."""

    __pydantic_config__ = STRICT
    zip: Annotated[tuple[Axis, ...], Axes()]
    """Values by setting; all lists have the same length."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.zip

    @property
    def size(self) -> int:
        return min(len(values) for _, values in self.zip)

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Yield, for each point, the rank of each axis's value."""
        return ((rank,) * len(self.zip) for rank in range(self.size))


def _dimension(low: object, high: object) -> Dimension | None:
    """Return the first dimension that both texts are of; None where one is a bare number."""
    for dimension in DIMENSIONS:
        try:
            dimension.parse(low)
            dimension.parse(high)
        except QuantityError:
            continue
        return dimension
    return None


def _amounts(ends: tuple[End, End]) -> tuple[Decimal, Decimal]:
    """Return both ends as numbers in one unit; QuantityError where they are not comparable."""
    dimension = _dimension(*ends)
    if dimension is not None:
        return Decimal(dimension.parse(ends[0])), Decimal(dimension.parse(ends[1]))
    if any(isinstance(end, str | bool) for end in ends):
        raise QuantityError(f"`{ends[0]}` and `{ends[1]}` are not two quantities of one kind")
    return Decimal(ends[0]), Decimal(ends[1])


def value_at(ends: tuple[End, End], share: float) -> Value:
    """Return the value at a share of the way from the low to the high end.

    Quantities come out with six digits, bare integers as integers, each equally likely.
    """
    low, high = _amounts(ends)
    dimension = _dimension(*ends)
    if dimension is not None:
        drawn = int(low) + round((int(high) - int(low)) * share)
        text = dimension.approximate(drawn, _DIGITS)
        return text if low <= dimension.parse(text) <= high else dimension.format(drawn)
    if all(isinstance(end, int) for end in ends):
        return min(int(high), int(low) + int((int(high) - int(low) + 1) * share))
    return (low + (high - low) * Decimal(share)).quantize(_MICRO)


@dataclass(frozen=True, slots=True)
class Ranges(Marker):
    """`{a.b.c: [low, high], ...}`, kept as pairs in the order written."""

    def parse(self, value: object) -> tuple[Range, ...]:
        if not isinstance(value, dict) or not value:
            raise QuantityError("expected settings with two ends each, `{a.b: [1 ms, 9 ms]}`")
        bad: list[tuple[str | int, str]] = []
        for path, ends in value.items():
            if path.split(".")[0] in OWN_KEYS:
                bad.append((Key(path), f"a sweep cannot vary `{path}`"))
                continue
            try:
                self._check(ends)
            except QuantityError as error:
                bad.append((path, str(error)))
        if bad:
            raise QuantityError("bad ranges", tuple(bad))
        return tuple((path, (ends[0], ends[1])) for path, ends in value.items())

    def _check(self, ends: object) -> None:
        if not isinstance(ends, list) or len(ends) != 2:
            raise QuantityError("expected two ends, `[low, high]`")
        if not all(isinstance(end, str | int | Decimal) for end in ends):
            raise QuantityError("expected two quantities or two numbers")
        low, high = _amounts((ends[0], ends[1]))
        if low >= high:
            raise QuantityError(f"goes from a low to a higher end, not from {ends[0]} to {ends[1]}")

    def plain(self, value: tuple[Range, ...]) -> dict[str, object]:
        return {path: list(ends) for path, ends in value}

    def json_schema(self) -> dict[str, Any]:
        ends = {"type": ["string", "number"]}
        return {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "array", "items": ends, "minItems": 2, "maxItems": 2},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sobol:
    """A design that tells how much of a metric's variance each setting explains.

    base x (settings + 2) points: two independent samples, and the first one with each setting in
    turn taken from the second (Saltelli et al., Comput. Phys. Commun. 181, 2010).
    """

    __pydantic_config__ = STRICT
    sobol: Annotated[tuple[Range, ...], Ranges()]
    """Two ends by setting, written as a path: `consensus.timer_base: [200 ms, 2 s]`."""
    base: Annotated[int, Count(2, 4_096)] = 64
    """Points of a sample, a power of two, for which Sobol points are balanced."""
    draw: Annotated[int, Count(0, 2**63 - 1)] = 1
    """Which of all scrambled designs; of the replicates' chance it is independent."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        return _sobol_axes(self.sobol, self.base, self.draw)

    @property
    def size(self) -> int:
        return self.base * (len(self.sobol) + 2)

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Yield, for each point, the rank of each axis's value."""
        return ((rank,) * len(self.sobol) for rank in range(self.size))


@cache
def _sobol_axes(ranges: tuple[Range, ...], base: int, draw: int) -> tuple[Axis, ...]:
    design = sobol_design(len(ranges), base, draw)
    return tuple(
        (path, tuple(value_at(ends, float(share)) for share in design[:, column]))
        for column, (path, ends) in enumerate(ranges)
    )


def sobol_design(settings: int, base: int, draw: int) -> Any:
    """Return base x (settings + 2) points in the unit cube, block by block: A, B, then A with the
    i-th column of B for each i.

    `base` is a power of two; ValueError otherwise. Source: Saltelli et al., "Variance based
    sensitivity analysis of model output", Comput. Phys. Commun. 181 (2010); Owen, "Scrambling
    Sobol' and Niederreiter-Xing points", J. Complexity 14 (1998).
    """
    import numpy as np
    from scipy.stats import qmc

    from sim.world.chance import Chance

    if settings < 1 or base < 2 or base & (base - 1):
        raise ValueError(f"a design takes settings and a power of two of base points: {base}")
    stream = Chance(draw, 0).stream("study/sobol")
    points = qmc.Sobol(2 * settings, scramble=True, rng=stream).random(base)
    a, b = points[:, :settings], points[:, settings:]
    blocks = [a, b]
    for index in range(settings):
        mixed = a.copy()
        mixed[:, index] = b[:, index]
        blocks.append(mixed)
    return np.concatenate(blocks)


Sweep: TypeAlias = Annotated[
    Grid | Zip | Sobol, ByKey({"grid": Grid, "zip": Zip, "sobol": Sobol}, "a sweep")
]


@needs("sweep")
def _balanced(sweep: Any) -> Iterator[Finding]:
    if isinstance(sweep, Sobol) and sweep.base & (sweep.base - 1):
        above = 1 << sweep.base.bit_length()
        yield (
            ("sweep", "base"),
            f"{sweep.base} is not a power of two, for which Sobol points are balanced: "
            f"{above // 2} or {above}",
        )
