"""Measure how fast this machine simulates: validators, agents, the agents' reference, memory.

Owns: what is measured and how the figure is made. A figure is work done in a world (never
estimated) over CPU time of the process, all threads (`time.process_time_ns`), so that a busy
machine changes it little; wall time would measure the neighbours. Building a world and the warm-up
before the clock starts (kernels loaded or compiled, queues filled, memories warm) are left out.
Python's cyclic garbage collector runs as in a run (`rare_collections`); its work counts.
Rows are thrown away, so that it is the simulation that is measured and not the recorder.

Must not know: how figures are printed, or which of them is enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any, ParamSpec, Protocol, TypeVar

from sim.engine.build import build
from sim.engine.genesis import Census, stakes, validator_regions
from sim.engine.plane_parameters import network_tables, plane_parameters
from sim.engine.reference import Reference
from sim.engine.run import rare_collections
from sim.protocol.types import PayloadRef
from sim.record.machine import peak_memory_bytes
from sim.record.recorder import NullRecorder
from sim.scenario import agents as people
from sim.scenario.adversaries import DelayProposals
from sim.scenario.checks import Safety
from sim.scenario.fields import Placement
from sim.scenario.model import (
    Consensus,
    EqualStake,
    LognormalStake,
    Network,
    Scenario,
    Validators,
    Workers,
)
from sim.scenario.protocols import Pbft
from sim.scenario.selection import Random
from sim.world.agents.parameters import PlaneParameters
from sim.world.agents.tables import Counters, Drained
from sim.world.chance import Chance
from sim.world.crypto.costs import load_costs
from sim.world.network.tables import NetworkTables

P = ParamSpec("P")
R = TypeVar("R")

SECOND_NS = 1_000_000_000
GRID_NS = 100_000_000
"""How often the plane is advanced: the grid of its workload."""
COMMIT_NS = 500_000_000
"""How often what a validator holds is committed where no validators run."""
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
REFERENCE_AGENTS = 10_000
"""Agents of the reference: it needs a hundred times the time for each message."""
WARM_UP_S = 2
VALIDATORS = 150
EQUAL = EqualStake()

_REGIONS: Mapping[str, int] = {
    "aws:us-gov-west-1": 20,
    "aws:us-gov-east-1": 20,
    "az:usgovarizona": 15,
    "az:usgovtexas": 15,
    "az:usgovvirginia": 20,
    "aws:us-east-1": 10,
    "aws:us-west-2": 10,
    "az:eastus": 8,
    "az:westus2": 7,
    "aws:ca-central-1": 5,
    "aws:eu-central-1": 5,
    "aws:eu-west-2": 5,
    "az:uksouth": 5,
    "az:germanywestcentral": 5,
}
"""Validators of `scenarios/million_agents.yaml`; other counts keep the shares."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure as it is shown."""

    what: str
    value: int
    unit: str


@dataclass(frozen=True, slots=True)
class ConsensusSpeed:
    """Validators end to end: uplink, wire, downlink, processor, SimPy events and core.

    `messages`: deliveries to cores within `simulated_ns`; `by_kind` adds up to it.
    """

    validators: int
    storm: bool
    simulated_ns: int
    messages: int
    by_kind: Mapping[str, int]
    blocks: int
    cpu_ns: int
    peak_memory_bytes: int
    """Largest resident set of the process so far, libraries included."""

    @property
    def messages_per_cpu_s(self) -> int:
        return _per_second(self.messages, self.cpu_ns)


@dataclass(frozen=True, slots=True)
class PlaneSpeed:
    """Agents through all stages; `messages`: delivered, of all kinds, within `simulated_ns`."""

    agents: int
    simulated_ns: int
    offered: int
    messages: int
    conserved: bool
    """Whether every message offered since the start has an account."""
    cpu_ns: int
    peak_memory_bytes: int
    """Largest resident set of the process so far, libraries included."""

    @property
    def messages_per_cpu_s(self) -> int:
        return _per_second(self.messages, self.cpu_ns)


def _per_second(count: int, cpu_ns: int) -> int:
    return count * SECOND_NS // max(1, cpu_ns)


def bench(agents: Sequence[int] = SIZES, seconds: int = 10) -> Iterator[Figure]:
    """Measure everything, one figure after the other; each world in a process of its own.

    `agents`: populations; `seconds`: simulated ones that are measured of each world, after a
    warm-up. Validators that nothing disturbs are given six times as many: they have little to do,
    and are a tenth slower after a minute than at first. The reference simulates `REFERENCE_AGENTS`
    in the same run, and no more than 3 s.
    """
    steady = isolated(measure_consensus, 6 * seconds)
    yield from _consensus_figures("steady", steady)
    yield from _consensus_figures("view-change storm", isolated(measure_storm, seconds))
    yield from _consensus_figures("PBFT", isolated(measure_pbft, seconds))
    reference = isolated(measure_reference, min(seconds, 3))
    name = f"SimPy reference, {reference.agents:,} agents"
    yield Figure(f"{name}: delivered", reference.messages_per_cpu_s, "messages/CPU-s")
    for count in agents:
        plane = isolated(measure_plane, count, seconds)
        yield from _plane_figures(plane, reference)


def _consensus_figures(state: str, speed: ConsensusSpeed) -> Iterator[Figure]:
    name = f"consensus, {speed.validators} validators, {state}"
    yield Figure(f"{name}: delivered", speed.messages_per_cpu_s, "messages/CPU-s")
    yield Figure(f"{name}: peak memory", speed.peak_memory_bytes >> 20, "MiB")


def _plane_figures(plane: PlaneSpeed, reference: PlaneSpeed) -> Iterator[Figure]:
    name = f"agent plane, {plane.agents:,} agents"
    yield Figure(f"{name}: delivered", plane.messages_per_cpu_s, "messages/CPU-s")
    times = plane.messages_per_cpu_s // max(1, reference.messages_per_cpu_s)
    yield Figure(f"{name}: against the reference", times, "times")
    yield Figure(f"{name}: peak memory", plane.peak_memory_bytes >> 20, "MiB")


def isolated(measure: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `measure` in a fresh process: its peak memory is then its own."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *args, **kwargs).result()


# -- validators ---------------------------------------------------------------------------------


class _Tally(NullRecorder):
    """Keep nothing but how many messages reached cores, by kind."""

    def __init__(self) -> None:
        self.delivered: dict[str, int] = {}

    def append_rows(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        if table != "traffic":
            return
        kind, outcome, count = (names.index(name) for name in ("kind", "outcome", "messages"))
        for row in rows:
            if row[outcome] == "delivered":
                self.delivered[row[kind]] = self.delivered.get(row[kind], 0) + row[count]


def measure_consensus(
    seconds: int = 60, *, validators: int = VALIDATORS, warm_up_s: int = WARM_UP_S
) -> ConsensusSpeed:
    """Measure validators that commit block after block, over whole simulated seconds."""
    asked = _scenario(validators, Consensus(timer_base_ns=2 * SECOND_NS, epoch_blocks=14))
    return _consensus(asked, seconds, warm_up_s, storm=False)


def measure_storm(
    seconds: int = 10, *, validators: int = VALIDATORS, warm_up_s: int = WARM_UP_S
) -> ConsensusSpeed:
    """Measure validators that never see a proposal: every view times out, n^2 messages each.

    An adversary owns all of them and holds each proposal back, which is the one way to let all
    views fail and everybody talk. So each message is checked at the edge too, as honest ones are
    not: the figure is low rather than high.
    """
    impatient = Consensus(
        timer_base_ns=SECOND_NS, timer_backoff_ppm=1_000_000, timer_max_ns=SECOND_NS
    )
    held_back = DelayProposals(
        kind="delay_proposals", nodes=Random(random=validators), amount_ns=600 * SECOND_NS
    )
    asked = replace(_scenario(validators, impatient), adversaries=(held_back,))
    return _consensus(asked, seconds, warm_up_s, storm=True)


def measure_pbft(
    seconds: int = 10, *, validators: int = VALIDATORS, warm_up_s: int = WARM_UP_S
) -> ConsensusSpeed:
    """Measure PBFT among validators of the same places: n^2 prepares and commits a block."""
    asked = _scenario(validators, Consensus(timer_base_ns=10 * SECOND_NS))
    equal = replace(asked.validators, stake=EQUAL)
    asked = replace(asked, validators=equal, protocol=Pbft(kind="pbft"))
    return _consensus(asked, seconds, warm_up_s, storm=False)


def _consensus(asked: Scenario, seconds: int, warm_up_s: int, *, storm: bool) -> ConsensusSpeed:
    tally = _Tally()
    world = build(asked, 0, tally)
    world.start()
    world.advance(warm_up_s * SECOND_NS)
    blocks, before = world.observer.blocks_committed, dict(tally.delivered)
    with rare_collections():
        start_ns = time.process_time_ns()
        # The last instant closes the last second, which hands its counts to the tally.
        world.advance((warm_up_s + seconds) * SECOND_NS)
        cpu_ns = time.process_time_ns() - start_ns
    by_kind = {kind: n - before.get(kind, 0) for kind, n in sorted(tally.delivered.items())}
    return ConsensusSpeed(
        validators=asked.validators.count,
        storm=storm,
        simulated_ns=seconds * SECOND_NS,
        messages=sum(by_kind.values()),
        by_kind=by_kind,
        blocks=world.observer.blocks_committed - blocks,
        cpu_ns=cpu_ns,
        peak_memory_bytes=peak_memory_bytes(),
    )


# -- agents -------------------------------------------------------------------------------------


class Plane(Protocol):
    """What the columns and their reference have in common, as far as it is measured."""

    def advance(self, now_ns: int, horizon_ns: int | None = None) -> None: ...

    def new_refs(self, validator: int, now_ns: int) -> tuple[PayloadRef, ...]: ...

    def commit(self, refs: tuple[PayloadRef, ...], now_ns: int) -> None: ...

    def drain(self, final: bool = False) -> Drained: ...

    def counters(self) -> Counters: ...


Maker = Callable[[PlaneParameters, NetworkTables, Chance], Plane]


def measure_plane(agents: int, seconds: int = 10, *, warm_up_s: int = WARM_UP_S) -> PlaneSpeed:
    """Measure the columns: all stages, sessions, lookups, transactions, at 150 gateways."""
    # Kernels compile at their first import: who measures consensus only does without them.
    from sim.world.agents.plane import AgentPlane

    return _agents(AgentPlane, agents, seconds, warm_up_s)


def measure_reference(
    seconds: int = 3, *, agents: int = REFERENCE_AGENTS, warm_up_s: int = 1
) -> PlaneSpeed:
    """Measure the same model with one SimPy process a message."""
    return _agents(Reference, agents, seconds, warm_up_s)


def _agents(make: Maker, agents: int, seconds: int, warm_up_s: int) -> PlaneSpeed:
    """Advance a plane on its grid; what a validator holds is committed twice a second."""
    chance = Chance(1, 0)
    asked = _scenario(VALIDATORS, Consensus(timer_base_ns=2 * SECOND_NS), agents)
    tables = network_tables(asked)
    census = Census(validator_regions(asked), _stakes(asked, chance), (), chance)
    costs = load_costs(asked.crypto.costs, asked.crypto.suite)
    parameters = plane_parameters(asked, tables, census, costs)
    assert parameters is not None
    plane = make(parameters, tables, chance)
    _drive(plane, 0, warm_up_s)
    before = plane.counters()
    with rare_collections():
        start_ns = time.process_time_ns()
        _drive(plane, warm_up_s, warm_up_s + seconds)
        cpu_ns = time.process_time_ns() - start_ns
    after = plane.counters()
    return PlaneSpeed(
        agents=agents,
        simulated_ns=seconds * SECOND_NS,
        offered=sum(after.offered) - sum(before.offered),
        messages=sum(after.delivered) - sum(before.delivered),
        conserved=after.conserved(),
        cpu_ns=cpu_ns,
        peak_memory_bytes=peak_memory_bytes(),
    )


def _drive(plane: Plane, from_s: int, to_s: int) -> None:
    for now_ns in range(from_s * SECOND_NS + GRID_NS, to_s * SECOND_NS + 1, GRID_NS):
        plane.advance(now_ns)
        if now_ns % COMMIT_NS == 0:
            plane.commit(plane.new_refs(0, now_ns), now_ns)
        if now_ns % SECOND_NS == 0:
            plane.drain()


# -- the measured world -------------------------------------------------------------------------


def _stakes(asked: Scenario, chance: Chance) -> list[int]:
    return stakes(asked.validators, chance)


def _scenario(validators: int, consensus: Consensus, agents: int = 0) -> Scenario:
    """Return the main job's validators, regions and rates a head, without faults."""
    amounts = _shared_out(validators)
    return Scenario(
        schema_version="creto-sim/1",
        name="bench",
        title="Bench",
        question="How fast is this machine?",
        network=Network(bandwidth_bits_per_s=10 * 10**9, consensus_share_ppm=600_000),
        validators=Validators(
            count=validators,
            placement=Placement(tuple(_REGIONS), amounts),
            stake=LognormalStake(kind="lognormal", median=1_000_000, sigma_micro=500_000),
            workers=Workers(consensus=8, agents=8),
        ),
        consensus=consensus,
        agents=_population(agents) if agents else None,
        expect=(Safety(safety="held"),),
    )


def _shared_out(validators: int) -> tuple[int, ...]:
    """Share validators out over the regions as the main job does, by cumulative rounding."""
    total, done, seen = sum(_REGIONS.values()), 0, 0
    amounts = []
    for share in _REGIONS.values():
        seen += share
        amounts.append(validators * seen // total - done)
        done += amounts[-1]
    return tuple(amounts)


def _poisson(rate_nhz: int) -> people.Poisson:
    return people.Poisson(kind="poisson", rate_nhz=rate_nhz)


def _population(agents: int) -> people.Agents:
    """Return agents with the rates of `scenarios/million_agents.yaml`, a head."""
    return people.Agents(
        count=agents,
        placement=Placement(tuple(_REGIONS), None),
        sessions=people.WeibullSessions(kind="weibull", off_scale_ns=750 * SECOND_NS),
        workload=people.Workload(
            messages=people.Messages(
                arrivals=_poisson(220_000_000),
                size_bytes=256,
                size_spread_bytes=512,
                destinations=people.Zipf(kind="zipf", exponent_micro=500_000, locality_ppm=600_000),
            ),
            transactions=people.Transactions(arrivals=_poisson(11_000_000)),
            lookups=people.Lookups(
                by_id=people.IdLookups(arrivals=_poisson(2_000_000)),
                by_capability=people.CapabilityLookups(arrivals=_poisson(1_000_000)),
            ),
            registrations=people.Registrations(arrivals=_poisson(500_000)),
            renewals=people.Renewals(arrivals=_poisson(1_000_000)),
        ),
        access=(
            people.AccessClass(share_ppm=850_000, delay_ns=8_000_000, spread_ns=20_000_000),
            people.AccessClass(
                share_ppm=150_000, delay_ns=35_000_000, spread_ns=90_000_000, loss_ppb=1_000_000
            ),
        ),
        compression=people.Compression(messages_ppm=450_000),
    )
