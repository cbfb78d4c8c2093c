"""A running world: what one replicate consists of, and how its simulated time moves.

`advance` moves time, `close` writes what is still open. Must not know scenarios: `build` made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from sim.engine.alerting import Board
from sim.engine.driver import Driver
from sim.engine.faults import Timetable
from sim.engine.loop import LAST, Loop
from sim.engine.meter import Meter
from sim.engine.node import Node
from sim.engine.observer import Observer
from sim.engine.plane_rows import record_rows
from sim.engine.rollouts import Releases
from sim.engine.standby import Standby
from sim.engine.stations import StationMeter
from sim.engine.transport import Transport
from sim.monitor.base import NOBODY, Violation
from sim.monitor.watch import Watch
from sim.protocol.chain import Chain
from sim.protocol.events import Started
from sim.protocol.ledger import Ledger
from sim.record.recorder import Sink
from sim.scenario.model import Scenario
from sim.world.agents.kinds import REASONS
from sim.world.network.tables import NetworkTables

if TYPE_CHECKING:
    from sim.engine.compliance.office import Office
    from sim.world.agents.plane import AgentPlane

SECOND_NS = 1_000_000_000
_ANY_HEIGHT = 1 << 62


class Chained(Protocol):
    """A core of the main protocol, or the mind that has taken its place."""

    @property
    def chain(self) -> Chain: ...


@dataclass(slots=True)
class World:
    """One replicate, ready to run."""

    scenario: Scenario
    env: Loop
    nodes: list[Node]
    ledger: Ledger | None
    """None where the validators run a baseline."""
    driver: Driver
    transport: Transport
    observer: Observer
    meter: Meter
    timetable: Timetable
    rollouts: Releases
    recorder: Sink
    regions: list[str]
    tables: NetworkTables
    plane: AgentPlane | None
    watch: Watch
    stations: StationMeter
    office: Office | None = None
    """Compliance; None where the scenario has none."""
    alerts: Board | None = None
    """Who evaluates alert rules, if anybody does."""
    standby: Standby | None = None
    """Who brings lost regions up elsewhere; None where no region has a site."""
    delivered: int = 0
    """Agent messages delivered, up to the last closed second."""

    def advance(self, until_ns: int) -> None:
        """Run everything that happens up to and including `until_ns`."""
        self.env.run(until=until_ns + 1)

    def close(self, now_ns: int) -> tuple[Violation, ...]:
        """Write the running second, open blocks and the plane's last rows; end the monitors."""
        self._close_second(now_ns)
        if self.transport.tap is not None:
            self.transport.tap.finish(now_ns)
        self.observer.finish()
        self.watch.ended(now_ns, self._chains())
        if self.office is not None:
            self.office.finish(now_ns)
        self.timetable.clouds.finish(now_ns)
        if self.alerts is not None:
            self.alerts.finish()
        if self.standby is not None:
            self.standby.finish(now_ns)
        self.rollouts.finish()
        return self.watch.finish(now_ns)

    def _balance(self, now_ns: int) -> None:
        """Show the monitors the plane's counters and the stake of the newest final state."""
        if self.plane is not None:
            self._conserve(self.plane, now_ns)
        if self.ledger is None:
            return
        tip = self.observer.tip
        stake = self.ledger.state(tip).books.stake
        self.watch.supply(
            now_ns,
            NOBODY,
            minted=self.ledger.minted,
            held={
                "bonded": sum(stake.bonded),
                "free": sum(stake.free),
                "unbonding": sum(entry.amount for entry in stake.unbonding),
                "burned": stake.burned,
            },
        )

    def _tick(self, now_ns: int) -> None:
        """Write the second that ends now and arm the next."""
        self._close_second(now_ns)
        self.env.at(now_ns + SECOND_NS, self._tick, now_ns + SECOND_NS, LAST)

    def _close_second(self, now_ns: int) -> None:
        if self.plane is not None:
            self.plane.advance(now_ns)
            rows = self.plane.drain(final=True)
            record_rows(rows, self.recorder)
            if self.office is not None:
                self.office.admitted(rows.traffic)
        self.meter.close_second(now_ns)
        self.stations.close_second(now_ns)
        self.timetable.clouds.close_second(now_ns)
        self.observer.close_second(now_ns)
        self._balance(now_ns)
        for node, chain in enumerate(self._chains()):
            self.watch.stands(node, now_ns, chain)
        self.watch.compare(now_ns, self._chains())
        if self.alerts is not None:
            self.alerts.state(self.timetable.clouds.figures(now_ns))
            if self.office is not None:
                self.alerts.state(self.office.figures(now_ns))
            self.alerts.close_second(now_ns, self.nodes, self._chains(), self.watch, self.plane)
        self.rollouts.look(now_ns)
        self._forget_states()
        if self.office is not None:
            self.office.close_second(now_ns)
            self.office.alerted([] if self.alerts is None else self.alerts.critical())

    def _chains(self) -> list[Chain]:
        """Return the chains of all validators by identity; none where they run a baseline."""
        if self.ledger is None:
            return []
        return [cast("Chained", node.validator).chain for node in self.nodes]

    def _forget_states(self) -> None:
        """Drop ledger states of blocks that no validator holds any more.

        Who is so far behind (down, or just back without memory) that the front no longer holds
        what comes next for it needs its own few blocks only, not all heights from there on.
        """
        if self.ledger is None:
            return
        trees = [chain.tree for chain in self._chains()]
        trees += [copy.chain.tree for node in self.nodes for copy in node.copies]
        front = max(tree.lowest_height for tree in trees)
        self.ledger.forget(
            (
                tree.lowest_height,
                _ANY_HEIGHT if tree.final.height >= front else tree.highest_height(),
            )
            for tree in trees
        )

    def _conserve(self, plane: AgentPlane, now_ns: int) -> None:
        sums = plane.counters()
        dropped = dict(zip(REASONS, sums.dropped_by_reason, strict=True))
        self.delivered = sum(sums.delivered)
        self.watch.conserve(
            now_ns,
            offered=sum(sums.offered),
            delivered=self.delivered,
            stored=sum(sums.stored),
            in_flight=sum(sums.in_flight),
            dropped=dropped,
        )
        self.watch.registry(now_ns, plane.lost_writes())

    def start(self) -> None:
        """Wake every validator and arm the clock of the tables."""
        for node in self.nodes:
            self.driver.handle(node, Started())
        if self.office is not None:
            self.office.start()
        self.env.at(SECOND_NS, self._tick, SECOND_NS, LAST)
