"""What a registry is built from, what it answers, and the reasons that it gives.

Owns: frozen values and codes. Must not know: how anything is answered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from sim.world.registry.columns import NEVER_NS, Record
from sim.world.registry.limits import RegistrationLimits
from sim.world.registry.placement import Placement
from sim.world.registry.quorum import quorum_size

REGISTERED, RENEWED, RE_HOMED, LEFT = "registered", "renewed", "re_homed", "left"
FOUND = "found"
NOT_REGISTERED = "not_registered"
LEASE_ENDED = "lease_ended"
HOST_DOWN = "host_down"
NO_QUORUM = "no_quorum"

MAX_NODES = 1 << 16
MAX_CAPABILITIES = 1 << 16
MAX_REGIONS = 1 << 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryParameters:
    """A registry's shape and rules. The defaults are one host, without limits or leases."""

    placement: Placement = ((0,),)
    """Hosts of each shard; see `placement.place`."""
    node_region: tuple[int, ...] = (0,)
    """By node."""
    regions: int = 1
    """Regions in which agents live."""
    capabilities: int = 64
    reads: Literal["nearest", "quorum"] = "nearest"
    writes: Literal["one", "quorum"] = "one"
    replication_lag_ns: int = 0
    """How long a copy that nobody waits for waits before it is sent."""
    service_ns: int = 0
    """Time a replica takes to confirm a copy or a read."""
    timeout_ns: int = 1_000_000_000
    """After so long a host that is down is known to be down."""
    lease_ns: int = 0
    """Life of a registration without renewal; 0: for ever."""
    limits: RegistrationLimits = field(default_factory=RegistrationLimits)

    @property
    def replicas(self) -> int:
        return len(self.placement[0])

    @property
    def quorum(self) -> int:
        return quorum_size(self.replicas)

    def lease_until(self, now_ns: int) -> int:
        """Return the end of a lease given at `now_ns`."""
        return now_ns + self.lease_ns if self.lease_ns else NEVER_NS

    def __post_init__(self) -> None:
        problems = [text for holds, text in self._demands() if not holds]
        if problems:
            raise ValueError("registry: " + "; ".join(problems))

    def _demands(self) -> list[tuple[bool, str]]:
        nodes, hosts = len(self.node_region), [h for row in self.placement for h in row]
        rows = [len({self.node_region[h] for h in row if 0 <= h < nodes}) for row in self.placement]
        times = (self.replication_lag_ns, self.service_ns, self.timeout_ns, self.lease_ns)
        return [
            (bool(self.placement) and bool(hosts), "needs a shard with a host"),
            (0 < nodes <= MAX_NODES, f"1 to {MAX_NODES:,} nodes, has {nodes}"),
            (all(0 <= host < nodes for host in hosts), "a shard's host is no node"),
            (len({len(row) for row in self.placement}) <= 1, "shards have unlike many hosts"),
            (
                all(n == len(row) for n, row in zip(rows, self.placement, strict=True)),
                "two hosts of a shard share a region",
            ),
            (0 < self.regions <= MAX_REGIONS, f"1 to {MAX_REGIONS} regions, has {self.regions}"),
            (
                0 < self.capabilities <= MAX_CAPABILITIES,
                f"1 to {MAX_CAPABILITIES:,} capabilities, has {self.capabilities}",
            ),
            (self.reads in ("nearest", "quorum"), f"reads: {self.reads}; nearest or quorum"),
            (self.writes in ("one", "quorum"), f"writes: {self.writes}; one or quorum"),
            (min(times) >= 0, "times below 0"),
        ]


class Receipt(NamedTuple):
    """What became of a write.

    `reason`: registered, renewed, re_homed, left, or why it was refused. `host`: the coordinator,
    -1 where none was asked. `acknowledged_ns`: when the coordinator confirms.
    """

    accepted: bool
    reason: str
    version: int
    host: int
    acknowledged_ns: int


class Answer(NamedTuple):
    """What a host answered to a read.

    `reason`: found, not_registered, lease_ended, host_down, no_quorum. `record`: what the host
    has, a record whose lease has ended included. `missed`: writes newer than that. `stale`: one of
    them was acknowledged already. `wait_ns`: what waiting for a quorum added.
    """

    record: Record | None
    reason: str
    host: int
    missed: int = 0
    stale: bool = False
    wait_ns: int = 0


class Crash(NamedTuple):
    """What went down with a host, as (identity, version): believed by its sender, or not yet."""

    lost: tuple[tuple[int, int], ...]
    failed: tuple[tuple[int, int], ...]


class ShardLoad(NamedTuple):
    """One shard: its first host, records now, reads and writes so far."""

    shard: int
    host: int
    records: int
    reads: int
    writes: int
