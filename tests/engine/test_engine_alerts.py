"""Alerts in a run: silent while all is well, telling in threats, and true to the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sim import load_scenario, open_run, run
from sim.scenario.alerting import METRICS
from sim.scenario.alerts import DEFAULTS, rules_in_force
from sim.scenario.load import ScenarioErrors
from tests.adversaries.effects import owned
from tests.adversaries.test_threats import THREATS
from tests.engine.worlds import BUSY, SECOND, WEST, Ran, crash, ran, scenario

HEALTHY = ("faults=[]", "adversaries=[]", "network.rules=[]", "expect=[{safety: held}]")


@pytest.mark.parametrize(
    ("name", "duration"), [("smoke", "10 s"), ("seven_nodes", "60 s"), ("thousand_agents", "30 s")]
)
def test_a_healthy_network_is_silent(name: str, duration: str, tmp_path: Path) -> None:
    path = THREATS.parent / f"{name}.yaml"
    calm = load_scenario(path, [*HEALTHY, f"duration={duration}"])
    done = open_run(run(calm, tmp_path).path)
    assert done.table("alerts").collect().rows() == []


FIRES = {
    "double_voting": (
        "offence_proved",
        "offence_punished",
        "members_lost",
    ),
    "equivocation": ("fork_by_equivocation", "byzantine_weight", "stake_slashed"),
    "invalid_signature_flood": ("invalid_signatures",),
    "level_then_silence": ("quorum_raised", "quorum_raised_twice", "commits_stalled"),
    "long_range": ("proposals_refused",),
    "stake_grinding": ("operations_refused",),
    "sleeper": ("validators_down", "weight_down"),
    "timeout_spam_above": ("view_timeout_storm", "timeouts_per_block_high", "view_timeouts"),
    "twins_taking_turns": ("messages_lost",),
    "attendance_theft": ("votes_missed",),
    "amnesia": ("invariant_broken",),
    "../faults/key_service": ("keys_out_of_reach", "commits_stalled"),
    "../faults/bad_disks": ("disks_struck",),
    "../compliance/revocation_race": ("access_denied",),
}
"""Rules that a threat scenario must make fire, among others."""


@pytest.mark.parametrize("name", FIRES)
def test_a_threat_is_told(name: str, tmp_path: Path) -> None:
    asked = load_scenario(THREATS / f"{name}.yaml")
    rows = open_run(run(asked, tmp_path).path).table("alerts").collect()
    assert set(FIRES[name]) <= set(rows["rule"]), rows["rule"].unique().to_list()
    assert (rows["fired_ns"] % SECOND == 0).all()


def test_gateways_and_regions_that_are_gone_are_told(tmp_path: Path) -> None:
    done = ran(
        tmp_path,
        **{
            **BUSY,
            "duration": "6 s",
            "adversaries": [],
            "faults": [
                crash([0, 1], "1 s", "3 s"),
                {"kind": "partition", "groups": [{"regions": [WEST]}], "at": "3 s", "until": "6 s"},
            ],
        },
    )
    fired = {(row["rule"], row["fired_ns"] // SECOND) for row in done.rows("alerts")}
    assert {("gateways_down", 1), ("validators_down", 1)} <= fired
    assert "partition_suspected" in {rule for rule, _ in fired}


# -- what rules see is what the tables hold -------------------------------------------------------


def totals(*names: str) -> dict[str, Any]:
    """Return a section whose rules fire at once and carry each counter's whole sum as `worst`."""
    rules = [
        {
            "name": f"all_{name}",
            "metric": name,
            "over": "increase",
            "window": "1 h",
            "threshold": 0,
        }
        for name in names
    ]
    return {"rules": rules}


COUNTERS = tuple(
    metric.name for metric in METRICS if metric.counter and metric.part in ("", "agents")
)
"""Those of a world with agents; tests/cloud has those of compliance and of key services."""


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return ran(tmp_path_factory.mktemp("sums"), **{**BUSY, "alerts": totals(*COUNTERS)})


def summed(done: Ran, metric: str) -> dict[str, int]:
    rows = done.rows("alerts", rule=f"all_{metric}")
    return {row["series"]: row["worst"] for row in rows}


def by(frame: pl.DataFrame, column: str, of: str) -> dict[str, int]:
    grouped = frame.group_by(column).agg(pl.col(of).sum()).filter(pl.col(of) > 0)
    return {str(name): int(count) for name, count in grouped.rows()}


def test_validators_counters_are_those_of_the_tables(counted: Ran) -> None:
    blocks = counted.frame("blocks").filter(status="committed")
    assert summed(counted, "blocks_committed") == {"": blocks.height}
    assert summed(counted, "transactions_committed") == {"": blocks["transactions"].sum()}
    formed = counted.frame("certificates")
    assert summed(counted, "certificates") == {"": formed.filter(kind="quorum").height}
    accused = counted.frame("evidence").filter(event="accused").with_columns(n=1)
    assert summed(counted, "offences_proved") == by(accused, "kind", "n") != {}
    traffic = counted.frame("traffic").filter(lane="consensus")
    offered = traffic.filter(outcome="offered")
    assert summed(counted, "consensus_messages") == {"": offered["messages"].sum()}
    assert summed(counted, "consensus_bytes") == {"": offered["bytes"].sum()}
    lost = traffic.filter(pl.col("reason").is_in(["link_rule", "sender_down"]))
    assert summed(counted, "consensus_lost") == {"": lost["messages"].sum()}


def test_agents_counters_are_those_of_the_tables(counted: Ran) -> None:
    traffic = counted.frame("traffic").filter(lane="agents")
    assert summed(counted, "agent_messages") == {
        "": traffic.filter(outcome="offered")["messages"].sum()
    }
    assert summed(counted, "agent_retries") == {
        "": traffic.filter(outcome="retried")["messages"].sum()
    }
    dropped = traffic.filter(outcome="dropped")
    assert summed(counted, "agent_drops") == by(dropped, "reason", "messages")
    lost = traffic.filter(pl.col("outcome").is_in(["dropped", "retried"]))
    assert summed(counted, "agent_tries_lost") == by(lost, "reason", "messages") != {}
    lookups = counted.frame("lookups")
    assert summed(counted, "lookups") == {"": lookups["lookups"].sum()}


def test_alerting_changes_nothing_else(tmp_path: Path) -> None:
    off = ran(tmp_path / "off", **{**BUSY, "alerts": {"enabled": False}})
    on = ran(tmp_path / "on", **BUSY)
    assert on.frame("alerts").height
    assert off.frame("alerts").is_empty()
    left = {key: digest for key, digest in off.run.digests().items() if key[2] != "alerts"}
    right = {key: digest for key, digest in on.run.digests().items() if key[2] != "alerts"}
    assert left == right
    # Nothing fired, nothing in the digest: what is silent is as if there were no rules.
    calm = [
        ran(tmp_path / f"{i}", duration="3 s", alerts=a)
        for i, a in enumerate((None, {"enabled": False}))
    ]
    assert calm[0].digest == calm[1].digest


# -- the section ----------------------------------------------------------------------------------


def test_rules_that_ship_are_changed_left_out_and_added_to(tmp_path: Path) -> None:
    asked = scenario(
        tmp_path,
        alerts={
            "changes": [
                {"rule": "validators_down", "threshold": 1},
                {"rule": "votes_missed", "threshold": "30 %", "for": "2 s"},
                {"rule": "commits_stalled", "threshold": "1 s"},
                {"rule": "reconciled", "off": True},
            ],
            "rules": [
                {
                    "name": "own",
                    "metric": "view_timeouts",
                    "over": "increase",
                    "per": "blocks_committed",
                    "threshold": "150 %",
                    "window": "10 s",
                }
            ],
        },
    )
    rules = {rule.name: rule for rule in rules_in_force(asked.alerts)}
    assert len(rules) == len(DEFAULTS)
    assert "reconciled" not in rules
    limits = {name: rules[name] for name in ("validators_down", "votes_missed", "own")}
    assert limits["validators_down"].threshold == 1  # type: ignore[union-attr]
    assert limits["votes_missed"].threshold_ppm == 300_000  # type: ignore[union-attr]
    assert limits["votes_missed"].for_ns == 2 * SECOND
    assert limits["own"].threshold_ppm == 1_500_000  # type: ignore[union-attr]
    assert rules_in_force(None) == DEFAULTS
    text = asked.to_yaml()
    path = tmp_path / "again.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_scenario(path).alerts == asked.alerts


def test_a_changed_threshold_is_what_fires(tmp_path: Path) -> None:
    attack = {"validators": {"count": 7}, "adversaries": [owned("silent", 1, 2, start="1 s")]}
    plain = ran(tmp_path / "a", **attack)
    deaf = ran(
        tmp_path / "b",
        **attack,
        alerts={"changes": [{"rule": "view_timeouts", "threshold": 100}]},
    )
    assert plain.rows("alerts", rule="view_timeouts")
    assert not deaf.rows("alerts", rule="view_timeouts")


@pytest.mark.parametrize(
    ("alerts", "words"),
    [
        ({"changes": [{"rule": "view_timeout", "threshold": 1}]}, "did you mean `view_timeouts`?"),
        ({"changes": [{"rule": "commits_stalled", "threshold": 1}]}, "is a bare number"),
        (
            {"changes": [{"rule": "commits_stalled"}]},
            "state a `threshold`, a `for`, or `off: true`",
        ),
        (
            {"changes": [{"rule": "reconciled", "off": True, "threshold": 2}]},
            "`off: true`, which excludes the others",
        ),
        (
            {"changes": [{"rule": "reconciled", "off": True}] * 2},
            "`reconciled` is changed twice",
        ),
        ({"enabled": False, "changes": [{"rule": "reconciled", "off": True}]}, "would be ignored"),
        ({"rules": [{"name": "reconciled", "metric": "reconciliations", "threshold": 1}]}, "ships"),
        ({"rules": [{"name": "a", "metric": "reconciliation", "threshold": 1}]}, "did you mean"),
        ({"rules": [{"name": "a", "metric": "forks", "threshold": 1}]}, "only grows"),
        (
            {
                "rules": [
                    {"name": "a", "metric": "commit_age", "over": "increase", "threshold": "1 s"}
                ]
            },
            "is no sum",
        ),
        (
            {"rules": [{"name": "a", "metric": "commit_age", "series": ["x"], "threshold": "1 s"}]},
            "has one series",
        ),
        (
            {"rules": [{"name": "a", "metric": "commit_age", "for": "1.5 s", "threshold": "1 s"}]},
            "state whole ones",
        ),
        (
            {"rules": [{"name": "a", "metric": "gateways_down", "threshold": 1}]},
            "`gateways_down` needs `agents`",
        ),
        ({"rules": [{"name": "a", "threshold": 1}]}, "expected a rule: one of `metric`"),
    ],
)
def test_a_rule_that_cannot_be_evaluated_is_refused(
    tmp_path: Path, alerts: dict[str, Any], words: str
) -> None:
    with pytest.raises(ScenarioErrors) as refused:
        scenario(tmp_path, alerts=alerts)
    assert any(words in str(error) for error in refused.value.errors), refused.value.errors
    assert all(error.line > 1 for error in refused.value.errors)
