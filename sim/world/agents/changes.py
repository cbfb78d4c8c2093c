"""What faults do to the agent plane: plain values for `AgentPlane.apply`.

Must not know: timetables; the engine decides when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class NodeDown:
    """A validator crashes, and its gateway, shard and relay with it."""

    node: int


@dataclass(frozen=True, slots=True)
class NodeUp:
    """A crashed validator is back, with empty stations and cache."""

    node: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """Services of a node take `service_ppm` / 10**6 of their work from now on; 10**6 restores.

    `links_ppm` does the same to the time its uplink and downlink take for a byte.
    """

    node: int
    service_ppm: int = 1_000_000
    links_ppm: int = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRates:
    """Transmissions of each node take so many ppm of their time at the reserved rate, from now on.

    By node, throttles included; below 10**6 a lane has borrowed. A throttle that comes later sets
    both directions of its node anew.
    """

    uplink_ppm: tuple[int, ...]
    downlink_ppm: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChange:
    """Set what links from `sources` to `targets` (nodes) do beyond the network tables.

    The last change of a link holds; the defaults restore it.
    """

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    blocked: bool = False
    extra_delay_ns: int = 0
    extra_loss_ppb: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect:
    """`share_ppm` of the online agents of `region` (None: of all) leave now.

    Each returns at `back_ns` plus a keyed uniform part of `spread_ns`: a reconnect storm. `homes`:
    only agents of these gateways; None: of all. With `register_bytes` the registry forgets those
    who leave, and each sends a registration of that size a grid cell after its return.
    """

    share_ppm: int
    back_ns: int
    region: int | None = None
    spread_ns: int = 0
    homes: tuple[int, ...] | None = None
    register_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surge:
    """Open-loop arrivals of `kinds`, by senders of `regions`, are `factor_ppm` / 10**6 of what the
    workload says, from the next grid cell on; empty: all kinds, all regions.

    The last change of a `place` holds; 10**6 ends it. Factors are 1 or more: what comes on top is
    drawn apart, so that the workload's own arrivals stay what they were.
    """

    factor_ppm: int
    place: int = 0
    kinds: tuple[int, ...] = ()
    regions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLoss:
    """Hosts lose their copies of shards now.

    What no other copy has is gone: the writes that had not left the host, and, where every host of
    a shard is struck, all its registrations. Other copies are made anew at once, and billed.
    """

    nodes: tuple[int, ...]
    shards: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Attack:
    """Let the assault at `place` of `PlaneParameters.assaults` begin or end.

    Floods do so with the next grid cell, other assaults now.
    """

    place: int
    on: bool


Change: TypeAlias = (
    NodeDown | NodeUp | Throttle | LinkRates | LinkChange | Disconnect | Surge | ShardLoss | Attack
)
