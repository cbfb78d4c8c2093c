"""What the kernels work on: tables of messages, queries and batches, and room for them to grow.

Owns: layouts, allocation, growth between slices.
Must not know: what stages do with them.

A slot is a row of one of the three tables; it is in exactly one place at a time: a line, a
station, a waiters' list, an open batch, a store. So no line holds more than the rows in use. Rows
are records, not columns: a stage touches most of a row, and few rows of many.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.world.agents.kinds import DELIVERED
from sim.world.agents.stations.kernels import Stations
from sim.world.agents.tables import LOOKUPS
from sim.world.chance import I64, U64
from sim.world.kernels import (
    DUE,
    LINE_BYTES,
    Lines,
    Order,
    Table,
    aligned_rows,
    line_dtype,
    records,
)

I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

# Columns of Books.traffic; a reason is added to the last two.
OFFERED_COLUMN, DELIVERED_COLUMN, STORED_COLUMN, RETRIED_COLUMN = range(4)
DROPPED_COLUMN = RETRIED_COLUMN + DELIVERED
COLUMNS = DROPPED_COLUMN + DELIVERED

# Lines, by what they hold. Messages:
(
    ADMISSION,
    INGRESSED,
    RESOLVED,
    TRANSACTIONS,
    EGRESS,
    EGRESSED,
    LAST_MILE,
    STORING,
    LOST,
    RETRIES,
    RETURNS,
) = range(11)
# Queries: on the way, service ends, will be noticed to have failed, lost in a crash.
ASKING, SHARDED, FAILING, UNASKED = range(11, 15)
# Batches: open (until their age closes them), service ends, on the wire, .., crashed.
OPEN, UPLINKED, WIRE, DOWNLINKED, UNLINKED = range(15, 20)
# Queries again: what the registry wrote and is not yet in force; what waits for a quorum.
WRITES, CONFIRMING = range(20, 22)
# Registrations that ask to be let in, in the slice.
LIMITING = 22
# Questions that the DHT is to take to their host, in the slice.
ROUTING = 23
LINES = 24
# Where entry gateways pass messages on: batches of the second leg, OPEN to DOWNLINKED again, then
# messages that come to a relay's workers, and those whose service ends.
LEG = LINES - OPEN
RELAYING, RELAYED = range(LINES + 4, LINES + 6)
RELAY_LINES = LINES + 6

MESSAGE_ROW = line_dtype(
    ("ident", np.int64),
    ("arrival_ns", np.int64),
    ("created_ns", np.int64),
    ("sent_ns", np.int64),
    ("source", np.int32),
    ("target", np.int32),
    ("size_bytes", np.int32),
    ("work_ns", np.int32),
    ("following", np.int32),
    ("station", np.uint16),
    ("home", np.uint16),
    ("secondary", np.uint16),
    ("attempt", np.uint8),
    ("reason", np.uint8),
    ("kind", np.uint8),
    ("source_region", np.uint8),
    ("target_region", np.uint8),
    ("entitled", np.uint8),
)
"""A message under way, stored, or waiting for its commit. `station`: the gateway that stores it.
`following`: the next in a line, a waiters' list, a batch, a store.
`home`, `secondary`: the receiver's. `entitled`: its sender's lease, as shown when it sends, lasts
to its arrival."""

QUERY_ROW = line_dtype(
    ("ident", np.int64),
    ("arrival_ns", np.int64),
    ("asked_ns", np.int64),
    ("work_ns", np.int32),
    ("following", np.int32),
    ("entry", np.int32),
    ("key", np.int32),
    ("waiters", np.int32),
    ("waiting", np.int32),
    ("station", np.uint16),
    ("gateway", np.uint16),
    ("home", np.uint16),
    ("secondary", np.uint16),
    ("missed", np.uint16),
    ("attempt", np.uint8),
    ("reason", np.uint8),
    ("kind", np.uint8),
    ("found", np.uint8),
    ("live", np.uint8),
)
"""A question to the registry. `station`: the coordinator. `entry`: row of the cache entry that
points here, or -1. `waiters`: the newest of the `waiting` messages that wait for it, or -1.
`home`, `secondary`: the answer, where agents move; of a write, `home` is a bitmap of the places in
the shard's row that confirmed it. `missed`: bitmap of the places in the shard's
row whose copy of this write a blocked link held back. `following`: until it is sent, the agent for
which it asks. `live`: 1, or UNPUBLISHED when all that is left is to put its write in force."""
UNPUBLISHED = 2

RECORD_ROW = np.dtype(
    [
        ("written_ns", np.int64),
        ("before_lease_ns", np.int64),
        ("moving_until_ns", np.int64),
        ("version", np.int32),
        ("coordinator", np.uint16),
        ("missed", np.uint16),
        ("confirmed", np.uint16),
        ("before_home", np.uint16),
        ("before_secondary", np.uint16),
    ],
    align=True,
)
"""What replicas may differ in about an agent: who wrote the newest version when (EVERYONE: all
have it), to which places of the shard's row its copy could not leave, which of them confirmed it
before it was acknowledged, and what the version before said. `moving_until_ns`: no second move is
begun before; NEVER while one is under way."""
EVERYONE = (1 << 16) - 1

MEMBERS = 17
"""Messages that a batch's row has places for: as many as two cache lines hold."""
BATCH_ROW = line_dtype(
    ("ident", np.int64),
    ("arrival_ns", np.int64),
    ("opened_ns", np.int64),
    ("work_ns", np.int64),
    ("size_bytes", np.int64),
    ("following", np.int32),
    ("others", np.int32),
    ("count", np.int32),
    ("gateway", np.uint16),
    ("host", np.uint16),
    ("attempt", np.uint8),
    ("reason", np.uint8),
    ("leg", np.uint8),
    ("members", (np.int32, (MEMBERS,))),
    itemsize=2 * LINE_BYTES,
)
"""Messages from one gateway to another; `leg`: 0, or 1 behind the gateway where they entered a
region; `ident` and `attempt` are its first message's. `members`: its first messages, one of them in
the row's first line; `others`: the newest of those that found no place there, which leads to the
rest. `arrival_ns`: at the station where it is; before, when it was full, or NEVER."""

CACHE_ROW = np.dtype(
    [
        ("asked_ns", np.int64),
        ("known_ns", np.int64),
        ("key", np.int32),
        ("query", np.int32),
        ("state", np.int32),
        ("home", np.uint16),
        ("secondary", np.uint16),
    ],
    align=True,
)
"""One entry of a gateway's direct-mapped cache; key -1: none. `state`: NOT_FOUND or FOUND since
`known_ns`, or PENDING, then `known_ns` is when its failure is noticed, NEVER without one. `home`,
`secondary`: where the agent is, where agents move."""
NOT_FOUND, FOUND, PENDING = range(3)

ACCESS_ROW = np.dtype([("median_ns", np.int64), ("spread_ns", np.int64), ("loss_ppb", np.int64)])
KIND_ROW = np.dtype([("signature_bytes", np.int64), ("ratio_ppm", np.int64)])

LOOKUP_SUMS = len(LOOKUPS) - LOOKUPS.index("lookups")

CONSTANTS = (
    "agents",
    "ingress_work_ns",
    "ingress_per_kib_ns",
    "egress_work_ns",
    "egress_per_kib_ns",
    "query_work_ns",
    "admission_step_ns",
    "admission_slack_ns",
    "cache_slots",
    "cache_ttl_ns",
    "lookup_timeout_ns",
    "batch_count",
    "batch_bytes",
    "batch_age_ns",
    "batch_header_bytes",
    "uplink_bps",
    "downlink_bps",
    "attempts",
    "retry_jitter_ns",
    "store_limit",
    "store_ttl_ns",
    "release_delay_ns",
    "renew_within_ns",
    "renew_bytes",
    "loop_bytes",
    "sample_ppm",
    "leases",
    "lease_ns",
    "query_bytes",
    "recorded",
    "quorum_reads",
    "quorum_writes",
    "replication_lag_ns",
    "re_home",
    "limits",
    "dht",
    "metered",
    "lies",
    "relays",
    "relay_work_ns",
    "relay_per_kib_ns",
    "relay_uplink_bps",
    "relay_downlink_bps",
    "counts_batches",
)
CONSTANTS_ROW = np.dtype([(name, np.int64) for name in CONSTANTS])


IDENT, ATTEMPT, LOSS, DELAY, KEY, PLACE = range(6)
"""Rows of `World.drawn`: a block's draws are made at once, before anything depends on them. `KEY`:
first the key of a question, then what chooses its shard."""

UP, DOWN = range(2)
"""Directions of a node's link."""
CELLS = 64
"""Cells of the grid for which bits on links are kept, the present one included."""


class Use(NamedTuple):
    """Bits that agents put on links; no nodes where nobody meters them."""

    bits: I64
    """[direction, node, cell % CELLS], of cells not yet handed out."""
    through_ns: I64
    """[direction + 2 x leg, node]: when the last batch of messages was through."""


class Links(NamedTuple):
    """Between nodes: region tables and what faults make of each pair."""

    region: I32
    """By node."""
    median_ns: I64
    spread_ns: I64
    shape: I64
    region_loss_ppb: I64
    special: U8
    """By node pair: 1 where a fault changed the link; only then the next two count."""
    loss_ppb: I64
    """By node pair; above 10**9: blocked."""
    extra_ns: I64


class Books(NamedTuple):
    """Sums of the second that is being solved."""

    traffic: I64
    """[kind, source region, target region, column, messages or bytes]."""
    latency: NDArray[np.int32]
    """[kind, source region, target region, bucket], flat."""
    samples: I64
    tally: I64
    """[samples, resolutions asked, joined an entry, met one that had run out]."""
    kept: I64
    """Messages stored now, by kind."""
    lookups: I64
    """[question, source region, target region, outcome, sums from `lookups` to `timeouts`]."""
    asked: I64
    """[question, source region, target region]: questions sent without a DHT, and those of them
    that a gateway's own host answers; `close_second` makes `lookups` of them."""
    answers: NDArray[np.int32]
    """[question, source region, target region, bucket], flat."""
    answered: I64
    """[question, source region, target region]: how many `answers` there are."""
    pending: I64
    """[table, i]: places in `latency` and `answers` whose counts have been put off."""
    uncounted: I64
    """[table]: how many."""
    octaves: I64
    """[table, (kind, source region, target region)]: octaves of latencies met, a bit each."""
    registry: I64
    """[node, event, count or bytes]."""
    batches: I64
    """[leg, source region, target region]: batches sent, messages in them, bytes on the wire."""


class Registry(NamedTuple):
    """Hosts and records. `records` has a row an agent where versions matter, else none."""

    hosts: I32
    """[shard, place]: the shard's hosts now, first choice first; -1: fewer regions serve."""
    known_down: U8
    """By node: down for longer than the lookup timeout, as of the last grid boundary."""
    records: Any
    """Rows of RECORD_ROW."""
    near: I32
    """[region, place]: gateways by nearness, the region's own `own` first ones in turn."""
    own: I64
    steps: I64
    """`limits.limit_steps`."""
    gateway_due_ns: I64
    """By node: state of the token bucket for registrations."""
    registry_due_ns: I64
    lies: U8
    """By node: how it answers falsely, 0: it does not."""
    trips: I64
    """Room for the round trips of one quorum."""


class World(NamedTuple):
    """All a slice needs; what the passes are called with."""

    constants: Any
    draw: U64
    """Key of each purpose of `draws`."""
    access: Any
    kinds: Any
    retry_waits_ns: I64
    """By failed attempt."""
    final_reason: U8
    session_tables: I64
    """[absence, session] quantiles in microseconds; one column where agents never leave."""
    think_table: I64
    registry: Registry
    people: Any
    """Rows of `population.AGENT_ROW`."""
    contacts: Any
    """Rows of `population.CONTACT_ROW`."""
    m: Table
    q: Table
    b: Table
    cache: Any
    cache_first: I64
    """By node: the first row of its cache; -1: it is no gateway."""
    links: Links
    use: Use
    books: Books
    lines: Lines
    thinkers: Lines
    """One line of agents that think."""
    ingress: Stations
    shard: Stations
    uplink: Stations
    downlink: Stations
    egress: Stations
    relay: Stations
    relay_uplink: Stations
    relay_downlink: Stations
    down: U8
    """By node: 1 while crashed."""
    credit_ns: I64
    """By node: the token bucket's theoretical arrival time."""
    pairs: I32
    """[leg, gateway, next hop]: the open batch, or -1."""
    sessions: Lines
    """One line of agents: all whose session toggles before the horizon."""
    horizon_ns: I64
    order: Order
    carried: Order
    ends: I64
    """Ends of services, and other keys that need no order."""
    opened: I64
    """A gateway's open batches, oldest first; then keys of those that close."""
    drawn: U64
    """[IDENT .. PLACE, place in a block]: what draws are made of, and the draws."""


def line_block(count: int, capacity: int) -> Lines:
    """Return empty lines."""
    due = records(np.zeros((count, capacity), dtype=DUE))
    return Lines(due, np.zeros(count, dtype=np.int64))


def widened(lines: Lines, capacity: int) -> Lines:
    """Return the lines with room for `capacity` entries each."""
    if lines.due.shape[1] >= capacity:
        return lines
    due = records(np.zeros((len(lines.size), capacity), dtype=DUE))
    for line, size in enumerate(lines.size.tolist()):
        due[line, :size] = lines.due[line, :size]
    return Lines(due, lines.size)


def empty_table(dtype: np.dtype[Any], capacity: int, touched: int = 0) -> Table:
    """Return a table none of whose rows was ever used.

    The first `touched` are written to, so that their memory is found now: what building a world
    gave back is still at hand, and later a page costs up to twenty times as much.
    """
    row, free = aligned_rows(dtype, capacity), np.empty(capacity, dtype=np.int32)
    row[:touched] = np.zeros((), dtype=dtype)
    return Table(row, free, np.zeros(2, dtype=np.int64))


def rows_used(table: Table) -> int:
    """Return how many rows are taken."""
    return int(table.left[1] - table.left[0])


def grown(table: Table, room: int) -> Table:
    """Return the table with at least `room` free rows; old rows keep their slots."""
    used, old = rows_used(table), len(table.free)
    if old - used >= room:
        return table
    new = max(old * 2, used + room)
    left, fresh = table.left.tolist()
    row, free = aligned_rows(table.row.dtype, new), np.empty(new, dtype=np.int32)
    row[:fresh] = table.row[:fresh]
    free[:left] = table.free[:left]
    return Table(row, free, table.left)


def fitted(world: World, fresh: int, awaiting: int, released: int) -> World:
    """Make room for a slice that may add `fresh` messages and release `released` stored ones.

    `awaiting` ones wait for their commit and nothing else.
    Each message in flight may need a query, a batch, a sample and a place in any line.
    """
    used = rows_used(world.m)
    flight = used - int(world.books.kept.sum()) - awaiting + fresh
    # A message may raise the question that its sender moves, besides its own.
    questions = flight * (2 if int(world.constants[0]["re_home"]) else 1)
    m, q, b = grown(world.m, fresh), grown(world.q, questions), grown(world.b, flight)
    lines, ends, opened, books = world.lines, world.ends, world.opened, world.books
    longest = max(flight + released, len(q.free), len(b.free), int(world.thinkers.size[0]))
    order, carried = world.order, world.carried
    if lines.due.shape[1] < longest:
        lines = widened(lines, longest * 3 // 2)
    if len(ends) < longest:
        nodes = len(world.down)
        ends, opened = (np.zeros(longest * 3 // 2, dtype=np.int64) for _ in range(2))
        order, carried = orders(nodes, longest * 3 // 2)
    sampled = int(books.tally[0])
    if int(world.constants[0]["sample_ppm"]) and len(books.samples) - sampled < used + fresh:
        samples = np.zeros(((sampled + used + fresh) * 3 // 2, books.samples.shape[1]), np.int64)
        samples[:sampled] = books.samples[:sampled]
        books = books._replace(samples=samples)
    new = (m, q, b, lines, ends, books)
    old = (world.m, world.q, world.b, world.lines, world.ends, world.books)
    if all(x is y for x, y in zip(new, old, strict=True)):
        return world
    return world._replace(
        m=m,
        q=q,
        b=b,
        lines=lines,
        ends=ends,
        opened=opened,
        order=order,
        carried=carried,
        books=books,
    )


def orders(stations: int, capacity: int) -> tuple[Order, Order]:
    """Return room to order `capacity` entries of two lines, by at most `stations`."""
    places = np.zeros(2 * (capacity + stations), dtype=np.int32)
    keys = [np.zeros(capacity, dtype=np.int64) for _ in range(2)]
    first = [np.zeros(stations + 1, dtype=np.int64) for _ in range(2)]
    return Order(keys[0], first[0], places), Order(keys[1], first[1], places)


def bytes_of(*tables: Any) -> int:
    """Sum the bytes of all arrays in nested tuples."""
    total = 0
    for item in tables:
        if isinstance(item, np.ndarray):
            total += item.nbytes
        elif isinstance(item, tuple):
            total += bytes_of(*item)
    return total
