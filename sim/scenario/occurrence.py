"""When a fault strikes: a timetable, or rates with their distributions.

Owns: the fields that all faults share, and what a stated distribution is in the world's terms.
Must not know: what a fault does, and chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from sim.scenario.base import STRICT
from sim.scenario.choices import ByKind
from sim.scenario.fields import Text, decimal, duration

if TYPE_CHECKING:
    from sim.world.faults.occurrence import Lifetimes

Instant: TypeAlias = Annotated[int, duration("0 s", "365 d")]
Stretch: TypeAlias = Annotated[int, duration("1 ms", "36500 d")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Always the same."""

    __pydantic_config__ = STRICT
    kind: Literal["fixed"]
    """Told apart by this."""
    value_ns: Stretch
    """The duration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """Exponential: events that know no past, such as crashes of single machines."""

    __pydantic_config__ = STRICT
    kind: Literal["exponential"]
    """Told apart by this."""
    mean_ns: Stretch
    """Mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """Lognormal: most are short, some are very long, such as partitions and incidents."""

    __pydantic_config__ = STRICT
    kind: Literal["lognormal"]
    """Told apart by this."""
    median_ns: Stretch
    """Median."""
    sigma_micro: Annotated[int, decimal("0", "5")]
    """Standard deviation of the logarithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weibull:
    """Weibull: with a shape below 1, what has lasted will last."""

    __pydantic_config__ = STRICT
    kind: Literal["weibull"]
    """Told apart by this."""
    scale_ns: Stretch
    """Scale: 63 % are shorter."""
    shape_micro: Annotated[int, decimal("0.2", "10")]
    """Shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A distribution from the literature, with its source in `sim/world/faults/data`."""

    __pydantic_config__ = STRICT
    kind: Literal["known"]
    """Told apart by this."""
    figure: Annotated[str, Text(64, what="the name of a distribution")]
    """Its name, such as `wan_partition_software` or `incident_aws`."""
    faster_micro: Annotated[int, decimal("1", "1000000000")] = 1_000_000
    """All its times are divided by this, so that years of faults fit into a run."""


Distribution: TypeAlias = Annotated[Fixed | Exponential | Lognormal | Weibull | Known, ByKind()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Fields of every fault that comes and goes.

    By timetable: from `at` to `until`. By rates: between `at` and `until` it comes after times
    drawn from `every` and stays for times drawn from `lasting`. Draws depend on the seed, the
    replicate and the fault's name, and on nothing else of the scenario.
    """

    __pydantic_config__ = STRICT
    name: (
        Annotated[str, Text(40, r"[a-z][a-z0-9_-]*", "a name of small letters, digits, _ and -")]
        | None
    ) = None
    """Names its draws, so that other faults may come and go; left out, its place in the list."""
    at_ns: Instant
    """When it begins, or may begin."""
    until_ns: Instant | None = None
    """When it ends; left out, with the run."""
    every: Distribution | None = None
    """Times from its end, or from `at`, to its next beginning; left out, it begins once."""
    lasting: Distribution | None = None
    """How long it lasts each time; left out, until `until`."""


Strikes: TypeAlias = Literal["all", "each", "one"]
"""`all`: together; `each`: every one at times of its own; `one`: another one drawn each time."""


def lifetimes(drawn: Distribution | None) -> Lifetimes | None:
    """Return the distribution that a scenario states."""
    from sim.world.faults.occurrence import Lifetimes, figures

    if drawn is None:
        return None
    if isinstance(drawn, Known):
        return figures()[drawn.figure].lifetimes.faster(drawn.faster_micro)
    if isinstance(drawn, Fixed):
        return Lifetimes("fixed", drawn.value_ns)
    if isinstance(drawn, Exponential):
        return Lifetimes("exponential", drawn.mean_ns)
    if isinstance(drawn, Lognormal):
        return Lifetimes("lognormal", drawn.median_ns, drawn.sigma_micro)
    return Lifetimes("weibull", drawn.scale_ns, drawn.shape_micro)
