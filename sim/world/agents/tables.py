"""Rows that the plane hands out: traffic, latency, stations, samples, all integers.

Owns: column names and order, outcome codes, latency buckets.
Must not know: how rows are counted, where they are stored.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.world.chance import I64

OUTCOMES = ("offered", "delivered", "retried", "dropped", "stored")
OFFERED, DELIVERED_OUTCOME, RETRIED, DROPPED, STORED = range(len(OUTCOMES))

TRAFFIC = ("second", "kind", "source", "target", "outcome", "reason", "messages", "bytes")
"""`source` and `target`: regions; `reason` -1 where there is none; `bytes`: payload sizes."""
LATENCY = ("second", "kind", "source", "target", "bucket", "count")
STATION = ("second", "class", "node", "served", "busy_ns", "waited_ns", "queue_max", "dropped")
"""By the second in which a service starts, or a queue is met, or a job is lost. `busy_ns`: service
given, all servers. `dropped`: refused by a full queue or a node that is down, or lost in a
crash."""
SAMPLES = (
    "message",
    "kind",
    "source",
    "target",
    "source_region",
    "target_region",
    "created_ns",
    "finished_ns",
    "outcome",
    "attempts",
    "size_bytes",
)
"""`outcome`: DELIVERED or a reason's code; `target` -1 where there is none."""

LOOKUPS = (
    "second",
    "kind",
    "source",
    "target",
    "outcome",
    "lookups",
    "depth",
    "rounds",
    "rpcs",
    "messages",
    "bytes",
    "crossings",
    "timeouts",
)
"""Questions to the directory by the second in which they were asked. `kind`: of `kinds.QUESTIONS`;
`source`, `target`: regions of the asking gateway and of the host that was found (the asker's own
where none was). The rest are sums."""
LOOKUP_OUTCOMES = ("found", "not_found", "timed_out", "poisoned")
ROUTE_FOUND, ROUTE_NOT_FOUND, ROUTE_TIMED_OUT, ROUTE_POISONED = range(len(LOOKUP_OUTCOMES))
LOOKUP_LATENCY = ("second", "kind", "source", "target", "bucket", "count")
"""From the question to its answer at the gateway, by the second in which the answer left."""
REGISTRY = ("second", "node", "event", "count", "bytes")
"""What happened at a host of the registry, or at the gateway that asked it."""
REGISTRY_EVENTS = (
    "read",
    "write",
    "stale",
    "no_quorum",
    "limited",
    "lost_write",
    "re_homed",
    "taken_over",
    "moved_in",
)
"""`read`, `write`: served by the node. `stale`: reads that it answered without the newest version.
`no_quorum`: questions that too few replicas could confirm. `limited`: registrations that the node,
a gateway, did not pass on. `lost_write`: acknowledged writes that went down with the node.
`re_homed`: agents that moved to the node. `taken_over`: shards that it took over or got back.
`moved_in`: records that it was sent for that, with their bytes."""
(
    READ,
    WRITE,
    STALE,
    FAILED_QUORUM,
    LIMITED,
    LOST_WRITE,
    RE_HOMED,
    TAKEN_OVER,
    MOVED_IN,
) = range(len(REGISTRY_EVENTS))

BATCHES = ("second", "leg", "source", "target", "batches", "messages", "bytes")
"""Batches between gateways by the second in which they left. `leg`: 0, or 1 for those that go on
from where messages entered a region; `source`, `target`: regions; `bytes`: on the wire."""

SUB_BITS = 5
BUCKETS = (45 - SUB_BITS + 1) << SUB_BITS
"""32 an octave (HdrHistogram's layout); latencies above 2**45 ns (ten hours) share the last."""


class Drained(NamedTuple):
    """Columns by table; each array int64[rows], names as in the constants of this module."""

    traffic: dict[str, I64]
    latency: dict[str, I64]
    stations: dict[str, I64]
    samples: dict[str, I64]
    lookups: dict[str, I64]
    lookup_latency: dict[str, I64]
    registry: dict[str, I64]
    batches: dict[str, I64]


class Counters(NamedTuple):
    """Messages by kind, since the start."""

    offered: tuple[int, ...]
    delivered: tuple[int, ...]
    stored: tuple[int, ...]
    in_flight: tuple[int, ...]
    dropped: tuple[int, ...]
    dropped_by_reason: tuple[int, ...]
    retried: int

    def conserved(self) -> bool:
        """Say whether offered = delivered + stored + in flight + dropped, for every kind."""
        parts = zip(self.delivered, self.stored, self.in_flight, self.dropped, strict=True)
        return all(o == sum(p) for o, p in zip(self.offered, parts, strict=True))


def bucket_of(value_ns: int) -> int:
    """Return the latency bucket of a value >= 0."""
    if value_ns < 1 << SUB_BITS:
        return value_ns
    shift = value_ns.bit_length() - 1 - SUB_BITS
    return min((shift << SUB_BITS) + (value_ns >> shift), BUCKETS - 1)
