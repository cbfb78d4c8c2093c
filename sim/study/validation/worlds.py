"""Whole worlds beside what papers and closed forms say of them, and beside their twin.

Owns: the baselines' delays and messages a block, HotStuff as a queue, chain growth under attack,
waits at gateways of a running network, the columns of agents against one process a message. Must
not know: figures. Equal validators, constant delays, nothing else wrong.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any, Literal

import polars as pl

from sim.engine.build import build
from sim.engine.genesis import Census, stakes, validator_regions
from sim.engine.plane_parameters import network_tables, plane_parameters
from sim.engine.reference import Reference
from sim.protocol.baselines.ordering import CHECKPOINT_INTERVAL
from sim.record.recorder import NullRecorder
from sim.scenario import agents as people
from sim.scenario.adversaries import Forking, Silent
from sim.scenario.checks import Safety
from sim.scenario.fields import Placement
from sim.scenario.model import Consensus, Crypto, Network, Scenario, Validators, Workers
from sim.scenario.protocols import CRETO, Constant, HotStuff, Pbft, Protocol, Streamlet, Tendermint
from sim.scenario.recording import Record
from sim.scenario.selection import Random
from sim.study import theory
from sim.study.baselines import LIMIT_NS, Plan, Probe, epoch_ns, measure, scenario
from sim.study.validation.parts import SEED
from sim.study.validation.rows import Compared, frame
from sim.world.agents.kinds import STATIONS
from sim.world.agents.tables import Drained
from sim.world.chance import Chance
from sim.world.crypto.costs import load_costs

NS, MS = 1_000_000_000, 1_000_000


# -- what a block takes -------------------------------------------------------------------------

STEP_NS = 10 * NS
"""A delay beside which computers and links hardly count."""
STEP_SIZES = (6, 12, 20)
DELAYS: tuple[tuple[Protocol, int], ...] = (
    (CRETO, 5),
    (HotStuff(kind="hotstuff"), 7),
    (Pbft(kind="pbft"), 3),
    (Tendermint(kind="tendermint"), 3),
    (Streamlet(kind="streamlet"), 2),
)
"""Message delays from proposal to decision. Jolteon's two chained certificates and HotStuff's
three: proposal and vote each, and the proposal that shows the last (arXiv:2106.10362,
arXiv:1803.05069); three phases of PBFT (OSDI 1999) and Tendermint (arXiv:1807.04938); Streamlet
(AFT 2020): two, after an epoch by the clock that `steps` takes off."""
_STEP_SLACK = 0.05
"""Delays that computers and links may add."""


def messages_a_block(kind: str, n: int, late_vote_leaders: int) -> float:
    """Return what n > 4 validators send one another for a block, by the papers of `DELAYS`.

    A proposal to all n - 1 others, and votes: to the next leader (ours, HotStuff), from all but the
    primary and then from all to all (PBFT), from all to all once (Streamlet) or twice (Tendermint).
    Besides, PBFT's checkpoints, and late votes that our collectors pass on to coming leaders.
    """
    others = n - 1
    return (
        others
        + {
            "creto": others + late_vote_leaders,
            "hotstuff": others,
            "pbft": others * others + n * others + n * others / CHECKPOINT_INTERVAL,
            "tendermint": 2 * n * others,
            "streamlet": n * others,
        }[kind]
    )


def steps(sizes: Sequence[int] = STEP_SIZES) -> pl.DataFrame:
    """Count the delays that a block takes until it is final, and the messages."""
    rows = []
    plan = Plan(sizes=sizes, delay_ns=STEP_NS, seed=SEED)
    for protocol, delays in DELAYS:
        for n in sizes:
            found = measure(protocol, n, plan)
            latency, blocks = int(found["latency_ns"]), int(found["blocks"])
            if isinstance(protocol, Streamlet):
                latency -= epoch_ns(n, STEP_NS)
            kind = protocol.kind
            took = latency / STEP_NS
            rows.append(Compared("delays a block", kind, n, delays, took, 0.0, blocks, _STEP_SLACK))
            late = scenario(protocol, n, plan).consensus.late_vote_leaders
            sent, expected = int(found["messages"]), messages_a_block(kind, n, late)
            # Rounded down, and at each end a block's more or less may be under way.
            slack = 1 + expected / blocks
            rows.append(Compared("messages a block", kind, n, expected, sent, 0.0, blocks, slack))
    return frame(rows)


# -- HotStuff as a queue ------------------------------------------------------------------------

MESSAGE_NS = 10 * MS
"""1/mu: so long that bits on the wire do not count beside it."""
LINK_NS = 1_000
CLIQUES = (4, 7, 16, 31, 61)


def clique(sizes: Sequence[int] = CLIQUES) -> pl.DataFrame:
    """Measure a decision of chained HotStuff where checking a signature takes 1/mu, links nothing.

    In units of 1/mu; see `theory.chained_clique_units`. The slack is that of the links.
    """
    with tempfile.TemporaryDirectory() as folder:
        costs = message_costs(Path(folder))
        return frame([_decision(n, costs) for n in sizes])


def message_costs(folder: Path) -> str:
    """Write a cost table in which a signature takes 1/mu to check and all else nothing."""
    figures = {
        "keygen_ns": 0,
        "sign_fixed_ns": 0,
        "sign_attempt_ns": 0,
        "verify_ns": MESSAGE_NS,
        "hash_ns_per_kib": 0,
        "decode_ns_per_kib": 0,
        "source": "1/mu a message",
    }
    path = folder / "costs.json"
    text = json.dumps({"schema": "creto-sim/costs/1", "suites": {"pqcrypto": figures}})
    path.write_text(text, encoding="utf-8")
    return str(path)


def clique_scenario(n: int, costs: str) -> Scenario:
    """Return n validators with one worker each, a leader that stays, and links that take 1 us."""
    asked = scenario(HotStuff(kind="hotstuff", reign=10**9), n, Plan(delay_ns=LINK_NS, seed=SEED))
    network = Network(
        bandwidth_bits_per_s=10**12,
        flow_limit_bits_per_s=10**12,
        loss_ppb=0,
        delays=Constant(kind="constant", delay_ns=LINK_NS),
    )
    return replace(
        asked,
        network=network,
        crypto=Crypto(costs=costs),
        validators=replace(asked.validators, workers=Workers(consensus=1)),
    )


def decisions_ns(asked: Scenario, first: int = 4, last: int = 10) -> list[int]:
    """Return, for some blocks of the steady state, the time from proposal to a quorum's commit."""
    probe = Probe()
    world = probe.world = build(asked, 0, probe)
    world.start()
    now_ns = 0
    while len(probe.commits) < last + 2 and now_ns < LIMIT_NS:
        now_ns += MESSAGE_NS
        world.advance(now_ns)
    world.close(now_ns)
    return [probe.quorum_ns[when] for when, _, _ in probe.commits[first:last]]


def _decision(n: int, costs: str) -> Compared:
    taken = decisions_ns(clique_scenario(n, costs))
    f = (n - 1) // 3
    found = sum(taken) / len(taken) / MESSAGE_NS
    expected = theory.chained_clique_units(n, f)
    return Compared("clique (1/mu)", "chained HotStuff", n, expected, found, 0.0, len(taken), 0.1)


# -- chain growth under attack ------------------------------------------------------------------

REPLICAS = 32
Attacked = Literal["forking", "silence"]
BAMBOO: dict[Attacked, dict[int, float]] = {
    "forking": {0: 1.0, 2: 0.873, 4: 0.766, 6: 0.658, 8: 0.562, 10: 0.476},
    "silence": {0: 1.0, 2: 0.930, 4: 0.864, 6: 0.807, 8: 0.738},
}
"""Chain growth, the share of proposed blocks that are committed, by the number of Byzantine
replicas of 32. Source: Gai, Farahbakhsh, Niu, Feng, Beschastnikh, Duan, "Dissecting the Performance
of Chained-BFT", ICDCS 2021, arXiv:2103.00777."""
GROWTH_BLOCKS = 3_000
GROWTH_SEED = 5
_TIMER_NS = 400 * MS


class _Fates(NullRecorder):
    """Count blocks by what became of them."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def append_row(self, table: str, **values: Any) -> None:
        if table == "blocks":
            self.of[values["status"]] += 1


def growth(attack: Attacked, byzantine: int, blocks: int) -> tuple[float, int]:
    """Run chained HotStuff under an attack until so many blocks are settled.

    Leaders are drawn, each replica alike. Return the committed share and the settled blocks. Raises
    RuntimeError where an invariant breaks or the chain stands still.
    """
    base = scenario(HotStuff(kind="hotstuff"), REPLICAS, Plan(delay_ns=MS, seed=GROWTH_SEED))
    timer = Consensus(timer_base_ns=_TIMER_NS, timer_backoff_ppm=1_000_000, leader="weighted")
    asked: Scenario = replace(base, consensus=timer)
    if byzantine:
        nodes = Random(random=byzantine)
        adversary: Forking | Silent = Silent(kind="silent", nodes=nodes)
        if attack == "forking":
            adversary = Forking(kind="forking", nodes=nodes)
        asked = replace(asked, adversaries=(adversary,))
    fates = _Fates()
    world = build(asked, 0, fates)
    world.start()
    now_ns = 0
    while sum(fates.of.values()) < blocks:
        now_ns += 100 * MS
        world.advance(now_ns)
        # A lost view costs a timer, and fewer than all views are lost.
        if now_ns >= blocks * _TIMER_NS:
            raise RuntimeError(f"{attack} by {byzantine}: {dict(fates.of)} in {now_ns / NS:g} s")
    broken = world.watch.finish(now_ns)
    if broken:
        raise RuntimeError(f"{attack} by {byzantine}: {broken}")
    settled = fates.of["committed"] + fates.of["orphaned"]
    return fates.of["committed"] / settled, settled


def expected_growth(attack: Attacked, byzantine: int) -> tuple[float, float]:
    """Return the share that survives by theory, and how often two neighbours both do."""
    bad = byzantine / REPLICAS
    if attack == "forking":
        return theory.forking_growth(bad), (1 - bad) ** 3
    return theory.silent_growth(bad), (1 - bad) ** 2


def growth_error(attack: Attacked, byzantine: int, blocks: int) -> float:
    """Return the standard error of the committed share: neighbours share their fate in part."""
    survives, overlap = expected_growth(attack, byzantine)
    return sqrt((survives * (1 - survives) + 2 * (overlap - survives**2)) / blocks)


def growths(blocks: int = GROWTH_BLOCKS) -> pl.DataFrame:
    """Measure chain growth under both attacks; minutes, so that notebooks read it from a file.

    Beside the rows of theory, rows `..., published` compare with the paper's own figures, read off
    at three digits: half a unit of the last one is slack.
    """
    rows = []
    for attack, curve in BAMBOO.items():
        for byzantine, published in curve.items():
            found, settled = growth(attack, byzantine, blocks if byzantine else blocks // 10)
            error = growth_error(attack, byzantine, settled)
            expected, _ = expected_growth(attack, byzantine)
            sides = (("growth", expected, 1e-9), ("growth, published", published, 0.0005))
            for part, should, slack in sides:
                rows.append(Compared(part, attack, byzantine, should, found, error, settled, slack))
    return frame(rows)


# -- gateways of a running network --------------------------------------------------------------

GATEWAYS, PEOPLE = 4, 2_000
RATES_NHZ = (60_000_000, 100_000_000, 140_000_000, 180_000_000)
"""Messages of an agent, a second."""
INGRESS_NS = 10 * MS
WAIT_SECONDS, SETTLED_SECONDS, BATCH_SECONDS = 77, 5, 12
"""Simulated, left out at the start, and so long that means over them are nearly independent."""


class _Stations(NullRecorder):
    """Keep the columns of the agents' stations."""

    def __init__(self) -> None:
        self.frames: list[pl.DataFrame] = []

    def append(self, table: str, columns: Mapping[str, Any]) -> None:
        if table == "stations":
            self.frames.append(pl.DataFrame(dict(columns)))


def gateways() -> pl.DataFrame:
    """Measure waits at gateways with one server and a constant service, in a network that runs.

    Agents send by Poisson's law and access delays keep it one, so that each gateway is M/D/1. In
    units of the service, by the utilisation that the gateways had: arrivals vary by some parts in
    a thousand, waits near saturation by ten times as much. The error is that of batches of seconds.
    """
    rows = []
    for rate_nhz in RATES_NHZ:
        kept = _Stations()
        asked = _people(rate_nhz, people.Station(servers=1, service_ns=INGRESS_NS), WAIT_SECONDS)
        world = build(asked, 0, kept)
        world.start()
        world.advance(WAIT_SECONDS * NS)
        world.close(WAIT_SECONDS * NS)
        rows.append(_gateway_wait(pl.concat(kept.frames)))
    return frame(rows)


def _gateway_wait(stations: pl.DataFrame) -> Compared:
    batch = (pl.col("second") - SETTLED_SECONDS) // BATCH_SECONDS
    here = pl.col("class") == STATIONS.index("ingress")
    batches = (
        stations.filter(here, pl.col("second") >= SETTLED_SECONDS)
        .group_by(batch.alias("batch"), "station")
        .agg(pl.col("served", "waited_ns").sum())
    )
    served = batches["served"].to_numpy().astype(float)
    waited = batches["waited_ns"].to_numpy() / INGRESS_NS
    found = float(waited.sum() / served.sum())
    # A ratio of sums: the residuals of the delta method.
    spread = float((waited - found * served).std(ddof=1))
    error = spread / sqrt(served.size) / float(served.mean())
    span_ns = (WAIT_SECONDS - SETTLED_SECONDS) * NS * GATEWAYS
    utilisation = float(served.sum()) * INGRESS_NS / span_ns
    expected = theory.wait_m_d_1(utilisation)
    return Compared("gateways", "M/D/1", utilisation, expected, found, error, int(served.sum()))


def _people(rate_nhz: int, ingress: people.Station, seconds: int) -> Scenario:
    """Return a small network whose agents send messages, and now and then look one up."""
    region = Placement(("aws:us-gov-west-1", "aws:us-gov-east-1"), None)
    arrivals = people.Poisson(kind="poisson", rate_nhz=rate_nhz)
    return Scenario(
        schema_version="creto-sim/1",
        name="validation",
        title="A small network",
        question="Does it do what theory says?",
        seed=SEED,
        duration_ns=seconds * NS,
        record=Record(detail="messages", sample_ppm=1_000_000),
        network=Network(bandwidth_bits_per_s=10 * 10**9, loss_ppb=0),
        validators=Validators(count=GATEWAYS, placement=region),
        consensus=Consensus(timer_base_ns=NS),
        agents=people.Agents(
            count=PEOPLE,
            placement=region,
            ingress=ingress,
            workload=people.Workload(messages=people.Messages(arrivals=arrivals)),
        ),
        expect=(Safety(safety="held"),),
    )


# -- the twin -----------------------------------------------------------------------------------

TWIN_SECONDS = 10
EQUAL = {"table": pl.String, "rows": pl.Int64, "equal": pl.Int64}


def twins() -> pl.DataFrame:
    """Solve one network by columns and by one SimPy process a message; count equal rows by table.

    Returns table, rows, equal: rows of the columns that the reference has too, times included.
    """
    # Kernels compile at their first import.
    from sim.world.agents.plane import AgentPlane

    asked = _people(RATES_NHZ[-1], people.Station(servers=1, service_ns=INGRESS_NS), TWIN_SECONDS)
    chance = Chance(asked.seed, 0)
    tables = network_tables(asked)
    census = Census(validator_regions(asked), stakes(asked.validators, chance), (), chance)
    costs = load_costs(asked.crypto.costs, asked.crypto.suite)
    parameters = plane_parameters(asked, tables, census, costs)
    assert parameters is not None
    drained = []
    for make in (AgentPlane, Reference):
        plane = make(parameters, tables, chance)
        plane.advance(TWIN_SECONDS * NS)
        drained.append(plane.drain(final=True))
    return pl.DataFrame(
        list(_equal(*drained)), schema={"table": pl.String, "rows": pl.Int64, "equal": pl.Int64}
    )


def _equal(columns: Drained, reference: Drained) -> Iterator[dict[str, Any]]:
    for name in Drained._fields:
        left, right = (_rows(getattr(each, name)) for each in (columns, reference))
        if left or right:
            equal = sum((left & right).values())
            yield {"table": name, "rows": max(left.total(), right.total()), "equal": equal}


def _rows(table: dict[str, Any]) -> Counter[tuple[int, ...]]:
    return Counter(zip(*(column.tolist() for column in table.values()), strict=True))
