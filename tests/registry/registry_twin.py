"""A registry message by message: every host holds whole writes, every copy is a message.

Slow and plain, to compare `AgentRegistry` with. Shares with it the draws of delays, the choice of a
coordinator, the size of a quorum and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sim.world.chance import Chance, mix
from sim.world.network.tables import NetworkTables
from sim.world.registry.parameters import RegistryParameters
from sim.world.registry.placement import coordinator, shard_of

Values = tuple[int, int, int, int]
"""Home, region, capability, end of lease."""


@dataclass(frozen=True)
class Op:
    """One write; `values` None: the agent left."""

    number: int
    ident: int
    values: Values | None
    coordinator: int
    acknowledged_ns: int


@dataclass(frozen=True)
class Copy:
    arrives_ns: int
    op: Op
    source: int
    target: int


@dataclass
class Host:
    up: bool = True
    since_ns: int = 0
    held: dict[int, list[Op]] = field(default_factory=dict)
    behind: set[int] = field(default_factory=set)

    def newest(self, ident: int) -> Op | None:
        return max(self.held.get(ident, ()), key=lambda op: op.number, default=None)

    def has(self, op: Op) -> bool:
        return op in self.held.get(op.ident, ())

    def take(self, op: Op) -> None:
        if not self.has(op):
            self.held.setdefault(op.ident, []).append(op)


class Twin:
    """The registry's rules once more."""

    def __init__(self, p: RegistryParameters, network: NetworkTables, chance: Chance) -> None:
        self.p, self.network = p, network
        self.hosts = [Host() for _ in p.node_region]
        self.ops: dict[int, list[Op]] = {}
        """By agent: writes that were not undone, oldest first."""
        self.copies: list[Copy] = []
        self.unconfirmed: set[int] = set()
        """Numbers of writes whose coordinator crashed before it confirmed them."""
        self.keys = {what: chance.key(f"registry/{what}") for what in ("shard", "copy", "confirm")}
        self.number = 0
        self.now_ns = 0

    def shard(self, ident: int) -> int:
        return shard_of(self.keys["shard"], ident, len(self.p.placement))

    def row(self, ident: int) -> tuple[int, ...]:
        return self.p.placement[self.shard(ident)]

    def serves(self, host: int, shard: int) -> bool:
        return self.hosts[host].up and shard not in self.hosts[host].behind

    def live(self, shard: int) -> list[int]:
        return [h for h in self.p.placement[shard] if self.serves(h, shard)]

    def delay_ns(self, what: str, number: int, source: int, target: int) -> int:
        bits = mix(self.keys[what], number, (source << 16) | target)
        region = self.p.node_region
        return self.network.delay_ns(region[source], region[target], bits)

    def advance(self, now_ns: int) -> None:
        self.now_ns = now_ns
        for copy in self.copies:
            if copy.arrives_ns <= now_ns:
                self.hosts[copy.target].take(copy.op)
        self.copies = [copy for copy in self.copies if copy.arrives_ns > now_ns]

    def believed(self, op: Op) -> bool:
        """Say whether the sender of a write has its confirmation."""
        return op.acknowledged_ns <= self.now_ns and op.number not in self.unconfirmed

    def newest(self, ident: int) -> Values | None:
        ops = self.ops.get(ident)
        return ops[-1].values if ops else None

    def asked(self, ident: int, gateway: int, attempt: int) -> int:
        row, region = self.row(ident), self.p.node_region
        near = [int(self.network.median_ns[region[gateway], region[h]]) for h in row]
        known = []
        for h in row:
            long = self.now_ns - self.hosts[h].since_ns > self.p.timeout_ns
            behind = self.shard(ident) in self.hosts[h].behind
            known.append(behind if self.hosts[h].up else long)
        return coordinator(row, near, known, attempt)

    def quorum(self, ident: int, host: int) -> tuple[dict[int, int], list[tuple[int, int]]]:
        """Return the ways out, and the others that confirm as (round trip, host), fastest first."""
        out, trips = {}, []
        for place, other in enumerate(self.row(ident)):
            if other != host and self.serves(other, self.shard(ident)):
                out[other] = self.delay_ns("copy", self.number, host, other)
                back_ns = self.delay_ns("confirm", self.number, other, host)
                trips.append((out[other] + self.p.service_ns + back_ns, place, other))
        return out, [(trip, other) for trip, _, other in sorted(trips)]

    def write(self, ident: int, values: Values | None, gateway: int, attempt: int) -> str:
        host = self.asked(ident, gateway, attempt)
        if not self.serves(host, self.shard(ident)):
            return "host_down"
        self.number += 1
        out, trips = self.quorum(ident, host)
        wait_ns, at_once = 0, []
        if self.p.writes == "quorum":
            others = len(self.row(ident)) // 2
            if len(trips) < others:
                return "no_quorum"
            at_once = [other for _, other in trips[:others]]
            wait_ns = trips[others - 1][0] if others else 0
        op = Op(self.number, ident, values, host, self.now_ns + wait_ns)
        self.ops.setdefault(ident, []).append(op)
        self.hosts[host].take(op)
        for other, delay_ns in out.items():
            lag_ns = 0 if other in at_once else self.p.replication_lag_ns
            self.copies.append(Copy(self.now_ns + delay_ns + lag_ns, op, host, other))
        self.advance(self.now_ns)
        return "written"

    def read(self, ident: int, gateway: int, attempt: int) -> tuple[str, Values | None, bool]:
        """Return the reason, what was seen, and whether that is stale."""
        host = self.asked(ident, gateway, attempt)
        if not self.serves(host, self.shard(ident)):
            return "host_down", None, False
        asked = [host]
        if self.p.reads == "quorum":
            self.number += 1
            _, trips = self.quorum(ident, host)
            others = len(self.row(ident)) // 2
            if len(trips) < others:
                return "no_quorum", None, False
            asked += [other for _, other in trips[:others]]
        seen = [op for op in (self.hosts[h].newest(ident) for h in asked) if op]
        best = max(seen, key=lambda op: op.number, default=None)
        number = best.number if best else 0
        newer = [op for op in self.ops.get(ident, ()) if op.number > number]
        stale = any(self.believed(op) for op in newer)
        values = best.values if best else None
        if values is None:
            return "not_registered", None, stale
        return ("found" if self.now_ns < values[3] else "lease_ended"), values, stale

    def expire(self) -> list[int]:
        ended = []
        for ident, ops in self.ops.items():
            values = ops[-1].values if ops else None
            if values and values[3] <= self.now_ns:
                ended.append(ident)
        for ident in ended:
            del self.ops[ident]
            for host in self.hosts:
                host.held.pop(ident, None)
            self.copies = [copy for copy in self.copies if copy.op.ident != ident]
        return ended

    def crash(self, node: int) -> tuple[list[int], list[int]]:
        """Return the agents whose newest write is lost, and whose is not but failed."""
        if not self.hosts[node].up:
            return [], []
        self.hosts[node] = replace(self.hosts[node], up=False, since_ns=self.now_ns)
        self.copies = [c for c in self.copies if node not in (c.source, c.target)]
        for op in (op for ops in self.ops.values() for op in ops):
            if op.coordinator == node and op.acknowledged_ns > self.now_ns:
                self.unconfirmed.add(op.number)
        return self.take_over(node)

    def recover(self, node: int) -> tuple[list[int], list[int]]:
        me = self.hosts[node]
        if me.up:
            return [], []
        me.up = True
        for ident, held in me.held.items():
            me.held[ident] = [op for op in held if op in self.ops.get(ident, ())]
        for shard, row in enumerate(self.p.placement):
            if node not in row:
                continue
            idents = [ident for ident in self.ops if self.shard(ident) == shard]
            me.behind.add(shard)
            sources = self.live(shard)
            group = [h for h in row if self.hosts[h].up]
            if not sources and all(self.owed_is_there(i, group) for i in idents):
                sources = group
            if sources:
                for other in group:
                    self.hosts[other].behind.discard(shard)
                    for source in sources:
                        self.bring_up(other, source, idents)
        return self.take_over(node)

    def owed_is_there(self, ident: int, group: list[int]) -> bool:
        """Say whether a group has the last confirmed write of an agent, or a later one."""
        ops = self.ops[ident]
        needed = len(self.row(ident)) // 2 + 1 if self.p.writes == "quorum" else 1
        if len(group) < needed:
            owed = ops[-1:]
        else:
            confirmed = [op for op in ops if op.number not in self.unconfirmed]
            owed = [op for op in ops if confirmed and op.number >= confirmed[-1].number]
        return not owed or any(self.hosts[h].has(op) for h in group for op in owed)

    def bring_up(self, target: int, source: int, idents: list[int]) -> None:
        for ident in idents:
            for op in self.hosts[source].held.get(ident, ()):
                self.hosts[target].take(op)

    def take_over(self, node: int) -> tuple[list[int], list[int]]:
        lost, failed = [], []
        for ident, ops in self.ops.items():
            if node not in self.row(ident):
                continue
            live = self.live(self.shard(ident))
            needed = len(self.row(ident)) // 2 + 1 if self.p.writes == "quorum" else 1
            for op in list(reversed(ops)):
                under_way = [c.target for c in self.copies if c.op is op]
                holders = [h for h in live if self.hosts[h].has(op)]
                if holders:
                    for h in live:
                        if not self.hosts[h].has(op) and h not in under_way:
                            delay_ns = self.delay_ns("copy", op.number, holders[0], h)
                            at_ns = self.now_ns + self.p.timeout_ns + delay_ns
                            self.copies.append(Copy(at_ns, op, holders[0], h))
                elif len(live) >= needed and not any(h in under_way for h in live):
                    if op is ops[-1]:
                        (lost if self.believed(op) else failed).append(ident)
                    ops.remove(op)
        return lost, failed
