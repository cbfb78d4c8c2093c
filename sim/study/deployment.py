"""Deployment plans of a scenario: the same topology, rules and settings that a run simulates.

Owns: what of a scenario goes into plans, which files there are, and that nothing is written that an
inspection refuses. Must not know: how templates look, how results are printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.engine.clouds import flows_of
from sim.engine.custody import custody_of
from sim.scenario.clouds import (
    AgentTraffic,
    Clouds,
    MetricsTraffic,
    OperatorTraffic,
)
from sim.scenario.model import Scenario
from sim.scenario.quantities import DURATION, SHARE
from sim.scenario.rules_clouds import placed_regions
from sim.study.dashboards import dashboards, prometheus_rules
from sim.world.cloud import aws_deployer, azure_deployer, kubernetes
from sim.world.cloud.custody import Custody
from sim.world.cloud.deployment import (
    PROVIDERS,
    Deployment,
    Site,
    default_blocks,
    default_replica,
)
from sim.world.cloud.inspection import inspect
from sim.world.network.regions import zones_of

_DAY_NS, _HOUR_NS = 86_400 * 10**9, 3_600 * 10**9


@dataclass(frozen=True, slots=True)
class Plan:
    """One file of a deployment. `text`: all of it."""

    path: str
    what: str
    text: str


class PlanRefused(Exception):
    """Plans that an inspection found wanting. `findings`: (check, what is wrong) each."""

    def __init__(self, findings: list[tuple[str, str]]) -> None:
        super().__init__(f"{len(findings)} findings")
        self.findings = findings


def deployment(scenario: Scenario) -> Deployment:
    """Return what a scenario's deployment consists of; without `clouds`, with their defaults.

    Raises ValueError for a region of a provider that no plans are written for, and where a key
    service is to sign that has no keys of the suite.
    """
    clouds = scenario.clouds or Clouds()
    regions = placed_regions(scenario.validators)
    for region in regions:
        if region.partition(":")[0] not in PROVIDERS:
            known = ", ".join(PROVIDERS)
            raise ValueError(f"{region}: plans are written for regions of {known}")
    blocks = {**default_blocks(list(regions)), **clouds.networks}
    copies = {region: default_replica(region, list(regions)) for region in regions}
    copies.update(clouds.replicas)
    sites = tuple(
        Site(
            region,
            blocks[region],
            len(zones_of(region)),
            count,
            copies[region],
            _signing(clouds, region),
        )
        for region, count in regions.items()
    )
    workers = scenario.validators.workers
    return Deployment(
        name=scenario.name.replace("_", "-"),
        sites=sites,
        flows=flows_of(clouds),
        agent_networks=_networks(clouds, AgentTraffic),
        operator_networks=_networks(clouds, OperatorTraffic),
        metrics_networks=_networks(clouds, MetricsTraffic),
        validator_port=clouds.ports.validators,
        agent_port=clouds.ports.agents,
        metrics_port=clouds.ports.metrics,
        administration_port=clouds.ports.administration,
        key_rotation_days=clouds.keys.rotation_ns // _DAY_NS,
        audit_retention_days=-(-clouds.audit.retention_ns // _DAY_NS),
        backup_hours=clouds.backups.every_ns // _HOUR_NS,
        backup_keep_days=-(-clouds.backups.keep_ns // _DAY_NS),
        workers=workers.consensus + workers.agents,
        settings=_settings(scenario),
    )


def _signing(clouds: Clouds, region: str) -> Custody | None:
    custody = custody_of(clouds, region)
    if custody is not None and not custody.offer.signs:
        raise ValueError(
            f"{region}: {custody.offer.service} has no ML-DSA-87 keys, so no plan can let it sign "
            "votes, though a run can ask what it would be like: state `kind: local` for it in "
            "`clouds.custody`"
        )
    return custody


def _networks(clouds: Clouds, kind: type[Any]) -> tuple[str, ...]:
    found = [block for each in clouds.allow if isinstance(each, kind) for block in each.networks]
    return tuple(dict.fromkeys(found))


def _settings(scenario: Scenario) -> dict[str, str]:
    """Return what validators were simulated with, as text for their configuration."""
    consensus, weights, quorum = scenario.consensus, scenario.weights, scenario.quorum
    return {
        "scenario": scenario.digest,
        "epoch-blocks": str(consensus.epoch_blocks),
        "timer-base": DURATION.format(consensus.timer_base_ns),
        "timer-max": DURATION.format(consensus.timer_max_ns),
        "leader": consensus.leader,
        "dissemination": consensus.dissemination.kind,
        "weight-stake": SHARE.format(weights.stake_ppm),
        "weight-reputation": SHARE.format(weights.reputation_ppm),
        "weight-uptime": SHARE.format(weights.uptime_ppm),
        "weight-cap": SHARE.format(weights.cap_ppm),
        "weight-combine": weights.combine,
        "quorum-initial-level": str(quorum.initial_level),
        "quorum-cooldown-epochs": str(quorum.cooldown_epochs),
        "minimum-stake": str(scenario.ledger.min_stake),
        "signatures": "ML-DSA-87",
    }


def plans(whole: Deployment) -> Iterator[Plan]:
    """Yield all files of a deployment. Raises PlanRefused if an inspection refuses one."""
    makers = {"aws": aws_deployer.template, "az": azure_deployer.template}
    templates = {site.region: makers[site.provider](whole, site) for site in whole.sites}
    findings = inspect(whole, templates)
    if findings:
        raise PlanRefused(findings)
    for site in whole.sites:
        folder = "aws" if site.provider == "aws" else "azure"
        what = "CloudFormation" if site.provider == "aws" else "ARM"
        text = json.dumps(templates[site.region], indent=2) + "\n"
        yield Plan(f"{folder}/{site.name}.template.json", what, text)
    for site in whole.sites:
        where = site.region.replace(":", "-")
        listed = {"apiVersion": "v1", "kind": "List", "items": kubernetes.objects(whole, site)}
        yield Plan(f"kubernetes/{where}.yaml", "Kubernetes", _yaml(listed))
        yield Plan(f"helm/{where}.values.yaml", "Helm", _yaml(kubernetes.helm_values(whole, site)))


def _yaml(value: Any) -> str:
    import io

    from ruamel.yaml import YAML

    writer = YAML()
    writer.default_flow_style = False
    writer.representer.ignore_aliases = lambda _: True
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue()


def monitoring(scenario: Scenario) -> Iterator[Plan]:
    """Yield what watches a deployment: the alert rules that runs evaluate, and dashboards."""
    yield Plan("prometheus/rules.yaml", "Prometheus", _yaml(prometheus_rules(scenario)))
    for name, dashboard in dashboards(scenario).items():
        text = json.dumps(dashboard, indent=2) + "\n"
        yield Plan(f"grafana/{name}.json", "Grafana", text)


def write(scenario: Scenario, folder: Path) -> list[Plan]:
    """Write the plans of a scenario below `folder`; return them.

    Raises PlanRefused or ValueError before anything is written, FileExistsError where a file is
    there already with another content.
    """
    made = [*plans(deployment(scenario)), *monitoring(scenario)]
    for plan in made:
        file = folder / plan.path
        if file.exists() and file.read_text(encoding="utf-8") != plan.text:
            raise FileExistsError(f"{file} is there already and differs: choose another folder")
    for plan in made:
        file = folder / plan.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(plan.text, encoding="utf-8")
    return made
