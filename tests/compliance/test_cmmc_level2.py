"""CMMC 2.0 level 2 in a run: what the practices ask for, held against the run's own tables."""

from __future__ import annotations

from itertools import pairwise

from tests.engine.worlds import SECOND, Ran

TWO_PERSONS = ("slash", "deploy", "grant_role")
OF_THE_LOG = {
    "read_audit": ["uma"],
    "export_audit": ["uma"],
    "set_retention": ["rex"],
}


def test_ac_3_1_1_whoever_acts_was_permitted_by_a_policy(life: Ran) -> None:
    """AC.L2-3.1.1, AC.L2-3.1.2: no act is allowed without a policy that permits it."""
    allowed = life.rows("audit", outcome="allowed")
    assert len(allowed) > 50
    assert all(row["policy"] for row in allowed)
    assert {row["actor"] for row in life.rows("audit", outcome="denied")} >= {"eve", "bills"}


def test_ac_3_1_4_what_hurts_took_two_persons(life: Ran) -> None:
    """AC.L2-3.1.4: an approver, who is somebody else; without one the act is denied."""
    rows = [row for row in life.frame("audit").to_dicts() if row["action"] in TWO_PERSONS]
    mine = [row for row in rows if row["actor"] != "protocol"]
    allowed = [row for row in mine if row["outcome"] == "allowed"]
    assert {row["action"] for row in allowed} >= {"slash", "deploy"}
    assert all(row["detail"] not in ("", row["actor"]) for row in allowed)
    assert {row["policy"] for row in mine if row["outcome"] == "denied"} <= {"", "two-persons"}


def test_ac_3_1_5_rights_that_nobody_used_are_listed(life: Ran) -> None:
    """AC.L2-3.1.5: granted and unused, and nothing that was used."""
    unused = {(row["principal"], row["action"]) for row in life.frame("privileges").to_dicts()}
    assert ("tom", "roll_back") in unused
    used = {(row["actor"], row["action"]) for row in life.rows("audit", outcome="allowed")}
    assert not unused & used


def test_ac_3_1_7_a_climber_is_denied_recorded_and_contained(life: Ran) -> None:
    """AC.L2-3.1.7: each try is denied and on record; after the third the account is shut out."""
    tries = life.rows("insiders", kind="privilege_escalation")
    assert len(tries) >= 3
    assert {row["outcome"] for row in tries} == {"stopped"}
    denied = life.rows("audit", actor="eve", action="slash", outcome="denied")
    assert [row["time_ns"] for row in denied] == [row["time_ns"] for row in tries]
    (contained,) = life.rows("incidents", detail="eve", step="contain")
    assert tries[-1]["time_ns"] <= contained["time_ns"]


def test_ac_3_1_8_failed_log_ons_lock_out(life: Ran) -> None:
    """AC.L2-3.1.8: after two failures the next one is told that it is locked out."""
    failed = life.rows("audit", actor="ada", action="log_on", outcome="failed")
    reasons = [row["detail"] for row in failed]
    assert "locked_out" in reasons
    assert reasons[:2] == ["not_proven", "not_proven"]
    assert life.rows("incidents", cause="lock_out", step="detect")


def test_au_3_3_1_the_log_says_who_did_what_when(life: Ran) -> None:
    """AU.L2-3.3.1, AU.L2-3.3.2: without gap, in order, every record with its actor."""
    rows = life.frame("audit").sort("sequence").to_dicts()
    assert [row["sequence"] for row in rows] == list(range(len(rows)))
    assert all(row["actor"] and row["action"] and row["object"] for row in rows)
    assert all(a["time_ns"] <= b["time_ns"] for a, b in pairwise(rows))


def test_au_3_3_4_no_record_no_act(life: Ran) -> None:
    """AU.L2-3.3.4: while the store is broken nothing is recorded, so nothing happens."""
    during = life.frame("audit").filter(
        (life.frame("audit")["time_ns"] >= 11 * SECOND)
        & (life.frame("audit")["time_ns"] < 11 * SECOND + 400_000_000)
    )
    assert during.height == 0
    assert life.metric("acts_unrecorded") > 0
    assert life.rows("incidents", cause="log_failure", step="detect")


def test_au_3_3_8_a_changed_record_is_found(life: Ran) -> None:
    """AU.L2-3.3.8: heads are co-signed at each epoch; the one after the change is refused."""
    heads = life.rows("heads")
    before = [row for row in heads if row["time_ns"] < 8 * SECOND and row["cosigned"]]
    assert len(before) >= 5
    assert all(not row["refused"] for row in before)
    (act,) = life.rows("insiders", kind="rewrite")
    assert act["outcome"] == "found"
    assert act["delay_ns"] < 4 * SECOND


def test_au_3_3_9_the_log_has_its_own_keepers(life: Ran) -> None:
    """AU.L2-3.3.9: whoever reads or archives it has that role and no operator's."""
    for action, whose in OF_THE_LOG.items():
        actors = {row["actor"] for row in life.rows("audit", action=action, outcome="allowed")}
        assert actors <= set(whose)
    assert life.rows("audit", action="read_audit", outcome="allowed")


def test_ir_3_6_1_incidents_are_worked_through_in_order(life: Ran) -> None:
    """IR.L2-3.6.1, IR.L2-3.6.2: detect, contain, slash or rotate, notify, close, with times."""
    steps: dict[int, list[tuple[int, str]]] = {}
    for row in life.frame("incidents").sort("time_ns").to_dicts():
        steps.setdefault(row["incident"], []).append((row["time_ns"], row["step"]))
    whole = [[step for _, step in taken] for taken in steps.values()]
    assert ["detect", "contain", "slash", "notify", "close"] in whole
    assert ["detect", "contain", "rotate_key", "notify", "close"] in whole
    assert ["detect", "contain", "notify", "close"] in whole
