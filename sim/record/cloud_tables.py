"""The tables of the clouds' services: signatures of key services, and what their trails told.

Owns: their part of the column dictionary; `tables` holds the whole. All are optional: a run whose
clouds hold no keys and whose trails nobody follows has no row in them and no digest of them.
"""

from __future__ import annotations

from sim.record.columns import (
    Column,
    Table,
    enum_column,
    int_column,
    label_column,
    sum_column,
)

_TIME = int_column("time_ns", "simulated time")
_SECOND = int_column("second", "simulated second s in which it happened: (s, s + 1] x 10^9 ns")

CLOUD_TABLES: tuple[Table, ...] = (
    Table(
        "signatures",
        "What key services that hold consensus keys did, by second and region.",
        "rounds",
        (
            _SECOND,
            label_column("region", "region of the service and of those who asked"),
            sum_column("asked", "signatures asked for"),
            sum_column("took_ns", "time until they were there, added up"),
            Column("longest_ns", "int", "the longest of them", merge="max"),
        ),
        optional=True,
    ),
    Table(
        "trail",
        "One row a record of the clouds' own trails: an act, and when it could be read outside.",
        "rounds",
        (
            _TIME,
            label_column("region", "region in which it happened"),
            enum_column(
                "source",
                "machines keys audit",
                "machines: what befell validators' machines; keys: uses of keys in a key service, "
                "by second; audit: records of the audit log, shipped by its keeper",
            ),
            label_column("action", "what"),
            int_column("acts", "how many it stands for"),
            int_column("visible_ns", "when it could be read outside the region; -1 not by the end"),
        ),
        optional=True,
    ),
    Table(
        "trail_losses",
        "One row a loss of a region whose trail is followed: what nobody outside had seen by then.",
        "rounds",
        (
            _TIME,
            label_column("region", "region that was lost"),
            int_column("newest_ns", "newest act that could be read outside; -1 none"),
            int_column("complete_ns", "time before which every act could be"),
            int_column("unseen", "acts since then that could not"),
            int_column("back_ns", "when the region was back; -1 not by the end"),
        ),
        optional=True,
    ),
)
