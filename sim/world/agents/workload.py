"""What agents send: all open-loop arrivals of one grid cell at a time.

Owns: arrival processes, destinations, sizes. A cell's draws depend on (kind, cell) only: its
number of arrivals comes from a stream of that name, the rest is keyed by place in the cell.
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
from sim.world.agents.offered.kernels import (
    PEER,
    SIZE,
    SOURCE,
    THIN,
    alias_table,
    draw_targets,
    draw_times,
    draw_uniform,
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
        self._keys = {
            t.kind: np.uint64(chance.key(f"agents/workload/{KINDS[t.kind]}")) for t in self._open
        }
        self._alias: dict[int, I64] = {}
        self._popularity = {t.kind: self._destinations(t) for t in self._open}
        self._mates = _words(affine(chance.key("agents/communities"), 0, self._agents))
        self._ranks = _words(affine(chance.key("agents/popularity"), 0, self._agents))

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
        key = self._keys[traffic.kind]
        time_ns = np.empty(count, dtype=np.int64)
        draw_times(key, number, time_ns)
        source = np.empty(count, dtype=np.int32)
        draw_uniform(key, number, SOURCE, late, senders, source)
        # In order of senders: the pairs (time, sender) have the same law, memory likes it better.
        source.sort()
        if late:
            source = self._registration.backward(source).astype(np.int32)
        if isinstance(arrivals, Bursts | Diurnal):
            thin = np.empty(count, dtype=np.int64)
            draw_uniform(key, number, THIN, 0, PPM, thin)
            keep = thin * (peak_nhz / PPM) < self._rates(traffic, time_ns, source)
            time_ns, source = time_ns[keep], source[keep]
        size = np.full(len(source), traffic.size_bytes, dtype=np.int32)
        if traffic.size_spread_bytes:
            least, width = traffic.size_bytes, traffic.size_spread_bytes + 1
            draw_uniform(key, number, SIZE, least, width, size)
        kind = np.full(len(source), traffic.kind, dtype=np.uint8)
        return time_ns, kind, source, self._targets(traffic, number, source), size

    def _rates(
        self, traffic: Traffic, time_ns: I64, source: NDArray[np.int32]
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
        self, traffic: Traffic, number: int, source: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        target = np.full(len(source), -1, dtype=np.int32)
        key = self._keys[traffic.kind]
        if traffic.kind == LOOKUP_CAPABILITY:
            draw_uniform(key, number, PEER, 0, self._parameters.capabilities, target)
        elif traffic.kind in (MESSAGE, LOOKUP_ID):
            where, popular = self._popularity[traffic.kind]
            draw_targets(
                key,
                number,
                source,
                self._region,
                self._starts,
                where,
                self._mates,
                self._ranks,
                popular,
                target,
            )
        return target

    def _destinations(self, traffic: Traffic) -> tuple[I64, I64]:
        """Return (locality, community, members) and the alias table of popularity, if any."""
        asked = traffic.destinations
        where = np.array([asked.locality_ppm, asked.community_ppm, asked.members], dtype=np.int64)
        exponent = asked.zipf_exponent_micro / PPM
        if traffic.kind not in (MESSAGE, LOOKUP_ID) or exponent == 0:
            return where, np.empty(0, dtype=np.int64)
        table = self._alias.get(asked.zipf_exponent_micro)
        if table is None:
            weights = np.arange(1, self._agents + 1, dtype=np.float64) ** -exponent
            table = alias_table(weights / weights.sum())
            self._alias[asked.zipf_exponent_micro] = table
        return where, table


def _words(permutation: Affine) -> I64:
    words = (permutation.factor, permutation.inverse, permutation.offset)
    return np.array(words, dtype=np.int64)


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
