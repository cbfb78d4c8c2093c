"""The metrics of the clouds' services by fixed names; `summary` holds all metrics.

Owns: what each name means and from which table it comes. Must not know: what is expected.
"""

from __future__ import annotations

import polars as pl

from sim.record.measures import Metric, Tables, count_rows, one, total


def _mean_signature(tables: Tables) -> int | None:
    asked, took = pl.col("asked").sum(), pl.col("took_ns").sum()
    return one(tables("signatures"), took // asked)


_SEEN = pl.col("visible_ns") >= 0


def _delay(tables: Tables, share: float) -> int | None:
    delay = pl.col("visible_ns") - pl.col("time_ns")
    return one(tables("trail").filter(_SEEN), delay.quantile(share, "nearest"))


CLOUD_METRICS: tuple[Metric, ...] = (
    Metric(
        "signatures_asked",
        "count",
        "signatures asked for at key services",
        total("signatures", "asked"),
        "keys",
    ),
    Metric(
        "signature_mean_ns",
        "ns",
        "mean time until a key service's signature was there",
        _mean_signature,
        "keys",
    ),
    Metric(
        "signature_max_ns",
        "ns",
        "longest time until a key service's signature was there",
        lambda tables: one(tables("signatures"), pl.col("longest_ns").max()),
        "keys",
    ),
    Metric(
        "trail_records",
        "count",
        "records of the clouds' own trails",
        count_rows("trail"),
        "trail",
    ),
    Metric(
        "trail_unseen",
        "count",
        "acts that nobody outside their region had seen by the end",
        total("trail", "acts", ~_SEEN),
        "trail",
    ),
    Metric(
        "trail_delay_p50_ns",
        "ns",
        "act to record that can be read outside, median of those seen",
        lambda tables: _delay(tables, 0.5),
        "trail",
    ),
    Metric(
        "trail_delay_max_ns",
        "ns",
        "act to record that can be read outside, longest of those seen",
        lambda tables: _delay(tables, 1.0),
        "trail",
    ),
    Metric(
        "trail_gap_ns",
        "ns",
        "at the loss of a region, longest time of which the outside had not the whole trail",
        lambda tables: one(
            tables("trail_losses"), (pl.col("time_ns") - pl.col("complete_ns")).max()
        ),
        "trail",
    ),
    Metric(
        "trail_gap_acts",
        "count",
        "acts in lost regions that nobody outside had seen when they were lost",
        total("trail_losses", "unseen"),
        "trail",
    ),
)
