"""One-way delays and losses between regions, as integer tables that scalar and array code share.

Owns: median, spread and loss by region pair, the draw of one message's delay.
Must not know: who sends, what is sent, link rules, queues.

A message's one-way delay is max(1, median + (spread * shape(bits) >> 20)), where `bits` are 64
uniform bits of a keyed hash and `shape` is the committed jitter table. Everything is an integer, so
`delay_ns`, `delay_array` and a compiled kernel over the same raw arrays give the same nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim.world.chance import I64, TABLE_BITS, U64, interpolate_array
from sim.world.network.jitter import FIXED_POINT_BITS, shape_table
from sim.world.network.regions import Region, RegionGraph, region_graph

PPB = 10**9
_CELL_SHIFT: Final = 64 - TABLE_BITS
_FRACTION_BITS: Final = 16
_FRACTION_SHIFT: Final = _CELL_SHIFT - _FRACTION_BITS
_FRACTION_MASK: Final = (1 << _FRACTION_BITS) - 1


@dataclass(frozen=True, slots=True)
class PathOverride:
    """What a scenario states about a pair of sites, both directions; None keeps the table's."""

    rtt_p50_ns: int | None = None
    rtt_p99_ns: int | None = None
    loss_ppb: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NetworkTables:
    """Delays and losses between R regions (or zones: see `regions.split_site`).

    `median_ns`, `spread_ns` (one-way p99 - median; a normal's deviation) and `loss_ppb`: int64[R,
    R], indexed [source, destination]. `shape`: int64[2**12 + 1], fixed point 2**20, 0 at the
    median, 2**20 at a spread above it. The arrays are read-only; kernels take them as they are.
    """

    regions: tuple[str, ...]
    median_ns: I64
    spread_ns: I64
    loss_ppb: I64
    shape: I64
    _median: list[list[int]] = field(init=False, repr=False)
    _spread: list[list[int]] = field(init=False, repr=False)
    _loss: list[list[int]] = field(init=False, repr=False)
    _shape: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.regions)
        for name in ("median_ns", "spread_ns", "loss_ppb"):
            array = getattr(self, name)
            if array.shape != (count, count) or array.dtype != np.int64:
                raise ValueError(f"{name}: need int64[{count}, {count}], got {array.shape}")
            if array.min(initial=0) < 0:
                raise ValueError(f"{name}: negative entries")
            array.setflags(write=False)
        if self.shape.shape != ((1 << TABLE_BITS) + 1,) or self.shape.dtype != np.int64:
            raise ValueError(f"shape: need int64[{(1 << TABLE_BITS) + 1}], got {self.shape.shape}")
        self.shape.setflags(write=False)
        object.__setattr__(self, "_median", self.median_ns.tolist())
        object.__setattr__(self, "_spread", self.spread_ns.tolist())
        object.__setattr__(self, "_loss", self.loss_ppb.tolist())
        object.__setattr__(self, "_shape", self.shape.tolist())

    def index(self, region: str) -> int:
        """Return a region's row; raise ValueError if it has none."""
        if region not in self.regions:
            raise ValueError(f"region {region} is not in this network: {', '.join(self.regions)}")
        return self.regions.index(region)

    def delay_ns(self, src: int, dst: int, bits: int) -> int:
        """Draw the one-way delay from `src` to `dst` at 64 uniform bits. At least 1 ns."""
        # chance.interpolate, written out: a call costs as much as the arithmetic.
        shape = self._shape
        cell = bits >> _CELL_SHIFT
        low = shape[cell]
        fraction = (bits >> _FRACTION_SHIFT) & _FRACTION_MASK
        drawn = low + (((shape[cell + 1] - low) * fraction) >> _FRACTION_BITS)
        delay = self._median[src][dst] + (self._spread[src][dst] * drawn >> FIXED_POINT_BITS)
        return delay if delay > 1 else 1

    def delay_array(self, src: NDArray[Any], dst: NDArray[Any], bits: U64) -> I64:
        """Draw delays elementwise: the integers of `delay_ns`. Arguments broadcast."""
        drawn = interpolate_array(self.shape, bits)
        jitter = (self.spread_ns[src, dst] * drawn) >> FIXED_POINT_BITS
        return np.asarray(np.maximum(self.median_ns[src, dst] + jitter, 1), np.int64)

    def lost(self, src: int, dst: int, bits: int) -> bool:
        """Say whether a message is lost, at 64 uniform bits other than the delay's.

        The probability is loss_ppb / 10**9, rounded up to a multiple of 2**-32.
        """
        return (bits >> 32) * PPB >> 32 < self._loss[src][dst]

    def lost_array(self, src: NDArray[Any], dst: NDArray[Any], bits: U64) -> NDArray[np.bool_]:
        """Say elementwise what `lost` says."""
        drawn = ((bits >> np.uint64(32)) * np.uint64(PPB)) >> np.uint64(32)
        return np.asarray(drawn.astype(np.int64) < self.loss_ppb[src, dst])

    def fastest_ns(self) -> int:
        """Return the least delay any pair can draw: how far ahead a slice may safely be solved."""
        jitter = (self.spread_ns * int(self.shape[0])) >> FIXED_POINT_BITS
        return int(np.maximum(self.median_ns + jitter, 1).min())


def build_tables(
    region_names: Sequence[str],
    *,
    loss_ppb: int = 0,
    overrides: Mapping[tuple[str, str], PathOverride] | None = None,
    custom: Mapping[str, Region] | None = None,
) -> NetworkTables:
    """Build the tables of the given sites, in the order given.

    `loss_ppb` is the loss of every pair, inside regions too; an override changes one unordered
    pair. One-way figures are half of the round trip's, so a p99 of the RTT is read as both
    directions being slow together.

    A pair whose p99 is so far out that the lower tail would outrun light in fibre keeps its median
    and has its spread cut to what physics allows: of the 16-region table that is us-east-1 to
    eu-central-1 alone (p99 373 ms at p50 93 ms, two regimes rather than jitter), whose slow regime
    is better stated as a delay rule. An override that would draw delays below 1 ns is refused.
    """
    return tables_of(region_graph(region_names, custom), loss_ppb=loss_ppb, overrides=overrides)


def uniform_tables(
    names: Sequence[str], *, delay_ns: int, deviation_ns: int = 0, loss_ppb: int = 0
) -> NetworkTables:
    """Build tables without geography: every delay, inside a site too, is drawn alike.

    Normal with that mean and deviation, independently for each message; constant at deviation 0.
    Raises ValueError where draws could be negative.
    """
    shape: I64 = np.array(shape_table("normal"), np.int64)
    if delay_ns < 1 or delay_ns + (deviation_ns * int(shape[0]) >> FIXED_POINT_BITS) < 1:
        raise ValueError(f"delay {delay_ns} ns with deviation {deviation_ns} ns: draws below 1 ns")
    size = (len(names), len(names))
    return NetworkTables(
        tuple(names),
        np.full(size, delay_ns, np.int64),
        np.full(size, deviation_ns, np.int64),
        np.full(size, _checked_loss("loss", loss_ppb), np.int64),
        shape,
    )


def tables_of(
    graph: RegionGraph,
    *,
    loss_ppb: int = 0,
    overrides: Mapping[tuple[str, str], PathOverride] | None = None,
) -> NetworkTables:
    """Turn a region graph into tables, rows in node order; see `build_tables`."""
    names = tuple(graph.nodes)
    index = {name: i for i, name in enumerate(names)}
    shape: I64 = np.array(shape_table(), np.int64)
    median: I64 = np.zeros((len(names), len(names)), np.int64)
    spread: I64 = np.zeros_like(median)
    loss: I64 = np.full_like(median, _checked_loss("loss", loss_ppb))
    for a, b, edge in graph.edges(data=True):
        p50_ns, p99_ns = int(edge["rtt_p50_ns"]), int(edge["rtt_p99_ns"])
        light_ns = int(edge["light_rtt_ns"])
        # A median below light between the two cities means that the figure takes them for one
        # metro (aws:us-east-1 to az:eastus); then only zero bounds it.
        room_ns = p50_ns - (light_ns if light_ns < p50_ns else 2)
        rtt_spread_ns = min(p99_ns - p50_ns, (room_ns << FIXED_POINT_BITS) // -int(shape[0]))
        i, j = index[a], index[b]
        median[i, j] = median[j, i] = p50_ns // 2
        spread[i, j] = spread[j, i] = rtt_spread_ns // 2
    for (a, b), path in (overrides or {}).items():
        for name in (a, b):
            if name not in index:
                raise ValueError(f"override {a} - {b}: {name} is not in this network")
        i, j = index[a], index[b]
        edge = graph.edges[a, b]
        median_ns, spread_ns = _overridden(f"{a} - {b}", path, edge, -int(shape[0]))
        median[i, j] = median[j, i] = median_ns
        spread[i, j] = spread[j, i] = spread_ns
        if path.loss_ppb is not None:
            loss[i, j] = loss[j, i] = _checked_loss(f"override {a} - {b}", path.loss_ppb)
    return NetworkTables(names, median, spread, loss, shape)


def _overridden(
    pair: str, path: PathOverride, edge: Mapping[str, Any], deepest_q20: int
) -> tuple[int, int]:
    """Return one-way (median, spread) of an overridden pair.

    A p50 given alone keeps the ratio p99 / p50 of the table's figures.
    """
    table_p50, table_p99 = int(edge["rtt_p50_ns"]), int(edge["rtt_p99_ns"])
    p50_ns = table_p50 if path.rtt_p50_ns is None else path.rtt_p50_ns
    p99_ns = p50_ns * table_p99 // table_p50 if path.rtt_p99_ns is None else path.rtt_p99_ns
    if not 2 <= p50_ns <= p99_ns:
        raise ValueError(f"override {pair}: p50 {p50_ns} ns, p99 {p99_ns} ns; need 2 <= p50 <= p99")
    limit_ns = ((p50_ns - 2) << FIXED_POINT_BITS) // deepest_q20
    if p99_ns - p50_ns > limit_ns:
        raise ValueError(
            f"override {pair}: p99 {p99_ns} ns is more than {p50_ns + limit_ns} ns, beyond which "
            f"jitter would draw delays below zero at p50 {p50_ns} ns; lower it, or state the slow "
            "regime as a delay rule"
        )
    return p50_ns // 2, (p99_ns - p50_ns) // 2


def _checked_loss(what: str, loss_ppb: int) -> int:
    if not 0 <= loss_ppb <= PPB:
        raise ValueError(f"{what}: {loss_ppb} ppb is not a probability; need 0 to {PPB}")
    return loss_ppb
