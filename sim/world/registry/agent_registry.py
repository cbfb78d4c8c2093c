"""The agent registry as a store that can be called: a million records, shards, replicas, leases.

Owns: the calls, their rules and their bookkeeping. Records are columns (`columns`), hosts and
copies are `replicas`, limits are `limits`. Times are what the caller says, and never go back.
Must not know: stations and queues (what a call costs under load), messages, the event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from sim.world.chance import U64, Chance, mix
from sim.world.network.tables import NetworkTables
from sim.world.registry import frames
from sim.world.registry.columns import Record
from sim.world.registry.limits import ADMITTED, VERDICTS, RegistrationMeter
from sim.world.registry.parameters import (
    FOUND,
    HOST_DOWN,
    LEASE_ENDED,
    LEFT,
    NO_QUORUM,
    NOT_REGISTERED,
    RE_HOMED,
    REGISTERED,
    RENEWED,
    Answer,
    Crash,
    Receipt,
    RegistryParameters,
    ShardLoad,
)
from sim.world.registry.placement import Movement, coordinator, hand_over, repaired
from sim.world.registry.quorum import DOWN_NS, quorum_wait_ns
from sim.world.registry.record_store import ANY_TIME_NS, RecordStore, Table
from sim.world.registry.replicas import Replicas, Undone, Write

if TYPE_CHECKING:
    import polars as pl

    from sim.world.agents.population import Population


class AgentRegistry:
    """Who is registered where: writes through a coordinator, reads of any replica, queries.

    `network` gives delays between replicas; without it all are 0, and only one replica is allowed.
    `chance` draws delays and spreads identities over shards. Identities are integers below 2**64.

    `get`, `get_many`, `find` and `count` answer from the newest records, whoever has them; `read`
    answers what a gateway would be told. Writes (`register`, `renew`, `re_home`, `leave`) are
    served by their coordinator at `now_ns`. A call with an earlier time than the last raises
    ValueError, as do nodes, regions and capabilities that do not exist; what the rules refuse is an
    answer with its reason.
    """

    def __init__(
        self,
        parameters: RegistryParameters | None = None,
        *,
        network: NetworkTables | None = None,
        chance: Chance | None = None,
    ) -> None:
        p = parameters or RegistryParameters()
        if network is None and p.replicas > 1:
            raise ValueError(
                f"{p.replicas} replicas need the network's delays; give `network`, or one replica"
            )
        if network is not None and max(p.node_region) >= len(network.regions):
            raise ValueError(
                f"a node is in region {max(p.node_region)}, the network has {len(network.regions)}"
            )
        chance = chance or Chance(0, 0)
        self.parameters = p
        self.now_ns = 0
        self.counts: dict[str, int] = {}
        """How often each reason was given; `stale`, `lost` and `failed` beside them."""
        self._network = network
        self._copy_key = chance.key("registry/copy")
        self._confirm_key = chance.key("registry/confirm")
        needed = p.quorum if p.writes == "quorum" else 1
        self._replicas = Replicas(p.placement, needed, p.timeout_ns, self._copy_delay_ns)
        self._meter = RegistrationMeter(p.limits, len(p.node_region))
        self._store = RecordStore(
            capabilities=p.capabilities,
            regions=p.regions,
            shards=len(p.placement),
            shard_key=chance.key("registry/shard"),
        )
        self._reads = np.zeros(len(p.placement), dtype=np.int64)
        self._writes = np.zeros(len(p.placement), dtype=np.int64)
        self._number = 0

    @classmethod
    def from_frame(
        cls,
        frame: pl.DataFrame,
        parameters: RegistryParameters | None = None,
        *,
        network: NetworkTables | None = None,
        chance: Chance | None = None,
    ) -> Self:
        """Return a registry of the records of `to_frame`, which all replicas have.

        Raises ValueError for values outside the parameters, leases below 1, identities given twice.
        """
        registry = cls(parameters, network=network, chance=chance)
        registry._store.load(frames.checked(frames.table_of(frame), registry.parameters))
        return registry

    @classmethod
    def from_population(
        cls,
        people: Population,
        parameters: RegistryParameters | None = None,
        *,
        network: NetworkTables | None = None,
        chance: Chance | None = None,
    ) -> Self:
        """Return a registry of the agents of a population that start registered."""
        registry = cls(parameters, network=network, chance=chance)
        registry._store.load(frames.checked(frames.registered(people), registry.parameters))
        return registry

    def __len__(self) -> int:
        """Count records, those whose lease has ended but that were not dropped included."""
        return len(self._store)

    # Writes.

    def register(
        self,
        ident: int,
        *,
        home: int,
        region: int,
        capability: int,
        now_ns: int,
        attempt: int = 0,
    ) -> Receipt:
        """Register an agent through its home gateway, or replace its record.

        Refused by the limits of the gateway and of the registry before anything else.
        """
        self._check(home, region, capability)
        self._store.row_of(ident)
        self._advance(now_ns)
        verdict = self._meter.admit(home, now_ns)
        if verdict != ADMITTED:
            return self._refused(VERDICTS[verdict])
        lease_until_ns = self.parameters.lease_until(now_ns)
        new = Record(ident, home, region, capability, lease_until_ns, 0)
        return self._write(new, REGISTERED, home, attempt)

    def renew(self, ident: int, *, now_ns: int, attempt: int = 0) -> Receipt:
        """Extend a lease that has not ended to a whole one from now."""
        return self._changed(ident, RENEWED, None, now_ns, attempt)

    def re_home(self, ident: int, *, home: int, now_ns: int, attempt: int = 0) -> Receipt:
        """Move an agent to another gateway, through which it says so; the lease stays."""
        self._check(home, 0, 0)
        return self._changed(ident, RE_HOMED, home, now_ns, attempt)

    def leave(self, ident: int, *, now_ns: int, attempt: int = 0) -> Receipt:
        """Take an agent's record away."""
        return self._changed(ident, LEFT, None, now_ns, attempt)

    def expire(self, now_ns: int) -> U64:
        """Drop the records whose lease has ended, on all replicas; return their identities."""
        self._advance(now_ns)
        ended, idents = self._store.drop_ended(now_ns)
        if self._replicas.pending():
            for row in ended.tolist():
                self._replicas.forget(row)
        return idents

    # Reads and queries.

    def get(self, ident: int) -> Record | None:
        """Return an agent's newest record, or None."""
        return self._store.record(self._store.row_of(ident))

    def get_many(self, idents: Sequence[int] | NDArray[Any]) -> Table:
        """Return columns of the newest records, in the order asked.

        `known` says which are registered; in the other columns, those of `Record`, they are 0.
        """
        return self._store.get_many(idents)

    def read(self, ident: int, *, gateway: int, now_ns: int, attempt: int = 0) -> Answer:
        """Ask the registry from a gateway, as a message's lookup does.

        The coordinator is the nearest replica not known to be down, on a retry the next; it answers
        what it has (`reads: nearest`), or the newest that its quorum has.
        """
        self._check(gateway, 0, 0)
        self._advance(now_ns)
        shard = self.shard_of(ident)
        self._reads[shard] += 1
        host = self._coordinator(shard, gateway, attempt)
        if not self._replicas.serves(shard, host):
            return self._counted(Answer(None, HOST_DOWN, host))
        asked, wait_ns = [host], 0
        if self.parameters.reads == "quorum":
            self._number += 1
            _, trips = self._round_trips(shard, host)
            wait = quorum_wait_ns(list(trips.values()), self.parameters.replicas)
            if wait is None:
                return self._counted(Answer(None, NO_QUORUM, host))
            asked, wait_ns = [host, *self._fastest(trips)], wait
        row = self._store.row_of(ident)
        lacking = min((self._replicas.lacking(h, row, now_ns) for h in asked), key=len)
        record = lacking[-1].before if lacking else self._store.record(row)
        reason = FOUND if record else NOT_REGISTERED
        if record and not record.alive_at(now_ns):
            reason = LEASE_ENDED
        stale = any(write.acknowledged_ns <= now_ns for write in lacking)
        return self._counted(Answer(record, reason, host, len(lacking), stale, wait_ns))

    def find(
        self,
        capability: int,
        *,
        region: int | None = None,
        limit: int = 16,
        alive_at_ns: int = ANY_TIME_NS,
        turn: int = 0,
    ) -> U64:
        """Return identities with a capability, `limit` at most, from all regions or one.

        `alive_at_ns`: only those whose lease lasts longer. Agents come in the order of the index,
        read round from place `turn`: callers that give different turns find different agents.
        """
        self._check(0, region or 0, capability)
        if limit < 1 or turn < 0:
            raise ValueError(f"limit {limit}, turn {turn}; need limit >= 1 and turn >= 0")
        return self._store.find(capability, region, limit, alive_at_ns, turn)

    def count(
        self,
        capability: int | None = None,
        *,
        region: int | None = None,
        alive_at_ns: int = ANY_TIME_NS,
    ) -> int:
        """Count records by capability, region, both or neither; see `find` for `alive_at_ns`."""
        self._check(0, region or 0, capability or 0)
        return self._store.count(capability, region, alive_at_ns)

    def hot_shards(self, top: int = 10, *, by: str = "operations") -> list[ShardLoad]:
        """Return the `top` shards with the most `operations` (reads and writes) or `records`."""
        if by not in ("operations", "records"):
            raise ValueError(f"by: {by}; operations or records")
        records = self._store.by_shard
        load = self._reads + self._writes if by == "operations" else records
        order = np.lexsort((np.arange(len(load)), -load))[:top]
        return [
            ShardLoad(
                shard,
                self._replicas.hosts[shard][0],
                int(records[shard]),
                int(self._reads[shard]),
                int(self._writes[shard]),
            )
            for shard in order.tolist()
        ]

    # Hosts.

    def crash(self, node: int, now_ns: int) -> Crash:
        """Take a node down; return the writes that went with it. See `Replicas.crash`."""
        self._check(node, 0, 0)
        self._advance(now_ns)
        return self._undone(self._replicas.crash(node, now_ns))

    def recover(self, node: int, now_ns: int) -> Crash:
        """Bring a node back; return writes that turn out to be gone. See `Replicas.recover`."""
        self._check(node, 0, 0)
        self._advance(now_ns)
        return self._undone(self._replicas.recover(node, now_ns))

    def rebalance(
        self, now_ns: int, *, record_bytes: int, left: Sequence[int] = ()
    ) -> tuple[Movement, ...]:
        """Hand shards of hosts known to be down, or that have `left`, to others; back as well.

        `left`: all that have left, on every call: who is no longer named is a host again.
        Returns what moves. New hosts have it at once: time and bytes are the caller's to charge.
        """
        self._advance(now_ns)
        p, before = self.parameters, self._replicas.hosts
        down = self._replicas.long_down(now_ns)
        gateways = sorted({host for row in p.placement for host in row})
        after = repaired(before, p.placement, gateways, p.node_region, down=down, left=left)
        unable = [h for h in range(len(p.node_region)) if not self._replicas.up(h)]
        moves = hand_over(before, after, self._store.by_shard.tolist(), record_bytes, down=unable)
        self._replicas.move(after, now_ns)
        return moves

    def hosts(self, shard: int) -> tuple[int, ...]:
        """Return a shard's hosts now, in take-over order."""
        return self._replicas.hosts[shard]

    def pending_writes(self) -> int:
        """Return how many writes some replica still lacks."""
        return self._replicas.pending()

    def shard_of(self, ident: int) -> int:
        """Return the shard of an identity."""
        return self._store.shard_of(ident)

    def bytes_per_agent(self) -> float:
        """Return the bytes of all columns and indices over the records they have room for."""
        return self._store.size_bytes() / self._store.capacity()

    def to_frame(self) -> pl.DataFrame:
        """Return the newest records as a Polars frame, in the order of identities."""
        return frames.frame_of(self._store.table())

    # Inside.

    def _check(self, node: int, region: int, capability: int) -> None:
        p = self.parameters
        for what, value, bound in (
            ("node", node, len(p.node_region)),
            ("region", region, p.regions),
            ("capability", capability, p.capabilities),
        ):
            if not 0 <= value < bound:
                raise ValueError(f"{what} {value} does not exist: 0 to {bound - 1}")

    def _advance(self, now_ns: int) -> None:
        if now_ns < self.now_ns:
            raise ValueError(f"time goes back: {now_ns} ns after {self.now_ns} ns")
        self.now_ns = now_ns
        for row in self._replicas.settle(now_ns):
            if self._store.record(row) is None:
                self._store.free_row(row)

    def _coordinator(self, shard: int, gateway: int, attempt: int) -> int:
        hosts, region = self._replicas.hosts[shard], self.parameters.node_region
        near = [0] * len(hosts)
        if self._network is not None:
            median = self._network.median_ns[region[gateway]]
            near = [int(median[region[host]]) for host in hosts]
        known = [self._replicas.known_down(shard, host, self.now_ns) for host in hosts]
        return coordinator(hosts, near, known, attempt)

    def _changed(
        self, ident: int, what: str, home: int | None, now_ns: int, attempt: int
    ) -> Receipt:
        self._advance(now_ns)
        old = self.get(ident)
        if old is None:
            return self._refused(NOT_REGISTERED)
        if not old.alive_at(now_ns):
            return self._refused(LEASE_ENDED)
        new: Record | None = None
        if what == RENEWED:
            new = old._replace(lease_until_ns=self.parameters.lease_until(now_ns))
        elif home is not None:
            new = old._replace(home=home)
        gateway = old.home if home is None else home
        return self._write(new or old._replace(lease_until_ns=0), what, gateway, attempt)

    def _write(self, new: Record, what: str, gateway: int, attempt: int) -> Receipt:
        """Serve a write at its coordinator now; a lease of 0 takes the record away."""
        p, now_ns = self.parameters, self.now_ns
        shard = self.shard_of(new.ident)
        self._writes[shard] += 1
        host = self._coordinator(shard, gateway, attempt)
        if not self._replicas.serves(shard, host):
            return self._refused(HOST_DOWN, host)
        self._number += 1
        out, trips = self._round_trips(shard, host)
        acknowledged_ns, lagging = now_ns, list(out)
        if p.writes == "quorum":
            wait = quorum_wait_ns(list(trips.values()), p.replicas)
            if wait is None:
                return self._refused(NO_QUORUM, host)
            acknowledged_ns += wait
            first = self._fastest(trips)
            lagging = [other for other in out if other not in first]
        row = self._store.row_of(new.ident)
        if row < 0:
            row = self._store.take_row(new.ident)
        before, version = self._store.record(row), self._store.next_version(row)
        self._store.put(row, new._replace(version=version))
        if len(self._replicas.hosts[shard]) > 1:
            visible_ns = {host: now_ns}
            for other, delay_ns in out.items():
                lag_ns = p.replication_lag_ns if other in lagging else 0
                visible_ns[other] = now_ns + delay_ns + lag_ns
            sender = dict.fromkeys(visible_ns, host)
            course = (host, acknowledged_ns, visible_ns, sender)
            self._replicas.add(Write(self._number, row, shard, version, before, *course))
        elif new.lease_until_ns == 0:
            self._store.free_row(row)
        self.counts[what] = self.counts.get(what, 0) + 1
        return Receipt(True, what, version, host, acknowledged_ns)

    def _round_trips(self, shard: int, host: int) -> tuple[dict[int, int], dict[int, int]]:
        """Draw, for the others of a shard, the way out and the time to a confirmation.

        Those that do not serve are left out of the first and DOWN_NS in the second.
        """
        out, trips = {}, {}
        for other in self._replicas.hosts[shard]:
            if other == host:
                continue
            trips[other] = DOWN_NS
            if self._replicas.serves(shard, other):
                out[other] = self._copy_delay_ns(self._number, host, other)
                back_ns = self._delay_ns(self._confirm_key, self._number, other, host)
                trips[other] = out[other] + self.parameters.service_ns + back_ns
        return out, trips

    def _fastest(self, trips: dict[int, int]) -> list[int]:
        """Return the hosts that make the quorum with the coordinator; ties by their order."""
        up = [other for other, trip in trips.items() if trip != DOWN_NS]
        return sorted(up, key=lambda other: trips[other])[: self.parameters.quorum - 1]

    def _copy_delay_ns(self, number: int, source: int, target: int) -> int:
        return self._delay_ns(self._copy_key, number, source, target)

    def _delay_ns(self, key: int, number: int, source: int, target: int) -> int:
        if self._network is None:
            return 0
        region = self.parameters.node_region
        bits = mix(key, number, (source << 16) | target)
        return self._network.delay_ns(region[source], region[target], bits)

    def _undone(self, undone: Sequence[Undone]) -> Crash:
        """Put back what undone writes had replaced."""
        lost: list[tuple[int, int]] = []
        failed: list[tuple[int, int]] = []
        for write in undone:
            named = (self._store.ident(write.row), write.version)
            (lost if write.acknowledged else failed).append(named)
            self._store.put(write.row, write.before)
        for row in dict.fromkeys(write.row for write in undone):
            if self._store.record(row) is None and not self._replicas.has_chain(row):
                self._store.free_row(row)
        self.counts["lost"] = self.counts.get("lost", 0) + len(lost)
        self.counts["failed"] = self.counts.get("failed", 0) + len(failed)
        return Crash(tuple(lost), tuple(failed))

    def _refused(self, reason: str, host: int = -1) -> Receipt:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        return Receipt(False, reason, 0, host, self.now_ns)

    def _counted(self, answer: Answer) -> Answer:
        for reason in (answer.reason, "stale") if answer.stale else (answer.reason,):
            self.counts[reason] = self.counts.get(reason, 0) + 1
        return answer
