"""Field markers: how a YAML value becomes the integer that a scenario field keeps.

Owns: the edge between pydantic and the plain dataclasses of `model`: parsing, bounds, printing
and JSON Schema of one value. pydantic is imported only when a schema is built.
Must not know: which fields exist.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sim.scenario import quantities
from sim.scenario.quantities import Dimension, QuantityError

UNIT_SUFFIXES = (
    "_bits_per_s",
    "_microdegrees",
    "_micro",
    "_bytes",
    "_nhz",
    "_ns",
    "_ppm",
    "_ppb",
)
"""A field's YAML key is its name without the unit: the unit stands in the value."""

RENAMED = {
    "source": "from",
    "target": "to",
    "lowest": "from",
    "highest": "to",
    "schema_version": "schema",
}
"""Fields whose YAML key is a Python keyword or a method name."""


def yaml_key(name: str) -> str:
    """Return the YAML key of the dataclass field `name`."""
    for suffix in UNIT_SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return RENAMED.get(name, name)


class Marker:
    """Base of what stands in `Annotated[...]`: `parse` a YAML value, `plain` it back."""

    def parse(self, value: object) -> Any:
        raise NotImplementedError

    def plain(self, value: Any) -> object:
        """Return the YAML value (str, int, bool, Decimal, list, dict) that parses to `value`."""
        raise NotImplementedError

    def json_schema(self) -> dict[str, Any]:
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return self.json_schema()


@dataclass(frozen=True, slots=True)
class Quantity(Marker):
    """A quantity string of one dimension between two bounds, in base units."""

    dimension: Dimension
    minimum: int
    maximum: int

    def parse(self, value: object) -> int:
        amount = self.dimension.parse(value)
        if amount < self.minimum:
            raise QuantityError(
                f"{value} is below the least value, {self.dimension.format(self.minimum)}"
            )
        if amount > self.maximum:
            raise QuantityError(
                f"{value} is above the greatest value, {self.dimension.format(self.maximum)}"
            )
        return amount

    def plain(self, value: int) -> str:
        return self.dimension.format(value)

    def json_schema(self) -> dict[str, Any]:
        low, high = self.dimension.format(self.minimum), self.dimension.format(self.maximum)
        return {
            "type": "string",
            "pattern": self.dimension.pattern,
            "examples": [self.dimension.example],
            "$comment": f"{self.dimension.phrase}, {low} to {high}",
        }


def _quantity(dimension: Dimension, low: str, high: str) -> Quantity:
    return Quantity(dimension, dimension.parse(low), dimension.parse(high))


def duration(low: str, high: str) -> Quantity:
    """Mark a duration kept in nanoseconds."""
    return _quantity(quantities.DURATION, low, high)


def size(low: str, high: str) -> Quantity:
    """Mark a size kept in bytes."""
    return _quantity(quantities.SIZE, low, high)


def bandwidth(low: str, high: str) -> Quantity:
    """Mark a bandwidth kept in bits a second."""
    return _quantity(quantities.BANDWIDTH, low, high)


def rate(low: str, high: str) -> Quantity:
    """Mark a rate kept in nanohertz."""
    return _quantity(quantities.RATE, low, high)


def share(low: str = "0 %", high: str = "100 %") -> Quantity:
    """Mark a share kept in parts per million."""
    return _quantity(quantities.SHARE, low, high)


def probability(low: str = "0 %", high: str = "100 %") -> Quantity:
    """Mark a probability kept in parts per billion."""
    return _quantity(quantities.FINE_SHARE, low, high)


@dataclass(frozen=True, slots=True)
class Count(Marker):
    """A bare integer between two bounds."""

    minimum: int
    maximum: int

    def parse(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise QuantityError(f"expected a whole number from {self.minimum} to {self.maximum}")
        if not self.minimum <= value <= self.maximum:
            side = "below the least" if value < self.minimum else "above the greatest"
            limit = self.minimum if value < self.minimum else self.maximum
            raise QuantityError(f"{value} is {side} value, {limit}")
        return value

    def plain(self, value: int) -> int:
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True, slots=True)
class FixedPoint(Marker):
    """A bare decimal of no dimension, kept as an integer of millionths."""

    minimum: int
    maximum: int
    scale: int = 10**6

    def parse(self, value: object) -> int:
        number = quantities.parse_decimal(value, self.scale)
        if not self.minimum <= number <= self.maximum:
            side = "below the least" if number < self.minimum else "above the greatest"
            limit = self.minimum if number < self.minimum else self.maximum
            text = quantities.format_decimal(limit, self.scale)
            raise QuantityError(f"{value} is {side} value, {text}")
        return number

    def plain(self, value: int) -> Decimal | int:
        text = quantities.format_decimal(value, self.scale)
        return Decimal(text) if "." in text else int(text)

    def json_schema(self) -> dict[str, Any]:
        low = quantities.format_decimal(self.minimum, self.scale)
        high = quantities.format_decimal(self.maximum, self.scale)
        return {"type": "number", "minimum": _json_number(low), "maximum": _json_number(high)}


def _json_number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def decimal(low: str, high: str) -> FixedPoint:
    """Mark a bare decimal kept in millionths."""
    return FixedPoint(
        quantities.parse_decimal(Decimal(low), 10**6),
        quantities.parse_decimal(Decimal(high), 10**6),
    )


@dataclass(frozen=True, slots=True)
class Flag(Marker):
    """`true` or `false`."""

    def parse(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise QuantityError("expected `true` or `false`")
        return value

    def plain(self, value: bool) -> bool:
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Text(Marker):
    """One line of text."""

    maximum: int
    pattern: str = ""
    what: str = "text"

    def parse(self, value: object) -> str:
        if not isinstance(value, str):
            raise QuantityError(f"expected {self.what}; quote it if it is meant as text")
        if not value.strip():
            raise QuantityError(f"expected {self.what}, found none")
        if len(value) > self.maximum:
            raise QuantityError(f"longer than {self.maximum} characters")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise QuantityError(f"`{value}` is not {self.what}")
        return value

    def plain(self, value: str) -> str:
        return value

    def json_schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": self.maximum}
        if self.pattern:
            schema["pattern"] = f"^(?:{self.pattern})$"
        return schema


@dataclass(frozen=True, slots=True)
class OneOf(Marker):
    """One of a fixed list of names."""

    names: tuple[str, ...]
    what: str

    def parse(self, value: object) -> str:
        if isinstance(value, str) and value in self.names:
            return value
        raise QuantityError(f"{not_one_of(value, self.names, self.what)}")

    def plain(self, value: str) -> str:
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.names)}


def not_one_of(value: object, names: tuple[str, ...], what: str) -> str:
    """Say that `value` is none of `names`, with the nearest or all of them."""
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=0.6)
    if close:
        return f"`{value}` is not a {what}; did you mean `{close[0]}`?"
    return f"`{value}` is not a {what}; one of: {', '.join(names)}"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a population lives: an amount a region, or evenly over regions in the order written.

    `amounts`: None means evenly, the remainder going to the first regions.
    """

    regions: tuple[str, ...]
    amounts: tuple[int, ...] | None = None

    def counts(self, total: int) -> tuple[int, ...]:
        """Return how many of `total` live in each region.

        Amounts that don't add up to `total` are shares: by largest remainder, ties to the first
        region.
        """
        if self.amounts is None:
            share, rest = divmod(total, len(self.regions))
            return tuple(share + (i < rest) for i in range(len(self.regions)))
        whole = sum(self.amounts)
        if whole in (0, total):
            return self.amounts
        floors = [amount * total // whole for amount in self.amounts]
        remainders = [amount * total % whole for amount in self.amounts]
        order = sorted(range(len(floors)), key=lambda i: (-remainders[i], i))
        for i in order[: total - sum(floors)]:
            floors[i] += 1
        return tuple(floors)

    def each(self, total: int) -> list[str]:
        """Return the region of each of `total`, region by region."""
        pairs = zip(self.regions, self.counts(total), strict=True)
        return [region for region, count in pairs for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Placed(Marker):
    """`{region: amount}` or `[region, ...]`, kept as a Placement."""

    item: Marker
    even: bool = True
    limit: int = 1000

    def parse(self, value: object) -> Placement:
        if self.even and isinstance(value, list) and value:
            return Placement(self._regions(value))
        if not isinstance(value, dict) or not value:
            otherwise = ", or a list of regions" if self.even else ""
            raise QuantityError(
                f"expected amounts by region, `{{aws:us-gov-west-1: ...}}`{otherwise}"
            )
        if len(value) > self.limit:
            raise QuantityError(f"{len(value)} regions; at most {self.limit}")
        amounts, bad = [], []
        for region, amount in value.items():
            try:
                amounts.append(self.item.parse(amount))
            except QuantityError as error:
                bad.append((region, str(error)))
        if bad:
            raise QuantityError("bad amounts", tuple(bad))
        return Placement(tuple(value), tuple(amounts))

    def _regions(self, value: list[object]) -> tuple[str, ...]:
        if len(value) > self.limit:
            raise QuantityError(f"{len(value)} regions; at most {self.limit}")
        bad: list[tuple[str | int, str]] = []
        for index, region in enumerate(value):
            if not isinstance(region, str):
                bad.append((index, "expected the name of a region"))
            elif region in value[:index]:
                bad.append((index, f"{region} is listed twice"))
        if bad:
            raise QuantityError("bad regions", tuple(bad))
        return tuple(str(region) for region in value)

    def plain(self, value: Placement) -> object:
        if value.amounts is None:
            return list(value.regions)
        return {
            region: self.item.plain(amount)
            for region, amount in zip(value.regions, value.amounts, strict=True)
        }

    def json_schema(self) -> dict[str, Any]:
        by_region = {
            "type": "object",
            "minProperties": 1,
            "maxProperties": self.limit,
            "additionalProperties": self.item.json_schema(),
        }
        if not self.even:
            return by_region
        evenly = {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": self.limit,
            "uniqueItems": True,
        }
        return {"oneOf": [by_region, evenly]}
