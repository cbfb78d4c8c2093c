"""FedRAMP Moderate in a run: controls of NIST SP 800-53, held against the run's own tables."""

from __future__ import annotations

from itertools import pairwise

import pytest

from sim.study.evidence import collect
from tests.engine.worlds import MS, SECOND, Ran


def test_ac_2_accounts_end_when_they_are_contained(life: Ran) -> None:
    """ac-2: after containment an account acts no more, and no session of it is left."""
    (contained,) = life.rows("incidents", detail="eve", step="contain")
    later = [r for r in life.rows("audit", actor="eve") if r["time_ns"] > contained["time_ns"]]
    assert [row for row in later if row["outcome"] == "allowed"] == []


def test_ac_3_a_revoked_service_is_denied_soon(life: Ran) -> None:
    """ac-3: within the time that a decision is cached; until then each use is counted."""
    denied = life.rows("access", principal="bills", decision="denied")
    assert min(row["second"] for row in denied) >= 9
    stale = life.rows("access", principal="bills", decision="stale")
    assert all(0 <= row["lag_ns"] <= 500_000_000 for row in stale)


def test_ac_4_services_process_where_they_are(life: Ran) -> None:
    """ac-4: a service's reads are of the replica in its own region only."""
    assert set(life.frame("processing")["replica_region"]) == {"aws:us-gov-east-1"}


def test_ac_7_lock_outs_end(life: Ran) -> None:
    """ac-7: who was locked out comes back after the time of the lock-out."""
    log_ons = life.rows("audit", actor="ada", action="log_on")
    locked = [row["time_ns"] for row in log_ons if row["detail"] == "locked_out"]
    back = [row["time_ns"] for row in log_ons if row["outcome"] == "done"]
    assert locked
    assert max(back) > min(locked)


def test_ac_12_sessions_end(life: Ran) -> None:
    """ac-12: sessions of at most five seconds make people log on again."""
    times = [row["time_ns"] for row in life.rows("audit", actor="uma", action="log_on")]
    assert len(times) >= 2
    assert all(b - a > 5 * SECOND for a, b in pairwise(times))


def test_au_5_a_failing_log_raises_an_incident(life: Ran) -> None:
    """au-5: within the second, and the records officer is called."""
    (detected,) = life.rows("incidents", cause="log_failure", step="detect")
    assert 11 * SECOND < detected["time_ns"] <= 12 * SECOND


def test_au_9_heads_outside_cover_the_log(life: Ran) -> None:
    """au-9: what witnesses hold grows with the log and is theirs to refuse."""
    cosigned = [row["size"] for row in life.rows("heads") if row["cosigned"]]
    assert cosigned == sorted(cosigned)
    refused = [row for row in life.rows("heads") if row["refused"]]
    assert {row["reason"] for row in refused} <= {"inconsistent", "revoked_key", "shrunk"}
    assert refused


def test_cp_9_backups_delay_what_is_erased(life: Ran) -> None:
    """cp-9: a key in a backup outlives its erasure until the backup expires."""
    done = life.rows("requests", kind="erasure", outcome="done")
    assert any(row["complete_ns"] > row["done_ns"] for row in done)
    assert all(row["complete_ns"] >= row["done_ns"] for row in done)


def test_cp_10_the_network_recovers_from_a_lost_region(life: Ran) -> None:
    """cp-10: three of nine are more than 67 % can lose; blocks come again when they are back."""
    assert life.commits_between(4 * SECOND, 5 * SECOND) > 0
    assert life.commits_between(5 * SECOND + 300 * MS, 6 * SECOND) == 0
    assert life.commits_between(7 * SECOND, 8 * SECOND) > 0


def test_ir_5_every_control_of_the_map_has_a_line(life: Ran) -> None:
    """ir-5: the run is held against 35 controls, and none is contradicted."""
    lines = [line for line in collect(life.run) if line.framework == "fedramp_moderate"]
    assert len(lines) == 35
    assert not [line.control for line in lines if line.shown == "contradicted"]
    shown = {line.control for line in lines if line.shown == "shown"}
    assert shown >= {"ac-3", "ac-5", "ac-6.9", "ac-7", "au-5", "au-9", "ir-4", "ir-6", "cp-10"}


@pytest.mark.parametrize("control", ["sc-13", "sc-7", "cp-7"])
def test_what_a_simulation_cannot_show_is_never_shown(life: Ran, control: str) -> None:
    """sc-13, sc-7, cp-7: no row of a run makes them more than a plan."""
    (line,) = [line for line in collect(life.run) if line.control == control]
    assert line.shown in ("cannot be shown", "plan only")
    assert line.rows == 0
