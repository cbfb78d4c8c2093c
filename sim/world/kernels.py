"""Compiled kernels that several worlds share: keyed draws, tables, waiting lines and their order.

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

from sim.world.kernel_cache import inner, kept

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

compiled = kept(_nrt=False)
"""Compile what Python calls, without Numba's run time: kernels own no memory, and counting
references to the arrays that they pass to one another took four fifths of their time."""

passed = inner(_nrt=False)
"""The same for what only kernels call."""

inlined = inner(_nrt=False, forceinline=True)
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


def _leading_zeros(typing: Any, value: Any) -> Any:
    """Count the zero bits above the highest one; 64 for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


def _leading_zeros_interpreted(value: Any) -> int:
    return 64 - int(value).bit_length()


leading_zeros: Any = (
    _leading_zeros_interpreted if _settings.DISABLE_JIT else intrinsic(_leading_zeros)
)

SLOT = (1 << 32) - 1
"""The part of a key that is a slot."""
NOTE_SHIFT, TIME_SHIFT = 32, 36
"""A key is (time - start of the slice) << 36 | note << 32 | slot; slices are below 2**27 ns."""
NOTES = (1 << (TIME_SHIFT - NOTE_SHIFT)) - 1
AHEAD = 48
"""How many turns of a loop ahead memory is asked for the row of `keys`."""
BLOCK = 256
"""How many draws are made at a time, before anything depends on them: the processor then makes
several at once."""
AHEAD_TOO = 24
"""How many turns ahead it is asked for what that row points to."""


@inlined
def ask_ahead(row: Any, keys: Any, i: int, count: int) -> None:
    """In a loop over `keys`, ask for the row that is `AHEAD` turns away."""
    if i + AHEAD < count:
        prefetch(row, keys[i + AHEAD] & SLOT)


@inlined
def modulo64(bits: Any, modulus: Any) -> Any:
    """Remainder of 64 bits, as an int64."""
    return np.int64(bits % np.uint64(modulus))


DUE = np.dtype(
    [("time_ns", np.int64), ("slot", np.int32), ("station", np.uint16), ("note", np.uint16)],
    align=True,
)
"""What happens when to which slot at which station. `note`: 0 to `NOTES`."""


LINE_BYTES = 64
"""A cache line."""


def records(array: NDArray[Any]) -> NDArray[Any]:
    """Return structured rows in the form that kernels take.

    Compiled ones read fields of plain structured arrays as attributes; interpreted ones
    (NUMBA_DISABLE_JIT=1, for tests) need record arrays for that.
    """
    return array.view(np.recarray) if _settings.DISABLE_JIT else array


def line_dtype(*fields: tuple[str, Any], itemsize: int = LINE_BYTES) -> np.dtype[Any]:
    """Return the record of `fields`, padded to cache lines or a part of one that is a power of two.

    Raises ValueError if longer.
    """
    packed = np.dtype(list(fields), align=True)
    if packed.itemsize > itemsize:
        raise ValueError(f"record of {packed.itemsize} bytes, {itemsize} are allowed")
    names = list(packed.names or ())
    spec = {
        "names": names,
        "formats": [packed[name] for name in names],
        "offsets": [packed.fields[name][1] for name in names] if packed.fields else [],
        "itemsize": itemsize,
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


class Order(NamedTuple):
    """What is due in a slice, station by station, in order of service."""

    keys: I64
    first: I64
    """By station: its first key; one more than stations."""
    places: NDArray[np.int32]
    """Room to count in."""


class Table(NamedTuple):
    """Rows in use and free. `free[: left[0]]` is the stack of slots that were given back; rows from
    `left[1]` on were never used, so that nothing has touched their memory."""

    row: Any
    free: NDArray[np.int32]
    left: I64


@inlined
def push(lines: Any, line: Any, time_ns: Any, slot: Any, station: Any, note: Any) -> None:
    """Append to a line; the caller has made room."""
    n = lines.size[line]
    entry = lines.due[line, n]
    entry.time_ns = time_ns
    entry.slot = slot
    entry.station = station
    entry.note = note
    lines.size[line] = n + 1


@passed
def take_due(lines: Any, line: int, t0: int, t1: int, keys: Any) -> int:
    """Move what happens in (t0, t1] to `keys`, in no order; return how many."""
    due = 0
    kept = 0
    row = lines.due[line]
    for i in range(lines.size[line]):
        entry = row[i]
        t = entry.time_ns
        if t <= t1:
            keys[due] = ((t - t0) << TIME_SHIFT) | (np.int64(entry.note) << NOTE_SHIFT) | entry.slot
            due += 1
        else:
            copy_entry(row, i, kept)
            kept += 1
    lines.size[line] = kept
    return due


@inlined
def copy_entry(row: Any, source: int, target: int) -> None:
    """Move an entry of a line."""
    row[target].time_ns = row[source].time_ns
    row[target].slot = row[source].slot
    row[target].station = row[source].station
    row[target].note = row[source].note


@passed
def take_free(table: Any) -> int:
    """Take a free slot; the caller has made room."""
    left = table.left[0] - 1
    if left < 0:
        fresh = table.left[1]
        table.left[1] = fresh + 1
        return int(fresh)
    table.left[0] = left
    return int(table.free[left])


@passed
def give_back(table: Any, slot: int) -> None:
    """Put a slot on the free stack."""
    table.free[table.left[0]] = slot
    table.left[0] += 1


@inlined
def precedes(row: Any, a: Any, b: Any) -> Any:
    """Say whether key `a` is served before key `b`: by (time, ident, attempt) of their rows."""
    if a >> TIME_SHIFT != b >> TIME_SHIFT:
        return a < b
    one, other = row[a & SLOT], row[b & SLOT]
    if one.ident != other.ident:
        return one.ident < other.ident
    return one.attempt < other.attempt


@passed
def order_keys(keys: Any, low: int, high: int, row: Any) -> None:
    """Sort keys [low, high) into service order, in place: few, or nearly in order.

    By insertion; where that moves much, by heap.
    """
    moves = 16 * (high - low)
    for i in range(low + 1, high):
        if keys[i] >> TIME_SHIFT <= keys[i - 1] >> TIME_SHIFT:
            moves -= sink(keys, low, i, row)
            if moves < 0:
                heap_order(keys, low, high, row)
                return


@passed
def sink(keys: Any, low: int, i: int, row: Any) -> int:
    """Insert key `i` into those before it, which are in order from `low` on; return the steps."""
    key = keys[i]
    j = i - 1
    while j >= low and precedes(row, key, keys[j]):
        keys[j + 1] = keys[j]
        j -= 1
    keys[j + 1] = key
    return i - j


@passed
def heap_order(keys: Any, low: int, high: int, row: Any) -> None:
    """Sort keys [low, high) into service order, in place, whatever their order was.

    Source: R. W. Floyd, Algorithm 245, "Treesort 3", Communications of the ACM 7(12), 1964.
    """
    size = high - low
    start = size // 2
    while size > 1:
        if start > 0:
            start -= 1
        else:
            size -= 1
            keys[low], keys[low + size] = keys[low + size], keys[low]
        root = start
        key = keys[low + root]
        while 2 * root + 1 < size:
            child = 2 * root + 1
            if child + 1 < size and precedes(row, keys[low + child], keys[low + child + 1]):
                child += 1
            if not precedes(row, key, keys[low + child]):
                break
            keys[low + root] = keys[low + child]
            root = child
        keys[low + root] = key


@passed
def take_by_station(
    lines: Any, line: int, row: Any, t0: int, t1: int, stations: int, order: Any
) -> int:
    """Put what is due in (t0, t1] into `order`, station by station; return how much.

    One pass over cells of (station, time), about one a key, then order inside them.
    `order.places` has room for `stations` and for as many entries as the line has.
    """
    due, keys, places = lines.due[line], order.keys, order.places
    shift = 0
    while ((t1 - t0 - 1) >> shift) * stations > lines.size[line]:
        shift += 1
    each = ((t1 - t0 - 1) >> shift) + 1
    cells = stations * each
    for cell in range(cells):
        places[cell] = 0
    for i in range(lines.size[line]):
        entry = due[i]
        if entry.time_ns <= t1:
            places[np.int64(entry.station) * each + ((entry.time_ns - t0 - 1) >> shift)] += 1
    count = 0
    for station in range(stations):
        order.first[station] = count
        for cell in range(station * each, (station + 1) * each):
            here = places[cell]
            places[cell] = count
            count += here
    order.first[stations] = count
    kept = 0
    for i in range(lines.size[line]):
        entry = due[i]
        t = entry.time_ns
        if t <= t1:
            cell = np.int64(entry.station) * each + ((t - t0 - 1) >> shift)
            key = ((t - t0) << TIME_SHIFT) | (np.int64(entry.note) << NOTE_SHIFT) | entry.slot
            keys[places[cell]] = key
            places[cell] += 1
        else:
            copy_entry(due, i, kept)
            kept += 1
    lines.size[line] = kept
    for station in range(stations):
        order_by_time(keys, order.first[station], order.first[station + 1], row)
    order_equals(keys, order.first, stations, row, places)
    return count


@passed
def order_by_time(keys: Any, low: int, high: int, row: Any) -> None:
    """Sort keys [low, high), nearly in order, by time; what is due at the same time stays mixed."""
    moves = 16 * (high - low)
    for i in range(low + 1, high):
        key = keys[i]
        if key >> TIME_SHIFT < keys[i - 1] >> TIME_SHIFT:
            j = i - 1
            while j >= low and key >> TIME_SHIFT < keys[j] >> TIME_SHIFT:
                keys[j + 1] = keys[j]
                j -= 1
            keys[j + 1] = key
            moves -= i - j
            if moves < 0:
                heap_order(keys, low, high, row)
                return


@passed
def order_equals(keys: Any, first: Any, stations: int, row: Any, room: Any) -> None:
    """Put a station's keys of the same time, which are neighbours, into service order. Only here do
    rows count, so that memory is asked for all of them first."""
    equals = 0
    for station in range(stations):
        for i in range(first[station] + 1, first[station + 1]):
            if keys[i] >> TIME_SHIFT == keys[i - 1] >> TIME_SHIFT:
                prefetch(row, keys[i - 1] & SLOT)
                prefetch(row, keys[i] & SLOT)
                room[equals] = i
                equals += 1
    k = 0
    while k < equals:
        low = room[k] - 1
        k += 1
        while k < equals and room[k] == room[k - 1] + 1:
            k += 1
        order_keys(keys, low, room[k - 1] + 1, row)
