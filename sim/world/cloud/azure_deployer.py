"""Plans for Azure: one ARM template a region, Azure Government or commercial.

Owns: what each part of a deployment is there, and how it is wired. Must not know: scenarios, files,
the other provider.

Deployed into a resource group of its own. What two regions need of each other (networks to peer,
gateways of other clouds) is a parameter that is empty at first. Source: Azure Resource Manager
template reference; Azure Government documentation on its own cloud environment.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from sim.world.cloud.deployment import Deployment, Site

Template: TypeAlias = dict[str, Any]
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
KUBERNETES_VERSION = "1.33"
KUBELET_PORT = 10_250
DISK_GIB = 200
"""Of a validator, as on AWS."""
_SIZES = (2, 4, 8, 16, 32, 48, 64, 96)

NETWORK_API = "2023-11-01"
VAULT_API = "2023-07-01"
STORAGE_API = "2023-01-01"
LOGS_API = "2022-10-01"
DIAGNOSTICS_API = "2021-05-01-preview"
CLUSTER_API = "2024-02-01"
BACKUP_API = "2023-04-01"
DISKS_API = "2023-04-02"


def machine(workers: int) -> str:
    """Return the smallest machine of the Dsv5 family with a virtual processor a worker."""
    for processors in _SIZES:
        if workers <= processors:
            return f"Standard_D{processors}s_v5"
    raise ValueError(f"{workers} workers; the largest machine of the Dsv5 family has {_SIZES[-1]}")


def template(deployment: Deployment, site: Site) -> Template:
    """Return the ARM template of one Azure region."""
    parameters: Template = {}
    resources = [
        _security_group(deployment, site),
        _network(site),
        *_peers(parameters, deployment, site),
        *_vault(deployment, site),
        *_trail(deployment, site),
        _cluster(deployment, site),
        *_backups(deployment, site),
    ]
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "metadata": {
            "description": f"{deployment.name}: {site.validators} validators in {site.name}"
        },
        "parameters": parameters,
        "variables": {"vault": f"[concat('v', uniqueString(resourceGroup().id, '{site.name}'))]"},
        "resources": resources,
        "outputs": {
            "network": {"type": "string", "value": _id("Microsoft.Network/virtualNetworks", "net")}
        },
    }


def _id(kind: str, *names: str) -> str:
    quoted = ", ".join(name if name.startswith("variables(") else f"'{name}'" for name in names)
    return f"[resourceId('{kind}', {quoted})]"


def _resource(
    resource: str, version: str, name: str, site: Site, properties: Template, **more: Any
) -> Template:
    return {
        "type": resource,
        "apiVersion": version,
        "name": name,
        "location": site.name,
        **more,
        "properties": properties,
    }


def _security_group(deployment: Deployment, site: Site) -> Template:
    wanted = [
        (f"validators-of-{peer.region.replace(':', '-')}", peer.block, deployment.validator_port)
        for peer in deployment.peers(site)
    ]
    for who, networks, port in deployment.visitors():
        wanted += [(f"{who}-{place}", block, port) for place, block in enumerate(networks)]
    rules = [
        _rule(name, 100 + 10 * place, "Inbound", "Allow", source=block, port=str(port))
        for place, (name, block, port) in enumerate(wanted)
    ]
    rules += [
        _rule(
            f"to-validators-of-{other.region.replace(':', '-')}",
            100 + 10 * place,
            "Outbound",
            "Allow",
            target=other.block,
            port=str(deployment.validator_port),
        )
        for place, other in enumerate(deployment.reached(site))
    ]
    # What machines of one cluster and its load balancer need of each other.
    rules.append(
        _rule("kubelets", 3000, "Inbound", "Allow", source=site.block, port=str(KUBELET_PORT))
    )
    rules.append(_rule("probes", 3010, "Inbound", "Allow", source="AzureLoadBalancer"))
    # Without these two the default rules let a whole virtual network, peers included, talk.
    rules.append(_rule("nothing-else-in", 4096, "Inbound", "Deny"))
    rules.append(
        _rule(
            "no-other-validators-out",
            4096,
            "Outbound",
            "Deny",
            target="VirtualNetwork",
            port=str(deployment.validator_port),
        )
    )
    return _resource(
        "Microsoft.Network/networkSecurityGroups",
        NETWORK_API,
        "validators",
        site,
        {"securityRules": rules},
    )


def _rule(
    name: str,
    priority: int,
    direction: str,
    access: str,
    *,
    source: str = "*",
    target: str = "*",
    port: str = "*",
) -> Template:
    return {
        "name": name,
        "properties": {
            "priority": priority,
            "direction": direction,
            "access": access,
            "protocol": "Tcp" if access == "Allow" else "*",
            "sourceAddressPrefix": "*" if source == "0.0.0.0/0" else source,
            "sourcePortRange": "*",
            "destinationAddressPrefix": target,
            "destinationPortRange": port,
        },
    }


def _network(site: Site) -> Template:
    group = {"id": _id("Microsoft.Network/networkSecurityGroups", "validators")}
    return _resource(
        "Microsoft.Network/virtualNetworks",
        NETWORK_API,
        "net",
        site,
        {
            "addressSpace": {"addressPrefixes": [site.block]},
            "subnets": [
                {
                    "name": f"zone-{subnet.zone}",
                    "properties": {"addressPrefix": subnet.block, "networkSecurityGroup": group},
                }
                for subnet in site.subnets()
            ],
        },
        dependsOn=[group["id"]],
    )


def _peers(parameters: Template, deployment: Deployment, site: Site) -> list[Template]:
    """Join networks of one separate cloud by peering, note gateways of others."""
    resources = []
    network = _id("Microsoft.Network/virtualNetworks", "net")
    others: dict[str, list[Site]] = {}
    for other in deployment.linked(site):
        if other.partition != site.partition:
            others.setdefault(other.partition, []).append(other)
            continue
        name = f"network-{other.name}"
        parameters[name] = {
            "type": "string",
            "defaultValue": "",
            "metadata": {"description": f"Id of the network in {other.name}, once it exists"},
        }
        resources.append(
            {
                "condition": f"[not(empty(parameters('{name}')))]",
                "type": "Microsoft.Network/virtualNetworks/virtualNetworkPeerings",
                "apiVersion": NETWORK_API,
                "name": f"net/to-{other.name}",
                "dependsOn": [network],
                "properties": {
                    "remoteVirtualNetwork": {"id": f"[parameters('{name}')]"},
                    "allowVirtualNetworkAccess": True,
                    "allowForwardedTraffic": False,
                },
            }
        )
    for partition, sites in others.items():
        name = f"gateway-{partition}"
        parameters[name] = {
            "type": "string",
            "defaultValue": "",
            "metadata": {"description": f"Address of the gateway of {partition}"},
        }
        resources.append(
            _resource(
                "Microsoft.Network/localNetworkGateways",
                NETWORK_API,
                partition,
                site,
                {
                    "gatewayIpAddress": f"[parameters('{name}')]",
                    "localNetworkAddressSpace": {
                        "addressPrefixes": [other.block for other in sites]
                    },
                },
                condition=f"[not(empty(parameters('{name}')))]",
            )
        )
    return resources


def _vault(deployment: Deployment, site: Site) -> list[Template]:
    vault = _resource(
        "Microsoft.KeyVault/vaults",
        VAULT_API,
        "[variables('vault')]",
        site,
        {
            "tenantId": "[subscription().tenantId]",
            "sku": {"family": "A", "name": "premium"},
            "enableRbacAuthorization": True,
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": 90,
            "enablePurgeProtection": True,
            "publicNetworkAccess": "Disabled",
            "networkAcls": {"bypass": "AzureServices", "defaultAction": "Deny"},
        },
    )
    key = {
        "type": "Microsoft.KeyVault/vaults/keys",
        "apiVersion": VAULT_API,
        "name": "[concat(variables('vault'), '/at-rest')]",
        "dependsOn": [_id("Microsoft.KeyVault/vaults", "variables('vault')")],
        "properties": {
            "kty": "RSA-HSM",
            "keySize": 4096,
            "keyOps": ["wrapKey", "unwrapKey"],
            "rotationPolicy": {
                "attributes": {"expiryTime": f"P{deployment.key_rotation_days + 30}D"},
                "lifetimeActions": [
                    {
                        "action": {"type": "rotate"},
                        "trigger": {"timeAfterCreate": f"P{deployment.key_rotation_days}D"},
                    }
                ],
            },
        },
    }
    disks = _resource(
        "Microsoft.Compute/diskEncryptionSets",
        DISKS_API,
        "disks",
        site,
        {
            "activeKey": {"keyUrl": f"[{_key_reference()}.keyUriWithVersion]"},
            "encryptionType": "EncryptionAtRestWithCustomerKey",
            "rotationToLatestKeyVersionEnabled": True,
        },
        identity={"type": "SystemAssigned"},
        dependsOn=[_id("Microsoft.KeyVault/vaults/keys", "variables('vault')", "at-rest")],
    )
    return [vault, key, disks]


def _key_reference() -> str:
    kind = "Microsoft.KeyVault/vaults/keys"
    return f"reference(resourceId('{kind}', variables('vault'), 'at-rest'), '{VAULT_API}')"


def _trail(deployment: Deployment, site: Site) -> list[Template]:
    account = "[concat('t', uniqueString(resourceGroup().id))]"
    storage = _resource(
        "Microsoft.Storage/storageAccounts",
        STORAGE_API,
        account,
        site,
        {
            "minimumTlsVersion": "TLS1_2",
            "allowBlobPublicAccess": False,
            "supportsHttpsTrafficOnly": True,
            "encryption": {
                "requireInfrastructureEncryption": True,
                "keySource": "Microsoft.Storage",
            },
            "immutableStorageWithVersioning": {
                "enabled": True,
                "immutabilityPolicy": {
                    "immutabilityPeriodSinceCreationInDays": deployment.audit_retention_days,
                    "state": "Locked",
                    "allowProtectedAppendWrites": True,
                },
            },
        },
        sku={"name": "Standard_GZRS" if site.zones > 1 else "Standard_GRS"},
        kind="StorageV2",
    )
    logs = _resource(
        "Microsoft.OperationalInsights/workspaces",
        LOGS_API,
        "trail",
        site,
        {
            "sku": {"name": "PerGB2018"},
            "retentionInDays": min(730, deployment.audit_retention_days),
        },
    )
    diagnostics = {
        "type": "Microsoft.Insights/diagnosticSettings",
        "apiVersion": DIAGNOSTICS_API,
        "scope": "[concat('Microsoft.KeyVault/vaults/', variables('vault'))]",
        "name": "trail",
        "dependsOn": [
            _id("Microsoft.KeyVault/vaults", "variables('vault')"),
            _id("Microsoft.OperationalInsights/workspaces", "trail"),
        ],
        "properties": {
            "workspaceId": _id("Microsoft.OperationalInsights/workspaces", "trail"),
            "logs": [{"categoryGroup": "audit", "enabled": True}],
        },
    }
    return [storage, logs, diagnostics]


def _cluster(deployment: Deployment, site: Site) -> Template:
    subnets = site.subnets()
    pools = [
        {
            "name": f"zone{subnet.zone}",
            "mode": "System",
            "count": subnet.validators,
            "vmSize": machine(deployment.workers),
            "osDiskSizeGB": DISK_GIB,
            "enableEncryptionAtHost": True,
            "vnetSubnetID": _id(
                "Microsoft.Network/virtualNetworks/subnets", "net", f"zone-{subnet.zone}"
            ),
            **({"availabilityZones": [str(subnet.zone)]} if site.zones > 1 else {}),
        }
        for subnet in subnets
        if subnet.validators
    ]
    return _resource(
        "Microsoft.ContainerService/managedClusters",
        CLUSTER_API,
        deployment.name,
        site,
        {
            "kubernetesVersion": KUBERNETES_VERSION,
            "dnsPrefix": deployment.name,
            "diskEncryptionSetID": _id("Microsoft.Compute/diskEncryptionSets", "disks"),
            "apiServerAccessProfile": {"enablePrivateCluster": True},
            "agentPoolProfiles": pools,
            "networkProfile": {"networkPlugin": "azure", "networkPolicy": "azure"},
        },
        identity={"type": "SystemAssigned"},
        dependsOn=[
            _id("Microsoft.Network/virtualNetworks", "net"),
            _id("Microsoft.Compute/diskEncryptionSets", "disks"),
        ],
    )


def _backups(deployment: Deployment, site: Site) -> list[Template]:
    vault = _resource(
        "Microsoft.DataProtection/backupVaults",
        BACKUP_API,
        "backups",
        site,
        {
            "storageSettings": [{"datastoreType": "VaultStore", "type": "ZoneRedundant"}],
            "securitySettings": {
                "immutabilitySettings": {"state": "Unlocked"},
                "softDeleteSettings": {"state": "On", "retentionDurationInDays": 14},
            },
        },
        identity={"type": "SystemAssigned"},
    )
    return [vault, _backup_policy(deployment)]


def _backup_policy(deployment: Deployment) -> Template:
    return {
        "type": "Microsoft.DataProtection/backupVaults/backupPolicies",
        "apiVersion": BACKUP_API,
        "name": "backups/disks",
        "dependsOn": [_id("Microsoft.DataProtection/backupVaults", "backups")],
        "properties": {
            "objectType": "BackupPolicy",
            "datasourceTypes": ["Microsoft.Compute/disks"],
            "policyRules": [
                {
                    "name": "often",
                    "objectType": "AzureBackupRule",
                    "backupParameters": {
                        "objectType": "AzureBackupParams",
                        "backupType": "Incremental",
                    },
                    "dataStore": {
                        "objectType": "DataStoreInfoBase",
                        "dataStoreType": "OperationalStore",
                    },
                    "trigger": {
                        "objectType": "ScheduleBasedTriggerContext",
                        "schedule": {
                            "repeatingTimeIntervals": [
                                f"R/2026-01-01T00:00:00+00:00/PT{deployment.backup_hours}H"
                            ]
                        },
                        "taggingCriteria": [
                            {
                                "isDefault": True,
                                "taggingPriority": 99,
                                "tagInfo": {"tagName": "Default"},
                            }
                        ],
                    },
                },
                {
                    "name": "Default",
                    "objectType": "AzureRetentionRule",
                    "isDefault": True,
                    "lifecycles": [
                        {
                            "deleteAfter": {
                                "objectType": "AbsoluteDeleteOption",
                                "duration": f"P{deployment.backup_keep_days}D",
                            },
                            "sourceDataStore": {
                                "objectType": "DataStoreInfoBase",
                                "dataStoreType": "OperationalStore",
                            },
                        }
                    ],
                },
            ],
        },
    }
