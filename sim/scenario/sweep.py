"""Sweeps: settings that take several values, all combinations (`grid`) or side by side (`zip`).

Owns: the `sweep` section and the enumeration of its points.
Must not know: which settings exist (the checks of a point find those that do not).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKey
from sim.scenario.errors import Key
from sim.scenario.fields import Marker
from sim.scenario.quantities import QuantityError

MAX_POINTS = 10_000
OWN_KEYS = (
    *("schema", "name", "title", "question", "extends", "sweep", "seed", "replicates"),
    *("until", "record"),
)
"""Keys that a sweep cannot vary: replicates vary the seed, the others do not change a run."""

Value: TypeAlias = str | int | bool | Decimal | list[Any] | dict[str, Any]
Axis: TypeAlias = tuple[str, tuple[Value, ...]]


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


Sweep: TypeAlias = Annotated[Grid | Zip, ByKey({"grid": Grid, "zip": Zip}, "a sweep")]
