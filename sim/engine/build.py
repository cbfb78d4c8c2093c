"""Build a running world from a scenario: translate, resolve, wire; nothing runs yet.

Owns the wiring and nothing else; what a part does is that part's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeAlias

from simpy.events import URGENT

from sim.engine.adversary import Engagement
from sim.engine.alerting import Board
from sim.engine.attacks import attach, engagements
from sim.engine.baselines import CERTIFIED, baseline, electorate_of
from sim.engine.cloud_services import CloudServices
from sim.engine.clouds import open_standby
from sim.engine.disturbances import link_rules, timetable
from sim.engine.driver import Driver
from sim.engine.faults import Entry, Timetable, fault_rows, touches
from sim.engine.genesis import Census, ledger_of, stakes, validator_regions
from sim.engine.ledger_rows import LedgerRows
from sim.engine.lending import Lending
from sim.engine.loop import Loop
from sim.engine.meter import Meter
from sim.engine.node import Core, Node
from sim.engine.observer import Observer
from sim.engine.payload import PlanePayload
from sim.engine.persistence import Past, StoringSink, past_of
from sim.engine.plane_attacks import Besiegers, Siege, sieges, turning_points
from sim.engine.plane_faults import PlaneFaults
from sim.engine.plane_parameters import network_tables, plane_parameters
from sim.engine.protocol_parameters import consensus_parameters
from sim.engine.rollouts import Release, open_rollouts, releases
from sim.engine.rollouts import turning_points as rollout_points
from sim.engine.stations import StationMeter
from sim.engine.tap import Tap
from sim.engine.transport import Transport
from sim.engine.witness import Witness
from sim.monitor.punishment import Terms
from sim.monitor.watch import Watch
from sim.protocol.baselines.electorate import Electorate
from sim.protocol.events import OperationSubmitted, Restarted
from sim.protocol.ledger import Ledger
from sim.protocol.messages import Proposal
from sim.protocol.types import EpochParameters, Operation
from sim.protocol.validator import Validator
from sim.record.recorder import Sink
from sim.record.rocks import RocksStore
from sim.scenario.alerts import rules_in_force
from sim.scenario.breakdowns import Rollout
from sim.scenario.checks import Liveness
from sim.scenario.model import Scenario
from sim.world.agents.kinds import NEVER
from sim.world.chance import Chance
from sim.world.crypto.checks import self_check
from sim.world.crypto.costs import CostModel, load_costs
from sim.world.crypto.signer import RealSigner
from sim.world.crypto.signing import Edge
from sim.world.crypto.suites import SIGNATURE_BYTES, available_suites
from sim.world.network.links import Links
from sim.world.network.stations import Cpu, Link
from sim.world.network.tables import NetworkTables
from sim.world.payload import NoPayload, Payload

if TYPE_CHECKING:
    from sim.engine.compliance.office import Ear, Office
    from sim.world.agents.plane import AgentPlane
from sim.engine.world import World

P = ParamSpec("P")


Store: TypeAlias = RocksStore | None
"""Where stakes, reputations and the audit log are kept; None in memory."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What stands before anything is wired: places, people, computers and who owns them."""

    scenario: Scenario
    chance: Chance
    env: Loop
    regions: list[str]
    tables: NetworkTables
    costs: CostModel
    ledger: Ledger | None
    electorate: Electorate | None
    first: EpochParameters
    """What the first epoch pins; a baseline's only one."""
    census: Census
    core: Callable[[int], Core]
    """Makes the core of a validator."""
    nodes: list[Node]
    releases: tuple[Release, ...]
    minds: dict[int, list[Engagement]]
    sieges: tuple[Siege, ...]
    past: Past | None
    """What the run starts from; None where it starts anew."""

    @property
    def owned(self) -> int:
        """Bitmap of the validators that an adversary owns, or may take over."""
        return sum(1 << node for node in self.minds)

    @property
    def honest(self) -> int:
        """Bitmap of the validators that are honest until they are said to be so no longer."""
        lost = (node for node, es in self.minds.items() if not all(e.late for e in es))
        return (1 << len(self.nodes)) - 1 & ~sum(1 << node for node in lost)


def build(scenario: Scenario, replicate: int, sink: Sink, store: Store = None) -> World:
    """Build the world of one replicate, its monitors included; `store`: kept beside the tables."""
    sink = sink if store is None else StoringSink(sink, store)
    setting = _setting(scenario, Chance(scenario.seed, replicate))
    alerts = _board(scenario, sink)
    recorder = sink if alerts is None else alerts
    env, nodes, regions = setting.env, setting.nodes, setting.regions
    entries = timetable(scenario, setting.census)
    rules = link_rules(scenario, setting.census, entries)
    plane = _plane(setting)
    plane_faults = None if plane is None else PlaneFaults(plane, rules, regions)
    payload = _payload(setting, entries, plane, plane_faults)
    ear = _ear(scenario, recorder)
    observer = Observer(
        recorder=ear or recorder,
        books=_books(setting, ear or recorder),
        honest=setting.honest,
        regions=tuple(regions),
        signature_bytes=SIGNATURE_BYTES,
        first_commits=[payload.commit, *([] if alerts is None else [alerts.committed])],
    )
    watch, meter = _watch(setting, observer), Meter(recorder, setting.tables.regions)
    links, signer = Links(rules, regions), _signer(scenario, len(nodes))
    driver = _driver(setting, payload, observer, watch, meter, links, signer)
    driver.transport.tap = _tap(scenario, recorder)
    if alerts is not None:
        driver.proposed = _both(driver.proposed, alerts.proposed)
    faults = Timetable(
        driver=driver,
        chance=setting.chance,
        plane=plane_faults,
        revive=_reviver(driver, watch),
        record=fault_rows(recorder, env),
        healed=watch.healed,
        clouds=CloudServices(scenario.clouds, regions, setting.chance, recorder),
    )
    faults.schedule(entries, scenario.duration_ns)
    rollouts = open_rollouts(setting, faults, driver, watch, observer, alerts, recorder)
    if plane is not None and plane_faults is not None:
        _schedule_links(env, plane_faults, scenario.duration_ns)
        if scenario.network.lanes == "shared":
            _lend(plane_faults, plane, setting)
        Besiegers(setting.sieges, plane_faults, driver, recorder, watch).schedule(scenario)
    _schedule_operations(scenario, env, driver, nodes, observer)
    attach(scenario, setting.minds, driver, recorder, watch)
    faults.impair(entries)
    observer.epoch(setting.first, 0)
    return World(
        scenario=scenario,
        env=env,
        nodes=nodes,
        ledger=setting.ledger,
        driver=driver,
        transport=driver.transport,
        observer=observer,
        meter=meter,
        timetable=faults,
        rollouts=rollouts,
        recorder=recorder,
        regions=regions,
        tables=setting.tables,
        plane=plane,
        watch=watch,
        stations=StationMeter(recorder, nodes),
        office=None if ear is None else _office(setting, ear, watch, links, signer, store, faults),
        alerts=alerts,
        standby=open_standby(setting, faults, driver.transport, observer, watch.healed, recorder),
    )


def _payload(
    setting: Setting, entries: list[Entry], plane: AgentPlane | None, faults: PlaneFaults | None
) -> Payload:
    if plane is None or faults is None:
        return NoPayload()
    duration_ns = setting.scenario.duration_ns
    touched = [*touches(entries, duration_ns), *faults.changes(duration_ns)]
    touched += [*turning_points(setting.sieges), *rollout_points(setting.releases, duration_ns)]
    return PlanePayload(plane, _horizon(touched))


def _lend(faults: PlaneFaults, plane: AgentPlane, setting: Setting) -> None:
    faults.lending = Lending(setting.env, plane, setting.nodes)
    faults.lending.start()


def _watch(setting: Setting, observer: Observer) -> Watch:
    scenario = setting.scenario
    within_ns, after_ns = _liveness_bound_ns(scenario)
    return Watch(
        honest=setting.honest,
        validators=len(setting.nodes),
        block_of=observer.block_of,
        epoch_of=observer.epoch_of,
        commit_within_ns=within_ns,
        start_ns=after_ns,
        terms=Terms(scenario.ledger.unbonding_epochs, scenario.consensus.max_block_evidence),
        cap_ppm=scenario.weights.cap_ppm,
        baseline=setting.electorate is not None,
        certified=isinstance(scenario.protocol, CERTIFIED),
    )


def _setting(scenario: Scenario, chance: Chance) -> Setting:
    regions = validator_regions(scenario)
    tables = network_tables(scenario)
    genesis = stakes(scenario.validators, chance)
    past = past_of(scenario, chance.replicate)
    if past is not None:
        genesis = [account.stake for account in past.accounts][: len(genesis)]
    electorate, ledger = electorate_of(scenario, chance), None
    if electorate is None:
        ledger = ledger_of(scenario, genesis, len(regions), past)
        first = ledger.next_epoch(ledger.genesis_block).parameters
    else:
        first = electorate.pinned
    census = Census(regions, genesis, first.weights.weights, chance)
    core = _cores(scenario, ledger, electorate)
    nodes = _nodes(scenario, core, [tables.index(region) for region in regions])
    rollouts = releases(scenario, census)
    return Setting(
        scenario=scenario,
        chance=chance,
        env=Loop(),
        regions=regions,
        tables=tables,
        costs=load_costs(scenario.crypto.costs, scenario.crypto.suite),
        ledger=ledger,
        electorate=electorate,
        first=first,
        census=census,
        core=core,
        nodes=nodes,
        releases=rollouts,
        minds=engagements(scenario, census, chance, rollouts),
        sieges=sieges(scenario, tables, census, chance),
        past=past,
    )


def _driver(
    setting: Setting,
    payload: Payload,
    observer: Observer,
    watch: Watch,
    meter: Meter,
    links: Links,
    signer: RealSigner | None,
) -> Driver:
    scenario, nodes = setting.scenario, setting.nodes
    driver = Driver(
        env=setting.env,
        nodes=nodes,
        payload=payload,
        edge=Edge(signer, setting.owned, kept=_statements(scenario, len(nodes))),
        signature_bytes=SIGNATURE_BYTES,
        witness=Witness(watch, observer),
        drafted=lambda proposal, now_ns: watch.proposed(proposal.block, now_ns),
        proposed=_proposed(watch, observer),
        stated=watch.stated,
        heard=watch.heard,
        corrupted=_both(watch.corrupted, observer.corrupted),
    )
    driver.transport = Transport(
        env=setting.env,
        nodes=nodes,
        tables=setting.tables,
        costs=setting.costs,
        links=links,
        dissemination=scenario.consensus.dissemination,
        chance=setting.chance,
        meter=meter,
        addressee=driver,
        revocable=bool(scenario.faults),
    )
    return driver


def _tap(scenario: Scenario, recorder: Sink) -> Tap | None:
    """Return who follows single messages: all of the run, or those of the window."""
    if not recorder.keeps("messages"):
        return None
    window = scenario.record.window
    if scenario.record.detail == "messages" or window is None:
        return Tap(recorder, 0, scenario.duration_ns)
    return Tap(recorder, window.from_ns, window.to_ns)


def _ear(scenario: Scenario, recorder: Sink) -> Ear | None:
    """Return what overhears the validators' rows; None, and nothing loaded, without compliance."""
    if scenario.compliance is None:
        return None
    from sim.engine.compliance.office import Ear

    return Ear(recorder)


def _office(
    setting: Setting,
    ear: Ear,
    watch: Watch,
    links: Links,
    signer: RealSigner | None,
    store: Store,
    faults: Timetable,
) -> Office:
    from sim.engine.compliance.opening import open_office

    assert setting.scenario.compliance is not None
    ear.audited = partial(faults.clouds.audited, setting.scenario.compliance.audit.keeper)
    return open_office(setting, ear, watch, links, signer, store)


def _statements(scenario: Scenario, identities: int) -> int:
    """Return how many statements may still be spoken of: a vote and a timeout each, a block.

    Blocks are those that validators keep for others, and those of epochs that evidence is taken of.
    """
    blocks = (scenario.ledger.unbonding_epochs + 1) * scenario.consensus.epoch_blocks
    return 2 * identities * (blocks + scenario.consensus.store_blocks)


def _proposed(watch: Watch, observer: Observer) -> Callable[[Proposal, int, int], None]:
    def proposed(proposal: Proposal, now_ns: int, size_bytes: int) -> None:
        observer.proposed(proposal, now_ns, size_bytes)
        watch.proposed(proposal.block, now_ns)

    return proposed


def _board(scenario: Scenario, sink: Sink) -> Board | None:
    """Return what shows rows to the alert rules on their way; None where there is no use in it."""
    asked = any(f.abort_on and f.abort_on.alerts for f in scenario.faults if isinstance(f, Rollout))
    if not (asked or sink.keeps("alerts")) or not rules_in_force(scenario.alerts):
        return None
    return Board(sink, scenario)


def _both(first: Callable[P, None], second: Callable[P, None]) -> Callable[P, None]:
    """Return one listener that tells two."""

    def tell(*args: P.args, **kwargs: P.kwargs) -> None:
        first(*args, **kwargs)
        second(*args, **kwargs)

    return tell


def _horizon(touched: list[int]) -> Callable[[int], int]:
    """Return the first of the given times that is not before a time."""
    times = sorted(touched)

    def horizon(now_ns: int) -> int:
        place = bisect_left(times, now_ns)
        return times[place] if place < len(times) else NEVER

    return horizon


def _liveness_bound_ns(scenario: Scenario) -> tuple[int | None, int]:
    """Return the bound that the scenario states for commits, if it does, and from when on."""
    for check in scenario.expect:
        if isinstance(check, Liveness):
            return check.liveness.commit_within_ns, check.liveness.after_ns or 0
    return None, 0


def _cores(
    scenario: Scenario, ledger: Ledger | None, electorate: Electorate | None
) -> Callable[[int], Core]:
    """Return what makes the core of a validator."""
    if electorate is not None:
        return partial(baseline, scenario, electorate)
    assert ledger is not None, "the main protocol has a ledger"
    return partial(Validator, parameters=consensus_parameters(scenario), ledger=ledger)


def _books(setting: Setting, recorder: Sink) -> LedgerRows:
    fixed = None if setting.electorate is None else setting.first
    return LedgerRows(recorder, tuple(setting.regions), setting.ledger, fixed)


def _nodes(scenario: Scenario, core: Callable[[int], Core], regions: list[int]) -> list[Node]:
    network = scenario.network

    lane = network.bandwidth_bits_per_s * network.consensus_share_ppm // 1_000_000
    paced = network.lanes == "shared" or network.flow_limit_bits_per_s < lane

    def link(*, up: bool) -> Link:
        # A flow is paced once, where it leaves; a limit above the lane's rate never binds.
        return Link(
            network.bandwidth_bits_per_s,
            consensus_share_ppm=network.consensus_share_ppm,
            lanes=network.lanes,
            flow_bits_per_s=network.flow_limit_bits_per_s if up and paced else None,
        )

    return [
        Node(
            index,
            region,
            core(index),
            Cpu(scenario.validators.workers.consensus),
            (link(up=True), link(up=False)),
        )
        for index, region in enumerate(regions)
    ]


def _plane(setting: Setting) -> AgentPlane | None:
    assaults = tuple(siege.attack.assault() for siege in setting.sieges)
    parameters = plane_parameters(
        setting.scenario, setting.tables, setting.census, setting.costs, assaults
    )
    if parameters is None:
        return None
    # Kernels compile at their first import: a scenario without agents does without them.
    from sim.world.agents.plane import AgentPlane

    return AgentPlane(parameters, setting.tables, setting.chance)


def _signer(scenario: Scenario, identities: int) -> RealSigner | None:
    if scenario.crypto.signatures == "modelled":
        return None
    # Known answers and cross-verification, before anything is signed: 80 ms.
    self_check()
    suite = available_suites()[scenario.crypto.suite]
    return RealSigner(suite, identities, scenario.seed)


def _reviver(driver: Driver, watch: Watch) -> Callable[[Node, bool], None]:
    """Hand a restarted validator its first event: the core itself forgets what a crash loses.

    It is the same core, because its blocks are durable: one that came back without them would time
    out on the root certificate, and be convicted of hiding the certificate that it had voted on.
    """

    def revive(node: Node, amnesia: bool) -> None:
        # A crash before anything was persisted leaves nothing to forget: no amnesia.
        watch.restarted(node.id, driver.env.now, amnesia=amnesia)
        driver.handle(node, Restarted(node.persisted))

    return revive


def _schedule_links(env: Loop, faults: PlaneFaults, duration_ns: int) -> None:
    """Tell the agent plane of link rules whenever one comes into force or lapses."""

    for when_ns in faults.changes(duration_ns):
        env.at(when_ns, faults.rules_changed, when_ns, URGENT)


def _schedule_operations(
    scenario: Scenario,
    env: Loop,
    driver: Driver,
    nodes: list[Node],
    observer: Observer,
) -> None:
    """Hand each operation to the core of its own validator at its time, in the order written."""

    def submit(due: tuple[Node, Operation]) -> None:
        node, operation = due
        observer.submitted(operation, env.now)
        if node.up:
            driver.handle(node, OperationSubmitted(driver.edge.signed(operation)))

    nonces: dict[int, int] = {}
    ordered = sorted(scenario.operations, key=lambda operation: operation.at_ns)
    for asked in ordered:
        nonce = nonces.get(asked.validator, 0)
        nonces[asked.validator] = nonce + 1
        operation = Operation(asked.kind, asked.validator, asked.amount, nonce)
        env.at(asked.at_ns, submit, (nodes[asked.validator], operation))
