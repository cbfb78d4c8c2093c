"""Evidence: every control has its line, proofs are rows of the run, nothing is claimed beyond."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sim.cli.main import app
from sim.engine.compliance import events
from sim.record.runs import RunError
from sim.study.evidence import (
    DISCLAIMER,
    FRAMEWORKS,
    LEVELS,
    PROBES,
    collect,
    controls,
    summary,
)
from sim.study.report import render
from sim.world.compliance import breach_register
from tests.compliance.worlds import DATA, PEOPLE, world
from tests.engine.worlds import SECOND, Ran, ran

COUNTS = {"cmmc_l2": 50, "fedramp_moderate": 35, "gdpr": 11, "ncsc": 10}


def test_the_data_files_are_sound() -> None:
    rows = controls()
    assert {f: sum(r["framework"] == f for r in rows) for f in FRAMEWORKS} == COUNTS
    for row in rows:
        assert row["level"] in LEVELS
        assert (row["probe"] in PROBES) == (row["level"] in ("logic", "partial")), row
        assert bool(row["mechanism"]) != (row["level"] == "no"), row
        assert row["limit"] or row["level"] in ("logic", "plan"), row
    assert {row["probe"] for row in rows} - {""} <= set(PROBES)


def test_families_of_cmmc_are_whole() -> None:
    """22 practices of access control, 9 of audit, 16 of communications, 3 of incidents."""
    own = [row["control"][:2] for row in controls() if row["framework"] == "cmmc_l2"]
    assert {family: own.count(family) for family in sorted(set(own))} == {
        "AC": 22,
        "AU": 9,
        "IR": 3,
        "SC": 16,
    }


def test_proofs_are_rows_of_the_run(life: Ran) -> None:
    lines = {line.control: line for line in collect(life.run)}
    assert lines["AU.L2-3.3.1"].rows == life.frame("audit").height
    assert lines["33(5)"].rows == life.frame("breaches").height
    done = life.rows("requests", kind="erasure", outcome="done")
    assert lines["17(1)"].rows == len(done)
    assert not [line for line in lines.values() if line.shown == "contradicted"]
    shown = [line for line in lines.values() if line.shown == "shown"]
    assert all(line.rows and line.level in ("logic", "partial") for line in shown)
    assert len(shown) > 70


def test_a_late_notification_contradicts_its_article(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What speaks against a control is said as loudly; here 72 hours are one second."""
    for module in (events, breach_register):
        monkeypatch.setattr(module, "NOTIFY_WITHIN_NS", SECOND)
    breach = {"kind": "breach", "at": "500 ms", "authority_after": "1100 ms"}
    late = world(
        tmp_path,
        duration="3 s",
        compliance={"people": PEOPLE, "data": DATA, "events": [breach]},
    )
    assert late.metric("breaches_late") == 1
    lines = {line.control: line for line in collect(late.run)}
    assert (lines["33(1)"].contrary, lines["33(1)"].shown) == (1, "contradicted")


def test_a_run_without_compliance_has_none(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no `compliance` section"):
        collect(ran(tmp_path, duration="1 s").run)


def test_the_command_writes_the_whole_table(
    life: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "evidence.parquet"
    path = str(life.outcome.path)
    for more in ([], ["--framework", "gdpr"]):
        with pytest.raises(SystemExit) as ended:
            app(["evidence", path, "--out", str(file), *more])
        assert ended.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert " ".join(DISCLAIMER.split()) in told
    assert "cmmc_l2" in told
    assert "17(3)(b),(e)" in told
    rows = pl.read_parquet(file)
    assert rows.height == sum(COUNTS.values())
    assert rows.columns[:4] == ["framework", "control", "mechanism", "proof"]
    with pytest.raises(SystemExit) as ended:
        app(["evidence", path, "--framework", "iso"])
    assert ended.value.code == 2


def test_the_report_has_a_dashboard(life: Ran) -> None:
    page = render(life.run)
    assert "<h2>Compliance</h2>" in page
    assert DISCLAIMER in page
    for row in summary(collect(life.run)):
        assert row["title"] in page
    for word in ("privilege_escalation", "AC.L2-3.1.7", "in_time"):
        assert word in page
