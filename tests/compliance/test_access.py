"""Access: sessions, roles, policies, separation of duties, and how long a revocation takes.

Each test names its practice of CMMC 2.0 level 2 (NIST SP 800-171 rev. 2).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world.compliance.access_controller import (
    CONFLICTS,
    POLICIES,
    AccessController,
    AccessRules,
    PolicyError,
)
from sim.world.compliance.audit_logger import AuditLogger, LogUnwritable, Outcome

S = 1_000_000_000
RULES = AccessRules(
    cache_ns=2 * S,
    session_ns=3_600 * S,
    idle_ns=900 * S,
    failures=3,
    failure_window_ns=300 * S,
    lock_out_ns=1_800 * S,
)
NODE = ("Validator", "v1")


def controller(**people: tuple[str, ...]) -> AccessController:
    """Enroll operators with their roles, all logged on at 0."""
    made = AccessController(RULES, AuditLogger())
    for name, roles in people.items():
        made.enroll("Operator", name, clearance=2, region="east")
        for role in roles:
            assert made.grant(name, role, 0) == ""
        assert made.log_on(name, proven=True, now_ns=0) == ""
    return made


def act(made: AccessController, name: str, action: str, **how: Any) -> tuple[bool, tuple[str, ...]]:
    resource = how.pop("resource", NODE)
    attributes = how.pop("attributes", {"region": "east"})
    how.setdefault("mfa", True)
    now = how.pop("now_ns", S)
    return made.acting(name, action, resource, now, attributes=attributes, **how)[:2]


def test_only_who_has_the_role_may() -> None:
    """AC.L2-3.1.1, AC.L2-3.1.2: authorised users, and what they are authorised to do."""
    made = controller(ada=("operator",), bob=())
    assert act(made, "ada", "restart") == (True, ("operators-run-validators-of-their-region",))
    assert act(made, "bob", "restart") == (False, ())
    assert act(made, "eve", "restart") == (False, ())
    assert [r.detail for r in made.audit.query(actor="eve")] == ["unknown"]


def test_a_region_bounds_what_an_operator_may_touch() -> None:
    """AC.L2-3.1.3: information flow by attributes of both sides."""
    made = controller(ada=("operator",))
    assert act(made, "ada", "restart", attributes={"region": "west"}) == (False, ())


def test_two_persons_for_what_hurts() -> None:
    """AC.L2-3.1.4: separation of duties; an approver who is not there does not count."""
    made = controller(ada=("security_officer",), bob=("operator",))
    denied = (False, ("two-persons",))
    assert act(made, "ada", "slash", approver="bob") == (True, ("security-officer-slashes",))
    assert act(made, "ada", "slash", approver="ada") == denied
    assert act(made, "ada", "slash", approver="nobody") == denied
    assert act(made, "ada", "slash") == denied
    made.log_on("ada", proven=True, now_ns=1_000 * S)
    assert act(made, "ada", "slash", approver="bob", now_ns=1_000 * S) == denied


@pytest.mark.parametrize(("one", "other"), CONFLICTS)
def test_conflicting_roles_are_never_held_together(one: str, other: str) -> None:
    """AC.L2-3.1.4."""
    made = controller(ada=(one,), bob=(other,))
    assert made.grant("ada", other, S) == f"ada is {one}, which excludes {other}"
    assert made.grant("bob", one, S) == f"bob is {other}, which excludes {one}"
    made.revoke("ada", one, S)
    assert made.grant("ada", other, S) == ""


def test_what_is_granted_and_unused_is_reported() -> None:
    """AC.L2-3.1.5: least privilege."""
    made = controller(ada=("operator",), bob=("legal",))
    act(made, "ada", "restart")
    assert made.unused() == [
        ("ada", "operator", "inspect"),
        ("ada", "operator", "rotate_key"),
        ("bob", "legal", "*"),
    ]


def test_privileged_acts_are_recorded_one_by_one_with_their_policy() -> None:
    """AC.L2-3.1.7, AU.L2-3.3.1, AU.L2-3.3.2: also those that were denied."""
    made = controller(ada=("security_officer",), bob=("operator",))
    act(made, "ada", "slash", approver="bob")
    act(made, "bob", "slash", approver="ada")
    records = made.audit.query(action="slash")
    assert [(r.actor, r.outcome, r.policy, r.detail) for r in records] == [
        ("ada", Outcome.ALLOWED, "security-officer-slashes", "bob"),
        ("bob", Outcome.DENIED, "", "ada"),
    ]


def test_failed_log_ons_lock_out() -> None:
    """AC.L2-3.1.8: three within five minutes; a success or a pause starts the count again."""
    made = controller(ada=())

    def fail(second: int) -> str:
        return made.log_on("ada", proven=False, now_ns=second * S)

    assert [fail(10), fail(20)] == ["not_proven"] * 2
    assert made.log_on("ada", proven=True, now_ns=30 * S) == ""
    assert [fail(40), fail(50), fail(400), fail(401)] == ["not_proven"] * 4
    assert fail(402) == "not_proven"
    assert made.log_on("ada", proven=True, now_ns=403 * S) == "locked_out"
    assert made.log_on("ada", proven=True, now_ns=(402 + 1_799) * S) == "locked_out"
    assert made.log_on("ada", proven=True, now_ns=(402 + 1_800) * S) == ""
    assert len(made.audit.query(action="log_on", outcome=Outcome.FAILED)) == 9


def test_sessions_end_when_idle_and_when_long() -> None:
    """AC.L2-3.1.10, AC.L2-3.1.11."""
    made = controller(ada=("operator",))
    assert act(made, "ada", "restart", now_ns=900 * S)[0]
    assert act(made, "ada", "restart", now_ns=1_800 * S)[0]
    assert not act(made, "ada", "restart", now_ns=2_701 * S)[0]
    made.log_on("ada", proven=True, now_ns=3_000 * S)
    for second in range(3_000, 6_601, 600):
        assert act(made, "ada", "restart", now_ns=second * S)[0]
    assert not act(made, "ada", "restart", now_ns=6_601 * S)[0]
    ended = made.audit.query(actor="ada", outcome=Outcome.DENIED)
    assert [r.detail for r in ended] == ["session_idle", "session_expired"]


def test_privileged_acts_need_a_second_factor() -> None:
    """IA.L2-3.5.3."""
    made = controller(ada=("operator",))
    denied = (False, ("privileged-acts-need-a-second-factor",))
    assert act(made, "ada", "rotate_key", mfa=False) == denied
    assert act(made, "ada", "restart", mfa=False)[0]


def test_who_audits_neither_acts_nor_deletes() -> None:
    """AU.L2-3.3.9: the audit log's management is for a subset of privileged users."""
    made = controller(ada=("auditor",), bob=("records_officer",), eve=("operator",))
    log = ("AuditLog", "main")
    may = {
        name: [
            action
            for action in ("read_audit", "export_audit", "set_retention", "restart")
            if act(
                made,
                name,
                action,
                resource=NODE if action == "restart" else log,
                attributes={"region": "east"} if action == "restart" else {},
            )[0]
        ]
        for name in ("ada", "bob", "eve")
    }
    assert may == {
        "ada": ["read_audit", "export_audit"],
        "bob": ["set_retention"],
        "eve": ["restart"],
    }


def test_held_data_is_not_erased() -> None:
    """GDPR 17(3)(e): a legal hold stops an erasure, whoever asks for it."""
    made = controller(ada=("data_officer",))
    subject = ("Subject", "s1")
    free, held = ({"region": "east", "held": held} for held in (False, True))
    assert act(made, "ada", "erase", resource=subject, attributes=free)[0]
    refused = act(made, "ada", "erase", resource=subject, attributes=held)
    assert refused == (False, ("held-data-stays",))


def test_production_needs_clearance() -> None:
    """AC.L2-3.1.3."""
    made = controller(ada=("deployer",), bob=())
    made.enroll("Operator", "low", clearance=1, region="*")
    made.grant("low", "deployer", 0)
    made.log_on("low", proven=True, now_ns=0)
    where = {"resource": ("Deployment", "d"), "attributes": {"stage": "production"}}
    assert act(made, "ada", "deploy", approver="bob", **where)[0]
    assert act(made, "low", "deploy", approver="bob", **where)[1] == ("clearance-for-production",)


def test_no_record_no_act() -> None:
    """AU.L2-3.3.4: while the log cannot be written, privileged acts are refused."""
    made = controller(ada=("operator",))
    made.audit.broken = "disk fault"
    with pytest.raises(LogUnwritable, match="disk fault"):
        act(made, "ada", "restart")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6 * S), min_size=1, max_size=30), st.integers(0, 5 * S))
def test_a_revoked_right_is_used_for_no_longer_than_the_cache_lives(
    times: list[int], revoked_ns: int
) -> None:
    """AC.L2-3.1.1: the bound on staleness; every stale use is counted."""
    made = AccessController(RULES, AuditLogger())
    made.enroll("AgentClass", "mobile")
    made.grant("mobile", "agent", 0)
    revoked, stale = False, 0
    for now in sorted(times):
        if now >= revoked_ns and not revoked:
            made.revoke("mobile", "agent", revoked_ns)
            revoked = True
        allowed = made.routine("mobile", "look_up", ("east", "g1"), now)
        if revoked and allowed:
            stale += 1
            assert now < revoked_ns + RULES.cache_ns
        if not revoked:
            assert allowed
    assert made.stale_allows == stale
    made.audit.flush(10 * S)
    assert made.audit.count(outcome=Outcome.ALLOWED) + made.audit.count(
        outcome=Outcome.DENIED
    ) == len(times)


def test_bad_policies_are_refused_with_their_place() -> None:
    text = (POLICIES / "access.cedar").read_text()
    wrong = {
        text.replace("resource.held", "resource.hold"): r"\[held-data-stays\].*`hold`",
        text.replace("permit (", "permit [", 1): "policies: ",
    }
    for policies, said in wrong.items():
        with pytest.raises(PolicyError, match=said):
            AccessController(RULES, AuditLogger(), policies=policies)
    with pytest.raises(PolicyError, match="schema: "):
        AccessController(RULES, AuditLogger(), schema="entity ;")
    with pytest.raises(ValueError, match="failures 0 must be at least 1"):
        AccessRules(0, 1, 1, 0, 1, 1)
    made = controller(ada=())
    with pytest.raises(ValueError, match="principal 'ada' exists"):
        made.enroll("Operator", "ada", clearance=0, region="*")
