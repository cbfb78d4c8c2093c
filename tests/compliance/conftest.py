"""One eventful run that the tests of controls and articles look at, each from its side."""

from __future__ import annotations

import pytest

from tests.compliance.worlds import DATA, PEOPLE, SERVICE, world
from tests.engine.worlds import EAST, Ran, crash


@pytest.fixture(scope="session")
def life(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Twelve seconds of work, requests, a hold, an outage, a breach and two insiders."""
    events = [
        {"kind": "hold", "subject": 5, "at": "1 s", "until": "4 s"},
        {"kind": "erasure", "first": 5, "at": "2 s"},
        {"kind": "erasure", "first": 5, "at": "4500 ms"},
        {"kind": "export", "first": 20, "subjects": 5, "at": "1 s"},
        {"kind": "access", "first": 20, "at": "1 s"},
        {"kind": "withdrawal", "first": 30, "subjects": 5, "at": "2 s", "purpose": "billing"},
        {"kind": "erasure", "first": 10, "subjects": 3, "at": "5200 ms"},
        {"kind": "deploy", "version": "v2", "at": "1 s"},
        {"kind": "revocation", "service": "bills", "at": "9 s"},
        {
            "kind": "breach",
            "subjects": 7,
            "high_risk": True,
            "at": "1 s",
            "processor_after": "500 ms",
            "controller_after": "500 ms",
            "authority_after": "2 s",
            "subjects_after": "3 s",
        },
        {"kind": "log_fault", "at": "11 s", "until": "11400 ms"},
    ]
    compliance = {
        "audit": {"inspect_every": "3 s", "witnesses": {"ids": [2, 4]}},
        "access": {"cache": "500 ms", "lock_out": "1 s", "failures": 2, "session": "5 s"},
        "people": [*PEOPLE, {"name": "eve", "roles": ["operator"]}],
        "services": [SERVICE],
        "data": {
            **DATA,
            "propagation": "1 s",
            "inspect_every": "2 s",
            "backups": {"every": "2 s", "kept": "3 s"},
        },
        "response": {"react": "200 ms", "step": "100 ms", "denials": 3},
        "events": events,
        "insiders": [
            {"kind": "privilege_escalation", "person": "eve", "at": "3 s", "every": "200 ms"},
            {"kind": "rewrite", "at": "8 s"},
        ],
    }
    return world(
        tmp_path_factory.mktemp("life"),
        duration="12 s",
        compliance=compliance,
        faults=[crash((4, 5), "5 s", "6 s"), crash((3,), "5 s", "6 s")],
        adversaries=[{"kind": "double_vote", "nodes": {"ids": [1]}, "start": "7 s"}],
        expect=[{"safety": "held"}],
        validators={
            "count": 9,
            "placement": {"aws:us-gov-west-1": 3, EAST: 3, "az:usgovvirginia": 3},
        },
    )
