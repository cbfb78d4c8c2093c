"""The metrics of the clouds' services by fixed names; `summary` holds all metrics.

Owns: what each name means and from which table it comes. Must not know: what is expected.
"""

from __future__ import annotations

import polars as pl

from sim.record.measures import Metric, Tables, one, total


def _mean_signature(tables: Tables) -> int | None:
    asked, took = pl.col("asked").sum(), pl.col("took_ns").sum()
    return one(tables("signatures"), took // asked)


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
)
