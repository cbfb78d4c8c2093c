"""Every alert rule that ships fires in a scenario: drills for what threats and faults leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim import load_scenario, open_run, run
from sim.scenario.alerts import DEFAULTS
from tests.adversaries.test_threats import THREATS
from tests.engine.test_engine_alerts import FIRES, HEALTHY

DRILLS = {
    "narrow_and_slow": (
        "uplink_saturated",
        "downlink_saturated",
        "cpu_saturated",
        "commits_slow",
        "verification_backlog",
        "timeouts_per_block",
    ),
    "late_and_apart": (
        "block_latency_high",
        "certificate_latency_high",
        "validators_behind",
        "message_latency_high",
        "quorum_raised",
        "votes_missed_high",
        "queue_overflow",
    ),
    "copies_too_slow": ("signatures_slow", "payloads_missing"),
    "one_history_gives_way": ("reconciled", "fork_finality", "byzantine_weight_high"),
    "agents_overrun": (
        "queues_full",
        "station_queue_long",
        "station_saturated",
        "agents_move",
        "request_latency_high",
        "gateways_down",
        "agent_retries_high",
    ),
    "registry_apart": ("registry_without_quorum", "shards_taken_over"),
    "registry_alone": ("registrations_lost",),
    "stale_tables": ("lookups_failing", "lookup_timeouts_high"),
}
"""By drill: the rules that it is there for, among others."""
ELSEWHERE = {
    "threats/equivocation": ("halted_by_one",),
    "threats/lookup_poisoning": ("agent_messages_dropped", "lookups_poisoned"),
    "threats/agent_spam_above": ("agents_rate_limited",),
    "threats/lying_registry": ("answers_stale",),
    "threats/registration_flood": ("registrations_refused",),
    "clouds/replication_lag_storm": ("replication_behind", "recovery_point_missed"),
    "faults/provider_cut_off": ("partition_suspected",),
    "compliance/audit_store_full": ("privileged_act_failed",),
}
"""By scenario: rules that no drill makes fire."""
NEVER = {"messages_unaccounted"}
"""It tells that the simulator has lost a message: no scenario can ask for that."""


@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_is_told(name: str, tmp_path: Path) -> None:
    outcome = run(load_scenario(THREATS.parent / "drills" / f"{name}.yaml"), tmp_path)
    # An invariant breaks where the only copy of a registration is gone.
    expected = "violated" if name == "registry_alone" else "met"
    assert outcome.verdict.outcome == expected, outcome.verdict.evidence
    rules = set(open_run(outcome.path).table("alerts").collect()["rule"])
    assert set(DRILLS[name]) <= rules, sorted(rules)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_others_are_told_elsewhere(name: str, tmp_path: Path) -> None:
    outcome = run(load_scenario(THREATS.parent / f"{name}.yaml"), tmp_path)
    rules = set(open_run(outcome.path).table("alerts").collect()["rule"])
    assert set(ELSEWHERE[name]) <= rules, sorted(rules)


def test_every_rule_that_ships_fires_somewhere() -> None:
    fired = {rule for rules in (FIRES | DRILLS | ELSEWHERE).values() for rule in rules}
    assert fired == {rule.name for rule in DEFAULTS} - NEVER


@pytest.mark.slow
def test_the_healthy_main_job_is_silent(tmp_path: Path) -> None:
    calm = load_scenario(THREATS.parent / "million_agents.yaml", HEALTHY)
    outcome = run(calm, tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence
    assert open_run(outcome.path).table("alerts").collect().rows() == []
