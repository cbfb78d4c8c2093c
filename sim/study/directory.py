"""What a run's directory shows at a glance: the state of its tables, its hottest hosts.

Owns: the words and the ranking. Must not know: terminals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from sim.record.runs import Run

HOTTEST = 5
"""Hosts that are named."""


@dataclass(frozen=True, slots=True)
class HotHost:
    """A host of the registry. `share_ppm`: of all operations; `peak_per_s`: in its worst second."""

    node: int
    operations: int
    share_ppm: int
    peak_per_s: int


def table_state(metrics: Mapping[str, int | None]) -> str | None:
    """Declare the routing tables of a replicate; None where nothing was routed.

    `stale` where lookups met contacts that were gone, else `under-filled` where they met buckets
    with fewer contacts than k and than there were nodes for, else `converged`.
    """
    short, stale = metrics.get("routing_short_ppm"), metrics.get("routing_stale_ppm")
    if short is None or stale is None:
        return None
    word = "stale" if stale else "under-filled" if short else "converged"
    return (
        f"routing tables {word}: {short / 10_000:.2f} % of the buckets short, "
        f"{stale / 10_000:.2f} % of the contacts gone"
    )


def hot_hosts(run: Run, point: int, replicate: int, count: int = HOTTEST) -> list[HotHost]:
    """Return the hosts that served most reads and writes, the busiest first."""
    served = (
        run.table("registry", point=point, replicate=replicate)
        .filter(pl.col("event").is_in(["read", "write"]))
        .group_by("node", "second")
        .agg(pl.col("count").sum())
        .group_by("node")
        .agg(pl.col("count").sum().alias("operations"), pl.col("count").max().alias("peak"))
        .sort(["operations", "node"], descending=[True, False])
        .collect()
    )
    whole = int(served["operations"].sum())
    rows = served.head(count).select("node", "operations", "peak").rows()
    return [HotHost(n, operations, operations * 10**6 // whole, p) for n, operations, p in rows]
