"""Carry out the fault timetable: what begins and ends when, on validators and on the agent plane.

Owns the present state of crashes, slowdowns, throttles and struck computers. Overlapping faults of
one kind on one validator count once each: it is up again when every crash has ended, and the
strongest slowdown or throttle of those in force applies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simpy.events import URGENT

from sim.engine.cloud_services import CloudServices
from sim.engine.driver import Driver
from sim.engine.impairment import Impaired
from sim.engine.loop import Loop
from sim.engine.node import Node
from sim.engine.plane_faults import PlaneFaults
from sim.monitor.base import NOBODY
from sim.protocol.validator import Validator
from sim.record.recorder import Sink
from sim.world.agents.changes import Change, Disconnect, ShardLoss, Surge
from sim.world.chance import Chance
from sim.world.crypto.key_service import KeyService
from sim.world.faults import Fault, Quota, Span
from sim.world.faults.disk import Disk

_WHOLE = 1_000_000


class Entry(NamedTuple):
    """One fault of the timetable, on in each span; `flap_ns`: on and off take turns in a span."""

    place: int
    fault: Fault
    spans: tuple[Span, ...]
    flap_ns: int | None = None


def turns(entry: Entry, duration_ns: int) -> list[tuple[int, bool]]:
    """Return when a fault begins (True) and ends (False), in order; a flapping one many times."""
    found: list[tuple[int, bool]] = []
    for at_ns, until_ns in entry.spans:
        if entry.flap_ns is not None:
            end_ns = duration_ns if until_ns is None else until_ns
            found += _flaps(at_ns, end_ns, entry.flap_ns)
        else:
            found += [(at_ns, True)] + ([] if until_ns is None else [(until_ns, False)])
    return found


def _flaps(at_ns: int, end_ns: int, flap_ns: int) -> list[tuple[int, bool]]:
    found = []
    begins = True
    while at_ns < end_ns:
        found.append((at_ns, begins))
        at_ns, begins = at_ns + flap_ns, not begins
    return found if begins else [*found, (end_ns, False)]


def touches(entries: list[Entry], duration_ns: int) -> list[int]:
    """Return every time at which a fault changes something."""
    return [when_ns for entry in entries for when_ns, _ in turns(entry, duration_ns)]


def fault_rows(recorder: Sink, env: Loop) -> Callable[[int, Fault, str], None]:
    """Return what puts on the record that a fault of the scenario's list begins or ends."""

    def record(index: int, fault: Fault, event: str) -> None:
        for node in fault.nodes or (NOBODY,):
            recorder.append_row(
                "faults",
                time_ns=env.now,
                source="fault",
                index=index,
                kind=fault.kind,
                event=event,
                node=node,
                target=fault.target,
            )

    return record


def attack_row(
    recorder: Sink, *, time_ns: int, place: int, kind: str, event: str, node: int, target: str
) -> None:
    """Put on the record that an attack (its `place` among the adversaries) begins or ends."""
    recorder.append_row(
        "faults",
        time_ns=time_ns,
        source="adversary",
        index=place,
        kind=kind,
        event=event,
        node=node,
        target=target,
    )


class Timetable:
    """The faults of a run, as events of its loop; the `Target` that they act on."""

    def __init__(
        self,
        *,
        driver: Driver,
        chance: Chance,
        plane: PlaneFaults | None,
        revive: Callable[[Node, bool], None],
        record: Callable[[int, Fault, str], None],
        healed: Callable[[int], None],
        clouds: CloudServices,
    ) -> None:
        self.env = driver.env
        self.nodes = driver.nodes
        self._driver = driver
        self._chance = chance
        self._plane = plane
        self._revive = revive
        self._record = record
        self._healed = healed
        self.clouds = clouds
        self._crashes = [0] * len(self.nodes)
        self._forgot = [False] * len(self.nodes)
        self._away = [False] * len(self.nodes)
        """Who runs elsewhere: what strikes its own machine does not reach it."""
        self.told: Callable[[Fault, bool], None] | None = None
        """Who else hears that a fault has just begun (True) or ended."""
        self._slow: dict[int, list[int]] = {}
        self._throttled: dict[int, list[int]] = {}
        self._rates = [node.links[0].bits_per_s for node in self.nodes]
        self._computers: dict[int, Impaired] = {}
        self._services: dict[tuple[tuple[int, ...], Quota | None, int], list[KeyService]] = {}

    def schedule(self, entries: list[Entry], duration_ns: int) -> None:
        """Put the beginning and end of each fault into the loop, before what happens then."""
        for entry in entries:
            for when_ns, begins in turns(entry, duration_ns):
                self._at(when_ns, entry, begins=begins)

    def impair(self, entries: list[Entry]) -> None:
        """Put computers that faults can strike under the cores of those that they will strike,
        and of those whose keys lie in a service."""
        impairing = [entry.fault for entry in entries if entry.fault.impairs]
        struck = [node for fault in impairing for node in fault.nodes]
        remote = [node for account in self.clouds.keys.accounts for node in account.nodes]
        for node in dict.fromkeys((*struck, *remote)):
            self._impair(node)
        for account in self.clouds.keys.accounts:
            for node in account.nodes:
                self.nodes[node].keys_elsewhere = True
                self._computers[node].account = account
                self._computers[node].services.append(account.service)

    def _impair(self, node: int) -> None:
        struck = self.nodes[node]
        mind = struck.mind
        core = struck.validator if mind is None else mind.host
        disk = Disk(self._chance.key(f"validators/disk/{node}"))
        computer = self._computers[node] = Impaired(core, node, disk, self._driver.edge.owes)
        if mind is None:
            struck.validator = computer
        else:
            mind.host = computer

    def _at(self, when_ns: int, entry: Entry, *, begins: bool) -> None:
        self.env.at(when_ns, self._due, (entry, begins), URGENT)

    def _due(self, due: tuple[Entry, bool]) -> None:
        entry, begins = due
        self.carry_out(entry.place, entry.fault, begins=begins)

    def carry_out(self, place: int, fault: Fault, *, begins: bool) -> None:
        """Begin or end a fault of the scenario's list now, and put it on the record."""
        self._record(place, fault, "begin" if begins else "end")
        self.clouds.struck(fault, self.env.now, begins=begins)
        if begins:
            fault.begin(self)
        else:
            fault.end(self)
            self._healed(self.env.now)
        if self.told is not None:
            self.told(fault, begins)

    # -- Target -------------------------------------------------------------------------------

    def crash(self, node: int) -> None:
        self._crashes[node] += 1
        if self._crashes[node] == 1 and not self._away[node]:
            self.stop(node)

    def sound(self, node: int) -> bool:
        """Say whether a validator's own machine could run it."""
        return not self._crashes[node]

    def leave(self, node: int, *, away: bool) -> None:
        """Note that a validator, which does not run now, will run elsewhere, or at home again."""
        self._away[node] = away
        self._forgot[node] = False

    def stop(self, node: int) -> None:
        """Stop a validator where it runs: what waits or is in service there is lost."""
        victim = self.nodes[node]
        victim.up = False
        victim.life += 1
        victim.timers.clear()
        victim.relayed.clear()
        victim.verified.clear()
        now = self.env.now
        self._driver.transport.revoke(victim)
        victim.cpu.clear(now)
        victim.links[0].consensus.clear(now)
        victim.links[1].consensus.clear(now)
        if self._plane is not None:
            self._plane.gateway(node, False, now)

    def restart(self, node: int, *, amnesia: bool) -> None:
        self._crashes[node] -= 1
        victim = self.nodes[node]
        if amnesia and not self._away[node]:
            victim.persisted = None
            self._forgot[node] = True
        if self._crashes[node] or self._away[node]:
            return
        # Whichever of overlapping crashes ends last: what one of them has wiped stays wiped.
        amnesia, self._forgot[node] = self._forgot[node], False
        self.start(node, amnesia=amnesia)

    def start(self, node: int, *, amnesia: bool) -> None:
        """Start a validator where it is, `amnesia`: which may contradict what it had signed."""
        victim = self.nodes[node]
        victim.up = True
        if self._plane is not None:
            self._plane.gateway(node, True, self.env.now)
        self._revive(victim, amnesia)

    def replace(self, node: int, core: Validator) -> None:
        """Put another core under a validator that does not run now; no adversary owns it."""
        computer = self._computers.get(node)
        if computer is None:
            self.nodes[node].validator = core
        else:
            computer.replace(core)

    def slow(self, node: int, factor_ppm: int, *, on: bool) -> None:
        factor = _strongest(self._slow, node, factor_ppm, on, max)
        self.nodes[node].cpu.set_slowdown(factor)
        if self._plane is not None:
            self._plane.slow(node, factor, self.env.now)

    def throttle(self, node: int, left_ppm: int, *, on: bool) -> None:
        left = _strongest(self._throttled, node, left_ppm, on, min)
        for link in self.nodes[node].links:
            link.set_rate(max(2, self._rates[node] * left // _WHOLE))
        if self._plane is not None:
            self._plane.throttle(node, left, self.env.now)

    def skew(self, node: int, step_ns: int, rate_ppm: int, *, on: bool) -> None:
        now, clock = self.env.now, self._computers[node].clock
        dues = {purpose: clock.local_ns(due) for purpose, due in self._driver.due_ns(node).items()}
        clock.change(now, step_ns, rate_ppm, on=on)
        for purpose, local_ns in dues.items():
            self._driver.move_timer(node, purpose, max(now, clock.true_ns(local_ns)))

    def slow_disk(self, node: int, write_ns: int, *, on: bool) -> None:
        self._computers[node].disk.slow(write_ns, on=on)

    def fail_writes(self, node: int, share_ppm: int, *, on: bool) -> None:
        self._computers[node].disk.fail(share_ppm, on=on)

    def fill_disk(self, node: int, *, on: bool) -> None:
        self._computers[node].disk.fill(on=on)

    def stop_signing(self, node: int, *, on: bool) -> None:
        self._computers[node].unsigned += 1 if on else -1

    def limit_signing(
        self, nodes: tuple[int, ...], quota: Quota | None, delay_ns: int, *, on: bool
    ) -> None:
        terms = (nodes, quota, delay_ns)
        if on:
            rate_nhz, burst = (0, 1) if quota is None else quota
            service = KeyService(rate_nhz, burst, delay_ns)
            self._services.setdefault(terms, []).append(service)
        else:
            service = self._services[terms].pop()
        for node in nodes:
            services = self._computers[node].services
            if on:
                services.append(service)
            else:
                services.remove(service)

    def disconnect(
        self,
        *,
        share_ppm: int,
        back_ns: int,
        within_ns: int,
        region: int | None,
        homes: tuple[int, ...] | None,
        register_bytes: int,
    ) -> None:
        change = Disconnect(
            share_ppm=share_ppm,
            back_ns=back_ns,
            region=region,
            spread_ns=within_ns,
            homes=homes,
            register_bytes=register_bytes,
        )
        self._strike(change)

    def surge(
        self, place: int, factor_ppm: int, kinds: tuple[int, ...], regions: tuple[int, ...]
    ) -> None:
        self._strike(Surge(factor_ppm=factor_ppm, place=place, kinds=kinds, regions=regions))

    def lose_shards(self, nodes: tuple[int, ...], shards: tuple[int, ...]) -> None:
        self._strike(ShardLoss(nodes=nodes, shards=shards))

    def _strike(self, change: Change) -> None:
        assert self._plane is not None
        self._plane.happens(change, self.env.now)


def _strongest(
    table: dict[int, list[int]],
    node: int,
    value: int,
    on: bool,
    choose: Callable[[list[int]], int],
) -> int:
    """Put `value` in force on `node`, or end it; return the strongest of those in force."""
    in_force = table.setdefault(node, [])
    if on:
        in_force.append(value)
    else:
        in_force.remove(value)
    return choose(in_force) if in_force else _WHOLE
