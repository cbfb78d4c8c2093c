"""Times of what may not have ended when the run did: kept, flagged, and allowed for.

Owns: the product-limit (Kaplan-Meier) estimate over weighted times, and a run's transactions as
such times. Leaving the unfinished out would make a stalled run look fast. Must not know: how the
figures are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from sim.record.histogram import bucket_edges
from sim.record.runs import Run
from sim.study.statistics.intervals import F64, Interval, checked

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Times:
    """Times that ended, and ages of what had not, each with how many. All in one unit.

    `dropped`: how many were given up for good; they are in neither, and no quantile is of them.
    """

    ended: F64
    ended_count: NDArray[np.int64]
    pending: F64
    pending_count: NDArray[np.int64]
    dropped: int = 0

    @property
    def censored(self) -> int:
        """How many had not ended."""
        return int(self.pending_count.sum())

    @property
    def total(self) -> int:
        return int(self.ended_count.sum()) + self.censored


@dataclass(frozen=True, slots=True)
class Survival:
    """The share that takes longer than each of `times`, with its standard error (Greenwood)."""

    times: F64
    share: F64
    error: F64
    total: int
    censored: int

    def quantile(self, q: float, confidence: float = 0.95) -> Interval:
        """Return the time within which a share q ends; infinite where the run was too short.

        The interval holds the times at which q cannot be told from the share that has ended, on
        the log-log scale. Source: Brookmeyer and Crowley, "A confidence interval for the median
        survival time", Biometrics 38 (1982); Klein and Moeschberger, "Survival Analysis", 2nd ed.,
        section 4.5.
        """
        from scipy.special import ndtri

        if not 0 < q < 1:
            raise ValueError(f"a quantile lies between 0 and 1: {q}")
        reach = float(ndtri((1 + checked(confidence)) / 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.log(-np.log(self.share))
            spread = self.error / (self.share * np.abs(np.log(self.share)))
            apart = (scale - np.log(-np.log(1 - q))) / spread
        # S = 1 has -inf here and S = 0 NaN: before everything, and after it.
        apart = np.where(self.share >= 1, -inf, np.where(self.share <= 0, inf, apart))
        return Interval(
            _first(self.times, self.share <= 1 - q + 1e-12),
            _first(self.times, apart >= -reach),
            _first(self.times, apart > reach),
            confidence,
            self.total,
        )


def _first(times: F64, true: NDArray[np.bool_]) -> float:
    return float(times[int(np.argmax(true))]) if true.any() else inf


def survival(
    ended: ArrayLike,
    pending: ArrayLike = (),
    ended_count: ArrayLike | None = None,
    pending_count: ArrayLike | None = None,
) -> Survival:
    """Return the product-limit estimate of how long things take.

    `pending`: ages of what had not ended; at equal times what ended counts first. Counts default
    to one each. Assumes that whether a thing was cut off says nothing about it: true of the end of
    a run, not of a drop. Raises ValueError where there is nothing at all. Source: Kaplan and Meier,
    "Nonparametric estimation from incomplete observations", JASA 53 (1958); Greenwood (1926).
    """
    ends, cut = np.asarray(ended, np.float64), np.asarray(pending, np.float64)
    ends_n = np.ones(ends.size) if ended_count is None else np.asarray(ended_count, np.float64)
    cut_n = np.ones(cut.size) if pending_count is None else np.asarray(pending_count, np.float64)
    total, censored = float(ends_n.sum() + cut_n.sum()), float(cut_n.sum())
    if total <= 0:
        raise ValueError("no times at all")
    times, place = np.unique(ends, return_inverse=True)
    events = np.bincount(place, weights=ends_n, minlength=times.size)
    # At risk at t: whatever ended at t or later, and whatever was cut off at t or later.
    order = np.argsort(cut, kind="stable")
    cut_before = np.concatenate(([0.0], np.cumsum(cut_n[order])))
    cut_before = cut_before[np.searchsorted(cut[order], times, side="left")]
    ended_before = np.concatenate(([0.0], np.cumsum(events)))[:-1]
    at_risk = total - cut_before - ended_before
    share: F64 = np.asarray(np.cumprod(1 - events / at_risk), dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(at_risk > events, events / (at_risk * (at_risk - events)), 0.0)
    error = np.asarray(share * np.sqrt(np.cumsum(terms)), dtype=np.float64)
    return Survival(times, share, error, int(total), int(censored))


def survival_of(times: Times) -> Survival:
    """Return the product-limit estimate of weighted times."""
    return survival(times.ended, times.pending, times.ended_count, times.pending_count)


def transaction_times(run: Run, point: int = 0, replicate: int = 0) -> Times:
    """Return commit latencies of one replicate, in ns, with the transactions still uncommitted.

    Latencies are upper ends of their histogram buckets (3 % wide). Offers are counted by second, so
    ages are known to a second. Pending are the newest offers, as many as neither committed nor
    dropped: a gateway's transactions commit in the order in which it took them. Where one gateway
    lags behind all others, its pending ones are older than that. Raises RunError where a table is
    missing or damaged.
    """
    place = {"point": point, "replicate": replicate}
    kind = pl.col("kind") == "transaction"
    latency = (
        run.table("latency", **place)
        .filter(kind)
        .group_by("second", "bucket")
        .agg(pl.col("count").sum())
        .sort("second", "bucket")
        .collect()
    )
    traffic = run.table("traffic", **place).filter(kind, pl.col("lane") == "agents").collect()
    offered = _by_second(traffic.filter(pl.col("outcome") == "offered"))
    dropped = traffic.filter(pl.col("outcome") == "dropped").get_column("messages").sum()
    buckets = latency.get_column("bucket").to_numpy()
    counts = latency.get_column("count").to_numpy().astype(np.int64)
    upper = np.array([bucket_edges(int(bucket))[1] for bucket in buckets], dtype=np.float64)
    simulated_ns = int(run.table("runs", **place).select("simulated_ns").collect().item())
    pending = _pending(offered, int(counts.sum()) + int(dropped))
    ages = [max(0.0, simulated_ns - (second + 0.5) * SECOND_NS) for second in pending]
    return Times(
        upper,
        counts,
        np.array(ages, dtype=np.float64),
        np.array(list(pending.values()), dtype=np.int64),
        int(dropped),
    )


def _by_second(rows: pl.DataFrame) -> dict[int, int]:
    grouped = rows.group_by("second").agg(pl.col("messages").sum()).sort("second")
    return {int(second): int(count) for second, count in grouped.iter_rows()}


def _pending(offered: dict[int, int], ended: int) -> dict[int, int]:
    """Return how many of each second's offers are pending: the newest, as many as are left."""
    left = max(0, sum(offered.values()) - ended)
    found: dict[int, int] = {}
    for second in sorted(offered, reverse=True):
        take = min(left, offered[second])
        if take:
            found[second] = take
        left -= take
    return found
