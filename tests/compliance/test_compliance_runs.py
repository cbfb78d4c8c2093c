"""Compliance in small runs: the same every time, off without a trace, and what insiders achieve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.monitor.compliance import AuditLogIntact, ErasureComplete
from tests.compliance.worlds import AUDIT, DATA, PEOPLE, PLACES, SERVICE, everything, world
from tests.engine.worlds import EAST, SECOND, WEST, ran


def test_a_run_with_everything_repeats_itself(tmp_path: Path) -> None:
    """Same scenario and seed, same digest; real signatures of heads change nothing."""
    sections = everything()[0]
    digests = {ran(tmp_path / str(i), **sections).digest for i in range(2)}
    assert len(digests) == 1


def test_real_signatures_give_the_digest_of_modelled_ones(tmp_path: Path) -> None:
    compliance: dict[str, Any] = {
        "audit": AUDIT,
        "response": {"react": "100 ms", "step": "100 ms"},
        "insiders": [{"kind": "split_view", "at": "700 ms"}],
    }
    found = {
        world(
            tmp_path / kind,
            duration="2 s",
            compliance=compliance,
            crypto={"signatures": kind, "costs": "pycryptodome"},
        ).digest
        for kind in ("modelled", "real")
    }
    assert len(found) == 1


def test_without_the_section_there_is_no_trace_of_it(tmp_path: Path) -> None:
    off = ran(tmp_path, **PLACES, duration="1 s")
    tables = {name for _, _, name in off.run.digests()}
    assert not tables & {"audit", "heads", "requests", "insiders", "access", "processing"}
    assert off.outcome.results[0].metrics["audit_records"] is None


def test_acts_of_agents_are_counted_by_class_action_and_second(tmp_path: Path) -> None:
    """As many as the agent plane offered: no message is an object, and none is left out."""
    sections = everything()[1]
    done = ran(tmp_path, **{**sections, "compliance": {"audit": AUDIT}, "duration": "3500 ms"})
    offered = done.rows("traffic", lane="agents", outcome="offered")
    admitted = [row for row in done.rows("audit") if row["actor"].startswith("agents/")]
    assert sum(row["acts"] for row in admitted) == sum(row["messages"] for row in offered) > 300
    keys = [(row["actor"], row["action"], row["detail"]) for row in admitted]
    assert len(keys) == len(set(keys)) <= 2 * 4


CONTAINED = {"react": "100 ms", "step": "100 ms"}


@pytest.mark.parametrize(
    ("insider", "outcome", "finding"),
    [
        ({"kind": "edit"}, "found", "content"),
        ({"kind": "rewrite"}, "found", "inconsistent"),
        ({"kind": "delete"}, "found", "inconsistent"),
        ({"kind": "truncate"}, "found", "inconsistent"),
        ({"kind": "insert"}, "found", "inconsistent"),
        ({"kind": "back_date", "back": "1900 ms"}, "found", "back_dated"),
        ({"kind": "back_date", "back": "1 ms"}, "undetectable", ""),
        ({"kind": "rewrite", "reach": "newest"}, "undetectable", ""),
        ({"kind": "truncate", "reach": "newest"}, "undetectable", ""),
        ({"kind": "edit", "reach": "newest"}, "found", "content"),
        ({"kind": "split_view", "shown_to": 1}, "found", "split_view"),
        ({"kind": "split_view", "shown_to": 2}, "undetectable", ""),
    ],
    ids=str,
)
def test_tampering_is_found_or_shown_to_be_beyond_finding(
    tmp_path: Path, insider: dict[str, Any], outcome: str, finding: str
) -> None:
    """SP 800-171 3.3.8: none of them passes silently; the monitor would fire."""
    done = world(
        tmp_path,
        duration="4 s",
        compliance={
            "audit": {"inspect_every": "900 ms", "keeper": 0, "witnesses": {"ids": [1, 3]}},
            "people": [{**PEOPLE[0], "rate": "40 /s"}, *PEOPLE[1:]],
            "insiders": [{**insider, "at": "2 s"}],
        },
    )
    (act,) = done.rows("insiders")
    assert act["outcome"] == outcome, act
    assert (act["reason"] == "") == (outcome == "found")
    # Which of the two comes first, epoch or inspection, follows from the pace of the blocks.
    assert act["finding"] in (finding, *(("rewritten", "truncated") if finding else ()))
    assert done.verdict == "met"


def test_without_gossip_the_auditor_finds_the_split_view(tmp_path: Path) -> None:
    done = world(
        tmp_path,
        duration="4 s",
        compliance={
            "audit": {"inspect_every": "1 s", "gossip": False, "witnesses": {"ids": [1, 3]}},
            "people": [{**PEOPLE[0], "rate": "40 /s"}, *PEOPLE[1:]],
            "insiders": [{"kind": "split_view", "at": "2 s"}],
        },
    )
    (act,) = done.rows("insiders")
    assert (act["outcome"], act["by"], act["finding"]) == ("found", "uma", "rewritten")


@pytest.mark.parametrize(
    ("how", "outcome", "left"),
    [
        ({}, "found", 0),
        ({"keys": True}, "found", 0),
        ({"hidden": True}, "undetectable", 0),
        ({"hidden": True, "keys": True}, "undetectable", 1),
    ],
    ids=["kept", "kept with keys", "hidden", "hidden with keys"],
)
def test_who_evades_an_erasure_keeps_what_nobody_can_read(
    tmp_path: Path, how: dict[str, Any], outcome: str, left: int
) -> None:
    """GDPR 17(1): rows kept are found and purged; hidden ones open only with a stolen key."""
    done = world(
        tmp_path,
        duration="4 s",
        compliance={
            "people": PEOPLE,
            "data": {**DATA, "inspect_every": "500 ms"},
            "response": CONTAINED,
            "events": [{"kind": "erasure", "at": "1 s", "first": 7}],
            "insiders": [{"kind": "erasure_evasion", "at": "500 ms", "region": EAST, **how}],
        },
    )
    (act,) = done.rows("insiders")
    assert act["outcome"] == outcome
    assert bool(act["reason"]) == (outcome == "undetectable")
    (request,) = done.rows("requests")
    assert request["left"] == left
    assert done.verdict == "met"


def test_a_stolen_session_with_every_right_is_beyond_the_log(tmp_path: Path) -> None:
    """AC.L2-3.1.7: the log shows the owner of the session; the table of insiders says so."""
    stolen = {
        "kind": "privilege_escalation",
        "at": "1 s",
        "person": "ada",
        "stolen": "rex",
        "action": "set_retention",
        "every": "10 s",
    }
    done = world(tmp_path, compliance={"people": PEOPLE, "insiders": [stolen]})
    (act,) = done.rows("insiders")
    assert (act["outcome"], bool(act["reason"])) == ("undetectable", True)
    assert done.rows("audit", actor="rex", action="set_retention", outcome="allowed")


def test_a_cut_replica_stops_within_the_bound(tmp_path: Path) -> None:
    """GDPR 7(3): what it cannot know it does not process; afterwards it goes on."""
    cut = {"kind": "partition", "groups": [{"regions": [EAST]}], "at": "1 s", "until": "3 s"}
    done = world(
        tmp_path,
        faults=[cut],
        compliance={
            "people": PEOPLE,
            "services": [{**SERVICE, "rate": "200 /s"}],
            "data": {**DATA, "propagation": "400 ms"},
            "events": [
                {"kind": "withdrawal", "at": "1200 ms", "purpose": "billing", "subjects": 20}
            ],
        },
    )
    rows = done.rows("processing")
    assert {row["second"] for row in rows if row["outcome"] == "stale"} == {1, 2, 3}
    late = [row["lag_ns"] for row in rows if row["outcome"] == "late"]
    assert all(0 <= lag <= 400_000_000 for lag in late)
    assert [row["second"] for row in rows if row["outcome"] == "processed"][-1] == 4
    slow = done.rows("requests", kind="withdrawal")
    assert all(row["done_ns"] > 3 * SECOND for row in slow)


def test_the_monitors_speak_of_what_passes_silently() -> None:
    intact, erased = AuditLogIntact(), ErasureComplete()
    assert intact.violation is None
    assert erased.violation is None
    intact.changed(5, by="nobody", finding="rewrite", what="record/3")
    erased.left(9, token="t", left=2, since_ns=4)
    erased.left(9, token="u", left=1, since_ns=4)
    assert intact.violation is not None
    assert intact.violation.proof == {"by": "nobody", "finding": "rewrite", "what": "record/3"}
    assert erased.violation is not None
    assert (erased.violation.count, erased.violation.window_from_ns) == (2, 4)


def test_a_change_without_an_insider_breaks_the_invariant(tmp_path: Path) -> None:
    """A bug that changed a record would be found like an insider, and be a violation."""
    from sim.engine.build import build
    from sim.record.recorder import NullRecorder
    from sim.world.compliance import tampering
    from tests.engine.worlds import scenario

    made = build(
        scenario(tmp_path, **PLACES, compliance={"audit": {"inspect_every": "500 ms"}}),
        0,
        NullRecorder(),
    )
    made.start()
    made.advance(2 * SECOND)
    assert made.office is not None
    tampering.edit(made.office.log, 0, actor="nobody")
    made.advance(3 * SECOND)
    (violation,) = made.close(3 * SECOND)
    assert violation.monitor == "audit_log_intact"
    assert violation.proof["finding"] == "content"


def test_regions_of_the_controller_can_be_lost_too(tmp_path: Path) -> None:
    """Requests wait for the controller's region; none is lost."""
    done = world(
        tmp_path,
        compliance={
            "people": PEOPLE,
            "data": {**DATA, "retry": "100 ms"},
            "events": [{"kind": "export", "at": "1500 ms", "first": 1, "subjects": 3}],
        },
        faults=[{"kind": "crash", "nodes": {"region": WEST}, "at": "1 s", "until": "3 s"}],
        expect=[{"metric": "requests_done", "at_least": 3}],
    )
    assert done.verdict == "met"
    assert min(row["done_ns"] for row in done.rows("requests")) >= 3 * SECOND
