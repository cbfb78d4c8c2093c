"""The GDPR in a run: articles held against the run's own tables."""

from __future__ import annotations

import re

from tests.engine.worlds import MS, SECOND, Ran

HOUR = 3_600 * SECOND
DAY = 24 * HOUR


def test_article_7_1_consent_can_be_demonstrated(life: Ran) -> None:
    """Article 7(1): statements are on record before anything is processed."""
    (taken,) = life.rows("audit", action="take_over")
    assert (taken["time_ns"], taken["acts"]) == (0, 40)
    assert min(row["second"] for row in life.rows("processing")) >= 0


def test_article_7_3_a_withdrawal_stops_processing(life: Ran) -> None:
    """Article 7(3): every replica hears of it within the bound, and what came late is counted."""
    rows = life.rows("requests", kind="withdrawal")
    assert [row["outcome"] for row in rows] == ["done"] * 5
    assert all(row["done_ns"] - row["asked_ns"] < SECOND for row in rows)
    late = life.rows("processing", outcome="late")
    assert all(row["lag_ns"] <= SECOND for row in late)
    assert life.rows("processing", outcome="no_consent")


def test_article_12_3_each_request_has_a_clock(life: Ran) -> None:
    """Article 12(3): one month from the asking; all of this run are answered within it."""
    rows = life.rows("requests")
    assert {row["due_ns"] - row["asked_ns"] for row in rows} == {30 * DAY}
    assert all(row["outcome"] != "open" for row in rows)


def test_article_17_1_an_erasure_waits_for_a_lost_region(life: Ran) -> None:
    """Article 17(1): asked during an outage, it ends after it; the log has each replica."""
    rows = [row for row in life.rows("requests", kind="erasure") if row["asked_ns"] > 5 * SECOND]
    assert len(rows) == 3
    for row in rows:
        assert row["outcome"] == "done"
        assert row["done_ns"] > 6 * SECOND
        assert row["tries"] > 2
        about = f"subject/{row['subject']}"
        acted = [r["actor"] for r in life.rows("audit", object=about, action="delete_rows")]
        assert sorted(acted) == ["aws:us-gov-east-1", "aws:us-gov-west-1"]


def test_article_17_1_nothing_opens_once_backups_have_expired(life: Ran) -> None:
    """Article 17(1): no key that is left, in a backup or elsewhere, opens a row."""
    end = 12 * SECOND
    done = life.rows("requests", kind="erasure", outcome="done")
    over = [row for row in done if row["complete_ns"] <= end]
    assert len(over) >= 3
    assert all(row["left"] == 0 for row in over)
    assert not life.rows("violations", monitor="erasure_complete")


def test_article_17_3_a_hold_stops_an_erasure(life: Ran) -> None:
    """Article 17(3)(e): refused while the case is open, carried out once it is closed."""
    rows = [row for row in life.rows("requests", kind="erasure") if row["asked_ns"] < 5 * SECOND]
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("refused", "legal_hold"),
        ("done", ""),
    ]


def test_article_20_1_exports_read_back(life: Ran) -> None:
    """Article 20(1): handed out only if JSON and CSV read back as what was stored."""
    rows = life.rows("requests", kind="export")
    assert [row["outcome"] for row in rows] == ["done"] * 5
    assert all(row["size_bytes"] > 256 and row["rows"] == 1 for row in rows)


def test_article_33_1_the_clock_runs_from_awareness(life: Ran) -> None:
    """Articles 33(1), 33(2), 33(5): both clocks are in the register."""
    (row,) = life.rows("breaches")
    assert row["processor_ns"] - row["occurred_ns"] == 500 * MS
    assert row["aware_ns"] - row["processor_ns"] == 500 * MS
    assert row["due_ns"] - row["aware_ns"] == 72 * HOUR
    assert (row["notified"], row["authority_ns"]) == ("in_time", row["aware_ns"] + 2 * SECOND)


def test_article_34_subjects_are_told_of_a_high_risk(life: Ran) -> None:
    """Article 34(1)."""
    (row,) = life.rows("breaches")
    assert row["high_risk"] == 1
    assert row["subjects_ns"] == row["aware_ns"] + 3 * SECOND
    assert life.rows("audit", action="notify_subjects")


def test_no_table_of_the_run_yields_a_name_or_a_row(life: Ran) -> None:
    """Article 32; EDPB guidelines 02/2025: tokens and hashes only, in every table."""
    told = "".join(life.frame(name).write_csv() for name in life.run.tables())
    assert "subject/" in told
    assert not re.search(r"subject-\d", told)
    # Rows are one word of 16 hexadecimal digits over and over; absent ids are zeros.
    assert not re.search(r"(?!0{16})([0-9a-f]{16})\1{2}", told)
