"""What agents send: all open-loop arrivals of one grid cell at a time.

Owns: arrival processes, destinations, sizes. A cell's draws depend on (kind, cell) only.
Must not know: who is online (the plane thins by that), gateways, slices.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.world.agents.kinds import (
    GRID_NS,
    ID_INDEX_BITS,
    KINDS,
    LOOKUP_CAPABILITY,
    LOOKUP_ID,
    MESSAGE,
    PPM,
    REGISTRATION,
)
from sim.world.agents.parameters import Bursts, ClosedLoop, Diurnal, PlaneParameters, Traffic
from sim.world.agents.population import (
    Affine,
    Population,
    affine,
    registered_count,
    registration_order,
)
from sim.world.chance import I64, U64, Chance
from sim.world.kernels import alias_table

_NHZ_NS = 1e18
"""Nanohertz times nanoseconds in one event."""


class Cell(NamedTuple):
    """Arrivals of one grid cell, by kind, times in (start, end]; `target` is -1 without one.

    `target`: an agent, or a capability for lookups of one.
    """

    time_ns: I64
    ident: I64
    kind: NDArray[np.uint8]
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    size_bytes: NDArray[np.int32]


class Workload:
    """Draw cells in ascending order."""

    def __init__(
        self, parameters: PlaneParameters, population: Population, keys: U64, chance: Chance
    ) -> None:
        self._parameters = parameters
        self._region = np.ascontiguousarray(population.region)
        self._chance = chance
        self._agents = parameters.agents
        self._starts = np.concatenate(([0], np.cumsum(parameters.placement))).astype(np.int64)
        self._registration = registration_order(parameters, keys)
        self._open = [t for t in parameters.traffic if not isinstance(t.arrivals, ClosedLoop)]
        self._bursts = {
            t.kind: BurstTimeline(t.arrivals, chance, KINDS[t.kind])
            for t in self._open
            if isinstance(t.arrivals, Bursts)
        }
        self._popularity = {t.kind: self._zipf(t) for t in self._open}
        self._communities = affine(chance.key("agents/communities"), 0, self._agents)

    def cell(self, number: int, factor_ppm: int = PPM) -> Cell:
        """Draw the arrivals of cell `number`, at `factor_ppm` of the rates."""
        parts = [self._kind(traffic, number, factor_ppm) for traffic in self._open]
        if not parts:
            empty = np.zeros(0, dtype=np.int64)
            small = empty.astype(np.int32)
            return Cell(empty, empty, empty.astype(np.uint8), small, small, small)
        columns = [np.concatenate(c) if len(c) > 1 else c[0] for c in zip(*parts, strict=True)]
        time_ns, kind, source, target, size = columns
        if len(time_ns) >= 1 << ID_INDEX_BITS:
            raise ValueError(f"{len(time_ns)} arrivals in one cell of {GRID_NS} ns: too many")
        ident = (number << ID_INDEX_BITS) + np.arange(len(time_ns), dtype=np.int64)
        return Cell(time_ns, ident, kind, source, target, size)

    def _kind(self, traffic: Traffic, number: int, factor_ppm: int) -> tuple[NDArray[Any], ...]:
        rng = self._chance.stream(f"agents/workload/{KINDS[traffic.kind]}/{number}")
        arrivals = traffic.arrivals
        assert not isinstance(arrivals, ClosedLoop)
        peak_nhz = arrivals.rate_nhz
        if isinstance(arrivals, Bursts):
            peak_nhz = max(peak_nhz, arrivals.burst_rate_nhz)
        elif isinstance(arrivals, Diurnal):
            peak_nhz += arrivals.rate_nhz * arrivals.amplitude_ppm // PPM
        senders = self._agents
        late = 0
        if traffic.kind == REGISTRATION and registered_count(self._parameters) < senders:
            late = registered_count(self._parameters)
            senders -= late
        mean = senders * float(peak_nhz) * GRID_NS / _NHZ_NS * (factor_ppm / PPM)
        count = int(rng.poisson(mean))
        time_ns = rng.integers(1, GRID_NS + 1, count)
        time_ns += number * GRID_NS
        # In order of senders: the pairs (time, sender) have the same law, memory likes it better.
        source = np.sort(rng.integers(late, late + senders, count))
        if late:
            source = self._registration.backward(source)
        if isinstance(arrivals, Bursts | Diurnal):
            keep = rng.random(count) * peak_nhz < self._rates(traffic, time_ns, source)
            time_ns, source = time_ns[keep], source[keep]
        target = self._targets(traffic, rng, source)
        size = np.full(len(source), traffic.size_bytes, dtype=np.int32)
        if traffic.size_spread_bytes:
            extra = rng.integers(0, traffic.size_spread_bytes + 1, len(source))
            size += extra.astype(np.int32)
        kind = np.full(len(source), traffic.kind, dtype=np.uint8)
        return time_ns, kind, source.astype(np.int32), target.astype(np.int32), size

    def _rates(
        self, traffic: Traffic, time_ns: I64, source: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Rate (nHz) at each arrival's time, for thinning (Lewis and Shedler 1979)."""
        arrivals = traffic.arrivals
        if isinstance(arrivals, Bursts):
            burst = self._bursts[traffic.kind].burst_at(time_ns)
            return np.where(burst, float(arrivals.burst_rate_nhz), float(arrivals.rate_nhz))
        assert isinstance(arrivals, Diurnal)
        phase = np.full(len(time_ns), arrivals.peak_ns, dtype=np.int64)
        if arrivals.phases_ns:
            phase += np.array(arrivals.phases_ns)[self._region[source]]
        angle = ((time_ns - phase) % arrivals.period_ns) * (2.0 * math.pi / arrivals.period_ns)
        swing = 1.0 + arrivals.amplitude_ppm / PPM * np.cos(angle)
        return np.asarray(arrivals.rate_nhz * swing, dtype=np.float64)

    def _targets(
        self, traffic: Traffic, rng: np.random.Generator, source: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        count = len(source)
        if traffic.kind == LOOKUP_CAPABILITY:
            return rng.integers(0, self._parameters.capabilities, count)
        if traffic.kind not in (MESSAGE, LOOKUP_ID):
            return np.full(count, -1, dtype=np.int64)
        where = traffic.destinations
        popularity = self._popularity[traffic.kind]
        if popularity is None:
            target = rng.integers(0, self._agents, count)
        else:
            order, threshold, alias = popularity
            column = rng.integers(0, self._agents, count)
            own = rng.integers(0, 1 << 32, count) < threshold[column]
            target = order.backward(np.where(own, column, alias[column]))
        if where.community_ppm:
            place = self._communities.forward(source)
            first = place - place % where.members
            width = np.minimum(where.members, self._agents - first)
            mate = self._communities.backward(
                first + (rng.integers(0, 1 << 32, count) * width >> 32)
            )
            target = np.where(rng.integers(0, PPM, count) < where.community_ppm, mate, target)
        if where.locality_ppm:
            region = self._region[source]
            first = self._starts[region]
            width = self._starts[region + np.uint8(1)] - first
            near = first + (rng.integers(0, 1 << 32, count) * width >> 32)
            target = np.where(rng.integers(0, PPM, count) < where.locality_ppm, near, target)
        # Nobody writes to itself: the neighbour in the table instead.
        return np.where(target == source, (source + 1) % self._agents, target)

    def _zipf(self, traffic: Traffic) -> tuple[Affine, NDArray[np.int64], NDArray[np.int32]] | None:
        exponent = traffic.destinations.zipf_exponent_micro / PPM
        if traffic.kind not in (MESSAGE, LOOKUP_ID) or exponent == 0:
            return None
        weights = np.arange(1, self._agents + 1, dtype=np.float64) ** -exponent
        threshold, alias = alias_table(weights / weights.sum())
        return affine(self._chance.key("agents/popularity"), 0, self._agents), threshold, alias


class BurstTimeline:
    """The switching times of a two-state MMPP, drawn as far as they are asked for."""

    def __init__(self, bursts: Bursts, chance: Chance, name: str) -> None:
        self._rng = chance.stream(f"agents/bursts/{name}")
        whole = bursts.calm_ns + bursts.burst_ns
        self._burst_first = bool(self._rng.random() * whole < bursts.burst_ns)
        means = (bursts.burst_ns, bursts.calm_ns)
        self._means = means if self._burst_first else means[::-1]
        self._switches: list[int] = []

    def burst_at(self, time_ns: I64) -> NDArray[np.bool_]:
        """Say for each time whether a burst is on."""
        latest = int(time_ns.max(initial=0))
        while not self._switches or self._switches[-1] <= latest:
            mean = self._means[len(self._switches) % 2]
            step = max(1, round(float(self._rng.exponential(mean))))
            self._switches.append((self._switches[-1] if self._switches else 0) + step)
        passed = np.searchsorted(np.array(self._switches), time_ns, side="right")
        return np.asarray((passed % 2 == 0) == self._burst_first)
