"""Deployment plans: what is exported is what was simulated, and nothing careless gets through."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sim.monitor.alerts import exported_name, promql
from sim.scenario.alerting import METRICS
from sim.scenario.alerts import rules_in_force
from sim.scenario.load import load_scenario
from sim.scenario.model import Scenario
from sim.study.dashboards import dashboards, prometheus_rules
from sim.study.deployment import PlanRefused, deployment, monitoring, plans, write
from sim.world.cloud import aws_deployer, azure_deployer, kubernetes
from sim.world.cloud.deployment import Deployment
from sim.world.cloud.inspection import CHECKS, inspect
from tests.cloud.aws_double import carry_out, read_back

ROOT = Path(__file__).parents[2]
SCENARIOS = ("million_agents", "seven_nodes", "clouds/narrow_rules")


def scenario(name: str, *settings: str) -> Scenario:
    return load_scenario(ROOT / "scenarios" / f"{name}.yaml", settings)


def templates(whole: Deployment) -> dict[str, dict[str, Any]]:
    makers = {"aws": aws_deployer.template, "az": azure_deployer.template}
    return {site.region: makers[site.provider](whole, site) for site in whole.sites}


@pytest.fixture(scope="module")
def main() -> Deployment:
    return deployment(scenario("million_agents"))


@pytest.fixture(scope="module")
def made(main: Deployment) -> dict[str, dict[str, Any]]:
    return templates(main)


@pytest.mark.parametrize("name", SCENARIOS)
def test_plans_pass_their_own_inspection(name: str) -> None:
    whole = deployment(scenario(name))
    assert inspect(whole, templates(whole)) == []


def test_there_are_the_thirteen_checks_of_the_source_document() -> None:
    """And one more, of where votes are signed, which it leaves open."""
    assert len(set(CHECKS) - {"votes_signed_as_simulated"}) == 13
    assert all(check.__doc__ for check in CHECKS.values())


# -- planted faults -----------------------------------------------------------------------------


def _aws(made: dict[str, Any], name: str) -> dict[str, Any]:
    return made["aws:us-gov-west-1"]["Resources"][name]["Properties"]


def _azure(made: dict[str, Any], kind: str) -> dict[str, Any]:
    found = [r for r in made["az:usgovvirginia"]["resources"] if r["type"] == kind]
    return found[0]["properties"]


def _open_shell(made: dict[str, Any]) -> None:
    _aws(made, "Validators")["SecurityGroupIngress"].append(
        {"IpProtocol": "tcp", "FromPort": 20, "ToPort": 25, "CidrIp": "0.0.0.0/0"}
    )


def _open_shell_azure(made: dict[str, Any]) -> None:
    group = _azure(made, "Microsoft.Network/networkSecurityGroups")
    rule = copy.deepcopy(group["securityRules"][0])
    rule["properties"] |= {"sourceAddressPrefix": "*", "destinationPortRange": "22"}
    group["securityRules"].append(rule)


def _all_ports(made: dict[str, Any]) -> None:
    _aws(made, "Validators")["SecurityGroupIngress"].append(
        {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}
    )


def _no_rotation(made: dict[str, Any]) -> None:
    _aws(made, "Key")["EnableKeyRotation"] = False


def _no_rotation_azure(made: dict[str, Any]) -> None:
    del _azure(made, "Microsoft.KeyVault/vaults/keys")["rotationPolicy"]


def _no_trail(made: dict[str, Any]) -> None:
    del made["aws:us-gov-west-1"]["Resources"]["Trail"]


def _trail_off(made: dict[str, Any]) -> None:
    _aws(made, "Trail")["IsLogging"] = False


def _no_trail_azure(made: dict[str, Any]) -> None:
    _azure(made, "Microsoft.Insights/diagnosticSettings")["logs"] = []


def _erasable(made: dict[str, Any]) -> None:
    rule = _aws(made, "TrailBucket")["ObjectLockConfiguration"]["Rule"]
    rule["DefaultRetention"]["Mode"] = "GOVERNANCE"


def _erasable_azure(made: dict[str, Any]) -> None:
    account = _azure(made, "Microsoft.Storage/storageAccounts")
    policy = account["immutableStorageWithVersioning"]["immutabilityPolicy"]
    policy["immutabilityPeriodSinceCreationInDays"] = 30


def _no_copy(made: dict[str, Any]) -> None:
    del _aws(made, "TrailBucket")["ReplicationConfiguration"]


def _plain_disks(made: dict[str, Any]) -> None:
    data = _aws(made, "Machine")["LaunchTemplateData"]
    del data["BlockDeviceMappings"][0]["Ebs"]["KmsKeyId"]


def _plain_disks_azure(made: dict[str, Any]) -> None:
    del _azure(made, "Microsoft.ContainerService/managedClusters")["diskEncryptionSetID"]


def _no_backup(made: dict[str, Any]) -> None:
    del made["aws:us-gov-west-1"]["Resources"]["BackedUp"]


def _short_backup_azure(made: dict[str, Any]) -> None:
    policy = _azure(made, "Microsoft.DataProtection/backupVaults/backupPolicies")
    policy["policyRules"] = policy["policyRules"][:1]


def _same_addresses(made: dict[str, Any]) -> None:
    _aws(made, "Vpc")["CidrBlock"] = "10.0.0.0/8"


def _subnet_outside(made: dict[str, Any]) -> None:
    _aws(made, "Zone1")["CidrBlock"] = "192.168.0.0/24"


def _too_few(made: dict[str, Any]) -> None:
    _aws(made, "Nodes1")["ScalingConfig"]["DesiredSize"] -= 1


def _uneven(made: dict[str, Any]) -> None:
    _aws(made, "Nodes1")["ScalingConfig"]["DesiredSize"] += 1
    _aws(made, "Nodes3")["ScalingConfig"]["DesiredSize"] -= 1


def _strangers(made: dict[str, Any]) -> None:
    ingress = _aws(made, "Validators")["SecurityGroupIngress"]
    ingress[0] = {**ingress[0], "CidrIp": "172.16.0.0/12"}


def _no_agents(made: dict[str, Any]) -> None:
    ingress = _aws(made, "Validators")["SecurityGroupIngress"]
    ingress[:] = [rule for rule in ingress if rule["FromPort"] != 443]


def _no_plan(made: dict[str, Any]) -> None:
    del made["az:usgovtexas"]


PLANTED = (
    (_open_shell, "administration_closed"),
    (_open_shell_azure, "administration_closed"),
    (_all_ports, "administration_closed"),
    (_no_rotation, "keys_rotate"),
    (_no_rotation_azure, "keys_rotate"),
    (_no_trail, "trail_on"),
    (_trail_off, "trail_on"),
    (_no_trail_azure, "trail_on"),
    (_erasable, "trail_kept"),
    (_erasable_azure, "trail_kept"),
    (_no_copy, "trail_copied"),
    (_plain_disks, "disks_encrypted"),
    (_plain_disks_azure, "disks_encrypted"),
    (_no_backup, "backups_planned"),
    (_short_backup_azure, "backups_planned"),
    (_same_addresses, "networks_apart"),
    (_subnet_outside, "zones_have_subnets"),
    (_too_few, "validators_all_there"),
    (_uneven, "validators_all_there"),
    (_strangers, "validators_reached_by_peers_only"),
    (_no_agents, "gateways_reached_by_agents"),
    (_no_plan, "every_region_planned"),
)


@pytest.mark.parametrize(("plant", "check"), PLANTED, ids=lambda x: getattr(x, "__name__", x))
def test_planted_faults_are_refused(
    plant: Any, check: str, main: Deployment, made: dict[str, Any]
) -> None:
    broken = copy.deepcopy(made)
    plant(broken)
    assert check in {name for name, _ in inspect(main, broken)}


def test_every_check_has_a_planted_fault() -> None:
    """Those of signing keys are in test_cloud_custody.py."""
    assert {check for _, check in PLANTED} == set(CHECKS) - {"votes_signed_as_simulated"}


def test_a_refused_plan_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    careful = aws_deployer.template

    def careless(whole: Deployment, site: Any) -> dict[str, Any]:
        template = careful(whole, site)
        template["Resources"]["Key"]["Properties"]["EnableKeyRotation"] = False
        return template

    monkeypatch.setattr(aws_deployer, "template", careless)
    with pytest.raises(PlanRefused, match="findings") as refused:
        write(scenario("million_agents"), tmp_path / "plans")
    assert {name for name, _ in refused.value.findings} == {"keys_rotate"}
    assert not (tmp_path / "plans").exists()


# -- against the providers' own rules -----------------------------------------------------------


def test_cloudformation_is_valid_for_its_region(made: dict[str, Any]) -> None:
    api = pytest.importorskip("cfnlint.api", reason="extra: cloud")
    config = pytest.importorskip("cfnlint.config")
    for region in ("aws:us-gov-west-1", "aws:us-gov-east-1", "aws:eu-west-2"):
        name = region.partition(":")[2]
        text = json.dumps(made[region], indent=2)
        asked = config.ManualArgs(regions=[name])
        assert [str(match) for match in api.lint(text, config=asked)] == []


def test_aws_plan_carried_out_is_the_simulated_topology(
    main: Deployment, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CM-2, SC-7: what stands there is what was planned, read back service by service."""
    boto3, moto = (pytest.importorskip(name, reason="extra: cloud") for name in ("boto3", "moto"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for site in main.sites[:2]:
            carry_out(boto3, made[site.region], site.name)
            found = read_back(boto3, site.name)
            zones = {each.zone: f"{site.name}{'abc'[each.zone - 1]}" for each in site.subnets()}
            assert found["network"] == site.block
            assert found["subnets"] == sorted((zones[s.zone], s.block) for s in site.subnets())
            assert found["machines"] == {zones[s.zone]: s.validators for s in site.subnets()}
            assert sum(found["machines"].values()) == site.validators
            peers = {(peer.block, main.validator_port) for peer in main.peers(site)}
            assert found["opened"] == peers | {("0.0.0.0/0", main.agent_port)}
            assert found["rotating"] == [True]
            assert found["trails"] == [True]
            assert found["kept"] == [("COMPLIANCE", main.audit_retention_days)]
            assert found["backups"] == [main.backup_keep_days]


def test_what_the_double_gets_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The double is not AWS: each of these would be otherwise there. One that fails is mended."""
    boto3, moto = (pytest.importorskip(name, reason="extra: cloud") for name in ("boto3", "moto"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stacks = boto3.client("cloudformation", region_name="us-gov-west-1")
        zone = {"Fn::Select": [0, {"Fn::GetAZs": ""}]}
        network = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}
        part = {"VpcId": {"Ref": "V"}, "CidrBlock": "10.0.0.0/24", "AvailabilityZone": zone}
        subnet = {"Type": "AWS::EC2::Subnet", "Properties": part}
        body = {"Resources": {"V": network, "S": subnet}}
        stacks.create_stack(StackName="a", TemplateBody=json.dumps(body))
        ec2 = boto3.client("ec2", region_name="us-gov-west-1")
        mine = [s for s in ec2.describe_subnets()["Subnets"] if s["CidrBlock"] == "10.0.0.0/24"]
        assert [s["AvailabilityZone"] for s in mine] == ["us-east-1a"]
        # Keys of AWS KMS sign with ML-DSA-87; the double does not know the algorithm.
        keys = boto3.client("kms", region_name="us-gov-west-1")
        with pytest.raises(keys.exceptions.ClientError, match="ML_DSA_87"):
            keys.create_key(KeySpec="ML_DSA_87", KeyUsage="SIGN_VERIFY")


@pytest.mark.parametrize("region", ["aws:us-gov-west-1", "az:usgovtexas"])
def test_kubernetes_objects_are_valid(region: str, main: Deployment) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="extra: cloud").validate
    site = next(each for each in main.sites if each.region == region)
    for each in kubernetes.objects(main, site):
        validate(each, "1.33", strict=True)
    values = kubernetes.helm_values(main, site)
    assert values["replicas"] == site.validators


@pytest.mark.parametrize("name", SCENARIOS)
def test_arm_templates_hold_their_schema(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="extra: cloud")
    schema = json.loads((ROOT / "tests/cloud/arm.schema.json").read_text(encoding="utf-8"))
    whole = deployment(scenario(name))
    for site in whole.sites:
        if site.provider == "az":
            template = azure_deployer.template(whole, site)
            jsonschema.validate(template, schema)
            _references_exist(template)


def _references_exist(template: dict[str, Any]) -> None:
    """What a resource depends on is in the template, and names are unique."""
    named = [(r["type"], r["name"].split("/")[-1].strip("[]')")) for r in template["resources"]]
    assert len(set(named)) == len(named)
    for resource in template["resources"]:
        for need in resource.get("dependsOn", ()):
            kind = need.partition("resourceId('")[2].partition("'")[0]
            assert kind in {each for each, _ in named}, need


# -- what was simulated -------------------------------------------------------------------------


def test_rules_that_close_a_link_are_exported_as_they_are_simulated() -> None:
    whole = deployment(scenario("clouds/narrow_rules"))
    port = whole.validator_port
    for site in whole.sites:
        if site.provider != "aws":
            continue
        group = aws_deployer.template(whole, site)["Resources"]["Validators"]["Properties"]
        blocks = {r["CidrIp"] for r in group["SecurityGroupIngress"] if r["FromPort"] == port}
        assert blocks == {peer.block for peer in whole.peers(site)}
        assert len(blocks) == (3 if site.region == "aws:us-gov-east-1" else 4)


def test_files_are_repeatable_and_never_overwritten(tmp_path: Path) -> None:
    asked = scenario("seven_nodes")
    made = write(asked, tmp_path)
    assert write(asked, tmp_path) == made
    first = tmp_path / made[0].path
    first.write_text("mine")
    with pytest.raises(FileExistsError, match="choose another folder"):
        write(asked, tmp_path)
    assert first.read_text() == "mine"


def test_configuration_is_the_scenario_s() -> None:
    asked = scenario("seven_nodes", "consensus.epoch_blocks=17")
    listed = next(p for p in plans(deployment(asked)) if p.what == "Kubernetes")
    settings = YAML(typ="safe").load(listed.text)["items"][1]["data"]
    assert settings["epoch-blocks"] == "17"
    assert settings["scenario"] == asked.digest


# -- what watches it ----------------------------------------------------------------------------


def test_prometheus_rules_are_those_that_runs_evaluate() -> None:
    """AU-6, SI-4: the same names, conditions, waits and thresholds, at least forty."""
    asked = scenario("million_agents")
    groups = prometheus_rules(asked)["groups"]
    entries = [entry for group in groups for entry in group["rules"]]
    rules = rules_in_force(asked.alerts)
    assert len(entries) == len(rules) >= 40
    assert {entry["expr"] for entry in entries} == {promql(rule) for rule in rules}
    assert len({entry["alert"] for entry in entries}) == len(entries)
    for entry in entries:
        assert entry["expr"].count("(") == entry["expr"].count(")")
        assert entry["labels"]["severity"] in ("info", "warning", "critical")
        assert set(entry["annotations"]) == {"summary", "runbook"}


def test_a_changed_threshold_is_exported() -> None:
    rule = "{name: mine, metric: quorum_level, threshold: 1}"
    asked = scenario("seven_nodes", f"alerts={{rules: [{rule}]}}")
    text = str(prometheus_rules(asked))
    assert "creto_quorum_level > 1" in text


def test_dashboards_show_every_metric() -> None:
    made = {
        **dashboards(scenario("million_agents")),
        **dashboards(scenario("compliance/revocation_race", "clouds={}")),
    }
    assert len(made["consensus"]["panels"]) >= 16
    assert len(made["compliance"]["panels"]) >= 10
    shown = {
        target["expr"]
        for dashboard in made.values()
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    assert all(any(exported_name(m.name) in expr for expr in shown) for m in METRICS)
    for dashboard in made.values():
        boxes = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
        assert len(set(boxes)) == len(boxes)
        assert all(x + width <= 24 for x, _, width, _ in boxes)
    assert list(dashboards(scenario("clouds/narrow_rules"))) == ["consensus"]


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    file = next(p for p in monitoring(scenario("million_agents")) if p.what == "Prometheus")
    (tmp_path / "rules.yaml").write_text(file.text, encoding="utf-8")
    asked = [promtool, "check", "rules", str(tmp_path / "rules.yaml")]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
