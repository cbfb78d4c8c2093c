"""Quantity strings: `80 ms`, `5 Gbit/s`, `256 KiB`, `0.2 /s`, `15 %`, parsed and printed exactly.

Owns: the units a scenario may use and the integer each dimension is kept in.
Must not know: YAML, pydantic, which field wants which dimension.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

MAX_INTEGER = 2**63 - 1
"""Every quantity fits a signed 64-bit column."""

_AMOUNT = re.compile(r"(?P<number>[0-9]{1,18}(?:\.[0-9]{1,18})?) ?(?P<unit>[^0-9\s.].*)", re.ASCII)
_BARE = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)


class QuantityError(ValueError):
    """A value that its field cannot take; the message says what it can.

    `parts`: where a value is a map or a list, the (key or index, message) of each bad item.
    """

    def __init__(self, message: str, parts: tuple[tuple[str | int, str], ...] = ()) -> None:
        super().__init__(message)
        self.parts = parts


@dataclass(frozen=True, slots=True, eq=False)
class Dimension:
    """One kind of quantity: its units as multiples of the integer base unit it is kept in."""

    name: str
    units: Mapping[str, Fraction]
    example: str
    rounded: bool = False
    """Whether a value between two integers is rounded (half to even) instead of refused."""

    def parse(self, text: object) -> int:
        """Return the integer in base units. Raises QuantityError."""
        if isinstance(text, bool) or not isinstance(text, str | int | Decimal):
            raise QuantityError(f"expected {self.phrase}, such as `{self.example}`")
        if not isinstance(text, str) or _BARE.fullmatch(text):
            suggestion = f"{text} {self.example.split(' ', 1)[1]}"
            raise QuantityError(
                f"{text} is a bare number; {self.phrase} needs a unit, such as `{suggestion}`"
            )
        match = _AMOUNT.fullmatch(text.strip())
        if match is None:
            raise QuantityError(f"`{text}` is not {self.phrase}; write it like `{self.example}`")
        scale = self.units.get(match["unit"])
        if scale is None:
            raise QuantityError(f"`{match['unit']}` {self._bad_unit(match['unit'])}")
        return self._integer(Fraction(match["number"]) * scale, text)

    def format(self, value: int) -> str:
        """Return an exact text: whole numbers before decimals, then the shortest.

        A dimension that rounds is printed in its first unit, the only one that is sure to be exact.
        """
        if value == 0:
            return f"0 {self.example.split(' ', 1)[1]}"
        texts = [
            f"{number} {unit}"
            for unit, scale in self.units.items()
            if (number := _decimal(Fraction(value) / scale)) is not None
        ]
        if self.rounded:
            return texts[0]
        return min(texts, key=lambda text: ("." in text, len(text)))

    def approximate(self, value: int, digits: int = 6) -> str:
        """Return a text for people: so many digits, in the largest decimal unit that fits."""
        rounded = round(value, min(0, digits - len(str(abs(value)))))
        scales = [
            (scale, unit) for unit, scale in self.units.items() if set(str(scale)) <= set("01/")
        ]
        fitting = [pair for pair in scales if pair[0] <= abs(rounded)]
        scale, unit = max(fitting, default=min(scales))
        number = _decimal(Fraction(rounded) / scale)
        return f"{number} {unit}"

    @property
    def phrase(self) -> str:
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"

    @property
    def pattern(self) -> str:
        """Regular expression of the texts this dimension takes, for the JSON Schema."""
        units = "|".join(re.escape(unit).replace("/", "\\/") for unit in self.units)
        return rf"^[0-9]{{1,18}}(\.[0-9]{{1,18}})? ?({units})$"

    def _integer(self, value: Fraction, text: str) -> int:
        if value.denominator != 1:
            if not self.rounded:
                raise QuantityError(
                    f"`{text}` is finer than the least step of {self.phrase}, {self.format(1)}"
                )
            value = Fraction(round(value))
        if value > MAX_INTEGER:
            raise QuantityError(f"`{text}` is larger than any {self.name} a run can hold")
        return int(value)

    def _bad_unit(self, unit: str) -> str:
        for known in self.units:
            if known.lower() == unit.lower():
                return f"is not a unit; did you mean `{known}`?"
        return f"is not a unit of {self.phrase}; units: {', '.join(self.units)}"


def _decimal(value: Fraction) -> str | None:
    """Return `value` as a finite decimal of at most 18 places, or None."""
    places = 0
    while value.denominator != 1 and 10**places % value.denominator:
        places += 1
        if places > 18:
            return None
    whole = int(value * 10**places)
    digits = str(whole).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def _table(**units: int) -> dict[str, Fraction]:
    return {unit: Fraction(scale) for unit, scale in units.items()}


DURATION = Dimension(
    "duration",
    {
        **_table(d=86_400 * 10**9, h=3_600 * 10**9, min=60 * 10**9),
        **_table(s=10**9, ms=10**6, us=10**3, ns=1),
    },
    "80 ms",
)
"""Kept in nanoseconds."""

SIZE = Dimension(
    "size",
    {
        **_table(GiB=2**30, MiB=2**20, KiB=2**10),
        **_table(GB=10**9, MB=10**6, kB=10**3, B=1),
    },
    "256 KiB",
)
"""Kept in bytes."""

BANDWIDTH = Dimension(
    "bandwidth",
    {
        f"{prefix}bit/s": Fraction(10**power)
        for prefix, power in (("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0))
    },
    "5 Gbit/s",
)
"""Kept in bits a second."""

RATE = Dimension(
    "rate",
    {
        "/s": Fraction(10**9),
        "/min": Fraction(10**9, 60),
        "/h": Fraction(10**9, 3_600),
        "/d": Fraction(10**9, 86_400),
    },
    "0.2 /s",
    rounded=True,
)
"""Kept in nanohertz (events per 10**9 seconds), rounded to the nearest."""

SHARE = Dimension("share", {"%": Fraction(10**4)}, "15 %")
"""Kept in parts per million."""

FINE_SHARE = Dimension(
    "probability", {"%": Fraction(10**7), "ppm": Fraction(10**3), "ppb": Fraction(1)}, "0.001 %"
)
"""Kept in parts per billion."""

DIMENSIONS = (DURATION, SIZE, BANDWIDTH, RATE, SHARE, FINE_SHARE)


def parse_decimal(value: object, scale: int) -> int:
    """Return a bare decimal times `scale` as an exact integer. Raises QuantityError."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise QuantityError("expected a bare number, such as `1.5`")
    scaled = Fraction(value) * scale
    if scaled.denominator != 1:
        raise QuantityError(f"{value} has more decimals than are kept ({len(str(scale)) - 1})")
    return int(scaled)


def format_decimal(value: int, scale: int) -> str:
    """Return the exact decimal text of `value` / `scale`, `scale` a power of ten."""
    text = _decimal(Fraction(abs(value), scale))
    return f"-{text}" if value < 0 else f"{text}"
