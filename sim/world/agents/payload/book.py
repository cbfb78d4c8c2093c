"""The book of transaction batches: who holds which since when, what was handed out, committed.

Owns: one row a closed batch. Must not know: how transactions came into it, blocks.
"""

from __future__ import annotations

from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.protocol.types import PayloadRef
from sim.world.agents.draws import COPY_DELAY, jittered
from sim.world.agents.kinds import GRID_NS, NEVER, PPB, PPM
from sim.world.agents.lanes.kernels import book_ahead
from sim.world.agents.parameters import Dissemination
from sim.world.agents.payload.kernels import (
    CLOSED,
    COUNT,
    FIRST,
    GATEWAY,
    SIZE,
    at_rate,
    checking_ns,
    commit_batches,
    copy_all,
    keep,
    lose_open,
    revoke,
    wire_ns,
)
from sim.world.agents.state import DOWN, UP, Links, Use, World
from sim.world.chance import I64, U64, mix

_FIRST_ROWS = 1 << 16
"""Rows that are reserved: those that nobody uses take no memory."""
_FEW_ROWS = 1024
"""Up to here nothing is forgotten: it would not pay."""
_FIRST_PLACES = 256
"""Few enough to stay in the processor's cache."""
_COLUMNS = ("batch", "handed", "committed", "before", "place")
_PLACED = ("held", "depart", "sender")


class OpenBatches(NamedTuple):
    """Each node's open batch, and what closes it."""

    opened_ns: I64
    items: I64
    size: I64
    head: I64
    numbers: I64
    """The next transaction number of each gateway."""
    most: int
    most_bytes: int
    age_ns: int
    header_bytes: int


class Lanes(NamedTuple):
    """The dissemination lane's stations at each node, reserved in the order of closes."""

    up_free_ns: I64
    down_free_ns: I64
    verify_free_ns: I64
    uplink_ppm: I64
    downlink_ppm: I64
    service_ppm: I64
    drawn: U64
    """[order, loss, delay; validator]: room for the draws of a batch."""
    uplink_bps: int
    downlink_bps: int
    verify_ns: int
    workers: int
    fanout: int


class Ways(NamedTuple):
    """What copies need of the `World`: to hand all of it to a kernel takes 60 us."""

    constants: Any
    draw: U64
    links: Links
    use: Use
    down: NDArray[np.uint8]
    ends: I64


class PayloadBook:
    """All closed batches that somebody may still ask for."""

    def __init__(self, parameters: Dissemination, nodes: int, metered: bool = False) -> None:
        def zeros() -> I64:
            return np.zeros(nodes, dtype=np.int64)

        batch = parameters.batch
        limits = (batch.count, batch.size_bytes, batch.age_ns, parameters.header_bytes)
        self.open = OpenBatches(zeros(), zeros(), zeros(), zeros(), zeros(), *limits)
        self._lanes = Lanes(
            *(zeros(), zeros(), zeros(), zeros() + PPM, zeros() + PPM, zeros() + PPM),
            np.zeros((3, nodes), dtype=np.uint64),
            uplink_bps=parameters.uplink_bps,
            downlink_bps=parameters.downlink_bps,
            verify_ns=parameters.verify_ns,
            workers=parameters.workers,
            fanout=parameters.fanout,
        )
        self._pull_up_ns, self._pull_down_ns = zeros(), zeros()
        self._nodes = nodes
        self._metered = metered
        """Whether the bits of pulls are booked; those of copies are by the same word."""
        self._retain_ns = parameters.retain_ns
        self._size = 0
        self._base = 0
        self._batch = np.zeros((_FIRST_ROWS, 6), dtype=np.int64)
        self._handed = np.zeros((_FIRST_ROWS, nodes), dtype=np.bool_)
        self._committed = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self._before = np.zeros(_FIRST_ROWS, dtype=np.int64)
        """Number of the same gateway's batch before, -1: none."""
        self._place = np.zeros(_FIRST_ROWS, dtype=np.int32)
        """Where the next three tell of a row, -1 since all validators have held it for a while."""
        self._held = np.zeros((_FIRST_PLACES, nodes), dtype=np.int64)
        """When each validator holds the batch."""
        self._depart = np.zeros((_FIRST_PLACES, nodes), dtype=np.int64)
        """When each validator's copy leaves its sender."""
        self._sender = np.zeros((_FIRST_PLACES, nodes), dtype=np.int32)
        self._free = np.arange(_FIRST_PLACES, dtype=np.int32)
        """Places that tell of no row."""
        self.closed = np.zeros((_FEW_ROWS, 6), dtype=np.int64)
        """Room for the batches that close in a slice."""
        self._newest = np.full(nodes, -1, dtype=np.int64)
        self._nevers = np.full(nodes, NEVER, dtype=np.int64)
        self._long_since = np.zeros(nodes, dtype=np.int64)
        self._numbers: dict[tuple[int, int], int] = {}
        self._refs: list[PayloadRef] = []
        """The reference of each row."""
        self.version = 0
        """Rises whenever a time at which somebody holds a batch has changed after its close."""
        self._done = [0] * nodes
        """No batch with a number below this is left to hand to the validator."""
        self._final = 0
        """Transactions committed."""

    # -- slices -------------------------------------------------------------------------------

    @property
    def awaiting(self) -> int:
        """Transactions in open or closed batches, not committed."""
        return int(self.open.numbers.sum() + self.open.items.sum()) - self._final

    def fit(self, transactions: int) -> None:
        """Make room in `closed` for what so many transactions may close in a slice."""
        room = transactions + self._nodes
        if len(self.closed) < room:
            self.closed = np.zeros((room * 3 // 2, 6), dtype=np.int64)

    def collect(self, world: World, count: int, t1: int) -> None:
        """Send out the first `count` of `closed`, which closed in a slice to `t1`."""
        if not count:
            return
        closed = self.closed[:count]
        closed = closed[np.lexsort((closed[:, FIRST], closed[:, GATEWAY], closed[:, CLOSED]))]
        self._make_room(count, t1)
        self._place[self._size : self._size + count] = self._free[:count]
        self._free = self._free[count:]
        rows = (self._batch, self._before, self._place)
        placed = (self._held, self._depart, self._sender)
        ways = Ways(*(getattr(world, name) for name in Ways._fields))
        numbers = (self._newest, self._base, self._size)
        copy_all(ways, self._lanes, closed, rows, placed, self._nevers, *numbers)
        number = self._base + self._size
        columns = closed[:, [GATEWAY, FIRST, COUNT, SIZE]].tolist()
        for place, (gateway, first, items, size) in enumerate(columns):
            self._numbers[gateway, first] = number + place
            self._refs.append(PayloadRef(gateway, first, first + items - 1, size))
        self._committed[self._size : self._size + count] = NEVER
        self._handed[self._size : self._size + count] = False
        self._size += count

    def _make_room(self, count: int, now_ns: int) -> None:
        if self._size + count > len(self._batch):
            self._widen(_COLUMNS, self._size, (self._size + count) * 2)
        if len(self._free) >= count:
            return
        self._release(now_ns - GRID_NS)
        places = len(self._held)
        if len(self._free) < max(count, places // 2):
            self._widen(_PLACED, places, places * 2 + count)
            fresh = np.arange(places, len(self._held), dtype=np.int32)
            self._free = np.concatenate((self._free, fresh))

    def _widen(self, names: tuple[str, ...], used: int, rows: int) -> None:
        for name in names:
            old: NDArray[Any] = getattr(self, f"_{name}")
            fresh = np.zeros((rows, *old.shape[1:]), dtype=old.dtype)
            fresh[:used] = old[:used]
            setattr(self, f"_{name}", fresh)

    def _release(self, before_ns: int) -> None:
        """Free the places of batches that all validators hold since `before_ns`, earlier than which
        nobody asks any more: no crash takes them back, and the times say nothing new."""
        rows = np.flatnonzero(self._place[: self._size] >= 0)
        last_ns = self._held.max(axis=1)
        known = rows[last_ns[self._place[rows]] <= before_ns]
        self._free = np.concatenate((self._free, self._place[known]))
        self._place[known] = -1

    def _times(self, row: int) -> I64:
        """Return when each validator holds a batch, NEVER where it does not come; 0: long since."""
        place = int(self._place[row])
        return self._long_since if place < 0 else self._held[place]

    # -- faults -------------------------------------------------------------------------------

    def throttle(self, node: int, service_ppm: int, links_ppm: int) -> None:
        self._lanes.service_ppm[node] = service_ppm
        self._lanes.uplink_ppm[node] = self._lanes.downlink_ppm[node] = links_ppm

    def set_rates(self, uplink_ppm: I64, downlink_ppm: I64) -> None:
        """Let transmissions that are reserved from now on take so much of their time, by node."""
        self._lanes.uplink_ppm[:] = uplink_ppm
        self._lanes.downlink_ppm[:] = downlink_ppm

    def crash(self, world: World, node: int, now_ns: int) -> None:
        """Lose a gateway's open batch, and the copies that had not left or were not held."""
        self.version += 1
        lose_open(world, self.open, node, now_ns)
        for row in np.flatnonzero(self._place[: self._size] >= 0).tolist():
            place = self._place[row]
            held, root = self._held[place], int(self._batch[row, GATEWAY])
            if held.max() > now_ns:
                revoke(root, node, now_ns, held, self._depart[place], self._sender[place])
        for lane in (self._lanes.up_free_ns, self._lanes.down_free_ns, self._lanes.verify_free_ns):
            lane[node] = 0

    # -- validators ask -----------------------------------------------------------------------

    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]:
        """Return what the validator holds by `now_ns` and was not handed, gateways' ranges in
        order and without gaps; batches committed meanwhile are left out."""
        start = max(0, self._done[validator] - self._base)
        end = self._size
        if start == end:
            return ()
        handed = self._handed[start:end, validator]
        settled = handed | (self._committed[start:end] != NEVER)
        places = self._place[start:end]
        held = (places < 0) | (self._held[places, validator] <= now_ns)
        fresh = start + np.flatnonzero(held & ~settled)
        before = self._before[fresh] - self._base
        earlier = np.maximum(before, 0)
        known = self._handed[earlier, validator] | (self._committed[earlier] != NEVER)
        known |= before < 0
        taken: dict[int, None] = {}
        for row, one, follows in zip(fresh.tolist(), before.tolist(), known.tolist(), strict=True):
            if follows or one in taken:
                taken[row] = None
        rows = list(taken)
        self._handed[rows, validator] = True
        refs = [self._refs[row] for row in rows]
        left = np.flatnonzero(~(settled | self._handed[start:end, validator]))
        self._done[validator] = self._base + (start + int(left[0]) if len(left) else end)
        return tuple(refs)

    def held_ns(self, validator: int, refs: tuple[PayloadRef, ...]) -> int | None:
        """Return when the validator holds all of `refs`; None if one never comes by itself."""
        latest = 0
        for ref in refs:
            row = self._row(ref)
            latest = max(latest, NEVER if row is None else int(self._times(row)[validator]))
        return None if latest == NEVER else latest

    def held_by_all(self, refs: tuple[PayloadRef, ...]) -> I64:
        """Return for each validator when it holds all of `refs`; NEVER where one does not come."""
        found = [self._row(ref) for ref in refs]
        rows = [row for row in found if row is not None]
        if len(rows) < len(found):
            return self._nevers
        places = self._place[rows]
        places = places[places >= 0]
        return np.asarray(self._held[places].max(axis=0, initial=0), np.int64)

    def pull(self, world: World, validator: int, ref: PayloadRef, now_ns: int) -> int | None:
        """Fetch a batch from the nearest validator that holds it; return when it is held.

        None while no validator that is up, reachable both ways and holds it exists.
        """
        row = self._row(ref)
        if row is not None and self._times(row)[validator] != NEVER:
            return int(self._times(row)[validator])
        links = world.links
        # A batch that left memory was held by all that were up: any of them can serve it.
        able = np.ones(self._nodes, np.bool_) if row is None else self._times(row) <= now_ns
        able &= world.down == 0
        able &= (links.loss_ppb[validator] <= PPB) & (links.loss_ppb[:, validator] <= PPB)
        able[validator] = False
        if not able.any():
            return None
        me, them = links.region[validator], links.region
        round_trip = links.median_ns[me, them] + links.median_ns[them, me]
        holder = int(np.argmin(np.where(able, round_trip, NEVER)))
        key, lanes, size, n = int(world.draw[COPY_DELAY]), self._lanes, ref.size_bytes, self._nodes
        uid = ref.gateway << 40 | ref.first
        at = now_ns + _delay_ns(links, validator, holder, mix(key, uid, n + validator))
        begin = max(at, int(self._pull_up_ns[holder]))
        at = begin + at_rate(wire_ns(lanes.uplink_bps, size), int(lanes.uplink_ppm[holder]))
        self._pull_up_ns[holder] = at
        booked, cell = world.use.bits, now_ns // GRID_NS
        if self._metered:
            book_ahead(booked, UP, holder, begin, at, size * 8, cell)
        at += _delay_ns(links, holder, validator, mix(key, uid, 2 * n + validator))
        begin = max(at, int(self._pull_down_ns[validator]))
        at = begin + at_rate(wire_ns(lanes.downlink_bps, size), int(lanes.downlink_ppm[validator]))
        self._pull_down_ns[validator] = at
        if self._metered:
            book_ahead(booked, DOWN, validator, begin, at, size * 8, cell)
        checking = checking_ns(lanes.verify_ns, lanes.workers, ref.tx_count)
        held = at + at_rate(checking, int(lanes.service_ppm[validator]))
        self.version += 1
        if row is not None:
            place = self._place[row]
            self._held[place, validator] = held
            self._depart[place, validator] = 0
            self._sender[place, validator] = -1
        return held

    def commit(self, world: World, refs: tuple[PayloadRef, ...], now_ns: int) -> None:
        """End the transactions of `refs`. Raise ValueError on a second commit, changing nothing."""
        found = [self._row(ref) for ref in refs]
        rows = [row for row in found if row is not None]
        if len(set(rows)) < len(refs) or (self._committed[rows] != NEVER).any():
            raise ValueError(f"{self._second(refs, found)} was committed before")
        self._committed[rows] = now_ns
        batches = self._batch[rows]
        count = int(batches[:, COUNT].sum())
        commit_batches(world, batches, np.empty(count, dtype=np.int64), now_ns)
        self._final += count
        if self._size > _FEW_ROWS:
            self._forget(now_ns - self._retain_ns)

    def _second(self, refs: tuple[PayloadRef, ...], found: list[int | None]) -> PayloadRef:
        """Return the first reference that was committed before, or stands twice."""
        for place, (ref, row) in enumerate(zip(refs, found, strict=True)):
            if row is None or self._committed[row] != NEVER or row in found[:place]:
                return ref
        raise AssertionError("none of them")

    def _forget(self, before_ns: int) -> None:
        """Drop the batches that were committed before `before_ns`, once they are every second one.

        One that never commits (its gateway is gone for good) stays and holds up no other.
        """
        stays = self._committed[: self._size] >= before_ns
        kept = int(np.count_nonzero(stays))
        if 2 * kept > self._size:
            return
        base = self._base + self._size - kept
        ranks = np.cumsum(stays)
        left = self._place[: self._size][~stays]
        self._free = np.concatenate((self._free, left[left >= 0]))

        def renumbered(numbers: I64) -> I64:
            rows = numbers - self._base
            known = np.maximum(rows, 0)
            return np.where((rows >= 0) & stays[known], base + ranks[known] - 1, -1)

        self._before[: self._size] = renumbered(self._before[: self._size])
        self._newest[:] = renumbered(self._newest)
        starts = [number - self._base for number in self._done]
        self._done = [base + (int(ranks[row - 1]) if row > 0 else 0) for row in starts]
        for name in _COLUMNS:
            column: NDArray[Any] = getattr(self, f"_{name}")
            keep(column.reshape(len(column), -1), stays)
        self._refs = list(compress(self._refs, stays.tolist()))
        self._numbers = {(r.gateway, r.first): base + row for row, r in enumerate(self._refs)}
        self._size = kept
        self._base = base

    def _row(self, ref: PayloadRef) -> int | None:
        """Return the row of a batch, None if it has left memory; ValueError if it never was."""
        number = self._numbers.get((ref.gateway, ref.first))
        if number is not None:
            row = number - self._base
            if self._refs[row] == ref:
                return row
        elif 0 <= ref.gateway < self._nodes and 0 <= ref.first <= ref.last:
            oldest = min((f for g, f in self._numbers if g == ref.gateway), default=None)
            ceiling = int(self.open.numbers[ref.gateway]) if oldest is None else oldest
            if ref.last < ceiling:
                return None
        raise ValueError(f"{ref} is no batch of this run")

    def memory_bytes(self) -> int:
        columns = [getattr(self, f"_{name}") for name in _COLUMNS]
        used = sum(column[: self._size].nbytes for column in columns)
        return int(used + sum(getattr(self, f"_{name}").nbytes for name in _PLACED))


def _delay_ns(links: Links, a: int, b: int, bits: int) -> int:
    """Draw the delay of a transmission, as `kernels.link_delay` does."""
    r, s = links.region[a], links.region[b]
    median_ns, spread_ns = int(links.median_ns[r, s]), int(links.spread_ns[r, s])
    drawn = jittered(median_ns, spread_ns, links.shape.tolist(), bits)
    return drawn + (int(links.extra_ns[a, b]) if links.special[a, b] else 0)
