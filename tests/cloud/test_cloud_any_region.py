"""The main job without any one of its regions, and without either provider."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sim import load_scenario, open_run, run
from sim.engine.build import build
from sim.record.recorder import NullRecorder
from sim.scenario.breakdowns import ProviderOutage
from sim.study.recovery import losses

FILE = Path(__file__).parents[2] / "scenarios" / "clouds" / "lose_any_region.yaml"
S = 10**9


def test_every_region_of_the_main_job_is_lost_once() -> None:
    scenario = load_scenario(FILE)
    lost = [point.scenario.faults[0].regions for point in scenario.points()]
    assert sorted(lost) == sorted((region,) for region in scenario.validators.placement.regions)
    assert all(loss.goes_on for loss in losses(scenario, "region"))
    assert not any(loss.goes_on for loss in losses(scenario, "provider"))


@pytest.mark.slow
def test_the_main_job_goes_on_without_any_one_region(tmp_path: Path) -> None:
    """Safety in all fourteen runs, and liveness, for the rest makes a quorum in each."""
    outcome = run(load_scenario(FILE), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence
    assert [result.verdict for result in outcome.results] == ["met"] * 14
    blocks = open_run(outcome.path).table("blocks").filter(status="committed").collect()
    assert blocks["point"].n_unique() == 14
    for (_,), rows in blocks.group_by("point"):
        assert rows.filter(rows["proposed_ns"] > 8 * S).height > 5


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["aws", "az"])
def test_without_a_provider_it_stands_and_nothing_conflicts(provider: str) -> None:
    """Half of the weight is no quorum: what was under way at the loss is all that follows."""
    scenario = load_scenario(FILE)
    outage = ProviderOutage(kind="provider_outage", providers=(provider,), at_ns=8 * S)
    alone = replace(scenario, faults=(outage,), sweep=None, expect=scenario.expect[:1])
    world = build(alone, 0, NullRecorder())
    world.start()
    world.advance(9 * S)
    height = world.observer.height
    assert height > 10
    world.advance(24 * S)
    assert world.observer.height == height
    assert world.close(24 * S) == ()
