"""Who holds consensus keys: one service a region in a run, one key a validator in a plan."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest
from ruamel.yaml import YAML

from sim import load_scenario, run
from sim.scenario.errors import ScenarioErrors
from sim.study.deployment import deployment, plans
from sim.world.cloud import aws_deployer
from sim.world.cloud.custody import OFFERS, custody_in
from sim.world.cloud.deployment import Deployment
from sim.world.cloud.inspection import inspect
from tests.cloud.aws_double import carry_out
from tests.engine.worlds import EAST, MS, SECOND, WEST, ran, scenario
from tests.faults.effects import refused

ROOT = Path(__file__).parents[2]
AZURE = "az:usgovvirginia"
SIX: dict[str, Any] = {
    "duration": "6 s",
    "validators": {"count": 6, "placement": {WEST: 3, AZURE: 3}},
    "consensus": {"timer_base": "5 s"},
    "quorum": {"cooldown_epochs": 1000, "missed": ["90 %", "95 %"]},
}


def service(**terms: Any) -> dict[str, Any]:
    return {"custody": {"aws": {"kind": "service", **terms}}}


# -- in a run -----------------------------------------------------------------------------------


def test_one_quota_is_shared_by_the_validators_of_a_region(tmp_path: Path) -> None:
    """Three votes a block at 6 /s: two blocks a second; each region has an account of its own."""
    asked = service(quota="6 /s", burst=1, latency="0 s", latency_p99="0 s")
    one = ran(tmp_path / "one", **SIX, clouds=asked)
    spread = SIX | {"validators": {"count": 6, "placement": {WEST: 2, EAST: 1, AZURE: 3}}}
    two = ran(tmp_path / "two", **spread, clouds=asked)
    assert 6 <= one.commits_between(SECOND, 6 * SECOND) <= 10
    assert two.commits_between(SECOND, 6 * SECOND) > one.commits_between(SECOND, 6 * SECOND)
    rows = one.rows("signatures")
    assert {row["region"] for row in rows} == {WEST}
    assert all(row["asked"] <= 7 for row in rows if row["second"] > 0)
    assert sum(row["asked"] for row in rows) == one.metric("signatures_asked")
    assert {row["region"] for row in two.rows("signatures")} == {WEST, EAST}


def test_a_region_s_own_entry_comes_before_its_provider_s(tmp_path: Path) -> None:
    both = {"custody": {"aws": {"kind": "service"}, WEST: {"kind": "local"}}}
    done = ran(tmp_path, **SIX | {"duration": "2 s"}, clouds=both)
    assert done.rows("signatures") == []


def test_what_a_service_costs_is_its_answer_s_time(tmp_path: Path) -> None:
    """A vote in 200 ms more, at a quota that never binds: no block is faster than that."""
    local = ran(tmp_path / "local", **SIX, clouds={"custody": {"aws": {"kind": "local"}}})
    asked = service(latency="200 ms", latency_p99="200 ms")
    remote = ran(tmp_path / "remote", **SIX, clouds=asked)
    assert remote.metric("signature_mean_ns") == 200 * MS == remote.metric("signature_max_ns")
    assert remote.metric("block_latency_p50_ns") > local.metric("block_latency_p50_ns") + 200 * MS


def test_who_asks_a_service_does_not_sign_on_its_own_processors(tmp_path: Path) -> None:
    """So that its first vote leaves when the answer is there, not a signature later."""
    short = SIX | {"duration": "3 s"}
    worlds = {"local": {"kind": "local"}, "service": {"kind": "service", "latency": "1 ms"}}
    worlds["service"]["latency_p99"] = "1 ms"
    busy = {}
    for name, kind in worlds.items():
        done = ran(tmp_path / name, **short, clouds={"custody": {"aws": kind}})
        rows = [r for r in done.rows("stations", **{"class": "cpu"}) if int(r["station"]) < 3]
        blocks = done.metric("blocks_committed")
        busy[name] = sum(row["served"] for row in rows) / blocks
    assert busy["service"] < busy["local"]


def test_faults_of_key_services_act_on_it(tmp_path: Path) -> None:
    throttle = {
        "kind": "kms_throttle",
        "nodes": {"provider": "aws"},
        "at": "2 s",
        "until": "4 s",
        "quota": "3 /s",
        "per": "region",
    }
    quick = service(latency="1 ms", latency_p99="2 ms")
    slowed = ran(tmp_path / "throttle", **SIX, clouds=quick, faults=[throttle])
    free = ran(tmp_path / "free", **SIX, clouds=quick)
    during = (2 * SECOND, 4 * SECOND)
    assert slowed.commits_between(*during) <= 4 < free.commits_between(*during)
    outage = {"kind": "kms_outage", "nodes": {"region": WEST}, "at": "2 s", "until": "4 s"}
    keyless = ran(tmp_path / "outage", **SIX, clouds=quick, faults=[outage])
    assert keyless.commits_between(2200 * MS, 4 * SECOND) == 0
    assert refused(keyless, "not_signed") > 0


@pytest.mark.parametrize("name", ["kms_throttled_at_peak", "kms_local_at_peak"])
def test_the_scenario_meets_what_it_expects(name: str, tmp_path: Path) -> None:
    outcome = run(load_scenario(ROOT / "scenarios" / "clouds" / f"{name}.yaml"), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence


def test_latencies_have_the_stated_quantiles() -> None:
    custody = custody_in(
        WEST, quota_nhz=None, burst=None, latency_ns=50 * MS, latency_p99_ns=200 * MS
    )
    assert (custody.rate_nhz, custody.burst) == (1_000 * 10**9, 1_000)
    asked = custody.service(7)
    took = [asked.sign(at * SECOND) - at * SECOND for at in range(20_000)]
    cuts = quantiles(took, n=100)
    assert cuts[49] == pytest.approx(50 * MS, rel=0.03)
    assert cuts[98] == pytest.approx(200 * MS, rel=0.05)
    assert min(took) >= 0
    again = custody.service(7)
    assert [again.sign(at * SECOND) - at * SECOND for at in range(100)] == took[:100]


def test_defaults_are_the_providers_figures() -> None:
    virginia = custody_in(AZURE, quota_nhz=None, burst=None, latency_ns=0, latency_p99_ns=0)
    assert (virginia.rate_nhz, virginia.burst) == (200 * 10**9, 2_000)
    assert virginia.quota_text == "200 signatures a second, 2,000 at once"
    slow = custody_in(WEST, quota_nhz=10**8, burst=None, latency_ns=0, latency_p99_ns=0)
    assert slow.quota_text == "0.1 signatures a second, 1 at once"
    assert all(offer.source for offer in OFFERS.values())


REFUSED = (
    ({"kind": "kms_outage", "nodes": {"provider": "az"}}, "hold their keys themselves"),
    ({"kind": "kms_outage", "nodes": {"ids": [0, 5]}}, f"validators of {AZURE} hold"),
    ({"kind": "kms_outage", "nodes": {"random": 2}}, f"may choose validators of {AZURE}"),
    (
        {"kind": "kms_throttle", "nodes": {"ids": [0]}, "quota": "1 /s", "per": "region"},
        "strikes 1 of 3 validators",
    ),
    ({"kind": "kms_throttle", "nodes": {"region": WEST}, "quota": "1 /s"}, "`per: region`"),
)


@pytest.mark.parametrize(("fault", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_faults_of_no_service_are_refused(fault: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioErrors) as caught:
        scenario(tmp_path, **SIX, clouds=service(), faults=[{**fault, "at": "1 s"}])
    (error,) = caught.value.errors
    assert said in str(error)
    assert "case.yaml:" in str(error)


def test_figures_of_services_that_nobody_uses_are_refused(tmp_path: Path) -> None:
    bound = [{"metric": "signature_max", "at_most": "1 s"}]
    local = {"custody": {"aws": {"kind": "local"}}}
    for clouds in (None, local):
        with pytest.raises(ScenarioErrors, match="no validator's key lies in one"):
            scenario(tmp_path, **SIX, clouds=clouds, expect=bound)
    assert scenario(tmp_path, **SIX, clouds=service(), expect=bound)


# -- in a plan ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planned() -> Deployment:
    return deployment(load_scenario(ROOT / "scenarios" / "clouds" / "kms_throttled_at_peak.yaml"))


@pytest.fixture(scope="module")
def template(planned: Deployment) -> dict[str, Any]:
    return aws_deployer.template(planned, planned.sites[0])


def test_each_validator_has_a_key_that_only_its_own_pod_uses(
    planned: Deployment, template: dict[str, Any]
) -> None:
    """AC-6, SC-12: the key's policy names one pod and one algorithm; its account cannot sign."""
    resources = template["Resources"]
    keys = {n: r["Properties"] for n, r in resources.items() if n.startswith("SigningKey")}
    made = [p for p in keys.values() if "KeySpec" in p]
    assert len(made) == planned.sites[0].validators
    names = [p["AliasName"] for p in keys.values() if "AliasName" in p]
    assert names[0] == "alias/kms-throttled-at-peak-validator-0"
    for number, key in enumerate(made):
        assert (key["KeySpec"], key["KeyUsage"]) == ("ML_DSA_87", "SIGN_VERIFY")
        signs = [s for s in key["KeyPolicy"]["Statement"] if "kms:Sign" in s["Action"]]
        (only,) = signs
        assert only["Principal"] == {"AWS": {"Fn::GetAtt": ["SigningRole", "Arn"]}}
        assert only["Condition"]["StringEquals"] == {
            "aws:PrincipalTag/kubernetes-pod-name": f"validator-{number}",
            "kms:SigningAlgorithm": "ML_DSA_SHAKE_256",
        }
    assert template["Outputs"]["SigningQuota"]["Value"] == "1000"
    assert resources["ValidatorIdentity"]["Properties"]["ServiceAccount"] == "validator"


def test_pods_ask_for_their_own_key(planned: Deployment) -> None:
    texts = {p.path: p.text for p in plans(planned) if p.what == "Kubernetes"}
    read = YAML(typ="safe")
    items = {path: read.load(text)["items"] for path, text in texts.items()}
    for path, listed in items.items():
        (pods,) = [i["spec"]["template"]["spec"] for i in listed if i["kind"] == "StatefulSet"]
        environment = {each["name"]: each for each in pods["containers"][0]["env"]}
        settings = next(i["data"] for i in listed if i["kind"] == "ConfigMap")
        assert pods["serviceAccountName"] == "validator"
        if "aws" in path:
            name = "alias/kms-throttled-at-peak-$(POD)"
            assert environment["SIGNING_KEY"]["value"] == name
            assert settings["custody"] == "service"
            (policy,) = [i["spec"] for i in listed if i["kind"] == "NetworkPolicy"]
            assert "169.254.170.23/32" in str(policy["egress"])
            assert settings["key-service-quota"] == "1,000 signatures a second, 1,000 at once"
        else:
            assert settings["custody"] == "local"
            assert "SIGNING_KEY" not in environment


def _other_kind(key: dict[str, Any]) -> None:
    key["KeySpec"] = "ECC_NIST_P521"


def _anybody(key: dict[str, Any]) -> None:
    for statement in key["KeyPolicy"]["Statement"]:
        statement.pop("Condition", None)


def _somebody_else(key: dict[str, Any]) -> None:
    text = json.dumps(key["KeyPolicy"]).replace("validator-3", "validator-4")
    key["KeyPolicy"] = json.loads(text)


def _account(key: dict[str, Any]) -> None:
    key["KeyPolicy"]["Statement"][0]["Action"] = "kms:*"


@pytest.mark.parametrize("plant", [_other_kind, _anybody, _somebody_else, _account])
def test_planted_faults_of_signing_keys_are_refused(
    plant: Any, planned: Deployment, template: dict[str, Any]
) -> None:
    site = planned.sites[0]
    broken = copy.deepcopy(template)
    plant(broken["Resources"]["SigningKey3"]["Properties"])
    found = {name for name, _ in inspect(planned, {site.region: broken})}
    assert "votes_signed_as_simulated" in found
    calm = {name for name, _ in inspect(planned, {site.region: template})}
    assert calm == {"every_region_planned"}


def test_a_key_left_out_is_refused(planned: Deployment, template: dict[str, Any]) -> None:
    broken = copy.deepcopy(template)
    del broken["Resources"]["SigningKey0"]
    found = dict(inspect(planned, {planned.sites[0].region: broken}))
    assert "6 ML_DSA_87 keys for 7 validators" in found["votes_signed_as_simulated"]


def test_signing_plans_are_valid_in_their_region(template: dict[str, Any]) -> None:
    api = pytest.importorskip("cfnlint.api", reason="extra: cloud")
    config = pytest.importorskip("cfnlint.config")
    asked = config.ManualArgs(regions=["us-gov-west-1"])
    found = api.lint(json.dumps(template, indent=2), config=asked)
    assert [str(match) for match in found] == []


def test_the_signing_plan_carried_out_has_a_key_a_validator(
    planned: Deployment, template: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read back from the double, alias by alias: whose pod may sign, and that nobody else may."""
    names = ("boto3", "moto", "moto.backends")
    boto3, moto, backends = (pytest.importorskip(name, reason="extra: cloud") for name in names)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    site = planned.sites[0]
    with moto.mock_aws(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        carry_out(boto3, template, site.name)
        keys = boto3.client("kms", region_name=site.name)
        backend = backends.get_backend("kms")["123456789012"][site.name]
        found = {}
        for alias in keys.list_aliases()["Aliases"]:
            if not alias["AliasName"].startswith(f"alias/{planned.name}-"):
                continue
            # Policies of keys in stacks are no text in the double, and it can't describe such keys.
            policy = backend.keys[alias["TargetKeyId"]].policy
            signs = [s for s in policy["Statement"] if "kms:Sign" in s["Action"]]
            conditions = signs[0]["Condition"]["StringEquals"]
            found[alias["AliasName"]] = conditions["aws:PrincipalTag/kubernetes-pod-name"]
    pods = [f"validator-{number}" for number in range(site.validators)]
    assert found == {f"alias/{planned.name}-{pod}": pod for pod in pods}


def test_a_service_without_such_keys_is_simulated_but_not_planned() -> None:
    """Azure Key Vault signs with RSA and elliptic curves only."""
    path = ROOT / "scenarios" / "clouds" / "kms_throttled_at_peak.yaml"
    asked = load_scenario(path, ["clouds.custody.az={kind: service}"])
    with pytest.raises(ValueError, match="Azure Key Vault has no ML-DSA-87 keys"):
        deployment(asked)


def test_more_keys_than_a_stack_holds_are_refused() -> None:
    path = ROOT / "scenarios" / "clouds" / "kms_throttled_at_peak.yaml"
    many = "validators={count: 300, placement: {aws:us-gov-west-1: 298, az:usgovvirginia: 2}}"
    asked = load_scenario(path, [many, "agents.placement={aws:us-gov-west-1: 100 %}"])
    whole = deployment(asked)
    with pytest.raises(ValueError, match="a stack holds 500"):
        aws_deployer.template(whole, whole.sites[0])


def test_ran_is_repeatable(tmp_path: Path) -> None:
    digests = [ran(tmp_path / str(i), **SIX, clouds=service()).digest for i in range(2)]
    assert digests[0] == digests[1]
