"""How near each class of stations is to saturation, and where its busiest station stands.

Owns: sustained utilisation by class, which class is the bottleneck. Must not know: why a run was
made. Beside the table `stations` there are classes that follow from the chain: the space in blocks,
and what every validator spends on the transactions of others (checking signatures, links of the
dissemination lane). These are the same for all validators, so none is the busiest.

Utilisation is work handed in over what all servers can do, so a station that cannot keep up may
show more than 100 %. Sustained: the mean after the warm-up, of the busiest station; a second at
100 % says little, a mean at 90 % much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from sim.engine.genesis import Census, stakes, validator_regions
from sim.engine.plane_parameters import network_tables, plane_parameters
from sim.engine.stations import servers_of
from sim.record.runs import Run
from sim.scenario.model import Scenario
from sim.world.chance import Chance
from sim.world.crypto.costs import load_costs

WARM_UP_SHARE = 0.2
"""Share of a run that is left out: caches fill, queues settle (Law, "Simulation Modeling and
Analysis", 5th ed., section 9.5.1, replication and deletion)."""
_SECOND_NS = 1_000_000_000
_MILLIONTHS = 1_000_000


@dataclass(frozen=True, slots=True)
class ClassLoad:
    """One class of stations in one replicate. Utilisations are in millionths of all servers.

    `mean_ppm`: of all its stations; `sustained_ppm`: of its busiest station; both after the
    warm-up. `peak_ppm`: the busiest second of any. `node`: the busiest station's validator, -1 for
    blocks, which have none.
    """

    station: str
    lane: str
    mean_ppm: int
    sustained_ppm: int
    peak_ppm: int
    node: int
    region: str
    by_region: tuple[tuple[str, int], ...] = ()
    """Sustained utilisation of the busiest station of each region, in millionths."""

    @property
    def name(self) -> str:
        return f"{self.station}, {self.lane}"

    @property
    def where(self) -> str:
        """Where the busiest station stands, in words."""
        if self.station == "block":
            return "the chain"
        if self.node < 0:
            return "every validator"
        return f"validator {self.node} ({self.region})"


def class_loads(
    run: Run, scenario: Scenario, point: int = 0, replicate: int = 0
) -> list[ClassLoad]:
    """Return the load of every class of stations of a replicate, the nearest to saturation first.

    `scenario`: the one of that point.
    """
    seconds = -(-scenario.duration_ns // _SECOND_NS)
    first = int(seconds * WARM_UP_SHARE)
    regions = validator_regions(scenario)
    known = servers_of(scenario)
    # The last second may be a part of one.
    after_ns = scenario.duration_ns - first * _SECOND_NS
    rows = run.table("stations", point=point, replicate=replicate).collect()
    found = []
    for (station, lane), group in rows.group_by(["class", "lane"], maintain_order=True):
        capacity = known.get((str(station), str(lane)), 1)
        settled = group.filter(pl.col("second") >= first)
        each = settled.group_by("station").agg(pl.col("busy_ns").sum()).sort("station")
        if each.is_empty():
            continue
        top = int(each["busy_ns"].arg_max() or 0)
        node = int(each["station"][top])
        whole = capacity * after_ns
        found.append(
            ClassLoad(
                str(station),
                str(lane),
                int(each["busy_ns"].sum()) * _MILLIONTHS // (whole * group["station"].n_unique()),
                int(each["busy_ns"][top]) * _MILLIONTHS // whole,
                int(group["busy_ns"].to_numpy().max()) * _MILLIONTHS // (capacity * _SECOND_NS),
                node,
                regions[node],
                _by_region(each, regions, whole),
            )
        )
    found += _chain_loads(run, scenario, point, replicate, first * _SECOND_NS)
    return sorted(found, key=lambda load: (-load.sustained_ppm, load.station, load.lane))


def _by_region(
    each: pl.DataFrame, regions: Sequence[str], whole: int
) -> tuple[tuple[str, int], ...]:
    top: dict[str, int] = {}
    for node, busy in each.select("station", "busy_ns").iter_rows():
        share = int(busy) * _MILLIONTHS // whole
        top[regions[node]] = max(share, top.get(regions[node], 0))
    return tuple(sorted(top.items()))


def _chain_loads(
    run: Run, scenario: Scenario, point: int, replicate: int, after_ns: int
) -> list[ClassLoad]:
    """Return what committed blocks say: how full they were, what their transactions cost everybody.

    Blocks of an epoch's tail are empty by rule and left out, as are those of the warm-up.
    """
    if scenario.agents is None:
        return []
    blocks = (
        run.table("blocks", point=point, replicate=replicate)
        .filter(pl.col("status") == "committed", pl.col("proposed_ns") >= after_ns)
        .select("proposed_ns", "transactions", "batches", "payload_bytes")
        .sort("proposed_ns")
        .collect()
    )
    if blocks.height < 2 or not int(blocks["transactions"].sum()):
        return []
    limits = {
        "transactions": scenario.consensus.max_block_transactions,
        "batches": scenario.consensus.max_block_refs,
    }
    loads = []
    for lane, limit in limits.items():
        whole = limit * blocks.height
        mean = int(blocks[lane].sum()) * _MILLIONTHS // whole
        peak = int(blocks[lane].to_numpy().max()) * _MILLIONTHS // limit
        loads.append(ClassLoad("block", lane, mean, mean, peak, -1, ""))
    # What the first block holds was checked before the stretch between first and last began.
    stretch_ns = int(blocks["proposed_ns"][-1] - blocks["proposed_ns"][0])
    return loads + _dissemination_loads(blocks[1:], scenario, stretch_ns)


def _dissemination_loads(
    blocks: pl.DataFrame, scenario: Scenario, stretch_ns: int
) -> list[ClassLoad]:
    """Return the load of checking all transactions, and of carrying them to every validator.

    A batch keeps all workers until its last signature, half a round more than its own on average;
    each batch is sent once for every validator but its gateway, whatever the tree.
    """
    chance = Chance(scenario.seed, 0)
    census = Census(validator_regions(scenario), stakes(scenario.validators, chance), (), chance)
    costs = load_costs(scenario.crypto.costs, scenario.crypto.suite)
    parameters = plane_parameters(scenario, network_tables(scenario), census, costs)
    assert parameters is not None
    lane = parameters.dissemination
    count, batches, size = (
        int(blocks[name].sum()) for name in ("transactions", "batches", "payload_bytes")
    )
    rounds = count / lane.workers + batches * (lane.workers - 1) / (2 * lane.workers)
    nodes = len(validator_regions(scenario))
    others = (nodes - 1) / nodes
    shares = {
        ("cpu", "agents"): rounds * lane.verify_ns / stretch_ns,
        ("uplink", "batches"): size * 8 * others * _SECOND_NS / lane.uplink_bps / stretch_ns,
        ("downlink", "batches"): size * 8 * others * _SECOND_NS / lane.downlink_bps / stretch_ns,
    }
    found = []
    for (station, name), share in shares.items():
        ppm = round(share * _MILLIONTHS)
        found.append(ClassLoad(station, name, ppm, ppm, ppm, -1, ""))
    return found


def bottleneck(loads: Sequence[ClassLoad]) -> ClassLoad | None:
    """Return the class nearest to saturation; None where nothing was measured."""
    return max(loads, key=lambda load: load.sustained_ppm, default=None)
