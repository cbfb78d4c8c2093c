"""Hand the agent plane's rows to the recorder: its columns under the recorder's names and codes."""

from __future__ import annotations

import numpy as np

from sim.record.recorder import Sink
from sim.world.agents.kinds import DELIVERED, KINDS, QUESTIONS, REASONS, STATIONS
from sim.world.agents.tables import BATCHES, LOOKUPS, OUTCOMES, REGISTRY, Drained
from sim.world.chance import I64

VOCABULARIES = {"kind": KINDS, "question": QUESTIONS, "reason": ("", *REASONS), "station": STATIONS}
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
    _directory(rows, recorder)


def _directory(rows: Drained, recorder: Sink) -> None:
    """Append what the directory was asked, how soon it answered, what its hosts did."""
    lookups, answers, registry = rows.lookups, rows.lookup_latency, rows.registry
    if len(lookups["second"]):
        columns = {name: lookups[name] for name in LOOKUPS if name not in ("source", "target")}
        regions = {
            "source_region": lookups["source"],
            "destination_region": lookups["target"],
        }
        recorder.append("lookups", columns | regions)
    if len(answers["second"]):
        recorder.append(
            "lookup_latency",
            {
                "second": answers["second"],
                "kind": answers["kind"],
                "source_region": answers["source"],
                "destination_region": answers["target"],
                "bucket": answers["bucket"],
                "count": answers["count"],
            },
        )
    if len(registry["second"]):
        recorder.append("registry", {name: registry[name] for name in REGISTRY})
    _batches(rows.batches, recorder)


def _batches(batches: dict[str, I64], recorder: Sink) -> None:
    """Append what gateways sent one another, where it is counted."""
    if len(batches["second"]):
        regions = {
            "source_region": batches["source"],
            "destination_region": batches["target"],
        }
        columns = {name: batches[name] for name in BATCHES if name not in ("source", "target")}
        recorder.append("batches", columns | regions)


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
