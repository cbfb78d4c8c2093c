"""The search: its draws, its budget, its workers, and what it makes of a failure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sim.cli.main import app
from sim.monitor.binomial import upper_bound_ppm
from sim.scenario.load import load_scenario
from sim.scenario.validate import validate
from sim.study.fuzz import campaign
from sim.study.fuzz.campaign import search
from sim.study.fuzz.draw import FEATURES, draw, heals_in_time
from sim.study.fuzz.probe import INTERNAL_ERROR, probe
from sim.study.fuzz.shrink import candidates, shrink
from sim.study.fuzz.text import scenario_text

SMALL: dict[str, Any] = {
    "schema": "creto-sim/1",
    "name": "small",
    "title": "A test",
    "question": "Does it hold?",
    "duration": "3 s",
    "network": {"bandwidth": "1 Gbit/s"},
    "validators": {"count": 4, "placement": ["aws:us-gov-west-1"]},
    "consensus": {"timer_base": "400 ms", "timer_max": "800 ms", "min_block_interval": "100 ms"},
    "expect": [{"safety": "held"}],
}


# Draws


def test_a_scenario_is_a_function_of_seed_and_number() -> None:
    assert [draw(7, k) for k in range(20)] == [draw(7, k) for k in range(20)]
    texts = {scenario_text(draw(seed, k)) for seed in (1, 2) for k in range(20)}
    assert len(texts) == 40


def test_draws_are_valid_heal_in_time_and_switch_every_feature_on_and_off() -> None:
    drawn = [draw(3, k) for k in range(300)]
    assert all(validate(each)[0] is not None for each in drawn)
    assert all(heals_in_time(each) for each in drawn)
    sections = {
        "adversaries": "adversaries",
        "agents": "agents",
        "crypto": "crypto",
        "faults": "faults",
        "ledger": "ledger",
        "levels": "quorum",
        "operations": "operations",
        "weights": "weights",
    }
    for feature, section in sections.items():
        share = sum(section in each for each in drawn) / len(drawn)
        assert feature in FEATURES
        assert 0.05 < share < 0.8, feature
    kinds = {attack["kind"] for each in drawn for attack in each.get("adversaries", ())}
    assert len(kinds) >= 18
    over = sum(each["expect"] == [{"safety": "violated"}] for each in drawn)
    assert 20 <= over <= 75
    assert {each["validators"]["count"] for each in drawn} >= {4, 7, 10, 13}


def test_text_loads_to_what_was_drawn(tmp_path: Path) -> None:
    for number in range(40):
        plain = draw(5, number)
        path = tmp_path / f"{plain['name']}.yaml"
        path.write_text(scenario_text(plain, ["a comment"]), encoding="utf-8")
        scenario, _ = validate(plain)
        assert load_scenario(path) == scenario


# Probes


def test_a_probe_says_what_a_run_says() -> None:
    assert probe(SMALL).monitors == ()
    stalled = {**SMALL, "expect": [{"liveness": {"commit_within": "2 s"}}]}
    stalled["adversaries"] = [{"kind": "silent", "nodes": {"ids": [0, 1]}}]
    found = probe(stalled)
    assert found.monitors == ("liveness",)
    assert found.over, "two of four"
    assert found.breaches[0].time_ns == 3 * 10**9


def test_above_the_limits_only_conflicts_are_excused() -> None:
    twins = {"kind": "twins", "nodes": {"ids": [0, 1]}, "end": "2 s"}
    split = {**SMALL, "duration": "9 s", "adversaries": [twins]}
    split["expect"] = [{"safety": "violated"}]
    found = probe(split)
    assert (found.over, found.conflicts, found.monitors) == (True, True, ())
    for_ever = {**split, "duration": "3 s", "adversaries": [{**twins, "end": "2990 ms"}]}
    assert probe(for_ever).monitors == ("accountability",)


def test_what_is_no_scenario_is_refused_and_an_exception_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = probe({**SMALL, "validators": {"count": 3, "placement": ["aws:us-gov-west-1"]}})
    assert found.refused.startswith("validators.count: 3 validators")

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("sim.study.fuzz.probe.build", broken)
    found = probe(SMALL)
    assert found.monitors == (INTERNAL_ERROR,)
    assert found.breaches[0].text == "ZeroDivisionError: a bug"


# Shrinking


def test_shrinking_keeps_what_matters_and_nothing_else() -> None:
    """The failure needs a crash of validator 5 and at least six validators."""
    big = next(each for each in (draw(1, k) for k in range(200)) if _rich(each))
    big["faults"].append({"kind": "crash", "nodes": {"ids": [5]}, "at": "1 s", "until": "2 s"})

    def fails(plain: Mapping[str, Any]) -> bool:
        scenario, _ = validate(plain)
        return scenario is not None and any(
            fault["kind"] == "crash" and 5 in fault["nodes"]["ids"]
            for fault in plain.get("faults", ())
        )

    small = shrink(big, fails)
    assert fails(small.plain)
    assert small.plain["validators"]["count"] == 6
    assert [fault["kind"] for fault in small.plain["faults"]] == ["crash"]
    assert small.plain["faults"][0]["nodes"] == {"ids": [5]}
    assert not {"adversaries", "agents", "weights", "quorum"} & set(small.plain)
    assert small.lines <= 12
    assert shrink(small.plain, fails).plain == small.plain, "no reduction is left"
    assert shrink(big, fails) == small


def _rich(plain: Mapping[str, Any]) -> bool:
    needed = {"adversaries", "faults", "weights", "quorum"}
    return needed <= set(plain) and plain["validators"]["count"] >= 10


def test_candidates_leave_the_original_alone() -> None:
    plain = draw(1, 3)
    before = json.dumps(plain, default=str)
    assert len(list(candidates(plain))) > 20
    assert json.dumps(plain, default=str) == before


def test_a_lack_of_commits_is_not_shrunk_to_a_network_that_never_heals() -> None:
    fault = {"kind": "crash", "nodes": {"ids": [0, 1]}, "at": "1 s", "until": "2 s"}
    plain = {**SMALL, "duration": "12 s", "faults": [fault]}
    plain["expect"] = [{"liveness": {"commit_within": "7 s", "after": "2 s"}}]
    assert heals_in_time(plain)
    seen: list[Mapping[str, Any]] = []
    shrink(plain, lambda each: bool(seen.append(each)), healed=True)
    assert seen
    assert all(heals_in_time(each) for each in seen)
    assert not heals_in_time({**plain, "faults": [{**fault, "until": "3 s"}]})
    del fault["until"]
    assert not heals_in_time(plain)


# Searches


def test_a_search_is_the_same_on_any_workers() -> None:
    found = [search(2, runs=12, workers=workers).tally for workers in (0, 2)]
    for tally in found:
        tally.cpu_ns = 0
    assert found[0] == found[1]
    assert found[0].runs == 12
    assert found[0].failed == 0


def test_a_search_states_its_bound_and_ends_by_time() -> None:
    found = search(4, minutes=0.01, workers=0)
    assert found.tally.runs >= campaign.BATCH
    assert found.bound_ppm == upper_bound_ppm(0, found.tally.below)
    with pytest.raises(ValueError, match="budget"):
        search(4)


def test_the_command_prints_a_scenario_and_the_bound(tmp_path: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["fuzz", "--seed", "5", "--show", "3"])
    assert shown.exit_code == 0
    assert shown.stdout == scenario_text(draw(5, 3))
    out = ["--out", str(tmp_path)]
    ran = runner.invoke(app, ["fuzz", "--runs", "5", "--seed", "5", "--workers", "0", *out])
    assert ran.exit_code == 0, ran.output
    assert "scenarios below the limits violated: below" in ran.stdout
    assert runner.invoke(app, ["fuzz"]).exit_code == 2
    held = tmp_path / "held.yaml"
    held.write_text(scenario_text(SMALL), encoding="utf-8")
    assert runner.invoke(app, ["shrink", str(held)]).exit_code == 2


def test_the_command_shrinks_a_file(tmp_path: Path) -> None:
    silent = {"kind": "silent", "nodes": {"ids": [0, 1]}, "end": "1 s"}
    late = {**SMALL, "duration": "9 s", "adversaries": [silent], "seed": 77}
    late["consensus"] = {**SMALL["consensus"], "timer_base": "5 s", "timer_max": "5 s"}
    late["expect"] = [{"safety": "held"}, {"liveness": {"commit_within": "1 s", "after": "2 s"}}]
    file = tmp_path / "late.yaml"
    file.write_text(scenario_text(late), encoding="utf-8")
    ran = CliRunner().invoke(app, ["shrink", str(file), "-o", str(tmp_path / "small.yaml")])
    assert ran.exit_code == 0, ran.output
    small = load_scenario(tmp_path / "small.yaml")
    assert [check for check in small.expect if hasattr(check, "liveness")]
