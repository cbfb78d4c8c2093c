"""Compare the protocols: latency, messages and bytes a block against the number of validators.

Owns: the worlds, one row of integers for each protocol and size, the figure and the short table.
Must not know: how tables are laid out on a terminal.

Every world: equal validators, one constant delay, the same links, computers and costs of
ML-DSA-87, no transactions, nothing wrong. Counted is between two commits of the steady state, so
that what a block takes is known to within the messages under way then. Streamlet goes by the clock;
its epoch is set to twice what a proposal and a round of votes can take there. From 256 validators
on proposals with certificates reach the last ones after the others have decided: who knows the
decision no longer votes, so that Tendermint and Streamlet send less than n * n messages a phase.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sim.engine.build import build
from sim.engine.world import World
from sim.record.recorder import NullRecorder
from sim.scenario.checks import Safety
from sim.scenario.fields import Placement
from sim.scenario.model import Consensus, Network, Scenario, Validators, Workers
from sim.scenario.protocols import (
    CRETO,
    Constant,
    HotStuff,
    Pbft,
    Protocol,
    Streamlet,
    Tendermint,
)
from sim.study.figures import COLOURS, style
from sim.study.shown import Shown
from sim.world.crypto.costs import load_costs
from sim.world.crypto.suites import SIGNATURE_BYTES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (4, 8, 16, 32, 64, 128, 256, 512)
PROTOCOLS: tuple[Protocol, ...] = (
    CRETO,
    HotStuff(kind="hotstuff"),
    Pbft(kind="pbft"),
    Tendermint(kind="tendermint"),
    Streamlet(kind="streamlet"),
)
WARM_UP_BLOCKS = 3
"""Commits before the first one that counts."""
LEAST_BLOCKS, MOST_BLOCKS, BLOCKS_BY_SIZE = 4, 64, 1024
"""Blocks that are counted: `BLOCKS_BY_SIZE` over the number of validators, within these bounds."""
MS = 1_000_000
TIMER_NS = 60_000 * MS
"""So long that no view is given up."""
STEP_NS = 10 * MS
LIMIT_NS = 3_600_000 * MS
BANDWIDTH_BITS_PER_S = 10 * 10**9
WORKERS = 8
HEADER_BYTES = 8 * 1024
"""More than a block without transactions takes besides the certificate in it."""
SLACK_NS = 150 * MS
"""Left to signing in Streamlet's epoch: 20 attempts at 5 ms leave it in one signature of 300."""


class Probe(NullRecorder):
    """Keep of each first commit its time and what had been sent by then, and when quorums had it.

    `commits`: (now_ns, messages, bytes). `quorum_ns`: by time of first commit, from a block's
    proposal to its commit by a quorum of validators.
    """

    def __init__(self) -> None:
        self.world: World | None = None
        self.commits: list[tuple[int, int, int]] = []
        self.quorum_ns: dict[int, int] = {}

    def latency(
        self,
        kind: str,
        source_region: str,
        destination_region: str,
        finished_ns: int,
        latency_ns: int,
    ) -> None:
        if kind == "block" and self.world is not None:
            self.commits.append((finished_ns, *self.world.meter.offered()))

    def append_row(self, table: str, **values: Any) -> None:
        if table == "blocks" and values["quorum_committed_ns"] >= 0:
            taken = values["quorum_committed_ns"] - values["proposed_ns"]
            self.quorum_ns[values["committed_ns"]] = taken


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared: `sizes` of the cluster, one-way `delay_ns`, `seed` of signing times."""

    sizes: Sequence[int] = SIZES
    delay_ns: int = 20 * MS
    seed: int = 1


def compare(plan: Plan) -> Iterator[dict[str, int | str]]:
    """Yield one row for each size and protocol, the smallest first; see `measure`."""
    for size in plan.sizes:
        for protocol in PROTOCOLS:
            yield measure(protocol, size, plan)


def measure(protocol: Protocol, validators: int, plan: Plan) -> dict[str, int | str]:
    """Run one cluster until enough blocks are committed, and count what each took.

    interval_ns: between first commits. latency_ns: proposed to committed by a quorum; mean, both.
    messages and bytes: sent between validators, a committed block; certificate_bytes: the
    signatures of a quorum. Raises TimeoutError where the chain stands still.
    """
    probe = Probe()
    world = probe.world = build(scenario(protocol, validators, plan), 0, probe)
    world.start()
    blocks = min(MOST_BLOCKS, max(LEAST_BLOCKS, BLOCKS_BY_SIZE // validators))
    now_ns, wanted = 0, WARM_UP_BLOCKS + blocks
    # Two commits more: whoever was slower than a whole block has come by then.
    while len(probe.commits) < wanted + 2:
        if now_ns >= LIMIT_NS:
            raise TimeoutError(f"{protocol.kind}, {validators} validators: no {wanted} commits")
        now_ns += max(STEP_NS, plan.delay_ns // 2)
        world.advance(now_ns)
    world.close(now_ns)
    start, end = probe.commits[WARM_UP_BLOCKS - 1], probe.commits[wanted - 1]
    spans = [b - a for a, b in zip(start, end, strict=True)]
    counted = probe.commits[WARM_UP_BLOCKS:wanted]
    latency = [probe.quorum_ns[when] for when, _, _ in counted]
    return {
        "protocol": protocol.kind,
        "validators": validators,
        "blocks": blocks,
        "interval_ns": spans[0] // blocks,
        "latency_ns": sum(latency) // len(latency),
        "messages": spans[1] // blocks,
        "bytes": spans[2] // blocks,
        "certificate_bytes": (validators - (validators - 1) // 3) * SIGNATURE_BYTES,
        "delay_ns": plan.delay_ns,
        "seed": plan.seed,
    }


def scenario(protocol: Protocol, validators: int, plan: Plan) -> Scenario:
    """Return the world in which a protocol is measured."""
    timer_ns = TIMER_NS
    if isinstance(protocol, Streamlet):
        timer_ns = epoch_ns(validators, plan.delay_ns)
    return Scenario(
        schema_version="creto-sim/1",
        name="baselines",
        title="Protocols side by side",
        question="What does a block cost?",
        seed=plan.seed,
        network=Network(
            bandwidth_bits_per_s=BANDWIDTH_BITS_PER_S,
            loss_ppb=0,
            delays=Constant(kind="constant", delay_ns=plan.delay_ns),
        ),
        validators=Validators(
            count=validators,
            placement=Placement(("aws:us-gov-west-1",), None),
            workers=Workers(consensus=WORKERS),
        ),
        consensus=Consensus(timer_base_ns=timer_ns, leader="round_robin"),
        protocol=protocol,
        expect=(Safety(safety="held"),),
    )


def epoch_ns(validators: int, delay_ns: int) -> int:
    """Return Streamlet's epoch: a proposal to all and a round of votes, twice over for slack.

    A proposal is sent n - 1 times on one uplink and its certificate verified by all workers; then
    everybody verifies n - 1 votes.
    """
    costs = load_costs("pqcrypto")
    proposal = validators * SIGNATURE_BYTES + HEADER_BYTES
    bits_per_s = BANDWIDTH_BITS_PER_S // 2
    sending_ns = (validators - 1) * proposal * 8 * 10**9 // bits_per_s
    verifying_ns = 2 * validators * costs.verify_ns // WORKERS + costs.decode_ns(proposal)
    return 2 * (2 * delay_ns + sending_ns + verifying_ns) + SLACK_NS


# -- shown --------------------------------------------------------------------------------------

COLUMNS = (
    ("latency_ns", "latency (ms)", 10**6),
    ("messages", "messages a block", 1),
    ("bytes", "MB a block", 10**6),
)


def show(data: pl.DataFrame) -> Shown:
    """Return the short table, by size and protocol."""
    heads = (
        "protocol",
        "validators",
        "latency (ms)",
        "interval (ms)",
        "messages a block",
        "MB a block",
        "certificate (kB)",
    )
    rows = [
        (
            str(row["protocol"]),
            f"{row['validators']:,}",
            f"{row['latency_ns'] / MS:,.0f}",
            f"{row['interval_ns'] / MS:,.0f}",
            f"{row['messages']:,}",
            f"{row['bytes'] / 10**6:,.2f}",
            f"{row['certificate_bytes'] / 1000:,.0f}",
        )
        for row in data.iter_rows(named=True)
    ]
    delay = data["delay_ns"][0] / MS
    return Shown(f"Protocols side by side: {delay:g} ms one way, ML-DSA-87, no faults", heads, rows)


def draw(data: pl.DataFrame) -> Figure:
    """Draw latency, messages and bytes a block against the number of validators."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(7.4, 2.9), layout="constrained")
    for axes, (column, label, unit) in zip(figure.subplots(1, 3), COLUMNS, strict=True):
        for protocol, colour in zip(PROTOCOLS, COLOURS, strict=False):
            rows = data.filter(protocol=protocol.kind).sort("validators")
            values = rows[column].to_numpy() / unit
            sizes = rows["validators"].to_numpy()
            axes.plot(sizes, values, "o-", ms=2.5, color=colour, label=protocol.kind)
        axes.set(xscale="log", yscale="log", xlabel="validators", title=label)
        axes.set_xticks(sorted(set(data["validators"]))[::2], minor=False)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.minorticks_off()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def save(data: pl.DataFrame, folder: Path) -> list[Path]:
    """Draw the figure to SVG and PNG in `folder`; return the files.

    Raises ModuleNotFoundError, saying what to install, without matplotlib.
    """
    files = [folder / f"baselines.{kind}" for kind in ("svg", "png")]
    with style():
        figure = draw(data)
        for file in files:
            figure.savefig(file, dpi=160, facecolor="white", transparent=False)
    return files
