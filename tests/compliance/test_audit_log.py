"""The audit log: what it keeps, what it answers, and which tampering is found.

Controls: NIST SP 800-171 3.3.1 (create records), 3.3.4 (failure), 3.3.5/3.3.6 (reduction and
queries), 3.3.8 (protection); SP 800-53 AU-5, AU-9, AU-10, AU-11.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world.compliance import tampering
from sim.world.compliance.audit_logger import (
    RECORD_BYTES,
    AuditLogger,
    LogUnwritable,
    Outcome,
    Record,
)
from sim.world.compliance.merkle import MerkleTree
from sim.world.compliance.tree_heads import (
    SignedHead,
    SplitView,
    TreeHead,
    Witness,
    audit,
    head_of,
    sign,
)

KEEPER = 3


def by(signer: int, message: bytes) -> bytes:
    return b"signed by %d: " % signer + message


def verify(signer: int, message: bytes, signature: bytes) -> bool:
    return signature == by(signer, message)


def filled(count: int, start: int = 0, log: AuditLogger | None = None) -> AuditLogger:
    log = log or AuditLogger()
    for i in range(start, start + count):
        outcome = Outcome.DENIED if i % 3 == 0 else Outcome.DONE
        log.append(
            i * 10, f"operator/{i % 4}", ("slash", "deploy")[i % 2], f"node/{i % 5}", outcome
        )
    return log


def test_queries_answer_what_a_list_would() -> None:
    log = filled(200)
    records = [log[i] for i in range(200)]
    asked = log.query(actor="operator/2", outcome=Outcome.DONE, since_ns=300, until_ns=1500)
    assert asked == [
        r
        for r in records
        if r.actor == "operator/2" and r.outcome is Outcome.DONE and 300 <= r.time_ns < 1500
    ]
    assert (
        log.query(action="slash", limit=3, newest_first=True)
        == [r for r in reversed(records) if r.action == "slash"][:3]
    )
    assert log.query(actor="nobody") == []
    assert log.query(since_ns=500, until_ns=400) == []
    assert log.count(object_="node/1") == sum(r.object == "node/1" for r in records)


def test_the_frame_says_what_the_records_say() -> None:
    log = filled(20)
    rows = log.to_frame().rows(named=True)
    assert len(rows) == 20
    for sequence, row in enumerate(rows):
        record = log[sequence]
        assert row.pop("outcome") == record.outcome.name.lower()
        assert row == {k: v for k, v in record._asdict().items() if k != "outcome"}


def test_leaves_alone_are_the_whole_log() -> None:
    """An auditor who has the leaves only finds the same root, and every name in them."""
    log = filled(50)
    tree = MerkleTree()
    whole = b""
    for _, leaf in log.leaves():
        tree.append(leaf)
        whole += leaf
    assert tree.root() == log.tree.root()
    for name in (b"operator/3", b"deploy", b"node/4"):
        assert whole.count(name) == 1


def test_allows_are_added_up_by_class_action_and_second() -> None:
    log = AuditLogger()
    for t in (100, 200, 999_999_999, 1_000_000_000):
        log.tally(t, "agent", "send", "policy0")
    log.tally(5, "agent", "query", "policy0")
    log.flush(1_500_000_000)
    assert [(r.action, r.acts, r.detail) for r in log.query()] == [
        ("query", 1, "second 0"),
        ("send", 3, "second 0"),
    ]
    log.flush(1_600_000_000)
    assert len(log) == 2
    log.flush(2_000_000_000)
    assert log.count(action="send") == 4


def test_time_does_not_go_back() -> None:
    log = filled(3)
    with pytest.raises(ValueError, match="time 19 ns is before the last record's 20 ns"):
        log.append(19, "a", "b", "c", Outcome.DONE)


def test_a_log_that_fails_closed_refuses_the_act() -> None:
    """SP 800-171 3.3.4, SP 800-53 AU-5: an act that cannot be recorded does not happen."""
    log = AuditLogger(capacity_bytes=3 * RECORD_BYTES)
    log.append(0, "a", "", "", Outcome.DONE)
    log.append(1, "a", "", "", Outcome.DONE)
    with pytest.raises(LogUnwritable, match="full"):
        log.append(2, "a", "", "", Outcome.DONE)
    assert len(log) == 2
    assert log.missing == 0


def test_a_log_that_fails_open_says_what_is_missing() -> None:
    """AU-5: the gap is recorded as soon as something can be recorded."""
    log = AuditLogger(fail_closed=False)
    log.append(0, "a", "b", "c", Outcome.DONE)
    log.broken = "disk fault"
    assert [log.append(t, "a", "b", "c", Outcome.DONE) for t in (5, 6, 7)] == [-1, -1, -1]
    assert log.missing == 3
    log.broken = ""
    log.append(9, "a", "b", "c", Outcome.DONE)
    gap = log[1]
    assert (gap.action, gap.acts, gap.detail) == ("gap", 3, "since 5 ns")
    assert len(log) == 3
    assert log.missing == 0


def test_retention_drops_contents_and_keeps_proofs() -> None:
    """AU-11: what is older goes; the tree still proves what was there, and space is free again."""
    log = filled(100)
    head = sign(head_of(log, KEEPER, 1, 990), by)
    before = log.used_bytes
    assert log.forget(500) == 50
    assert log.used_bytes < before
    with pytest.raises(KeyError, match="contents before 50 were forgotten"):
        log[49]
    assert log[50].time_ns == 500
    assert log.query(until_ns=500) == []
    filled(10, 100, log)
    assert [f.kind for f in audit(log, [head], verify)] == ["unwitnessed"]
    assert log.forget(10_000) == 60
    assert log.used_bytes == 0


def heads_of(log: AuditLogger, sizes: tuple[int, ...]) -> list[SignedHead]:
    """What witnesses outside kept: heads at these sizes, at the time of the last record."""
    return [
        sign(TreeHead(KEEPER, epoch, log[size - 1].time_ns + 1, size, log.tree.root(size)), by)
        for epoch, size in enumerate(sizes, 1)
    ]


def test_an_untouched_log_passes() -> None:
    log = filled(60)
    assert audit(log, heads_of(log, (20, 40, 60)), verify) == []


def old(time_ns: int) -> Record:
    return Record(0, time_ns, "insider", "deploy", "node/0", Outcome.DONE, 1, "", "")


TAMPERINGS: dict[str, tuple[Callable[[AuditLogger], None], set[str], int]] = {
    "edit": (lambda log: tampering.edit(log, 25, outcome=Outcome.ALLOWED), {"content"}, 25),
    "rewrite": (lambda log: tampering.rewrite(log, 25, actor="nobody"), {"rewritten"}, 20),
    "delete": (lambda log: tampering.delete(log, 25), {"rewritten", "truncated"}, 20),
    "truncate": (lambda log: tampering.truncate(log, 50), {"truncated"}, 50),
    "insert": (lambda log: tampering.insert(log, old(255)), {"rewritten"}, 20),
    "back_date": (lambda log: tampering.back_date(log, old(255)), {"back_dated"}, 60),
}


@pytest.mark.parametrize("act", tampering.ACTS)
def test_every_tampering_with_what_heads_cover_is_found(act: str) -> None:
    log = filled(60)
    heads = heads_of(log, (20, 40, 60))
    tamper, kinds, sequence = TAMPERINGS[act]
    tamper(log)
    found = [f for f in audit(log, heads, verify) if f.kind != "unwitnessed"]
    assert {f.kind for f in found} == kinds
    assert min(f.sequence for f in found) == sequence


def test_cutting_off_an_end_that_no_head_covers_is_undetectable() -> None:
    """And the audit says so beforehand: from which record on nobody could tell."""
    log = filled(60)
    heads = heads_of(log, (20, 40))
    assert audit(log, heads, verify)[0][:2] == ("unwitnessed", 40)
    tampering.truncate(log, 45)
    assert {f.kind for f in audit(log, heads, verify)} == {"unwitnessed"}
    tampering.truncate(log, 40)
    assert audit(log, heads, verify) == []


def test_a_head_that_does_not_verify_is_reported() -> None:
    log = filled(20)
    good = heads_of(log, (20,))[0]
    assert audit(log, [good._replace(signature=b"no")], verify)[0].kind == "signature"


def test_a_witness_co_signs_only_what_extends_what_it_knows() -> None:
    log = filled(20)
    witness = Witness(verify)
    first = sign(head_of(log, KEEPER, 1, 200), by)
    assert witness.consider(first._replace(signature=b"x"), []) == "signature"
    assert witness.consider(first, []) == ""
    filled(20, 20, log)
    second = sign(head_of(log, KEEPER, 2, 400), by)
    proof = log.tree.consistency_proof(20)
    assert witness.consider(second, proof[:-1]) == "inconsistent"
    assert witness.consider(second, proof) == ""
    assert witness.consider(first, []) == "shrunk"
    filled(1, 40, log)
    late = sign(head_of(log, KEEPER, 3, 399), by)
    assert witness.consider(late, log.tree.consistency_proof(40)) == "back_dated"
    assert witness.latest == second


def test_a_split_view_convicts_its_keeper_and_nobody_else() -> None:
    log = filled(30)
    other = tampering.twin(log)
    log.append(300, "insider", "deploy", "node/1", Outcome.DONE)
    other.append(300, "insider", "read", "node/1", Outcome.DONE)
    shown = [sign(head_of(each, KEEPER, 1, 300), by) for each in (log, other)]
    witnesses = [Witness(verify), Witness(verify)]
    for witness, head in zip(witnesses, shown, strict=True):
        assert witness.consider(head, []) == ""
    convicting = witnesses[0].compare(shown[1])
    assert convicting is not None
    assert convicting.holds(verify)
    assert witnesses[0].compare(shown[0]) is None
    assert witnesses[0].consider(shown[1], []) == "split_view"
    assert witnesses[0].split == convicting
    forged = SplitView(shown[0], shown[1]._replace(signature=by(KEEPER + 1, b"")))
    assert not forged.holds(verify)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 60), st.data())
def test_random_tampering_is_found_or_said_to_be_beyond_the_heads(
    count: int, data: st.DataObject
) -> None:
    log = filled(count)
    covered = data.draw(st.integers(1, count))
    heads = heads_of(log, tuple(sorted({data.draw(st.integers(1, covered)), covered})))
    before = copy.deepcopy(log)
    act = data.draw(st.sampled_from(("rewrite", "delete", "truncate")))
    at = data.draw(st.integers(0, count - 1))
    if act == "rewrite":
        tampering.rewrite(log, at, actor="nobody")
    elif act == "delete":
        tampering.delete(log, at)
    else:
        tampering.truncate(log, at)
    found = {f.kind for f in audit(log, heads, verify)} - {"unwitnessed"}
    assert bool(found) == (at < covered)
    assert {f.kind for f in audit(before, heads, verify)} <= {"unwitnessed"}
