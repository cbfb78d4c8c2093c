"""How near each class of stations is to saturation, and where its busiest station stands.

Owns: sustained utilisation by class, the space in blocks as one class more, which class is the
bottleneck. Must not know: why a run was made.

Utilisation is work handed in over what all servers can do, so a station that cannot keep up may
show more than 100 %. Sustained: the mean after the warm-up, of the busiest station; a second at
100 % says little, a mean at 90 % much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from sim.engine.genesis import validator_regions
from sim.record.runs import Run
from sim.scenario.model import Scenario
from sim.study.figures import servers

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

    @property
    def name(self) -> str:
        return f"{self.station}, {self.lane}"

    @property
    def where(self) -> str:
        """Where the busiest station stands, in words."""
        return "the chain" if self.node < 0 else f"validator {self.node} ({self.region})"


def class_loads(
    run: Run, scenario: Scenario, point: int = 0, replicate: int = 0
) -> list[ClassLoad]:
    """Return the load of every class of stations of a replicate, the nearest to saturation first.

    `scenario`: the one of that point.
    """
    seconds = -(-scenario.duration_ns // _SECOND_NS)
    first = int(seconds * WARM_UP_SHARE)
    regions = validator_regions(scenario)
    known = servers(scenario)
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
            )
        )
    found += _block_loads(run, scenario, point, replicate, first * _SECOND_NS)
    return sorted(found, key=lambda load: (-load.sustained_ppm, load.station, load.lane))


def _block_loads(
    run: Run, scenario: Scenario, point: int, replicate: int, after_ns: int
) -> list[ClassLoad]:
    """Return how full committed blocks were of transactions and of references to batches.

    Blocks of an epoch's tail are empty by rule and left out, as are those of the warm-up.
    """
    if scenario.agents is None:
        return []
    blocks = (
        run.table("blocks", point=point, replicate=replicate)
        .filter(pl.col("status") == "committed", pl.col("proposed_ns") >= after_ns)
        .select("transactions", "batches")
        .collect()
    )
    if blocks.is_empty():
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
    return loads


def bottleneck(loads: Sequence[ClassLoad]) -> ClassLoad | None:
    """Return the class nearest to saturation; None where nothing was measured."""
    return max(loads, key=lambda load: load.sustained_ppm, default=None)
