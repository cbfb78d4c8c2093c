"""Personal data: consent, erasure with proof, holds, export, retention, breaches.

Each test names its article of Regulation (EU) 2016/679.
"""

from __future__ import annotations

import csv
import io
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world.compliance.audit_logger import AuditLogger, Outcome
from sim.world.compliance.breach_register import BreachRegister
from sim.world.compliance.data_manager import (
    DAY_NS,
    HOUR_NS,
    DataManager,
    DataRules,
    Refused,
    as_csv,
    rows_of,
)
from sim.world.compliance.tree_heads import audit, head_of, sign

REPLICAS = ("east", "west", "north")
S = 1_000_000_000
SECRET = {"name": "Jane Roe of Nowhere", "e-mail": "jane.roe@example.org"}
RULES = DataRules(
    purposes=("billing", "research"),
    propagation_ns=5 * S,
    backup_every_ns=DAY_NS,
    backup_kept_ns=30 * DAY_NS,
    retention_ns=90 * DAY_NS,
)


def manager(rules: DataRules = RULES) -> DataManager:
    made = DataManager(rules, REPLICAS, AuditLogger(), b"seed")
    made.enroll("jane", 0)
    made.consent("jane", "billing", given=True, version=1, now_ns=0)
    return made


def test_nothing_is_stored_without_consent() -> None:
    """Article 7(1): and the refusal is on record, without the data."""
    made = manager()
    with pytest.raises(Refused, match="subject 'jane' has not consented to 'research'"):
        made.store("jane", "research", SECRET, 10 * S)
    denied = made.audit.query(outcome=Outcome.DENIED)
    assert [(r.action, r.detail) for r in denied] == [("store", "research")]


def test_unknown_purposes_and_subjects_are_refused() -> None:
    made = manager()
    with pytest.raises(Refused, match="purpose 'sale' is not one of billing, research"):
        made.consent("jane", "sale", given=True, version=1, now_ns=0)
    with pytest.raises(Refused, match="subject 'john' is not known"):
        made.store("john", "billing", SECRET, 0)


def test_consent_can_be_demonstrated_as_it_was() -> None:
    """Article 7(1): which text, when; article 7(3): a withdrawal does not reach back."""
    made = manager()
    made.consent("jane", "billing", given=False, version=1, now_ns=100 * S)
    made.consent("jane", "billing", given=True, version=2, now_ns=200 * S)
    found = [made.consent_at("jane", "billing", t * S) for t in (50, 150, 250)]
    assert [(c.given, c.version) for c in found if c] == [(True, 1), (False, 1), (True, 2)]


@settings(max_examples=50, deadline=None)
@given(st.integers(6, 100), st.lists(st.integers(6, 200), min_size=1, max_size=20))
def test_a_withdrawal_stops_processing_within_the_bound(withdrawn: int, times: list[int]) -> None:
    """Article 7(3)."""
    made = manager()
    made.store("jane", "billing", SECRET, 0)
    made.consent("jane", "billing", given=False, version=1, now_ns=withdrawn * S)
    for second in sorted(times):
        if made.may_process("jane", "billing", second * S):
            assert made.read("jane", 0, "east", second * S) == SECRET
            assert second * S < withdrawn * S + RULES.propagation_ns
        else:
            assert second * S >= withdrawn * S + RULES.propagation_ns
            with pytest.raises(Refused):
                made.read("jane", 0, "east", second * S)


def test_after_an_erasure_nothing_yields_the_data_and_the_log_still_verifies() -> None:
    """Articles 12(3) and 17(1): key and rows go; proof stays; a lost replica becomes overdue."""
    made = manager()
    made.store("jane", "billing", SECRET, S)
    made.back_up(S)
    kept = sign(head_of(made.audit, 0, 1, S), lambda _, message: message)
    assert not any(secret.encode() in pickle.dumps(made.replicas) for secret in SECRET.values())
    request = made.erase("jane", 2 * S)
    assert request.complete_ns() is None
    for second, replica in ((3, "east"), (4, "north")):
        made.confirm(request.number, replica, second * S)
    assert request.waiting == ["west"]
    assert not request.overdue(2 * S + 30 * DAY_NS)
    assert request.overdue(3 * S + 30 * DAY_NS)
    made.confirm(request.number, "west", 500 * S)
    assert request.complete_ns() == S + 30 * DAY_NS
    assert all(not rows for rows in made.replicas.values())
    with pytest.raises(Refused, match="not known"):
        made.read("jane", 0, "east", 501 * S)
    everything = pickle.dumps((made, made.audit.to_frame()))
    assert not any(word.encode() in everything for word in (*SECRET.values(), "jane"))
    proof = made.audit.query(object_=f"subject/{request.token}", since_ns=2 * S)
    assert [r.action for r in proof] == ["erase"] + ["delete_rows"] * 3
    found = audit(made.audit, [kept], lambda _, message, signature: message == signature)
    assert {f.kind for f in found} == {"unwitnessed"}


@pytest.mark.parametrize(
    ("created_day", "erased_day", "until_day"), [(0, 0.5, 30), (1.2, 1.5, 1.5), (1.2, 2.5, 32)]
)
def test_an_erasure_waits_for_the_backups_that_hold_the_key(
    created_day: float, erased_day: float, until_day: float
) -> None:
    """Article 17(1): a backup is made daily and kept for 30 days; a younger key is in none."""
    made = DataManager(RULES, REPLICAS, AuditLogger(), b"seed")
    created, erased = int(created_day * DAY_NS), int(erased_day * DAY_NS)
    days = [day * DAY_NS for day in range(3) if day * DAY_NS <= erased]
    for day in days:
        if day < created:
            made.back_up(day)
    made.take_over([("jane", ["billing"], [("billing", SECRET)])], created)
    for day in days:
        if day >= created:
            made.back_up(day)
    token = made.subjects["jane"].token
    made.hidden["east"] = [made.row("jane", 0, "east")]
    request = made.erase("jane", erased)
    for replica in REPLICAS:
        made.confirm(request.number, replica, request.asked_ns)
    complete = request.complete_ns()
    assert complete == int(until_day * DAY_NS)
    assert made.recoverable(token, complete - 1) == (complete > erased)
    assert made.recoverable(token, complete) == 0


def test_what_a_replica_kept_is_found_and_can_be_read_only_with_a_key() -> None:
    """Article 17(1): destroying the key makes a lie of a replica's keeper harmless."""
    made = manager()
    made.store("jane", "billing", SECRET, 0)
    made.stolen["nobody"] = b"?" * 32
    token = made.subjects["jane"].token
    key = made.subjects["jane"].key
    assert made.recoverable(token, S) == len(REPLICAS)
    request = made.erase("jane", S)
    for replica, lie in zip(REPLICAS, ("", "kept", "hidden"), strict=True):
        assert made.orphans(replica) == {}
        made.confirm(request.number, replica, 2 * S, lie=lie)
    assert [made.orphans(replica) for replica in REPLICAS] == [{}, {token: 1}, {}]
    assert made.recoverable(token, 3 * S) == 0
    made.stolen[token] = key
    assert made.recoverable(token, 3 * S) == 2


def test_a_hold_stops_an_erasure_until_it_is_lifted() -> None:
    """Article 17(3)(e)."""
    made = manager()
    made.hold("jane", "case 7", S)
    with pytest.raises(Refused, match="subject 'jane' is held for case 7"):
        made.erase("jane", 2 * S)
    with pytest.raises(Refused, match="is not held for 'case 8'"):
        made.lift("jane", "case 8", 3 * S)
    made.lift("jane", "case 7", 3 * S)
    made.erase("jane", 4 * S)
    assert [r.outcome for r in made.audit.query(action="erase")] == [Outcome.DENIED, Outcome.DONE]


def test_who_comes_back_is_somebody_new() -> None:
    """A late confirmation of the erasure leaves the new rows alone."""
    made = manager()
    made.store("jane", "billing", SECRET, S)
    request = made.erase("jane", 2 * S)
    made.enroll("jane", 3 * S)
    made.consent("jane", "billing", given=True, version=2, now_ns=3 * S)
    number = made.store("jane", "billing", {"new": "row"}, 4 * S)
    made.confirm(request.number, "east", 5 * S)
    assert made.read("jane", number, "east", 60 * S) == {"new": "row"}
    assert len(made.replicas["east"]) == 1
    assert len(made.replicas["west"]) == 2


words = st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=4)


@settings(max_examples=40, deadline=None)
@given(st.lists(words, max_size=5))
def test_an_export_round_trips(stored: list[dict[str, str]]) -> None:
    """Article 20(1): structured, commonly used, machine-readable: JSON and CSV."""
    made = manager()
    for data in stored:
        made.store("jane", "billing", data, S)
    exported = made.export("jane", 2 * S, replica="west")
    again = manager()
    for purpose, data in rows_of(exported):
        again.store("jane", purpose, data, S)
    assert rows_of(again.export("jane", 2 * S, replica="east")) == [("billing", d) for d in stored]
    lines = list(csv.DictReader(io.StringIO(as_csv(exported), newline="")))
    read: list[dict[str, str]] = [{} for _ in stored]
    for line in lines:
        read[int(line["number"])][line["field"]] = line["value"]
    assert read == stored


def test_rows_expire_but_for_those_that_are_held() -> None:
    """Article 5(1)(e): storage limitation."""
    made = manager()
    made.enroll("john", 0)
    made.consent("john", "billing", given=True, version=1, now_ns=0)
    for name in ("jane", "john"):
        made.store(name, "billing", SECRET, S)
    made.hold("john", "case 1", S)
    assert made.expire("east", 90 * DAY_NS) == 0
    assert made.expire("east", 90 * DAY_NS + 2 * S) == 1
    assert made.read("john", 0, "east", 100 * DAY_NS) == SECRET
    with pytest.raises(Refused, match="has no row 0"):
        made.read("jane", 0, "east", 100 * DAY_NS)


def test_the_breach_clock_starts_with_awareness() -> None:
    """Articles 33(1) and 34(1)."""
    made = BreachRegister(AuditLogger())
    breach = made.enter(0, 200 * HOUR_NS, ("jane",), high_risk=True)
    assert not breach.late(272 * HOUR_NS)
    assert breach.late(272 * HOUR_NS + 1)
    made.notify(breach.number, "authority", 272 * HOUR_NS)
    made.notify(breach.number, "subjects", 300 * HOUR_NS)
    assert not breach.late(10_000 * HOUR_NS)
    late = made.enter(0, 300 * HOUR_NS, ("jane",), high_risk=False)
    made.notify(late.number, "authority", 373 * HOUR_NS)
    assert late.late(0)
    assert [r.detail for r in made.audit.query(action="notify_authority")] == ["", "late"]
    with pytest.raises(ValueError, match="before it happened"):
        made.enter(5, 4, (), high_risk=False)
    with pytest.raises(ValueError, match="need authority or subjects"):
        made.notify(0, "press", 400 * HOUR_NS)


def test_a_changed_ciphertext_does_not_open() -> None:
    """Article 32(1)(b): integrity of what is stored."""
    made = manager()
    made.store("jane", "billing", SECRET, S)
    rows = made.replicas["east"]
    ((key, row),) = rows.items()
    rows[key] = row._replace(sealed=row.sealed[:-1] + bytes([row.sealed[-1] ^ 1]))
    with pytest.raises(ValueError, match="MAC check failed"):
        made.read("jane", 0, "east", 60 * S)
    assert made.read("jane", 0, "west", 60 * S) == SECRET
