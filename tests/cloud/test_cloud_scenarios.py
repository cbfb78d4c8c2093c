"""The `clouds` section: what it closes in a run, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim import load_scenario, open_run, run
from sim.scenario.errors import ScenarioErrors
from sim.world.cloud.deployment import Flow, Site, closed_links, default_blocks, holds

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["misconfigured_nsg", "narrow_rules"])
def test_the_scenario_meets_what_it_expects(name: str, tmp_path: Path) -> None:
    outcome = run(load_scenario(ROOT / "scenarios" / "clouds" / f"{name}.yaml"), tmp_path)
    assert outcome.verdict.outcome == "met", outcome.verdict.evidence


def test_the_forgotten_rule_is_what_halts_the_chain(tmp_path: Path) -> None:
    file = ROOT / "scenarios" / "clouds" / "misconfigured_nsg.yaml"
    mended = load_scenario(file, ["clouds.allow=[{kind: validators}, {kind: agents}]"])
    path = run(mended, tmp_path).path
    committed = open_run(path).table("blocks").filter(status="committed").collect()
    assert len(committed) > 50


def test_what_no_flow_lets_pass_is_closed_inside_a_region_too() -> None:
    flows = (Flow(("aws",), ()), Flow(("az:b",), ("az:b",)))
    closed = closed_links(flows, ["aws:a", "az:b", "az:c"])
    assert closed == (
        ("az:b", "aws:a"),
        ("az:b", "az:c"),
        ("az:c", "aws:a"),
        ("az:c", "az:b"),
        ("az:c", "az:c"),
    )


def test_subnets_hold_all_validators_and_zones() -> None:
    site = Site("aws:us-gov-west-1", "10.0.0.0/16", 3, 20)
    assert [s.block for s in site.subnets()] == ["10.0.0.0/18", "10.0.64.0/18", "10.0.128.0/18"]
    assert [s.validators for s in site.subnets()] == [7, 7, 6]
    assert holds("10.0.0.0/26", 3, 33)
    assert not holds("10.0.0.0/26", 3, 34)
    assert default_blocks(["a", "b"]) == {"a": "10.16.0.0/16", "b": "10.17.0.0/16"}


REFUSED = (
    ("networks: {aws:us-gov-west-2: 10.0.0.0/16}", "did you mean `aws:us-gov-west-1`?"),
    ("networks: {aws: 10.0.0.0/16}", "networks belong to regions"),
    ("networks: {aws:us-gov-west-1: 10.0.0.0/27}", "does not hold 2 validators in 3 zones"),
    ("networks: {aws:us-gov-west-1: 10.17.0.0/16}", "share addresses"),
    ("networks: {aws:us-gov-west-1: 10.0.0.1/16}", "has host bits set"),
    ("allow: [{kind: validators, from: [gcp]}]", "refers to nobody"),
    ("allow: [{kind: agents}]", "no validator may talk"),
    (
        "allow: [{kind: validators}, {kind: operators, networks: [0.0.0.0/0]}]",
        "never open to the world",
    ),
    ("ports: {agents: 7000}", "two services listen at one port"),
    ("keys: {rotation: 30 d}", "below the least value, 90 d"),
    ("replicas: {aws:us-gov-west-1: aws:us-gov-west-1}", "name another region"),
    ("replicas: {aws:us-gov-west-1: az:usgovtexas}", "not copied across separate clouds"),
    ("replicas: {az:usgovtexas: aws:us-gov-west-1}", "leave it out"),
    ("replicas: {aws:us-gov-west-1: aws:eu-north-1}", "refers to nobody"),
    ("custody: service", "custody"),
    ("custody: {gcp: {kind: service}}", "refers to nobody"),
    ("custody: {aws:us-gov-west-2: {kind: local}}", "did you mean `aws:us-gov-west-1`?"),
    (
        "custody: {aws: {kind: service, quota: 0 /s}}",
        "0 /s is below the least value, 0.000277778 /s",
    ),
    ("custody: {aws: {kind: service, burst: 0}}", "0 is below the least value, 1"),
    ("custody: {aws: {kind: hsm}}", "one of: local, service"),
    ("custody: {aws: {kind: local, quota: 5 /s}}", "`quota` is not known"),
    ("audit: {delivery: {gcp: {kind: fixed, value: 1 s}}}", "refers to nobody"),
    (
        "audit: {delivery: {aws: {kind: known, figure: cloudtrail_deliver}}}",
        "did you mean `cloudtrail_delivery`?",
    ),
    ("audit: {delivery: {aws: 5 min}}", "clouds.audit.delivery.aws"),
    (
        "custody: {aws: {kind: service, latency: 30 ms, latency_p99: 20 ms}}",
        "20 ms is less than the median, 30 ms",
    ),
)


@pytest.mark.parametrize(("section", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_bad_clouds_are_refused_with_the_line(section: str, said: str, tmp_path: Path) -> None:
    text = (ROOT / "scenarios" / "smoke.yaml").read_text(encoding="utf-8")
    text = text.replace(
        "{aws:us-gov-west-1: 2, aws:us-gov-east-1: 2}",
        "{aws:us-gov-west-1: 2, aws:us-gov-east-1: 1, az:usgovtexas: 1}",
    )
    file = tmp_path / "bad.yaml"
    file.write_text(f"{text}\nclouds:\n  {section}\n", encoding="utf-8")
    line = len(text.splitlines()) + 3
    with pytest.raises(ScenarioErrors) as caught:
        load_scenario(file)
    (error,) = caught.value.errors
    assert said in str(error)
    assert f"bad.yaml:{line}:" in str(error)


def test_regions_of_no_provider_are_refused(tmp_path: Path) -> None:
    text = (ROOT / "scenarios" / "smoke.yaml").read_text(encoding="utf-8")
    own = "  regions: {lab:here: {latitude: 1, longitude: 2}}"
    text = text.replace("network: {bandwidth: 5 Gbit/s}", f"network:\n  bandwidth: 5 Gbit/s\n{own}")
    text = text.replace("aws:us-gov-east-1: 2}", "lab:here: 2}").replace(
        "aws:us-gov-east-1: 50 %", "lab:here: 50 %"
    )
    file = tmp_path / "bad.yaml"
    file.write_text(f"{text}\nclouds: {{}}\n", encoding="utf-8")
    with pytest.raises(ScenarioErrors, match="no provider that plans are written for"):
        load_scenario(file)
