"""Resolve a scenario's attacks on agents and their directory, and turn them on and off.

Owns the register of such attacks: what makes each of them from its settings; and when they are on.
Must not know what an attack does, nor how the plane carries it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from simpy.events import URGENT

from sim.engine.attacks import trigger_of
from sim.engine.disturbances import FOREVER, attack_key
from sim.engine.driver import Driver
from sim.engine.faults import attack_row
from sim.engine.genesis import Census
from sim.engine.plane_faults import PlaneFaults
from sim.engine.plane_parameters import registration_bytes
from sim.monitor.watch import Watch
from sim.protocol.validator import Validator
from sim.record.recorder import Sink
from sim.scenario import agent_adversaries as asked
from sim.scenario.agents import Agents
from sim.scenario.model import Scenario
from sim.scenario.selection import (
    AgentIds,
    AgentSelection,
    AgentShare,
    InRegion,
    NearKey,
    NodeSelection,
    RandomAgents,
)
from sim.world.adversary.agent_spam import AgentSpam
from sim.world.adversary.eclipse import Eclipse
from sim.world.adversary.lookup_drop import LookupDrop
from sim.world.adversary.lookup_misroute import LookupMisroute
from sim.world.adversary.lying_host import LyingHost
from sim.world.adversary.on_agents import AgentAttack
from sim.world.adversary.registration_flood import RegistrationFlood
from sim.world.adversary.table_poisoning import TablePoisoning
from sim.world.adversary.when import Trigger
from sim.world.agents.kinds import GRID_NS, LOOKUP_ID, MESSAGE, TRANSACTION
from sim.world.agents.parameters import Chosen
from sim.world.chance import Chance
from sim.world.network.tables import NetworkTables

LOOKUP_BYTES, TRANSACTION_BYTES, MESSAGE_BYTES = 64, 5_120, 512
"""Sizes of what is sent where the workload has nothing of the kind: its defaults."""


class Terms(NamedTuple):
    """What an attack is made of besides its settings."""

    place: int
    """Its place in the scenario's list."""
    agents: Agents
    tables: NetworkTables
    census: Census

    def chosen(self, selection: AgentSelection | NodeSelection) -> Chosen:
        """Return whom a selection means, for the plane to draw."""
        if isinstance(selection, AgentIds):
            return Chosen(numbers=tuple(sorted(selection.ids)))
        if isinstance(selection, RandomAgents):
            return Chosen(random=selection.random)
        if isinstance(selection, AgentShare):
            return Chosen(share_ppm=selection.share_ppm)
        if isinstance(selection, InRegion):
            return Chosen(region=self.tables.index(selection.region))
        if isinstance(selection, NearKey):
            return Chosen(near=selection.near, random=selection.nodes)
        return Chosen(hosts=tuple(sorted(selection.gateways)))


def _spam(a: asked.AgentSpam, terms: Terms) -> AgentSpam:
    load = terms.agents.workload
    flow, kind, usual = {
        "messages": (load.messages, MESSAGE, MESSAGE_BYTES),
        "lookups": (load.lookups.by_id, LOOKUP_ID, LOOKUP_BYTES),
        "transactions": (load.transactions, TRANSACTION, TRANSACTION_BYTES),
    }[a.what]
    size = a.size_bytes or (usual if flow is None else flow.size_bytes)
    to = None if a.target is None else terms.chosen(a.target)
    return AgentSpam(terms.chosen(a.agents), kind, a.rate_nhz, size, to)


MAKERS: dict[type[Any], Callable[[Any, Terms], AgentAttack]] = {
    asked.AgentSpam: _spam,
    asked.RegistrationFlood: lambda a, t: RegistrationFlood(
        t.chosen(a.agents), a.rate_nhz, a.size_bytes or registration_bytes(t.agents), a.shard
    ),
    asked.LookupDrop: lambda a, t: LookupDrop(t.chosen(a.nodes)),
    asked.LookupMisroute: lambda a, t: LookupMisroute(t.chosen(a.nodes)),
    asked.Eclipse: lambda a, t: Eclipse(t.chosen(a.nodes), t.chosen(a.victims), a.then),
    asked.TablePoisoning: lambda a, t: TablePoisoning(t.chosen(a.nodes), a.contacts_ppm, a.then),
    asked.LyingHost: lambda a, t: LyingHost(t.census.select(a.hosts, attack_key(t.place)), a.lie),
}
"""By the settings' type: the attack."""


class Siege(NamedTuple):
    """An attack on agents: its place in the scenario, and when it is on."""

    place: int
    attack: AgentAttack
    start_ns: int
    end_ns: int
    trigger: Trigger | None


def sieges(
    scenario: Scenario, tables: NetworkTables, census: Census, chance: Chance
) -> tuple[Siege, ...]:
    """Return the attacks on agents in the scenario's order: that of the plane's assaults."""
    found: list[Siege] = []
    for index, adversary in enumerate(scenario.adversaries):
        if isinstance(adversary, asked.AgentAdversary):
            assert scenario.agents is not None
            terms = Terms(index, scenario.agents, tables, census)
            end_ns = FOREVER if adversary.end_ns is None else adversary.end_ns
            trigger = trigger_of(adversary.when, chance.key(f"{attack_key(index)}/when"))
            attack = MAKERS[type(adversary)](adversary, terms)
            found.append(Siege(index, attack, adversary.start_ns, end_ns, trigger))
    return tuple(found)


def turning_points(sieges: tuple[Siege, ...]) -> list[int]:
    """Return the times at which attacks begin and end; triggers look at the grid's boundaries."""
    return [time for siege in sieges for time in (siege.start_ns, siege.end_ns)]


class Besiegers:
    """Turn attacks on agents on and off: at their times, and by their triggers on the grid."""

    def __init__(
        self,
        sieges: tuple[Siege, ...],
        plane: PlaneFaults,
        driver: Driver,
        recorder: Sink,
        watch: Watch,
    ) -> None:
        self._env = driver.env
        self._sieges = sieges
        self._plane = plane
        self._nodes = driver.nodes
        self._cores = [node.validator for node in driver.nodes]
        """As built: faults and minds put themselves in their places later."""
        self._recorder = recorder
        self._watch = watch
        self._on = [False] * len(sieges)

    def schedule(self, scenario: Scenario) -> None:
        """Put beginnings and ends into the loop, before what else happens then."""
        for place, siege in enumerate(self._sieges):
            self._env.at(siege.start_ns, self._begin, place, URGENT)
            if siege.end_ns <= scenario.duration_ns:
                self._env.at(siege.end_ns, self._end, place, URGENT)

    def _begin(self, place: int) -> None:
        self._record(place, "begin")
        if self._sieges[place].trigger is None:
            self._turn(place, True)
        else:
            self._look(place)

    def _end(self, place: int) -> None:
        self._record(place, "end")
        self._turn(place, False)
        self._watch.healed(self._env.now)

    def _look(self, place: int) -> None:
        """Ask an attack's trigger, now and at every boundary of the grid until it ends."""
        siege, now = self._sieges[place], self._env.now
        if now >= siege.end_ns:
            return
        core = self._seen()
        assert siege.trigger is not None
        if core is not None:
            self._turn(place, siege.trigger(core, core.epoch, core.view))
        self._env.at((now // GRID_NS + 1) * GRID_NS, self._look, place, URGENT)

    def _seen(self) -> Validator | None:
        """Return the core of the first validator that is up: what it knows everybody can know."""
        for node, core in zip(self._nodes, self._cores, strict=True):
            if node.up:
                assert isinstance(core, Validator)
                return core
        return None

    def _turn(self, place: int, on: bool) -> None:
        if self._on[place] != on:
            self._on[place] = on
            self._plane.attack(place, on, self._env.now)

    def _record(self, place: int, event: str) -> None:
        siege = self._sieges[place]
        attack_row(
            self._recorder,
            time_ns=self._env.now,
            place=siege.place,
            kind=siege.attack.kind,
            event=event,
            node=-1,
            target=siege.attack.strikes,
        )
