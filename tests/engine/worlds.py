"""Scenario texts for the engine's tests, and what a run of one came to.

A scenario is the smallest world that shows the point: validators in one region, no agents, blocks
at a steady pace; each test states only what it changes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from sim.engine.build import build
from sim.engine.run import RunOutcome, run
from sim.engine.world import World
from sim.record.recorder import NullRecorder, Recorder
from sim.record.runs import Run, open_run
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario

MS = 1_000_000
SECOND = 1_000_000_000
WEST, EAST = "aws:us-gov-west-1", "aws:us-gov-east-1"
EUROPE = "aws:eu-central-1"

BASE: dict[str, Any] = {
    "schema": "creto-sim/1",
    "title": "A test",
    "question": "Does it hold?",
    "seed": 1,
    "duration": "5 s",
    "network": {"bandwidth": "1 Gbit/s"},
    "validators": {"count": 4, "placement": [WEST]},
    "consensus": {
        "timer_base": "400 ms",
        "min_block_interval": "50 ms",
        "epoch_blocks": 10,
        "leader": "round_robin",
    },
    "quorum": {"liveness_guard": True},
    "expect": [{"safety": "held"}],
}

AGENTS: dict[str, Any] = {
    "count": 60,
    "placement": {WEST: "100 %"},
    "workload": {
        "messages": {"arrivals": {"kind": "poisson", "rate": "2 /s"}},
        "transactions": {"arrivals": {"kind": "poisson", "rate": "1 /s"}},
    },
}


def scenario_text(**sections: Any) -> str:
    """Write BASE with `sections` over it: maps are merged one level deep, None leaves one out.

    The text is JSON, which is YAML too.
    """
    whole = dict(BASE)
    for key, value in sections.items():
        if value is None:
            whole.pop(key, None)
        elif isinstance(value, dict) and isinstance(whole.get(key), dict):
            merged = {**whole[key], **value}
            whole[key] = {k: v for k, v in merged.items() if v is not None}
        else:
            whole[key] = value
    return json.dumps(whole, indent=1)


def written(folder: Path, text: str, name: str = "case") -> Path:
    """Put a scenario text where a process can load it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def scenario(folder: Path, *, name: str = "case", **sections: Any) -> Scenario:
    """Load BASE with `sections` over it."""
    return load_scenario(written(folder, scenario_text(**sections), name))


@dataclass
class Ran:
    """A finished run and its tables."""

    outcome: RunOutcome

    @cached_property
    def run(self) -> Run:
        return open_run(self.outcome.path)

    @property
    def digest(self) -> str:
        return self.outcome.digest

    @property
    def verdict(self) -> str:
        return self.outcome.verdict.outcome

    @property
    def evidence(self) -> str:
        return "\n".join(self.outcome.verdict.evidence)

    def metric(self, name: str, replicate: int = 0) -> int:
        value = self.outcome.results[replicate].metrics[name]
        assert value is not None, name
        return value

    def frame(self, table: str) -> pl.DataFrame:
        return self.run.table(table).collect()

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """Return a table's rows in which every column of `where` has its value."""
        frame = self.frame(table)
        return [
            row
            for row in frame.iter_rows(named=True)
            if all(row[name] == value for name, value in where.items())
        ]

    def commit_times_ns(self) -> list[int]:
        """Times of first commits, ascending."""
        rows = self.rows("blocks", status="committed")
        return sorted(row["committed_ns"] for row in rows)

    def commits_between(self, start_ns: int, end_ns: int) -> int:
        return sum(start_ns <= time < end_ns for time in self.commit_times_ns())

    def reasons(self, event: str) -> dict[str, int]:
        """Count the refusals of one kind by reason."""
        counts: dict[str, int] = {}
        for row in self.rows("rejections", event=event):
            counts[row["reason"]] = counts.get(row["reason"], 0) + row["count"]
        return counts

    def dropped(self) -> dict[str, int]:
        """Count the lost consensus messages by reason."""
        counts: dict[str, int] = {}
        for row in self.rows("traffic", lane="consensus", outcome="dropped"):
            counts[row["reason"]] = counts.get(row["reason"], 0) + row["messages"]
        return counts


def ran(folder: Path, *, name: str = "case", **sections: Any) -> Ran:
    """Run BASE with `sections` over it into a results root below `folder`."""
    asked = scenario(folder, name=name, **sections)
    return Ran(run(asked, folder / "results"))


def world(folder: Path, *, recorder: Recorder | None = None, **sections: Any) -> World:
    """Build one replicate's world without running it."""
    return build(scenario(folder, **sections), 0, recorder or NullRecorder())


def crash(nodes: Sequence[int], at: str, until: str | None, kind: str = "crash") -> dict[str, Any]:
    """Write a crash of the timetable."""
    fault: dict[str, Any] = {"kind": kind, "nodes": {"ids": list(nodes)}, "at": at}
    return fault if until is None else {**fault, "until": until}


BUSY: dict[str, Any] = {
    "duration": "4 s",
    "record": {"detail": "messages", "sample": "100 %"},
    "network": {
        "rules": [
            {
                "kind": "delay",
                "between": [{"regions": [WEST]}, {"regions": [EAST]}],
                "amount": "5 ms",
                "probability": "20 %",
            },
            {
                "kind": "duplicate",
                "from": {"ids": [0]},
                "to": {"ids": [1, 2]},
                "probability": "30 %",
            },
        ],
    },
    "validators": {
        "count": 8,
        "placement": {WEST: 4, EAST: 4},
        "stake": {"kind": "lognormal", "median": 1_000_000, "sigma": 0.3},
        "candidates": {"placement": {EUROPE: 1}},
    },
    "consensus": {"leader": "weighted", "dissemination": {"kind": "gossip", "fanout": 4}},
    "operations": [
        {"kind": "register", "validator": 8, "amount": 900_000, "at": "500 ms"},
        {"kind": "unbond", "validator": 1, "amount": 50_000, "at": "1 s"},
    ],
    "faults": [
        {"kind": "crash", "nodes": {"random": 1}, "at": "1 s", "until": "2 s"},
        {"kind": "slow_node", "nodes": {"by_stake": 1}, "at": "1500 ms", "factor": 3},
        {
            "kind": "partition",
            "groups": [{"regions": [WEST]}],
            "at": "2500 ms",
            "until": "3200 ms",
            "flap": "350 ms",
        },
    ],
    "adversaries": [
        {
            "kind": "double_vote",
            "nodes": {"ids": [5]},
            "start": "1 s",
            "when": {"probability": "50 %"},
        }
    ],
    "agents": {
        **AGENTS,
        "placement": {WEST: "60 %", EAST: "40 %"},
        "access": [{"delay": "8 ms", "spread": "20 ms", "loss": "2 %"}],
        "sessions": {"kind": "weibull", "on_scale": "20 s", "off_scale": "2 s"},
    },
}
"""A small world in which every source of chance and disorder is at work."""
