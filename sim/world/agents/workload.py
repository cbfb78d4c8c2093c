"""What agents send: all open-loop arrivals of one grid cell at a time.

Owns: arrival processes, destinations, sizes; what surges and owned agents add. A cell's draws
depend on (kind, cell) only: its number of arrivals comes from a stream of that name, the rest is
keyed by place in the cell. What is added comes after and moves none of them.
Must not know: who is online (the plane thins by that), gateways, slices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.world.agents.changes import Surge
from sim.world.agents.draws import SHARD
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
from sim.world.agents.owned import chosen
from sim.world.agents.parameters import (
    Bursts,
    ClosedLoop,
    Diurnal,
    Flood,
    PlaneParameters,
    Traffic,
)
from sim.world.agents.population import (
    Affine,
    Population,
    affine,
    registered_count,
    registration_order,
)
from sim.world.chance import I64, U64, Chance, mix_array
from sim.world.kernels import BLOCK

_NHZ_NS = 1e18
"""Nanohertz times nanoseconds in one event."""
_CELLS_AT_A_TIME = 64


class Columns(NamedTuple):
    """Arrivals, one an entry; `target` is -1 without one.

    `target`: an agent, or a capability for lookups of one.
    """

    time_ns: I64
    kind: NDArray[np.uint8]
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    size_bytes: NDArray[np.int32]


class Cell(NamedTuple):
    """Arrivals of one grid cell, by kind, times in (start, end]; columns as those of `Columns`."""

    first: int
    """Identity of the first; those of the others follow."""
    time_ns: I64
    kind: NDArray[np.uint8]
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    size_bytes: NDArray[np.int32]


def room_for(count: int) -> Columns:
    """Return columns to draw `count` arrivals into."""
    time_ns, kind = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.uint8)
    return Columns(time_ns, kind, *(np.empty(count, dtype=np.int32) for _ in range(3)))


def part(columns: Columns, first: int, last: int) -> Columns:
    """Return a view of entries [first, last)."""
    return Columns._make(column[first:last] for column in columns)


def retain(columns: Columns, stays: NDArray[np.bool_]) -> Columns:
    """Move the entries that stay to the front; return a view of them."""
    kept = part(columns, 0, int(np.count_nonzero(stays)))
    pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]] = zip(columns, kept, strict=True)
    for column, front in pairs:
        front[:] = column[stays]
    return kept


def no_arrivals() -> Cell:
    """Return a cell in which nothing arrives."""
    return Cell(0, *room_for(0))


class Senders(NamedTuple):
    """Who takes part in a flood."""

    flood: Flood
    key: np.uint64
    owned: I64
    to: I64
    """Empty: anybody."""


class Draft(NamedTuple):
    """Arrivals of a kind to be drawn: `most` of them, of which some may not stay."""

    traffic: Traffic
    key: np.uint64
    most: int
    regions: tuple[int, ...] = ()
    """Only senders of these; empty: all."""


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
        self._room = np.empty((2, BLOCK), dtype=np.uint64)
        self._counts: dict[int, tuple[int, list[int]]] = {}
        """By kind: a block of cells, and how many arrivals each of them has."""
        self._surges: dict[int, Surge] = {}
        self._attacks: dict[int, Senders] = {}
        self._floods = {
            place: _senders(parameters, population, int(keys[SHARD]), chance, place, assault)
            for place, assault in enumerate(parameters.assaults)
            if isinstance(assault, Flood)
        }

    def surge(self, change: Surge) -> None:
        """Let a surge begin or end with the next cell that is drawn."""
        self._surges.pop(change.place, None)
        if change.factor_ppm > PPM:
            self._surges[change.place] = change

    def attack(self, place: int, on: bool) -> None:
        """Let a flood begin or end with the next cell that is drawn; others are not of here."""
        self._attacks.pop(place, None)
        if on and place in self._floods:
            self._attacks[place] = self._floods[place]

    def cell(self, number: int) -> Cell:
        """Draw the arrivals of cell `number`."""
        drafts = [
            Draft(traffic, self._keys[traffic.kind], self._count(traffic, number))
            for traffic in self._open
        ]
        for _, surge in sorted(self._surges.items()):
            drafts += [
                self._surplus(traffic, number, surge)
                for traffic in self._open
                if not surge.kinds or traffic.kind in surge.kinds
            ]
        floods = [
            (self._flood_count(senders, number, place), senders)
            for place, senders in sorted(self._attacks.items())
        ]
        room = sum(draft.most for draft in drafts) + sum(count for count, _ in floods)
        if room >= 1 << ID_INDEX_BITS:
            raise ValueError(f"{room} arrivals in one cell of {GRID_NS} ns: too many")
        columns, size = room_for(room), 0
        for draft in drafts:
            free = part(columns, size, size + draft.most)
            size += len(self._draw(draft, number, free).time_ns)
        for count, senders in floods:
            self._flood(senders, number, part(columns, size, size + count))
            size += count
        return Cell(number << ID_INDEX_BITS, *part(columns, 0, size))

    def _count(self, traffic: Traffic, number: int) -> int:
        """Draw how many arrivals of a kind a cell has, for many cells at a time: a stream made
        amid other work takes thrice as long."""
        block, place = divmod(number, _CELLS_AT_A_TIME)
        known = self._counts.get(traffic.kind)
        if known is None or known[0] != block:
            first = block * _CELLS_AT_A_TIME
            name = KINDS[traffic.kind]
            numbers = range(first, first + _CELLS_AT_A_TIME)
            known = (block, [self._poisson(traffic, name, cell, PPM) for cell in numbers])
            self._counts[traffic.kind] = known
        return known[1][place]

    def _poisson(self, traffic: Traffic, name: str, number: int, factor_ppm: int) -> int:
        """Draw a number of arrivals under `name`, at `factor_ppm` of the kind's highest rate."""
        rng = self._chance.stream(f"agents/workload/{name}/{number}")
        mean = self._senders(traffic)[1] * _peak_nhz(traffic) * GRID_NS / _NHZ_NS
        return int(rng.poisson(mean * (factor_ppm / PPM)))

    def _senders(self, traffic: Traffic) -> tuple[int, int]:
        """Return the first of those who send a kind, and how many they are: who registers late."""
        late = registered_count(self._parameters) if traffic.kind == REGISTRATION else self._agents
        return (late, self._agents - late) if late < self._agents else (0, self._agents)

    def _surplus(self, traffic: Traffic, number: int, surge: Surge) -> Draft:
        """Draw how many arrivals a surge adds to a kind: everybody's, of which some regions' are
        kept."""
        name = f"surge/{surge.place}/{KINDS[traffic.kind]}"
        key = np.uint64(self._chance.key(f"agents/workload/{name}"))
        count = self._poisson(traffic, name, number, surge.factor_ppm - PPM)
        return Draft(traffic, key, count, surge.regions)

    def _flood_count(self, senders: Senders, number: int, place: int) -> int:
        rng = self._chance.stream(f"agents/assault/{place}/{number}")
        mean = len(senders.owned) * float(senders.flood.rate_nhz) * GRID_NS / _NHZ_NS
        return int(rng.poisson(mean))

    def _flood(self, senders: Senders, number: int, columns: Columns) -> None:
        """Draw what owned agents send in a cell: Poisson, senders and receivers uniform."""
        flood, key, owned, to = senders
        time_ns, kind, source, target, size_bytes = columns
        draw_times(key, number, time_ns)
        draw_uniform(key, number, SOURCE, 0, len(owned), source)
        source.sort()
        source[:] = owned[source]
        target[:] = -1
        if flood.kind in (MESSAGE, LOOKUP_ID):
            draw_uniform(key, number, PEER, 0, len(to) or self._agents, target)
            if len(to):
                target[:] = to[target]
            target[:] = np.where(target == source, (target + 1) % self._agents, target)
        size_bytes[:], kind[:] = flood.size_bytes, flood.kind

    def _draw(self, draft: Draft, number: int, columns: Columns) -> Columns:
        """Draw a kind's arrivals of a cell into `columns`; return those that stay."""
        traffic, key = draft.traffic, draft.key
        first, senders = self._senders(traffic)
        draw_times(key, number, columns.time_ns)
        draw_uniform(key, number, SOURCE, first, senders, columns.source)
        # In order of senders: the pairs (time, sender) have the same law, memory likes it better.
        columns.source.sort()
        if first:
            columns.source[:] = self._registration.backward(columns.source)
        if isinstance(traffic.arrivals, Bursts | Diurnal):
            thin = np.empty(len(columns.time_ns), dtype=np.int64)
            draw_uniform(key, number, THIN, 0, PPM, thin)
            rates = self._rates(traffic, columns.time_ns, columns.source)
            columns = retain(columns, thin * (_peak_nhz(traffic) / PPM) < rates)
        columns.kind[:] = traffic.kind
        columns.size_bytes[:] = traffic.size_bytes
        if traffic.size_spread_bytes:
            least, width = traffic.size_bytes, traffic.size_spread_bytes + 1
            draw_uniform(key, number, SIZE, least, width, columns.size_bytes)
        self._targets(traffic, number, columns, key)
        if draft.regions:
            return retain(columns, np.isin(self._region[columns.source], draft.regions))
        return columns

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

    def _targets(self, traffic: Traffic, number: int, columns: Columns, key: np.uint64) -> None:
        target = columns.target
        target[:] = -1
        if traffic.kind == LOOKUP_CAPABILITY:
            draw_uniform(key, number, PEER, 0, self._parameters.capabilities, target)
        elif traffic.kind in (MESSAGE, LOOKUP_ID):
            where, popular = self._popularity[traffic.kind]
            draw_targets(
                key,
                number,
                columns.source,
                self._starts,
                where,
                self._mates,
                self._ranks,
                popular,
                self._room,
                target,
            )

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


def _peak_nhz(traffic: Traffic) -> float:
    """Return the highest rate of a kind's arrivals, by which thinned ones are drawn."""
    arrivals = traffic.arrivals
    assert not isinstance(arrivals, ClosedLoop)
    if isinstance(arrivals, Bursts):
        return float(max(arrivals.rate_nhz, arrivals.burst_rate_nhz))
    if isinstance(arrivals, Diurnal):
        return float(arrivals.rate_nhz + arrivals.rate_nhz * arrivals.amplitude_ppm // PPM)
    return float(arrivals.rate_nhz)


def _senders(
    p: PlaneParameters,
    people: Population,
    shard_key: int,
    chance: Chance,
    place: int,
    flood: Flood,
) -> Senders:
    """Resolve who sends to whom in the flood at `place` of the assaults."""
    key = chance.key(f"agents/assault/{place}")
    owned = chosen(flood.who, people.region, people.home, key)
    if flood.shard is not None:
        bits = mix_array(shard_key, owned) >> np.uint64(32)
        shard = (bits * np.uint64(len(p.directory.shards))) >> np.uint64(32)
        owned = owned[shard.astype(np.int64) == flood.shard]
    to = np.zeros(0, dtype=np.int64)
    if flood.to is not None:
        to = chosen(flood.to, people.region, people.home, chance.key(f"agents/assault/{place}/to"))
    return Senders(flood, np.uint64(key), owned, to)


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
