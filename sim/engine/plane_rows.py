"""Hand the agent plane's rows to the recorder: its columns under the recorder's names and codes."""

from __future__ import annotations

import numpy as np

from sim.record.recorder import Sink
from sim.world.agents.kinds import DELIVERED, KINDS, REASONS, STATIONS
from sim.world.agents.tables import OUTCOMES, Drained
from sim.world.chance import I64

VOCABULARIES = {"kind": KINDS, "reason": ("", *REASONS), "station": STATIONS}
"""Words by code, for the recorder; a reason's code is the plane's plus one, 0 is none."""
_RECORDED = ("offered", "delivered", "stored", "retried", "dropped")
_OUTCOME = np.array([_RECORDED.index(name) for name in OUTCOMES], dtype=np.int64)
_SAMPLED = ("delivered", "stored", "dropped")


def record_rows(rows: Drained, recorder: Sink) -> None:
    """Append everything that the plane has drained."""
    traffic, latency, stations, samples = rows[:4]
    if len(traffic["second"]):
        recorder.append(
            "traffic",
            {
                "second": traffic["second"],
                "lane": "agents",
                "kind": traffic["kind"],
                "source_region": traffic["source"],
                "destination_region": traffic["target"],
                "outcome": _OUTCOME[traffic["outcome"]],
                "reason": traffic["reason"] + 1,
                "messages": traffic["messages"],
                "bytes": traffic["bytes"],
            },
        )
    if len(latency["second"]):
        recorder.append(
            "latency",
            {
                "second": latency["second"],
                "kind": latency["kind"],
                "source_region": latency["source"],
                "destination_region": latency["target"],
                "bucket": latency["bucket"],
                "count": latency["count"],
            },
        )
    if len(stations["second"]):
        recorder.append(
            "stations",
            {
                "second": stations["second"],
                "class": stations["class"],
                "lane": "agents",
                "station": stations["node"],
                "served": stations["served"],
                "busy_ns": stations["busy_ns"],
                "waited_ns": stations["waited_ns"],
                "queue_max": stations["queue_max"],
                "dropped": stations["dropped"],
            },
        )
    if len(samples["message"]) and recorder.keeps("samples"):
        _samples(samples, recorder)


def _samples(samples: dict[str, I64], recorder: Sink) -> None:
    outcome = samples["outcome"]
    delivered = outcome == DELIVERED
    recorder.append(
        "samples",
        {
            "message": samples["message"].astype(np.uint64),
            "kind": samples["kind"],
            "source": samples["source"].astype(np.uint64),
            "destination": np.maximum(samples["target"], 0).astype(np.uint64),
            "source_region": samples["source_region"],
            "destination_region": np.maximum(samples["target_region"], 0),
            "created_ns": samples["created_ns"],
            "finished_ns": samples["finished_ns"],
            "outcome": np.where(delivered, _SAMPLED.index("delivered"), _SAMPLED.index("dropped")),
            "reason": np.where(delivered, 0, outcome + 1),
            "attempts": samples["attempts"],
            "size_bytes": samples["size_bytes"],
        },
    )
