"""Compiled kernels that several worlds share: keyed draws, ordering, c-server FIFO stations.

Owns: what arrays cannot say and every stage needs. Each function is plain Python under `njit`, so
`.py_func` is its interpreted twin; unsigned arithmetic stays in uint64 throughout.
Must not know: agents, kinds of messages, reasons.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from sim.world.kernel_cache import kept

I64 = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_36, _52 = np.uint64(36), np.uint64(52)
_FRACTION = np.uint64(0xFFFF)
_ONE = np.uint64(1)
_PPB = np.uint64(1_000_000_000)
PPM = 1_000_000

DIGITS = 512

compiled = kept(_nrt=False)
"""Compile without Numba's run time: kernels own no memory, and counting references to the arrays
that they pass to one another took four fifths of their time."""

inlined = kept(_nrt=False, forceinline=True)
"""The same, always inlined: for steps taken once a message that need much of the state."""


@inlined
def mix64(key: Any, a: Any, b: Any) -> Any:
    """`chance.mix` on uint64 `key` and non-negative integers below 2**63."""
    z = key ^ ((np.uint64(a) + _ONE) * _GOLDEN)
    z = (z ^ (z >> _30)) * _M1
    z = (z ^ (z >> _27)) * _M2
    z = (z ^ (z >> _31)) + (np.uint64(b) + _ONE) * _GOLDEN
    z = (z ^ (z >> _30)) * _M1
    z = (z ^ (z >> _27)) * _M2
    return z ^ (z >> _31)


@inlined
def interpolate64(table: Any, bits: Any) -> Any:
    """`chance.interpolate` on an int64 table of 4,097 entries."""
    cell = np.int64(bits >> _52)
    low = table[cell]
    return low + (((table[cell + 1] - low) * np.int64((bits >> _36) & _FRACTION)) >> 16)


@inlined
def jittered64(median_ns: Any, spread_ns: Any, shape: Any, bits: Any) -> Any:
    """One-way delay: max(1, median + (spread x quantile >> 20))."""
    return max(1, median_ns + ((spread_ns * interpolate64(shape, bits)) >> 20))


@inlined
def below64(bits: Any, ppb: Any) -> Any:
    """Say whether an event of probability `ppb` / 10**9 happens."""
    return np.int64(((bits >> _32) * _PPB) >> _32) < ppb


@inlined
def scaled64(bits: Any, bound: Any) -> Any:
    """Map 64 uniform bits to 0 .. bound - 1 (bound below 2**31)."""
    return np.int64(((bits >> _32) * np.uint64(bound)) >> _32)


def _prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of array[index]; never waits, never fails."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        tools: Any = cgutils
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, arguments[0])
        place = tools.get_item_pointer(
            context, builder, kind, view, [arguments[1]], wraparound=False
        )
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        call = tools.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0")
        # For reading, to be kept in all levels, data.
        builder.call(call, [builder.bitcast(place, byte), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


def _no_prefetch(array: Any, index: Any) -> None:
    """Do nothing: interpreted kernels have no use for it."""


_settings: Any = config
prefetch: Any = _no_prefetch if _settings.DISABLE_JIT else intrinsic(_prefetch)

SLOT = (1 << 32) - 1
"""The part of a key that is a slot."""
AHEAD = 48
"""How many turns of a loop ahead memory is asked for the row of `keys`."""
AHEAD_TOO = 24
"""How many turns ahead it is asked for what that row points to."""


@inlined
def ask_ahead(row: Any, keys: Any, i: int, count: int) -> None:
    """In a loop over `keys`, ask for the row that is `AHEAD` turns away."""
    if i + AHEAD < count:
        prefetch(row, keys[i + AHEAD] & SLOT)


@compiled
def modulo64(bits: Any, modulus: Any) -> Any:
    """Remainder of 64 bits, as an int64."""
    return np.int64(bits % np.uint64(modulus))


DUE = np.dtype([("time_ns", np.int64), ("slot", np.int64)], align=True)
"""What happens when to which slot."""


LINE_BYTES = 64
"""A cache line."""


def records(array: NDArray[Any]) -> NDArray[Any]:
    """Return structured rows in the form that kernels take.

    Compiled ones read fields of plain structured arrays as attributes; interpreted ones
    (NUMBA_DISABLE_JIT=1, for tests) need record arrays for that.
    """
    return array.view(np.recarray) if _settings.DISABLE_JIT else array


def line_dtype(*fields: tuple[str, type[np.generic]]) -> np.dtype[Any]:
    """Return the record of `fields`, padded to one cache line. Raises ValueError if longer."""
    packed = np.dtype(list(fields), align=True)
    if packed.itemsize > LINE_BYTES:
        raise ValueError(f"record of {packed.itemsize} bytes, a cache line has {LINE_BYTES}")
    names = list(packed.names or ())
    spec = {
        "names": names,
        "formats": [packed[name] for name in names],
        "offsets": [packed.fields[name][1] for name in names] if packed.fields else [],
        "itemsize": LINE_BYTES,
    }
    return np.dtype(spec, align=True)  # type: ignore[call-overload]


def aligned_rows(dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Return `count` zero rows that start at a cache line, so that few of them straddle two."""
    size = dtype.itemsize
    raw = np.zeros(count * size + LINE_BYTES, dtype=np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    return records(raw[start : start + count * size].view(dtype))


class Lines(NamedTuple):
    """Waiting lines: `due[line, i]` for i below `size[line]`, in no order. All are equally long."""

    due: Any
    size: I64


class Table(NamedTuple):
    """Rows in use and free. `free[: left[0]]` is the stack of free slots."""

    row: Any
    free: NDArray[np.int32]
    left: I64


@inlined
def push(lines: Any, line: Any, time_ns: Any, slot: Any) -> None:
    """Append to a line; the caller has made room."""
    n = lines.size[line]
    entry = lines.due[line, n]
    entry.time_ns = time_ns
    entry.slot = slot
    lines.size[line] = n + 1


@compiled
def take_due(lines: Any, line: int, t0: int, t1: int, keys: Any) -> int:
    """Move what happens in (t0, t1] to `keys` as (time - t0) << 32 | slot; return how many."""
    due = 0
    kept = 0
    row = lines.due[line]
    for i in range(lines.size[line]):
        t = row[i].time_ns
        if t <= t1:
            keys[due] = ((t - t0) << 32) | row[i].slot
            due += 1
        else:
            row[kept].time_ns = t
            row[kept].slot = row[i].slot
            kept += 1
    lines.size[line] = kept
    return due


@compiled
def take_free(table: Any) -> int:
    """Take a free slot; the caller has made room."""
    left = table.left[0] - 1
    table.left[0] = left
    return int(table.free[left])


@compiled
def give_back(table: Any, slot: int) -> None:
    """Put a slot on the free stack."""
    table.free[table.left[0]] = slot
    table.left[0] += 1


@compiled
def sort_by_time(keys: Any, count: int, span_ns: int, spare: Any) -> None:
    """Sort keys by their time, stably, in place: radix of 9 bits, as many as `span_ns` needs.

    `spare` is overwritten; it holds `count` + DIGITS entries or more.
    """
    if count < 48:
        for i in range(1, count):
            key = keys[i]
            j = i - 1
            while j >= 0 and keys[j] >> 32 > key >> 32:
                keys[j + 1] = keys[j]
                j -= 1
            keys[j + 1] = key
        return
    places = spare[len(spare) - DIGITS :]
    shift = 32
    swapped = False
    while span_ns > 0:
        source, target = (spare, keys) if swapped else (keys, spare)
        places[:] = 0
        for i in range(count):
            places[(source[i] >> shift) & (DIGITS - 1)] += 1
        place = 0
        for digit in range(DIGITS):
            here = places[digit]
            places[digit] = place
            place += here
        for i in range(count):
            digit = (source[i] >> shift) & (DIGITS - 1)
            target[places[digit]] = source[i]
            places[digit] += 1
        swapped = not swapped
        shift += 9
        span_ns >>= 9
    if swapped:
        for i in range(count):
            keys[i] = spare[i]


@compiled
def order_ties(keys: Any, count: int, row: Any) -> None:
    """Order sorted keys of equal time by (ident, attempt) of their rows, in place.

    Insertion sort: runs are short, or nearly in order because slots are handed out in order.
    """
    i = 1
    while i < count:
        if keys[i] >> 32 != keys[i - 1] >> 32:
            i += 1
            continue
        start = i - 1
        while i < count and keys[i] >> 32 == keys[start] >> 32:
            key = keys[i]
            mine = row[key & SLOT]
            j = i - 1
            while j >= start:
                other = row[keys[j] & SLOT]
                if other.ident < mine.ident or (
                    other.ident == mine.ident and other.attempt <= mine.attempt
                ):
                    break
                keys[j + 1] = keys[j]
                j -= 1
            keys[j + 1] = key
            i += 1


@kept()
def take_ordered(lines: Any, line: int, row: Any, t0: int, t1: int, keys: Any, spare: Any) -> int:
    """Put what is due in (t0, t1] into `keys` in service order: (time, ident, attempt)."""
    count = take_due(lines, line, t0, t1, keys)
    sort_by_time(keys, count, t1 - t0, spare)
    order_ties(keys, count, row)
    return count


STATION = np.dtype(
    [
        ("servers", np.int64),
        ("waiting", np.int64),
        ("limit", np.int64),
        ("factor_ppm", np.int64),
        ("served", np.int64),
        ("busy_ns", np.int64),
        ("waited_ns", np.int64),
        ("queue_max", np.int64),
        ("dropped", np.int64),
        ("head", np.int32),
        ("tail", np.int32),
    ],
    align=True,
)
"""One c-server FIFO station; its line is linked through the jobs' `following`, oldest at `head`.
A job is a row with ident, attempt, station, arrival_ns, work_ns, following and reason."""


class Stations(NamedTuple):
    """Stations of one class: state[S], and their servers' free times int64[S, c], each a heap."""

    state: Any
    free_ns: I64


def idle_stations(count: int, servers: int, limit: int) -> Stations:
    """Return `count` idle stations."""
    state = records(np.zeros(count, dtype=STATION))
    state["servers"], state["limit"], state["factor_ppm"] = servers, limit, PPM
    state["head"] = state["tail"] = -1
    return Stations(state, np.zeros((count, servers), dtype=np.int64))


@inlined
def begin(station: Any, free: Any, job: Any, start_ns: int) -> int:
    """Start a job on the server that is free first; return its end."""
    service = job.work_ns
    if station.factor_ppm != PPM:
        service = service * station.factor_ppm // PPM
    service = max(1, service)
    end = start_ns + service
    size = len(free)
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and free[child + 1] < free[child]:
            child += 1
        if free[child] >= end:
            break
        free[i] = free[child]
        i = child
    free[i] = end
    station.served += 1
    station.busy_ns += service
    station.waited_ns += start_ns - job.arrival_ns
    return end


@compiled
def start_waiting(station: Any, free: Any, row: Any, upto_ns: int, lines: Any, ends: int) -> None:
    """Start the waiting jobs of a station whose turn comes by `upto_ns`."""
    while station.waiting > 0 and free[0] <= upto_ns:
        slot = station.head
        job = row[slot]
        station.head = job.following
        station.waiting -= 1
        push(lines, ends, begin(station, free, job, max(free[0], job.arrival_ns)), slot)


@inlined
def offer(station: Any, free: Any, row: Any, slot: int, t: int, lines: Any, ends: int) -> bool:
    """Let a job arrive at `t`: it starts, waits, or (False) is refused by a full line.

    The end of what starts is pushed to line `ends`.
    """
    if station.waiting > 0:
        start_waiting(station, free, row, t, lines, ends)
    job = row[slot]
    job.arrival_ns = t
    waiting = station.waiting
    if waiting == 0 and free[0] <= t:
        push(lines, ends, begin(station, free, job, t), slot)
        return True
    station.queue_max = max(station.queue_max, waiting)
    if waiting >= station.limit:
        station.dropped += 1
        return False
    job.following = -1
    if waiting == 0:
        station.head = slot
    else:
        row[station.tail].following = slot
    station.tail = slot
    station.waiting = waiting + 1
    return True


@compiled
def start_all_waiting(stations: Any, row: Any, upto_ns: int, lines: Any, ends: int) -> None:
    """Start what can start by `upto_ns` at every station."""
    for s in range(len(stations.state)):
        if stations.state[s].waiting > 0:
            start_waiting(stations.state[s], stations.free_ns[s], row, upto_ns, lines, ends)


@compiled
def station_pass(
    keys: Any,
    count: int,
    t0: int,
    t1: int,
    stations: Any,
    row: Any,
    down: Any,
    lines: Any,
    route: Any,
) -> None:
    """Solve one class of stations for (t0, t1].

    `keys`: arrivals in service order, (time - t0) << 32 | slot. `route`: (line of ends, line of
    refused jobs, reason where the station is down, reason where its line is full). What starts by
    t1 has its end pushed; refused jobs are pushed at their arrival with their `reason` set.
    """
    for i in range(count):
        ask_ahead(row, keys, i, count)
        slot = keys[i] & SLOT
        t = t0 + (keys[i] >> 32)
        s = row[slot].station
        station = stations.state[s]
        if down[s]:
            station.dropped += 1
            row[slot].reason = route[2]
            push(lines, route[1], t, slot)
        elif not offer(station, stations.free_ns[s], row, slot, t, lines, route[0]):
            row[slot].reason = route[3]
            push(lines, route[1], t, slot)
    start_all_waiting(stations, row, t1, lines, route[0])


@compiled
def empty_station(station: Any, free: Any, row: Any, now_ns: int, lines: Any, gone: int) -> None:
    """Push all that waits at a station to line `gone`, and free its servers."""
    slot = station.head
    for _ in range(station.waiting):
        push(lines, gone, now_ns, slot)
        slot = row[slot].following
    station.dropped += station.waiting
    station.waiting = 0
    free[:] = now_ns
