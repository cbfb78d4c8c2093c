"""The agent plane: a million agents as columns, solved slice by slice.

Owns: the plane's clock, the order of slices, the calls of the engine.
Must not know: SimPy, scenarios, blocks, how its rows are stored. Semantics: README.md beside this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.protocol.types import PayloadRef
from sim.world.agents import draws
from sim.world.agents.books import Ledger
from sim.world.agents.build import build_world
from sim.world.agents.changes import (
    Attack,
    Change,
    Disconnect,
    LinkChange,
    LinkRates,
    NodeDown,
    NodeUp,
    ShardLoss,
    Surge,
    Throttle,
)
from sim.world.agents.faults.kernels import crash, forget
from sim.world.agents.kernels import list_unsure, mark
from sim.world.agents.kinds import GRID_NS, PPB, PPM, SECOND_NS, TRANSACTION
from sim.world.agents.lanes.use import LinkUse
from sim.world.agents.owned import lies_of
from sim.world.agents.parameters import ClosedLoop, Malice, PlaneParameters
from sim.world.agents.payload.book import PayloadBook
from sim.world.agents.population import Population, affine, bytes_per_agent, draw_population
from sim.world.agents.replicas.hosts import Hosts
from sim.world.agents.replicas.kernels import send_missed
from sim.world.agents.stages.kernels import AFTER, BEFORE, solve
from sim.world.agents.state import bytes_of, fitted, line_block
from sim.world.agents.tables import LOST_WRITE, Counters, Drained
from sim.world.agents.workload import Cell, Workload, no_arrivals
from sim.world.chance import I64, U64, Chance, mix_array
from sim.world.network.tables import NetworkTables

if TYPE_CHECKING:
    from sim.world.agents.dht.directory import DhtDirectory

_HORIZON_S = 16
"""Seconds between two looks at all agents for what changes soon: a look reads every row."""


class AgentPlane:
    """Solve agents' traffic up to a time, ask and tell the rest of the run in between.

    `network` has a row for each region of `parameters.placement`. Equal arguments and calls give
    equal answers, however `advance` is called in between.
    """

    def __init__(self, parameters: PlaneParameters, network: NetworkTables, chance: Chance) -> None:
        self.parameters = parameters
        self._network = network
        keys = draws.keys_of(chance)
        people = draw_population(parameters, network, keys)
        self._workload = Workload(parameters, people, keys, chance)
        self._world = build_world(parameters, network, people, keys)
        self._payload = PayloadBook(
            parameters.dissemination, len(parameters.node_region), parameters.metered
        )
        self._ledger = Ledger(self._world)
        self._use = LinkUse()
        self._now_ns = 0
        self._cell = no_arrivals()
        self._cell_number = -1
        self._horizon_ns = 0
        self._hosts = Hosts(parameters)
        self._attacks: dict[int, None] = {}
        self._dht = _dht_of(parameters, network, people, keys, chance)
        self._start_loops()

    # -- time ---------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """How far the plane is solved."""
        return self._now_ns

    def advance(self, now_ns: int, horizon_ns: int | None = None) -> None:
        """Solve everything up to and including `now_ns`.

        A caller that will not `apply` anything before `horizon_ns` says so: the plane then solves
        to the end of the grid cell at once, and the calls until then cost nothing. Answers are
        the same. Raises ValueError for a time before that of an earlier fault.
        """
        target_ns = now_ns
        if horizon_ns is not None:
            cell_end_ns = -(-now_ns // GRID_NS) * GRID_NS
            target_ns = max(now_ns, min(cell_end_ns, horizon_ns))
        while self._now_ns < target_ns:
            t0 = self._now_ns
            self._slice(t0, min(target_ns, (t0 // GRID_NS + 1) * GRID_NS))

    def _slice(self, t0: int, t1: int) -> None:
        if t0 // GRID_NS != self._cell_number:
            self._cell_number = t0 // GRID_NS
            self._cell = self._workload.cell(self._cell_number)
        if t0 % SECOND_NS == 0:
            self._ledger.close_second(self._world, t0 // SECOND_NS - 1)
        self._look_ahead(t0)
        self._fit(self._cell, t1)
        world = self._world
        parts = BEFORE | AFTER
        batches = (self._payload.open, self._payload.closed)
        if self._dht is not None:
            solve(world, self._cell, *batches, t0, t1, BEFORE)
            self._dht.look_up(world)
            parts = AFTER
        closed = solve(world, self._cell, *batches, t0, t1, parts)
        self._payload.collect(world, closed, t1)
        self._now_ns = t1
        if t1 % GRID_NS == 0:
            self._look_around()

    def _look_ahead(self, t0: int) -> None:
        """Look who toggles, and whose lease runs out, before the next look."""
        if t0 < self._horizon_ns:
            return
        world = self._world
        end_ns = (t0 // SECOND_NS + _HORIZON_S) * SECOND_NS
        near = np.empty(mark(world.people, world.contacts, end_ns), dtype=np.int64)
        list_unsure(world.contacts, near)
        sessions = line_block(1, len(near))
        sessions.due["slot"][0] = near
        sessions.due["time_ns"][0] = world.people["session"][near] >> 1
        sessions.size[0] = len(near)
        world.horizon_ns[0] = end_ns
        self._world = world._replace(sessions=sessions)
        self._horizon_ns = end_ns

    def _fit(self, cell: Cell, t1: int) -> None:
        """Make room for what a slice to `t1` may add."""
        world = self._world
        near = world.sessions.due[0, : int(world.sessions.size[0])]
        toggling = near["slot"][near["time_ns"] <= t1]
        fresh = len(cell.time_ns) + int(world.thinkers.size[0]) + len(toggling)
        released = int(world.people["stored"][toggling].sum()) if len(toggling) else 0
        self._world = fitted(world, fresh, self._payload.awaiting, released)
        self._payload.fit(len(self._world.ends))

    def _look_around(self) -> None:
        """Look who is down at this grid boundary, after what the registry wrote is in force."""
        world = self._world
        self._hosts.look(world, self._now_ns)
        if self._dht is not None:
            self._dht.look(world, self._now_ns)

    def _start_loops(self) -> None:
        for traffic in self.parameters.traffic:
            if traffic.kind == TRANSACTION and isinstance(traffic.arrivals, ClosedLoop):
                world, key = self._world, self._world.draw[draws.THINK]
                order = affine(int(world.draw[draws.POPULATION]), 5, self.parameters.agents)
                loops = self.parameters.agents * traffic.arrivals.share_ppm // PPM
                agents = order.backward(np.arange(loops))
                table = world.think_table.tolist()
                due = world.thinkers.due[0, :loops]
                due["slot"] = agents
                due["time_ns"] = [draws.think_ns(table, int(key), a, 0) for a in agents.tolist()]
                world.thinkers.size[0] = loops
                world.people["sequence"][agents] = 1

    # -- faults -------------------------------------------------------------------------------

    def apply(self, change: Change) -> None:
        """Let a fault act now, after everything at this instant.

        Raises ValueError for a node that is none, rates for others than all nodes, and a return
        before now.
        """
        match change:
            case NodeDown(node):
                self._check(node)
                self._fit(self._cell, self._now_ns)
                self._hosts.crashed(self._world, node, self._now_ns)
                if self.parameters.metered:
                    self._use.crash(self._world, node, self._now_ns)
                self._payload.crash(self._world, node, self._now_ns)
                crash(self._world, node, self._now_ns)
            case NodeUp(node):
                self._check(node)
                self._world.down[node] = 0
            case Throttle():
                self._throttle(change)
            case LinkRates():
                self._set_rates(change)
            case LinkChange():
                self._change_links(change)
            case Disconnect():
                self._disconnect(change)
            case Surge():
                self._workload.surge(change)
            case ShardLoss():
                self._hosts.lose(self._world, change, self._now_ns)
            case Attack(place, on):
                self._attack(place, on)

    def _check(self, node: int) -> None:
        nodes = len(self.parameters.node_region)
        if not 0 <= node < nodes:
            raise ValueError(f"node {node} is none of the {nodes}")

    def _throttle(self, change: Throttle) -> None:
        node, world = change.node, self._world
        self._check(node)
        for stations in (world.ingress, world.shard, world.egress, world.relay):
            stations.state["factor_ppm"][node] = change.service_ppm
        for stations in (world.uplink, world.downlink, world.relay_uplink, world.relay_downlink):
            stations.state["factor_ppm"][node] = change.links_ppm
        self._payload.throttle(node, change.service_ppm, change.links_ppm)

    def _set_rates(self, change: LinkRates) -> None:
        up = np.array(change.uplink_ppm, dtype=np.int64)
        down = np.array(change.downlink_ppm, dtype=np.int64)
        nodes = len(self.parameters.node_region)
        if up.shape != (nodes,) or down.shape != (nodes,):
            raise ValueError(f"rates of {len(up)} and {len(down)} nodes, there are {nodes}")
        for stations in (self._world.uplink, self._world.relay_uplink):
            stations.state["factor_ppm"] = up
        for stations in (self._world.downlink, self._world.relay_downlink):
            stations.state["factor_ppm"] = down
        self._payload.set_rates(up, down)

    def _change_links(self, change: LinkChange) -> None:
        links = self._world.links
        pairs = np.ix_(np.array(change.sources, np.int64), np.array(change.targets, np.int64))
        region = links.region
        base = self._network.loss_ppb[region[pairs[0]], region[pairs[1]]]
        loss = np.minimum(base + change.extra_loss_ppb, PPB)
        links.loss_ppb[pairs] = 2 * PPB if change.blocked else loss
        links.extra_ns[pairs] = change.extra_delay_ns
        links.special[pairs] = change != LinkChange(sources=change.sources, targets=change.targets)
        if len(self._world.registry.records):
            send_missed(self._world)
        if self._dht is not None:
            self._dht.cut(change)

    def _disconnect(self, change: Disconnect) -> None:
        now_ns, people = self._now_ns, self._world.people
        if change.back_ns <= now_ns:
            raise ValueError(f"return at {change.back_ns} ns is not after {now_ns} ns")
        index = np.arange(self.parameters.agents, dtype=np.int64)
        key = int(self._world.draw[draws.DISCONNECT])
        draw = (mix_array(key, index, now_ns) >> np.uint64(32)) * np.uint64(PPM) >> np.uint64(32)
        struck = (people["session"] & 1 == 1) & (draw.astype(np.int64) < change.share_ppm)
        if change.region is not None:
            struck &= self._world.contacts["region"] == change.region
        if change.homes is not None:
            struck &= np.isin(self._world.contacts["home"], change.homes)
        back = np.full(len(index), change.back_ns, dtype=np.int64)
        if change.spread_ns:
            later = mix_array(key, index, now_ns + 1) % np.uint64(change.spread_ns)
            back += later.astype(np.int64)
        if change.register_bytes:
            gone = np.flatnonzero(struck)
            self._world = fitted(self._world, len(gone), self._payload.awaiting, 0)
            forget(self._world, gone, back[gone] + GRID_NS, change.register_bytes)
            people = self._world.people
        people["session"][struck] = back[struck] << 1
        self._horizon_ns = now_ns
        if self._dht is not None:
            self._dht.anyone = True

    def _attack(self, place: int, on: bool) -> None:
        """Let an assault begin or end."""
        self._attacks.pop(place, None)
        if on:
            self._attacks[place] = None
        assaults = self.parameters.assaults
        self._workload.attack(place, on)
        if self._dht is not None and isinstance(assaults[place], Malice):
            self._dht.attack(self._attacks)
        self._world.registry.lies[:] = lies_of(
            assaults, self._attacks, len(self.parameters.node_region)
        )

    # -- transactions -------------------------------------------------------------------------

    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]:
        """Return references held by `validator` by now and not yet handed to it."""
        return self._payload.new_refs(validator, now_ns)

    def held_ns(self, validator: int, refs: tuple[PayloadRef, ...]) -> int | None:
        """Return when `validator` holds all of `refs`; None if one must be pulled."""
        return self._payload.held_ns(validator, refs)

    def held_by_all(self, refs: tuple[PayloadRef, ...]) -> I64:
        """Return for each validator when it holds all of `refs`; NEVER where one does not come."""
        return self._payload.held_by_all(refs)

    @property
    def payload_version(self) -> int:
        """A number that rises when an answer of `held_by_all` may have changed."""
        return self._payload.version

    def pull(self, validator: int, ref: PayloadRef, now_ns: int) -> int | None:
        """Fetch a batch for `validator`; return when it is held, None if nobody can serve it."""
        return self._payload.pull(self._world, validator, ref, now_ns)

    def commit(self, refs: tuple[PayloadRef, ...], now_ns: int) -> None:
        """Make transactions final at `now_ns`, exactly once: raises ValueError on a second."""
        if self._now_ns - now_ns > GRID_NS or (now_ns - 1) // SECOND_NS < self._ledger.second:
            raise ValueError(f"commit at {now_ns} ns, but the plane is at {self._now_ns} ns")
        self._world = fitted(self._world, 0, self._payload.awaiting, 0)
        if refs:
            self._payload.commit(self._world, refs, now_ns)

    def take_use(self) -> I64:
        """Return the bits that agents put on links in the grid cell that ends now.

        int64[2, nodes]: up, down. For metered planes, at every boundary of the grid, before what
        else happens then. Raises ValueError at other times.
        """
        return self._use.take(self._world, self._now_ns)

    # -- answers ------------------------------------------------------------------------------

    def drain(self, final: bool = False) -> Drained:
        """Hand out the rows of all seconds that are over (`final`: of the present one too)."""
        if final:
            self._ledger.close_second(self._world, (self._now_ns - 1) // SECOND_NS)
        return self._ledger.drain()

    def counters(self) -> Counters:
        """Return sums since the start; their `conserved()` says whether anything was lost."""
        return self._ledger.counters(self._world)

    def lost_writes(self) -> dict[int, int]:
        """Return the acknowledged writes lost since the start, by the node that went down."""
        running = self._world.books.registry[:, LOST_WRITE, 0]
        lost = self._ledger.lost_writes + running
        return {int(node): int(lost[node]) for node in np.flatnonzero(lost)}

    def routing_ppm(self) -> tuple[int, int] | None:
        """Return the shares of short buckets and of stale contacts; None without a DHT."""
        return None if self._dht is None else self._dht.shares_ppm()

    def memory_bytes(self) -> int:
        """Bytes of all columns, tables and rows that the plane keeps."""
        dht = 0 if self._dht is None else self._dht.memory_bytes()
        kept = self._payload.memory_bytes() + self._ledger.memory_bytes()
        return bytes_of(self._world) + kept + dht


def _dht_of(
    parameters: PlaneParameters,
    network: NetworkTables,
    people: Population,
    keys: U64,
    chance: Chance,
) -> DhtDirectory | None:
    if parameters.directory.dht is None:
        return None
    # Lookups compile at their first import: a plane without a DHT does without them.
    from sim.world.agents.dht.directory import DhtDirectory

    return DhtDirectory(parameters, network, people, keys, chance)


def estimated_bytes(agents: int) -> int:
    """Estimate the columns' bytes of a population."""
    return agents * bytes_per_agent()
