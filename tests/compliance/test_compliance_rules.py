"""Bad input to compliance: refused with its place, in the domain's words; nothing leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.scenario.errors import ScenarioErrors
from sim.scenario.load import load_scenario
from sim.world.compliance.access_controller import POLICIES
from tests.compliance.worlds import DATA, PEOPLE, PLACES, SERVICE
from tests.engine.worlds import EAST, scenario_text, written

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "keeper": ({"audit": {"keeper": 6}}, "there is no validator 6 at genesis: 0 to 5"),
    "witnesses": (
        {"audit": {"witnesses": {"random": 6}}},
        "6 witnesses beside the keeper, of 6 validators: ask for at most 5",
    ),
    "rotate_at": ({"audit": {"rotate_at": "50 %"}}, "State `capacity` too"),
    "archived": (
        {"audit": {"retention": "1 s"}, "insiders": [{"kind": "edit", "at": "1 s"}]},
        "no tree can be rebuilt over contents that are archived",
    ),
    "conflict": (
        {"people": [*PEOPLE, {"name": "bad", "roles": ["auditor", "operator"]}]},
        "who is auditor cannot be operator (separation of duties)",
    ),
    "nobody": (
        {"people": [{"name": "ada", "roles": ["operator"]}], "data": DATA},
        "nobody is data_officer, who handles requests of data subjects",
    ),
    "twice": ({"people": [PEOPLE[2], PEOPLE[2]]}, "`uma` is the name of somebody else"),
    "no duty": (
        {"people": [*PEOPLE, {"name": "lea", "roles": ["legal"], "rate": "1 /s"}]},
        "only operators and auditors have routine duties",
    ),
    "purpose": (
        {"data": DATA, "services": [{**SERVICE, "purpose": "ads"}]},
        "purpose `ads` is not one of billing",
    ),
    "replica": (
        {"data": {**DATA, "regions": ["az:usgovtexas"]}},
        "no genesis validator lives in `az:usgovtexas`",
    ),
    "no data": ({"services": [SERVICE]}, "process what? State `data` too"),
    "withdrawn purpose": (
        {
            "data": DATA,
            "events": [{"kind": "withdrawal", "at": "1 s", "purpose": "ads"}],
        },
        "events.0.purpose: purpose `ads` is not one of billing",
    ),
    "unknown subject": (
        {"data": DATA, "events": [{"kind": "export", "at": "1 s", "first": 39, "subjects": 2}]},
        "subject 40 is not known: there are 40, from 0",
    ),
    "told for nothing": (
        {"data": DATA, "events": [{"kind": "breach", "at": "1 s", "subjects_after": "1 s"}]},
        "subjects are told of a high risk (article 34)",
    ),
    "too late": (
        {"insiders": [{"kind": "delete", "at": "5 s"}]},
        "5 s is not before the end of the run, 5 s: it would never happen",
    ),
    "stranger": (
        {"insiders": [{"kind": "privilege_escalation", "at": "1 s", "person": "mallory"}]},
        "person `mallory` is not one of",
    ),
    "evasion": (
        {"insiders": [{"kind": "erasure_evasion", "at": "1 s", "region": EAST}]},
        "evades the erasure of what? State `data` too",
    ),
    "backups": (
        {"data": {**DATA, "backups": {"every": "1 s", "kept": "1 h"}}},
        "3,600 backups at a time; at most 1,000",
    ),
    "unknown key": ({"audit": {"keepr": 1}}, "did you mean `keeper`?"),
    "no policies": ({"access": {"policies": "nowhere.cedar"}}, "access.policies: No such file"),
}


def refused(folder: Path, compliance: dict[str, Any], **sections: Any) -> str:
    path = written(folder, scenario_text(**PLACES, **sections, compliance=compliance))
    with pytest.raises(ScenarioErrors) as caught:
        load_scenario(path)
    return "\n".join(str(error) for error in caught.value.errors)


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    compliance, said = CASES[case]
    text = refused(tmp_path, compliance)
    assert said in text
    assert "case.yaml:" in text
    assert ": compliance." in text


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    text = refused(tmp_path, {"services": [SERVICE], "audit": {"rotate_at": "50 %", "keeper": 9}})
    assert len(text.splitlines()) == 3


def test_a_policy_that_does_not_type_check_is_refused_with_its_id(tmp_path: Path) -> None:
    policies = tmp_path / "mine.cedar"
    built_in = (POLICIES / "access.cedar").read_text(encoding="utf-8")
    policies.write_text(built_in.replace("resource.held", "resource.hold"), encoding="utf-8")
    text = refused(tmp_path, {"access": {"policies": str(policies)}})
    assert "compliance.access.policies: policies do not fit the schema" in text
    assert "held-data-stays" in text
    assert "`hold`" in text


def test_a_metric_of_compliance_needs_the_section(tmp_path: Path) -> None:
    path = written(tmp_path, scenario_text(expect=[{"metric": "erasure_max", "at_most": "1 s"}]))
    with pytest.raises(ScenarioErrors, match="`erasure_max` needs a `compliance` section"):
        load_scenario(path)


def test_baselines_have_no_epochs_to_sign_heads_at(tmp_path: Path) -> None:
    text = refused(tmp_path, {}, protocol={"kind": "pbft"})
    assert "`pbft` has no epochs" in text
