"""A key is honoured or refused, never ignored: each field of a scenario is read by the engine.

Fields are watched while worlds are built and run that together use every kind of everything. What
the engine translates into other parameters is watched in turn: a parameter that nobody reads would
be a field that is ignored one step later.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import sim.protocol.ledger
from sim.engine.run import run
from sim.protocol.adaptive_quorum import QuorumParameters
from sim.protocol.pacemaker import ConsensusParameters
from sim.protocol.reputation_tracker import ReputationParameters
from sim.protocol.stake_manager import StakeParameters
from sim.protocol.weighted_voting import WeightParameters
from sim.scenario.model import Scenario
from sim.world.agents import parameters as plane_parameters
from tests.adversaries import agent_effects
from tests.adversaries.effects import HOTSTUFF, one_of_each, one_of_the_others
from tests.cloud.lost_regions import every_setting
from tests.compliance.worlds import everything
from tests.engine.worlds import AGENTS, BUSY, EAST, WEST, scenario
from tests.faults.effects import one_of_each as one_of_each_fault

Field = tuple[type[Any], str]

NOT_THE_ENGINE_S: dict[str, tuple[str, ...]] = {
    "Scenario": ("schema_version", "question", "sweep", "until"),
    "Grid": ("grid",),
    "Sobol": ("sobol", "base", "draw"),
    "Zip": ("zip",),
    **dict.fromkeys(("CountRule", "DurationRule", "ShareRule", "Rule"), ("reason", "runbook")),
    "Until": ("metric", "relative_width_ppm", "confidence_ppm", "max_replicates"),
    "Clouds": ("networks", "ports", "keys", "audit", "replicas"),
    "AgentTraffic": ("networks",),
    "OperatorTraffic": ("networks",),
    "MetricsTraffic": ("networks",),
    "Ports": ("validators", "agents", "metrics", "administration"),
    "Keys": ("rotation_ns",),
    "AuditTrail": ("retention_ns",),
    "DiskBackups": ("keep_ns",),
    "Recovery": ("survives",),
}
"""What a scenario says to readers, and what studies read: sweeps, whose points are scenarios of
their own, and when replicates are enough; and what rules that are exported tell, what deployment
plans alone are made of, and what a topology promises, which its own rules hold it to."""


def reachable(kind: Any, found: dict[type[Any], None] | None = None) -> list[type[Any]]:
    """List the dataclasses that the annotations of a dataclass lead to, itself first."""
    found = {} if found is None else found
    if is_dataclass(kind) and isinstance(kind, type):
        if kind not in found:
            found[kind] = None
            for annotation in typing.get_type_hints(kind).values():
                reachable(annotation, found)
    else:
        for argument in typing.get_args(kind):
            reachable(argument, found)
    return list(found)


class Watched:
    """Stand in for a slot of a dataclass and note who reads it."""

    def __init__(self, slot: Any, note: Callable[[str], None]) -> None:
        self.slot = slot
        self.note = note

    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None:
            return self
        self.note(sys._getframe(1).f_globals.get("__name__", ""))
        return self.slot.__get__(instance, owner)

    def __set__(self, instance: Any, value: Any) -> None:
        self.slot.__set__(instance, value)


@contextmanager
def watching(
    kinds: Iterable[type[Any]], counts: Callable[[type[Any], str], bool]
) -> Iterator[dict[Field, None]]:
    """Collect the (class, field) pairs that are read by modules for which `counts` is true."""
    seen: dict[Field, None] = {}
    undo: list[tuple[type[Any], str, Any]] = []
    for kind in kinds:
        for field in fields(kind):
            # An inherited field's slot lies in the base, which is watched for each heir apart.
            slot = next(k.__dict__[field.name] for k in kind.__mro__ if field.name in k.__dict__)

            def note(module: str, kind: type[Any] = kind, name: str = field.name) -> None:
                if counts(kind, module):
                    seen[kind, name] = None

            own = field.name in kind.__dict__
            undo.append((kind, field.name, kind.__dict__[field.name] if own else None))
            setattr(kind, field.name, Watched(_bare(slot), note))
    try:
        yield seen
    finally:
        for kind, name, slot in reversed(undo):
            if slot is None:
                delattr(kind, name)
            else:
                setattr(kind, name, slot)


def _bare(slot: Any) -> Any:
    return slot.slot if isinstance(slot, Watched) else slot


ALERTS = {
    "changes": [
        {"rule": "validators_down", "threshold": 1, "for": "1 s"},
        {"rule": "votes_missed", "threshold": "30 %"},
        {"rule": "commits_stalled", "threshold": "1 s"},
        {"rule": "reconciled", "off": True},
    ],
    "rules": [
        {"name": "a", "metric": "quorum_level", "over": "max", "window": "2 s", "threshold": 1},
        {"name": "b", "metric": "commit_age", "threshold": "1 ms"},
        {"name": "c", "metric": "weight_down", "threshold": "1 %"},
    ],
}


def everywhere() -> list[dict[str, Any]]:
    """Return sections of worlds that together hold every kind of every choice."""
    rules = [
        {"kind": kind, "from": {"ids": [0]}, "to": {"regions": [EAST]}, **more, "end": "500 ms"}
        for kind, more in (
            ("delay", {"amount": "1 ms", "probability": "50 %"}),
            ("drop", {"probability": "1 %"}),
            ("duplicate", {"probability": "1 %"}),
            ("corrupt", {"probability": "1 %", "start": "100 ms"}),
        )
    ]
    rules.append({"kind": "delay", "between": [{"ids": [1]}, {"ids": [2]}], "amount": "1 ms"})
    attacks = [
        {"kind": "silent", "nodes": {"ids": [0]}, "start": "1 s", "end": "2 s"},
        {"kind": "equivocate", "nodes": {"ids": [1]}, "when": {"probability": "50 %"}},
        {"kind": "delay_proposals", "nodes": {"ids": [2]}, "amount": "10 ms"},
    ]
    faults = [
        {"kind": "throttle", "nodes": {"by_weight": 1}, "at": "1 s", "bandwidth_left": "50 %"},
        {"kind": "slow_node", "nodes": {"region": EAST}, "at": "1 s", "factor": 2},
        {"kind": "amnesia_crash", "nodes": {"ids": [3]}, "at": "1 s", "until": "2 s"},
    ]
    own = {"placement": {"lab": 4, WEST: 3}, "count": 7}
    return [
        BUSY,
        {
            "duration": "4 s",
            "network": {"rules": rules},
            "validators": {"count": 8, "placement": {WEST: 4, EAST: 4}},
            "consensus": {"dissemination": {"kind": "tree", "fanout": 2}},
            "adversaries": attacks,
            "faults": faults,
            "expect": [
                {"safety": "violated"},
                {"liveness": {"commit_within": "3 s"}},
                {"level": {"reached": 1, "returned": 0}},
                {"metric": "blocks_committed", "at_least": 1, "at_most": 10_000},
                {"metric": "block_latency_p50", "at_least": "1 ms", "at_most": "10 s"},
                {"metric": "consensus_bytes", "at_least": "1 B", "at_most": "1 GB"},
            ],
        },
        {
            "duration": "1 s",
            "record": {"window": {"from": "200 ms", "to": "300 ms"}},
            "alerts": ALERTS,
            "network": {"regions": {"lab": {"latitude": 47, "longitude": 8}}},
            "validators": own | {"stake": {"kind": "zipf", "largest": 10_000_000}},
            "crypto": {"signatures": "real"},
        },
        {
            "duration": "1 s",
            "validators": {"stake": {"kind": "listed", "amounts": [1_000_000] * 4}},
            "clouds": {
                "allow": [{"kind": "validators", "to": ["aws"]}],
                "audit": {"delivery": {"aws": {"kind": "fixed", "value": "1 s"}}},
                "custody": {"aws": {"kind": "service", "quota": "100 /s", "burst": 2}},
            },
        },
    ]


def with_agents() -> list[dict[str, Any]]:
    """Return worlds with agents that together hold every kind of their choices."""
    poisson = {"kind": "poisson", "rate": "1 /s"}
    bursts = {
        "kind": "bursts",
        "rate": "1 /s",
        "burst_rate": "3 /s",
        "calm": "500 ms",
        "burst": "200 ms",
    }
    diurnal = {"kind": "diurnal", "rate": "1 /s", "period": "2 s"}
    community = {"kind": "community", "members": 10}
    lookups = {
        "by_id": {"arrivals": poisson, "destinations": {"kind": "zipf"}},
        "by_capability": {"arrivals": poisson},
    }
    full = {
        "messages": {"arrivals": bursts, "destinations": community},
        "transactions": {"arrivals": {"kind": "closed_loop", "think": "500 ms"}},
        "lookups": lookups,
        "registrations": {"arrivals": diurnal},
        "renewals": {"arrivals": poisson},
    }
    return [
        {
            "duration": "2 s",
            "record": {"detail": "messages", "sample": "10 %"},
            "agents": {
                **AGENTS,
                "workload": full,
                "gateways": {"ids": [0, 1]},
                "sessions": {"kind": "weibull", "on_scale": "10 s", "off_scale": "5 s"},
                "directory": {"shards": 1},
                "transaction_fanout": 2,
            },
        },
        {"duration": "1 s", "agents": AGENTS},
        {
            "duration": "1 s",
            "record": {"batches": True},
            "validators": {"count": 4, "placement": {WEST: 2, EAST: 2}},
            "agents": {
                **AGENTS,
                "placement": {WEST: "50 %", EAST: "50 %"},
                "next_hop": {"kind": "entry_gateway"},
            },
        },
        *with_directories(),
        *agent_effects.one_of_each(),
    ]


def with_directories() -> list[dict[str, Any]]:
    """Return worlds of agents that together hold every way to find and to keep them."""
    arrivals = {"arrivals": {"kind": "poisson", "rate": "1 /s"}}
    load = {**AGENTS["workload"], "registrations": arrivals}
    two = {"validators": {"count": 4, "placement": {WEST: 2, EAST: 2}}}
    limits = {"gateway_rate": "1 /s", "gateway_burst": 2, "rate": "2 /s", "burst": 3}
    copies = {
        "replicas": 2,
        "reads": "quorum",
        "replication_lag": "10 ms",
        "record_size": "1 KiB",
        "registration_limits": limits,
        "re_home": True,
    }
    iterative = {"style": "iterative", "alpha": 2, "nodes": {"kind": "agents"}}
    routings = (
        {"kind": "kademlia", "nodes": {"kind": "routers", "per_region": 3}},
        {"kind": "hierarchical", **iterative},
    )
    return [
        {
            "duration": "1 s",
            **two,
            "expect": [{"metric": "lookup_success", "at_least": "1 %", "at_most": "100 %"}],
            "agents": {**AGENTS, "workload": load, "directory": {**copies, "routing": routing}},
        }
        for routing in routings
    ]


def with_baselines() -> list[dict[str, Any]]:
    """Return worlds of every other protocol, and of every way to draw delays."""
    normal = {"kind": "normal", "mean": "10 ms", "deviation": "1 ms"}
    return [
        one_of_the_others(),
        *(
            {**HOTSTUFF, "duration": "500 ms", "protocol": protocol, "network": {"delays": delays}}
            for protocol, delays in (
                ({"kind": "pbft", "checkpoint_interval": 3}, normal),
                ({"kind": "hotstuff", "reign": 2}, {"kind": "constant", "delay": "10 ms"}),
                ({"kind": "tendermint"}, {"kind": "regional"}),
                ({"kind": "streamlet"}, normal),
            )
        ),
    ]


def names(wanted: Iterable[Field]) -> str:
    return " ".join(sorted(f"{kind.__name__}.{name}" for kind, name in wanted))


def all_fields(kinds: Iterable[type[Any]]) -> list[Field]:
    return [(kind, field.name) for kind in kinds for field in fields(kind)]


def unread_fields(
    folder: Path,
    kinds: list[type[Any]],
    counts: Callable[[type[Any], str], bool],
    worlds: list[dict[str, Any]],
) -> list[Field]:
    asked = [scenario(folder / str(i), **sections) for i, sections in enumerate(worlds)]
    with watching(kinds, counts) as seen:
        for number, one in enumerate(asked):
            run(one, folder / str(number) / "results")
    return [field for field in all_fields(kinds) if field not in seen]


STAKES = ("EqualStake", "ListedStake", "LognormalStake", "ZipfStake")
PLACES = ("InRegion", "InZone", "OfProvider")


def scenario_field_counts(kind: type[Any], module: str) -> bool:
    """Count reads by who carries a scenario out, not by who loads or prints it.

    Expectations are judged by the monitors, with helpers that stand beside their definition;
    so are alert rules; stakes are dealt by the engine from amounts that the limits on exposure need
    too; so are places, distributions of faults and plans of rollouts. Nobody else asks for them
    once a scenario is loaded.
    """
    beside = "-"
    if kind.__module__ == "sim.scenario.checks":
        beside = "sim.scenario.checks"
    elif kind.__module__ in ("sim.scenario.occurrence", "sim.scenario.breakdowns"):
        beside = kind.__module__
    elif kind.__module__ in ("sim.scenario.alerts", "sim.scenario.alerting"):
        beside = "sim.scenario.alert"
    elif kind.__name__ in STAKES + PLACES:
        beside = "sim.scenario.exposure"
    return module.startswith(("sim.engine", "sim.monitor", beside))


def excused(kind: type[Any], name: str) -> bool:
    return name == "kind" or name in NOT_THE_ENGINE_S.get(kind.__name__, ())


def test_every_field_of_a_scenario_is_read(tmp_path: Path) -> None:
    kinds = reachable(Scenario)
    assert len(kinds) > 60
    worlds = [*everywhere(), *with_agents(), one_of_each(), one_of_each_fault(), *with_baselines()]
    worlds += [*everything(), every_setting()]
    unread = unread_fields(tmp_path, kinds, scenario_field_counts, worlds)
    assert names(field for field in unread if not excused(*field)) == ""


def read_elsewhere(kind: type[Any], module: str) -> bool:
    """Count reads of a parameter by anybody but the dataclass's own checks."""
    return module.startswith("sim.") and module != "sim.engine.protocol_parameters"


PROTOCOL = (
    ConsensusParameters,
    QuorumParameters,
    ReputationParameters,
    StakeParameters,
    WeightParameters,
    sim.protocol.ledger.LedgerParameters,
)


def test_every_parameter_of_the_protocol_is_read(tmp_path: Path) -> None:
    kinds: list[type[Any]] = list(PROTOCOL)
    worlds = [BUSY, {"duration": "4 s", "ledger": {"min_signed": "50 %"}}]
    assert names(unread_fields(tmp_path, kinds, read_elsewhere, worlds)) == ""


def test_every_parameter_of_the_plane_is_read(tmp_path: Path) -> None:
    kinds = reachable(plane_parameters.PlaneParameters)
    assert len(kinds) > 10
    assert names(unread_fields(tmp_path, kinds, read_elsewhere, with_agents())) == ""


def test_the_watch_sees_what_is_ignored(tmp_path: Path) -> None:
    """Nobody reads the title while a run is simulated and judged: a watch must say so."""
    asked = scenario(tmp_path, duration="1 s")
    with watching([Scenario], lambda kind, module: module == "sim.engine.build") as seen:
        run(asked, tmp_path / "results")
    assert (Scenario, "crypto") in seen
    assert (Scenario, "title") not in seen
    assert asked.title == "A test"


@pytest.fixture(autouse=True)
def slots_are_given_back() -> Iterator[None]:
    """A watch that stayed would slow down and confuse every later test."""
    yield
    for kind in (*reachable(Scenario), *PROTOCOL):
        for field in fields(kind):
            held = next(k.__dict__[field.name] for k in kind.__mro__ if field.name in k.__dict__)
            assert not isinstance(held, Watched)
