"""The audit log at a million records: appends, queries, proofs.

The source document asks for compliance queries under 100 ms. Run with `-m benchmark -s` to see the
figures; the tests assert the work done, never the time.
"""

from __future__ import annotations

import time

import pytest

from sim.world.compliance.audit_logger import AuditLogger, Outcome
from sim.world.compliance.merkle import leaf_hash, verify_inclusion

pytestmark = pytest.mark.benchmark
RECORDS = 1_000_000


def test_a_million_records() -> None:
    log = AuditLogger()
    names = [f"operator/{i}" for i in range(200)]
    acts = ("inspect", "slash", "deploy", "erase")
    begun = time.process_time()
    for i in range(RECORDS):
        outcome = Outcome.DENIED if i % 50 == 0 else Outcome.ALLOWED
        log.append(i * 1_000, names[i % 200], acts[i % 4], f"node/{i % 150}", outcome)
    took = time.process_time() - begun
    assert len(log) == RECORDS
    print(f"\nappend: {RECORDS / took:,.0f} records a CPU-second")

    asked = [
        {"actor": "operator/7"},
        {"action": "slash"},
        {"object_": "node/3"},
        {"outcome": Outcome.DENIED},
        {"since_ns": 400_000_000, "until_ns": 600_000_000},
        {
            "actor": "operator/7",
            "outcome": Outcome.DENIED,
            "since_ns": 100,
            "until_ns": 900_000_000,
        },
        {"newest_first": True},
        {},
    ]
    spent = []
    for _ in range(25):
        for query in asked:
            begun = time.perf_counter()
            found = log.query(**query)  # type: ignore[arg-type]
            spent.append(time.perf_counter() - begun)
            assert len(found) == 1_000 or "outcome" in query
    spent.sort()
    print(f"query: p50 {spent[100] * 1e3:.2f} ms, p99 {spent[198] * 1e3:.2f} ms of {len(spent)}")
    assert log.count(action="slash") == RECORDS // 4

    root, leaves = log.tree.root(), dict(log.leaves(RECORDS - 10))
    begun = time.perf_counter()
    for sequence, leaf in leaves.items():
        proof = log.tree.inclusion_proof(sequence)
        assert verify_inclusion(leaf_hash(leaf), sequence, RECORDS, proof, root)
    each = (time.perf_counter() - begun) / len(leaves)
    print(f"inclusion proof made and verified: {each * 1e6:.0f} us")
