"""Which gateways hold which shards, who takes over, and what moves when hosts come and go.

Owns: identities -> shards -> hosts on distinct regions, repair of that map, the bill of a change,
which of a shard's hosts a gateway asks. Everything is a pure function of its arguments; the one
draw, an identity's shard, is keyed.
Must not know: records, time, who notices that a host is down.

A placement is one row of hosts (node indices) a shard, in the order in which they take over: the
first serves, if it is down the second does, and so on. No two hosts of a row share a region.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.world.chance import mix, mix_array

Placement = tuple[tuple[int, ...], ...]
"""By shard: its hosts, first choice first."""


class Movement(NamedTuple):
    """One copy of one shard that a change of placement makes."""

    shard: int
    source: int
    target: int
    records: int
    size_bytes: int


def shard_of(key: int, ident: int, shards: int) -> int:
    """Return the shard of an identity: its keyed hash, scaled to the number of shards."""
    return ((mix(key, ident) >> 32) * shards) >> 32


def shards_of(key: int, idents: NDArray[Any], shards: int) -> NDArray[np.int64]:
    """Answer `shard_of` elementwise."""
    bits = mix_array(key, idents)
    return (((bits >> np.uint64(32)) * np.uint64(shards)) >> np.uint64(32)).astype(np.int64)


def first_hosts(
    gateways: Sequence[int], node_region: Sequence[int], shards: int | None = None
) -> tuple[int, ...]:
    """Return the first host of each shard, ascending.

    None: one shard a gateway. Otherwise the gateways of each region in turn, regions in the order
    in which `gateways` shows them. More shards than gateways: all gateways so often, the rest in
    turn. `node_region`: by node. Raises ValueError for no gateways or no shards.
    """
    if not gateways:
        raise ValueError("a registry needs a gateway to host its shards")
    if shards is None:
        shards = len(gateways)
    if shards < 1:
        raise ValueError(f"shards: {shards}; a registry needs one or more")
    whole, rest = divmod(shards, len(gateways))
    chosen = list(gateways) * whole
    rounds = [list(hosts) for hosts in _by_region(gateways, node_region).values()]
    while rest:
        for hosts in rounds:
            if hosts and rest:
                chosen.append(hosts.pop(0))
                rest -= 1
    return tuple(sorted(chosen))


def place(
    first: Sequence[int], gateways: Sequence[int], node_region: Sequence[int], replicas: int
) -> Placement:
    """Give each shard `replicas` hosts on distinct regions, its host in `first` first.

    A further copy goes to a region with the fewest whole copies a gateway; among those, to the one
    that follows hosts of the shard's first region least often for its size, so that the load of a
    lost region spreads over the others. Inside a region the gateway with the fewest copies takes
    it, so none there holds more than one copy more than another. Raises ValueError for more
    replicas than regions with gateways.
    """
    by_region = _by_region(gateways, node_region)
    if not 1 <= replicas <= len(by_region):
        raise ValueError(
            f"replicas: {replicas}; gateways are in {len(by_region)} regions and no two copies "
            f"share one: ask for 1 to {len(by_region)}, or add gateways in other regions"
        )
    load = _Load(by_region)
    for host in first:
        load.add(host, node_region[host])
    rows = []
    for shard, host in enumerate(first):
        row = [host]
        served = node_region[host]
        used = {served}
        for rank in range(1, replicas):
            row.append(load.take(used, shard, heir_of=(served, rank)))
            used.add(node_region[row[-1]])
        rows.append(tuple(row))
    return tuple(rows)


def repaired(
    current: Placement,
    base: Placement,
    gateways: Sequence[int],
    node_region: Sequence[int],
    *,
    down: Collection[int] = (),
    left: Collection[int] = (),
) -> Placement:
    """Return the placement to move to from `current` while some nodes do not serve.

    `base`: what holds when all serve. `down`: crashed, cannot hand anything over. `left`: do not
    serve any more, but still hand over. In a row the serving hosts of `base` come first, then
    substitutes: those it has already, then new ones, in the lost host's region where that has
    another gateway, else in the region with the fewest copies a gateway. So nothing moves but
    copies that lack, and copies to hosts of `base` that are back (they also replace substitutes).
    A row is shorter where fewer regions serve than it had hosts; a shard that nobody can hand over
    keeps its row, and is unavailable until one of its hosts is back.
    """
    gone = frozenset(down) | frozenset(left)
    live = {
        region: [host for host in hosts if host not in gone]
        for region, hosts in _by_region(gateways, node_region).items()
    }
    load = _Load({region: hosts for region, hosts in live.items() if hosts})
    kept = [
        _kept(row, home, gone, frozenset(down), node_region)
        for row, home in zip(current, base, strict=True)
    ]
    for row in kept:
        for host in row or ():
            load.add(host, node_region[host])
    rows = []
    for shard, (row, home) in enumerate(zip(kept, base, strict=True)):
        if row is None:
            rows.append(current[shard])
            continue
        used = {node_region[host] for host in row}
        lost = [node_region[host] for host in home if host in gone]
        while len(row) < len(home):
            near = [region for region in lost if region not in used]
            host = load.take_near(near, used, shard)
            if host < 0:
                break
            row.append(host)
            used.add(node_region[host])
        rows.append(tuple(row or current[shard]))
    return tuple(rows)


def hand_over(
    before: Placement,
    after: Placement,
    records: Sequence[int],
    record_bytes: int,
    *,
    down: Collection[int] = (),
) -> tuple[Movement, ...]:
    """Return the copies that a change of placement makes: the cost of rebalancing.

    Each host that is new to a shard gets all its records from the first host it had that is not
    `down`. `records`: by shard. Raises ValueError where nobody could hand over.
    """
    moves = []
    for shard, (old, new) in enumerate(zip(before, after, strict=True)):
        added = [host for host in new if host not in old]
        if not added:
            continue
        source = next((host for host in old if host not in down), None)
        if source is None:
            raise ValueError(f"shard {shard}: all its hosts {old} are down, nobody can hand over")
        size = records[shard] * record_bytes
        moves += [Movement(shard, source, host, records[shard], size) for host in added]
    return tuple(moves)


def hosts_array(placement: Placement, replicas: int) -> NDArray[np.int32]:
    """Return the placement as int32[shards, replicas], missing copies -1."""
    hosts = np.full((len(placement), replicas), -1, dtype=np.int32)
    for shard, row in enumerate(placement):
        hosts[shard, : len(row)] = row
    return hosts


def coordinator(
    hosts: Sequence[int], distance_ns: Sequence[int], known_down: Sequence[bool], attempt: int
) -> int:
    """Return the host that a gateway asks: the nearest not known to be down, a retry the next.

    `hosts`: a row of a placement. `distance_ns`: median delay from the gateway to each of them.
    `known_down`: by place in the row. `attempt`: 0 for the first; the ranks go round. Ties keep the
    row's order. Where all are known to be down the question goes to one of them, and fails there.
    """
    ranked = sorted(range(len(hosts)), key=lambda place: (distance_ns[place], place))
    serving = [place for place in ranked if not known_down[place]]
    choice = serving or ranked
    return hosts[choice[attempt % len(choice)]]


def _by_region(gateways: Sequence[int], node_region: Sequence[int]) -> dict[int, list[int]]:
    by_region: dict[int, list[int]] = {}
    for gateway in gateways:
        by_region.setdefault(node_region[gateway], []).append(gateway)
    return by_region


def _kept(
    row: Sequence[int],
    home: Sequence[int],
    gone: Collection[int],
    down: Collection[int],
    node_region: Sequence[int],
) -> list[int] | None:
    """Return the hosts that stay or come back, or None where no copy can be had."""
    if all(host in down for host in row):
        return None
    kept = [host for host in home if host not in gone]
    for host in row:
        regions = [node_region[other] for other in kept]
        if host not in gone and node_region[host] not in regions and len(kept) < len(home):
            kept.append(host)
    return kept


class _Load:
    """Copies by gateway and region, and who is to take the next one."""

    def __init__(self, by_region: Mapping[int, Sequence[int]]) -> None:
        self._hosts = by_region
        self._copies = {host: 0 for hosts in by_region.values() for host in hosts}
        self._total = dict.fromkeys(by_region, 0)
        self._heirs: dict[tuple[int, int, int], int] = {}

    def add(self, host: int, region: int) -> None:
        self._copies[host] += 1
        self._total[region] += 1

    def take_near(self, near: Sequence[int], used: Collection[int], turn: int) -> int:
        """Take a gateway of the first region of `near` that has one, else `take`."""
        for region in near:
            if region in self._hosts:
                return self._least(region)
        return self.take(used, turn)

    def take(self, used: Collection[int], turn: int, heir_of: tuple[int, int] | None = None) -> int:
        """Take a gateway of the region outside `used` whose turn it is; -1: there is none.

        `heir_of`: (region, rank) of those that the taken one is to follow.
        """
        regions = list(self._hosts)
        best, best_rank = -1, (0, 0.0, 0.0, 0)
        for index, region in enumerate(regions):
            if region in used:
                continue
            size = len(self._hosts[region])
            heirs = self._heirs.get((*heir_of, region), 0) / size if heir_of else 0.0
            whole, part = divmod(self._total[region], size)
            rank = (whole, heirs, part / size, (index - turn) % len(regions))
            if best < 0 or rank < best_rank:
                best, best_rank = region, rank
        if best < 0:
            return -1
        if heir_of:
            self._heirs[(*heir_of, best)] = self._heirs.get((*heir_of, best), 0) + 1
        return self._least(best)

    def _least(self, region: int) -> int:
        host = min(self._hosts[region], key=lambda one: (self._copies[one], one))
        self.add(host, region)
        return host
