"""Targets: the work is truly done, a row is judged by its limit, the exit code follows the rows."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from sim import load_scenario, open_run, run
from sim.cli.main import main
from sim.cli.targets import show
from sim.record.runs import Run
from sim.scenario.model import Scenario
from sim.study import limits, targets
from sim.study.limits import aggregate, fork, median_ns, p99_ns, query_audit, weigh
from sim.study.targets import Row, agent_rows, exit_code, recovery_rows, write

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Run:
    scenario = load_scenario(ROOT / "scenarios" / "smoke.yaml", ["duration=4 s"])
    scenario = replace(scenario, expect=scenario.expect[:1])
    return open_run(run(scenario, tmp_path_factory.mktemp("targets")).path)


def test_every_measurement_does_its_work() -> None:
    assert len(weigh("additive", 3).times_ns) == 3
    found = aggregate("pycryptodome", "as they come", rounds=1)
    assert found.sound
    assert len(found.times_ns) == 1
    forked = fork(10)
    assert forked.chosen_is_a_tip
    assert forked.conflict_found
    asked = query_audit(records=20_000, queries=10)
    assert asked.records == 20_000
    assert 1_000 == max(asked.answers) < sum(asked.answers)


def test_middle_and_tail() -> None:
    assert median_ns([5, 1, 9]) == 5
    assert p99_ns(list(range(1, 201))) == 198
    assert p99_ns([7]) == 7


def test_a_run_reaches_the_target_only_with_all_agents_and_all_lines(smoke: Run) -> None:
    capacity, query = agent_rows(smoke)
    assert (capacity.value, capacity.verdict) == (400, "missed")
    assert query.verdict == "met"
    assert query.value is not None
    assert query.value < targets.AGENT_QUERY_NS
    assert all(row.verdict == "open" for row in agent_rows(None))


def test_a_run_that_did_not_end_settles_nothing(smoke: Run) -> None:
    died = Run(smoke.path, {**smoke.manifest, "state": "failed"})
    assert [row.verdict for row in agent_rows(died)] == ["open", "open"]


def topology(name: str = "dr_five_regions_warm") -> Scenario:
    return load_scenario(ROOT / "scenarios" / "clouds" / f"{name}.yaml")


def test_a_topology_recovers_as_its_losses_say() -> None:
    five = {row.part: row for row in recovery_rows(topology())}
    assert {part: row.verdict for part, row in five.items()} == {"RTO": "met", "RPO": "met"}
    # Backups are made once an hour: most losses of a region cost more than 15 minutes.
    backup = {row.part: row for row in recovery_rows(topology("dr_two_regions_backup"))}
    assert backup["RPO"].verdict == "missed"
    assert backup["RPO"].value is not None
    assert 3 * targets.RPO_NS < backup["RPO"].value < 4.5 * targets.RPO_NS
    assert backup["RTO"].verdict == "missed"
    bare = replace(topology(), clouds=None)
    assert [(row.value is None, row.verdict) for row in recovery_rows(bare)] == [
        (False, "met"),
        (True, "missed"),
    ]


def _row(verdict: targets.Verdict, kind: targets.Kind = "measured") -> Row:
    return Row("t", "p", 10, "ns", None if verdict == "open" else 9, kind, verdict, "")


def test_the_exit_code_follows_the_rows() -> None:
    assert exit_code([_row("met")]) == 0
    assert exit_code([_row("met"), _row("open", "simulated")]) == 3
    assert exit_code([_row("missed"), _row("open", "simulated")]) == 1


def test_limits_are_those_of_the_source_document() -> None:
    assert targets.WEIGHTS_NS == 10**6
    assert targets.AGGREGATION_NS == 10**7
    assert targets.FORKS_NS == 5 * 10**9
    assert targets.QUERY_NS == 10**8
    assert (targets.RTO_NS, targets.RPO_NS) == (1800 * 10**9, 900 * 10**9)
    assert (limits.VALIDATORS, limits.SIGNERS, limits.BLOCKS) == (150, 100, 1_000)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    rows = [
        Row("weighted vote calculation", "stake_multiplied", 10**6, "ns", 812_345, "measured",
            "met", "150 validators, median of 50"),
        Row("multi-signature, 100", "pycryptodome, at once, 2 threads", 10**7, "ns", 61_000_000,
            "measured", "missed", "verify all 100; median of 7"),
        *agent_rows(None),
        *recovery_rows(topology()),
    ]  # fmt: skip
    show(Console(width=columns, highlight=False), rows)
    page = capsys.readouterr().out
    assert all(len(line.rstrip()) <= columns for line in page.splitlines())
    for said in ("812 us", "61 ms", "30 min", "15 min", "simulated", "missed"):
        assert said in page


def test_the_command_writes_the_rows(
    smoke: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(targets, "MEASURED", (targets.weight_rows,))
    words = ["creto-sim", "targets", "--run", str(smoke.path), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1  # four hundred agents are not a million
    rows = pl.read_parquet(tmp_path / "targets" / "targets.parquet")
    assert rows.filter(target="agent capacity")["verdict"].to_list() == ["missed"]
    assert rows.filter(target="multi-region recovery")["verdict"].to_list() == ["met", "met"]
    assert re.search(r"RTO +30 min", capsys.readouterr().out)
    assert (tmp_path / "targets" / "targets.json").exists()
    assert write(list(agent_rows(None)), tmp_path / "open", None)[0].exists()


def test_two_answers_to_one_question_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["creto-sim", "targets", "--skip-agents", "--run", "x"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "one or the other" in capsys.readouterr().err
