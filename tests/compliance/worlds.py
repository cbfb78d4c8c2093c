"""Worlds with compliance for the engine's tests: sections over `tests.engine.worlds.BASE`.

Six validators in two regions, no agents, an epoch every half second: heads are taken often, and a
run takes a fraction of a second. Each test states only what it changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.engine.worlds import AGENTS, EAST, WEST, Ran, crash, ran

PLACES: dict[str, Any] = {"validators": {"count": 6, "placement": {WEST: 3, EAST: 3}}}
DATA: dict[str, Any] = {"subjects": 40, "purposes": ["billing"], "regions": [WEST, EAST]}
AUDIT: dict[str, Any] = {"inspect_every": "2 s"}
PEOPLE: list[dict[str, Any]] = [
    {"name": "ada", "roles": ["operator"], "region": WEST, "rate": "4 /s", "mistakes": "20 %"},
    {"name": "sam", "roles": ["security_officer"]},
    {"name": "uma", "roles": ["auditor"], "rate": "1 /s"},
    {"name": "rex", "roles": ["records_officer"]},
    {"name": "dora", "roles": ["data_officer"]},
    {"name": "tom", "roles": ["deployer"], "clearance": 3},
    {"name": "leo", "roles": ["legal"]},
]
SERVICE: dict[str, Any] = {"name": "bills", "purpose": "billing", "region": EAST, "rate": "50 /s"}


def world(folder: Path, *, compliance: dict[str, Any], **sections: Any) -> Ran:
    """Run a world with a `compliance` section; other sections replace those of the base."""
    return ran(folder, **{**PLACES, **sections}, compliance=compliance)


def events() -> list[dict[str, Any]]:
    """Return one event of each kind."""
    subjects = {"first": 1, "subjects": 2}
    return [
        {"kind": "access", "at": "1 s", **subjects},
        {"kind": "export", "at": "1 s", "first": 4},
        {"kind": "erasure", "at": "2 s", **subjects},
        {"kind": "withdrawal", "at": "1 s", "purpose": "billing", **subjects},
        {"kind": "hold", "at": "1 s", "until": "2 s", "subject": 5, "case": "a"},
        {"kind": "revocation", "at": "2 s", "service": "bills"},
        {"kind": "deploy", "at": "1 s", "version": "v2", "stage": "staging"},
        {
            "kind": "breach",
            "at": "500 ms",
            "subjects": 3,
            "high_risk": True,
            "processor_after": "100 ms",
            "controller_after": "100 ms",
            "authority_after": "1 s",
            "subjects_after": "2 s",
        },
        {"kind": "log_fault", "at": "3 s", "until": "3500 ms"},
    ]


def insiders() -> list[dict[str, Any]]:
    """Return one insider of each kind that tampers, deceives, climbs or evades."""
    return [
        {"kind": "rewrite", "at": "600 ms", "reach": "newest"},
        {"kind": "back_date", "at": "650 ms", "reach": "newest", "back": "600 ms"},
        {"kind": "split_view", "at": "1 s", "shown_to": 1},
        {"kind": "privilege_escalation", "at": "1 s", "person": "ada", "every": "500 ms"},
        {
            "kind": "privilege_escalation",
            "at": "1 s",
            "stolen": "rex",
            "person": "ada",
            "action": "deploy",
        },
        {"kind": "erasure_evasion", "at": "1 s", "region": EAST, "keys": True, "hidden": True},
    ]


def everything() -> list[dict[str, Any]]:
    """Return sections of worlds that together hold every kind of compliance's choices."""
    rates = dict.fromkeys(("access", "export", "erasure", "withdrawal"), "2 /s")
    data = {
        **DATA,
        "consenting": "90 %",
        "rows": 2,
        "row_size": "64 B",
        "requests": rates,
        "handling": "5 ms",
        "propagation": "1 s",
        "retry": "100 ms",
        "inspect_every": "1 s",
        "backups": {"every": "1 s", "kept": "2 s"},
        "retention": "3 s",
    }
    full = {
        "audit": {**AUDIT, "keeper": 1, "witnesses": {"ids": [2, 4]}, "gossip": True},
        "access": {"cache": "500 ms", "lock_out": "1 s", "failures": 2, "failure_window": "9 s"},
        "people": PEOPLE,
        "services": [SERVICE],
        "data": data,
        "transit": {"handshake": "2 ms", "per_kib": "1 us"},
        "response": {"react": "100 ms", "step": "100 ms", "denials": 2, "window": "9 s"},
        "events": events(),
        "insiders": insiders(),
    }
    small = {
        "audit": {
            "capacity": "4 KiB",
            "on_failure": "degrade",
            "rotate_at": "50 %",
            "retention": "3 s",
        },
        "people": PEOPLE,
    }
    return [
        {
            **PLACES,
            "storage": "rocksdb",
            "compliance": full,
            "faults": [crash((3, 4, 5), "2 s", "2500 ms")],
        },
        {"compliance": small, "agents": AGENTS},
    ]
