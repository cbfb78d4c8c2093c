"""Look plans over before they are written: checks of what a deployment must never lack.

Owns: the checks, each with what it found and where. They read the templates as a deployer would, so
that they also judge plans that somebody has edited. Must not know: how templates are made, files.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from sim.world.cloud.custody import KEY_SPEC
from sim.world.cloud.deployment import Deployment, Site

Plans: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Template by region."""
Check: TypeAlias = Callable[[Deployment, Plans], Iterator[str]]

ADMINISTRATIVE_PORTS = (22, 3389, 6443, 10250)
CHECKS: dict[str, Check] = {}


def inspect(deployment: Deployment, plans: Plans) -> list[tuple[str, str]]:
    """Return (check, finding) of everything that is wrong."""
    return [(name, found) for name, check in CHECKS.items() for found in check(deployment, plans)]


def _check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


# -- reading templates --------------------------------------------------------------------------


def _parts(plan: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    """Return the properties of all resources of a kind, of either provider."""
    resources = plan.get("Resources", plan.get("resources", {}))
    each = resources.values() if isinstance(resources, Mapping) else resources
    return [r.get("properties", r.get("Properties", {})) for r in each if _kind(r) == kind]


def _kind(resource: Mapping[str, Any]) -> str:
    return str(resource.get("Type", resource.get("type", "")))


def _sites(deployment: Deployment, plans: Plans) -> Iterator[tuple[Site, Mapping[str, Any]]]:
    for site in deployment.sites:
        if site.region in plans:
            yield site, plans[site.region]


def _openings(site: Site, plan: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Yield (block, first port, last port) of everything that is let in."""
    if site.provider == "aws":
        for group in _parts(plan, "AWS::EC2::SecurityGroup"):
            for rule in group.get("SecurityGroupIngress", ()):
                everything = rule["IpProtocol"] == "-1"
                first = 0 if everything else int(rule["FromPort"])
                last = 65_535 if everything else int(rule["ToPort"])
                yield rule.get("CidrIp", ""), first, last
        return
    for group in _parts(plan, "Microsoft.Network/networkSecurityGroups"):
        for each in group["securityRules"]:
            rule = each["properties"]
            source = rule["sourceAddressPrefix"]
            if rule["direction"] != "Inbound" or rule["access"] != "Allow":
                continue
            if source == "AzureLoadBalancer":
                continue
            ports = rule["destinationPortRange"]
            low, _, high = ports.partition("-")
            block = "0.0.0.0/0" if source in ("*", "Internet", "0.0.0.0/0") else source
            if ports == "*":
                yield block, 0, 65_535
            else:
                yield block, int(low), int(high or low)


def _subnet_blocks(site: Site, plan: Mapping[str, Any]) -> list[str]:
    if site.provider == "aws":
        return [subnet["CidrBlock"] for subnet in _parts(plan, "AWS::EC2::Subnet")]
    return [
        subnet["properties"]["addressPrefix"]
        for network in _parts(plan, "Microsoft.Network/virtualNetworks")
        for subnet in network["subnets"]
    ]


def _network_block(site: Site, plan: Mapping[str, Any]) -> str:
    if site.provider == "aws":
        return next((str(v["CidrBlock"]) for v in _parts(plan, "AWS::EC2::VPC")), "")
    networks = _parts(plan, "Microsoft.Network/virtualNetworks")
    return str(networks[0]["addressSpace"]["addressPrefixes"][0]) if networks else ""


def node_counts(site: Site, plan: Mapping[str, Any]) -> list[int]:
    """Return how many machines each zone's pool has."""
    if site.provider == "aws":
        groups = _parts(plan, "AWS::EKS::Nodegroup")
        return [int(group["ScalingConfig"]["DesiredSize"]) for group in groups]
    clusters = _parts(plan, "Microsoft.ContainerService/managedClusters")
    return [int(pool["count"]) for each in clusters for pool in each["agentPoolProfiles"]]


# -- the checks ---------------------------------------------------------------------------------


@_check
def every_region_planned(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """Each region of the scenario has one template, and no other has."""
    regions = {site.region for site in deployment.sites}
    yield from (
        f"{site.region} has no plan" for site in deployment.sites if site.region not in plans
    )
    yield from (
        f"{region} has a plan but no validators" for region in plans if region not in regions
    )


@_check
def networks_apart(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """No two networks share addresses: neither peering nor tunnels could tell them apart."""
    blocks = [
        (site.region, ipaddress.IPv4Network(_network_block(site, plan)))
        for site, plan in _sites(deployment, plans)
        if _network_block(site, plan)
    ]
    for place, (region, block) in enumerate(blocks):
        for other, its in blocks[place + 1 :]:
            if block.overlaps(its):
                yield f"{region} and {other} share addresses of {block} and {its}"


@_check
def zones_have_subnets(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """Each zone has a subnet of its own inside the region's network."""
    for site, plan in _sites(deployment, plans):
        block = _network_block(site, plan)
        subnets = _subnet_blocks(site, plan)
        if len(subnets) != site.zones:
            yield f"{site.region}: {len(subnets)} subnets for {site.zones} zones"
        for subnet in subnets:
            inside = block and ipaddress.IPv4Network(subnet).subnet_of(ipaddress.IPv4Network(block))
            if not inside:
                yield f"{site.region}: subnet {subnet} lies outside {block or 'any network'}"


@_check
def administration_closed(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """Nobody reaches an administrative port from anywhere."""
    for site, plan in _sites(deployment, plans):
        for block, first, last in _openings(site, plan):
            for port in ADMINISTRATIVE_PORTS:
                if block == "0.0.0.0/0" and first <= port <= last:
                    yield f"{site.region}: port {port} is open to the world"


@_check
def validators_reached_by_peers_only(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """The validators' port is open to exactly the regions that may send in a run."""
    port = deployment.validator_port
    for site, plan in _sites(deployment, plans):
        wanted = {peer.block for peer in deployment.peers(site)}
        found = {block for block, first, last in _openings(site, plan) if first <= port <= last}
        yield from (f"{site.region}: {block} is not let in" for block in sorted(wanted - found))
        yield from (
            f"{site.region}: {block} reaches validators" for block in sorted(found - wanted)
        )


@_check
def gateways_reached_by_agents(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """The gateways' port is open to the networks that agents come from."""
    port = deployment.agent_port
    for site, plan in _sites(deployment, plans):
        found = {block for block, first, last in _openings(site, plan) if first <= port <= last}
        for block in deployment.agent_networks:
            if block not in found:
                yield f"{site.region}: agents of {block} are not let in"


@_check
def keys_rotate(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """Keys at rest rotate as often as asked."""
    days = deployment.key_rotation_days
    for site, plan in _sites(deployment, plans):
        if site.provider == "aws":
            keys = [k for k in _parts(plan, "AWS::KMS::Key") if "KeySpec" not in k]
            good = bool(keys) and all(
                key.get("EnableKeyRotation") is True and key.get("RotationPeriodInDays") == days
                for key in keys
            )
        else:
            keys = _parts(plan, "Microsoft.KeyVault/vaults/keys")
            good = bool(keys) and all(f"P{days}D" in _rotations(key) for key in keys)
        if not good:
            yield f"{site.region}: keys do not rotate every {days} days"


def _rotations(key: Mapping[str, Any]) -> list[str]:
    actions = key.get("rotationPolicy", {}).get("lifetimeActions", ())
    return [a["trigger"]["timeAfterCreate"] for a in actions if a["action"]["type"] == "rotate"]


@_check
def votes_signed_as_simulated(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """Where a key service signs, each validator has a key of the suite, and nobody else uses it."""
    for site, plan in _sites(deployment, plans):
        keys = [key for key in _parts(plan, "AWS::KMS::Key") if "KeySpec" in key]
        wanted = 0 if site.custody is None else site.validators
        good = [key for key in keys if key["KeySpec"] == KEY_SPEC]
        if len(keys) != wanted or len(good) != wanted:
            yield f"{site.region}: {len(good)} {KEY_SPEC} keys for {wanted} validators"
        owners = [owner for key in good for owner in _signers(key)]
        if len(dict.fromkeys(owners)) != len(good) or "" in owners:
            yield f"{site.region}: keys can be used by others than their validator"


def _signers(key: Mapping[str, Any]) -> Iterator[str]:
    """Yield whose pod may sign with a key; empty for everybody."""
    for statement in key["KeyPolicy"]["Statement"]:
        actions = statement["Action"]
        named = [actions] if isinstance(actions, str) else actions
        if any(action in ("*", "kms:*", "kms:Sign", "kms:S*") for action in named):
            tests = statement.get("Condition", {}).get("StringEquals", {})
            yield tests.get("aws:PrincipalTag/kubernetes-pod-name", "")


@_check
def disks_encrypted(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """Validators' disks are encrypted with the deployment's own keys."""
    for site, plan in _sites(deployment, plans):
        if site.provider == "aws":
            disks = [
                disk["Ebs"]
                for machine in _parts(plan, "AWS::EC2::LaunchTemplate")
                for disk in machine["LaunchTemplateData"].get("BlockDeviceMappings", ())
            ]
            good = bool(disks) and all(d.get("Encrypted") and d.get("KmsKeyId") for d in disks)
        else:
            clusters = _parts(plan, "Microsoft.ContainerService/managedClusters")
            good = bool(clusters) and all(c.get("diskEncryptionSetID") for c in clusters)
        if not good:
            yield f"{site.region}: disks are not encrypted with the deployment's key"


@_check
def trail_on(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """The cloud records who did what, and records can be told from forged ones."""
    for site, plan in _sites(deployment, plans):
        if site.provider == "aws":
            trails = _parts(plan, "AWS::CloudTrail::Trail")
            good = any(t.get("IsLogging") and t.get("EnableLogFileValidation") for t in trails)
        else:
            settings = _parts(plan, "Microsoft.Insights/diagnosticSettings")
            good = any(log.get("enabled") for each in settings for log in each.get("logs", ()))
        if not good:
            yield f"{site.region}: no audit trail"


@_check
def trail_kept(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """Records of the trail can't be changed or deleted for as long as asked."""
    days = deployment.audit_retention_days
    for site, plan in _sites(deployment, plans):
        if site.provider == "aws":
            kept = [_locked_days(bucket) for bucket in _parts(plan, "AWS::S3::Bucket")]
        else:
            kept = [
                int(policy["immutabilityPeriodSinceCreationInDays"])
                for account in _parts(plan, "Microsoft.Storage/storageAccounts")
                for policy in [
                    account.get("immutableStorageWithVersioning", {}).get("immutabilityPolicy")
                ]
                if policy
            ]
        if max(kept, default=0) < days:
            yield f"{site.region}: records can be deleted before {days} days are over"


def _locked_days(bucket: Mapping[str, Any]) -> int:
    retention = (
        bucket.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
    )
    return int(retention.get("Days", 0)) if retention.get("Mode") == "COMPLIANCE" else 0


@_check
def trail_copied(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """A region's trail is copied to another region where one takes it."""
    for site, plan in _sites(deployment, plans):
        if site.replica is None:
            continue
        if site.provider == "aws":
            buckets = _parts(plan, "AWS::S3::Bucket")
            good = any("ReplicationConfiguration" in bucket for bucket in buckets)
        else:
            resources = plan.get("resources", ())
            accounts = [r for r in resources if _kind(r) == "Microsoft.Storage/storageAccounts"]
            good = any("GZRS" in r["sku"]["name"] or "GRS" in r["sku"]["name"] for r in accounts)
        if not good:
            yield f"{site.region}: the audit trail has no copy in {site.replica}"


@_check
def backups_planned(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """Disks are backed up, and backups are kept as long as asked."""
    days = deployment.backup_keep_days
    for site, plan in _sites(deployment, plans):
        if site.provider == "aws":
            rules = [
                rule
                for each in _parts(plan, "AWS::Backup::BackupPlan")
                for rule in each["BackupPlan"]["BackupPlanRule"]
            ]
            good = any(r.get("Lifecycle", {}).get("DeleteAfterDays") == days for r in rules)
            good = good and bool(_parts(plan, "AWS::Backup::BackupSelection"))
        else:
            policies = _parts(plan, "Microsoft.DataProtection/backupVaults/backupPolicies")
            good = f"P{days}D" in str(policies)
        if not good:
            yield f"{site.region}: no backup is kept for {days} days"


@_check
def validators_all_there(deployment: Deployment, plans: Plans) -> Iterator[str]:
    """There are as many machines as validators were simulated, spread evenly over the zones."""
    for site, plan in _sites(deployment, plans):
        counts = node_counts(site, plan)
        if sum(counts) != site.validators:
            yield f"{site.region}: {sum(counts)} machines for {site.validators} validators"
        elif counts and max(counts) - min(counts) > 1:
            yield f"{site.region}: machines by zone are {counts}, not spread evenly"
