"""Plans for AWS: one CloudFormation template a region, GovCloud or commercial.

Owns: what each part of a deployment is there, and how it is wired. Must not know: scenarios, files,
the other provider.

A stack is regional. What two stacks need of each other (networks to peer, gateways of other clouds,
buckets that must exist before copies go there) is a parameter that is empty at first: create all
stacks, then update them with what they have become. Sources: AWS CloudFormation template reference;
AWS GovCloud (US) user guide on the partition `aws-us-gov`.
"""

from __future__ import annotations

from sim.world.cloud.aws_keys import keys_at_rest, signing_keys
from sim.world.cloud.aws_trail import audit
from sim.world.cloud.cloudformation import (
    Template,
    attribute,
    camel,
    equals,
    parameter,
    ref,
    role,
    stated,
    tags,
    text,
)
from sim.world.cloud.deployment import Deployment, Site

KUBERNETES_VERSION = "1.33"
DISK_GIB = 200
"""Of a validator: chain, ledger and audit segments of some months (assumption)."""
_SIZES = (("large", 2), ("xlarge", 4), ("2xlarge", 8), ("4xlarge", 16), ("8xlarge", 32))
_LARGEST = ("32xlarge", 128)
MOST_RESOURCES = 500
"""Of a template (AWS CloudFormation user guide, "Quotas")."""


def machine(workers: int) -> str:
    """Return the smallest machine of the m6i family with a virtual processor a worker."""
    for size, processors in (*_SIZES, ("16xlarge", 64), _LARGEST):
        if workers <= processors:
            return f"m6i.{size}"
    raise ValueError(f"{workers} workers; the largest machine of the m6i family has {_LARGEST[1]}")


def template(deployment: Deployment, site: Site) -> Template:
    """Return the CloudFormation template of one AWS region."""
    resources: Template = {}
    parameters: Template = {
        "Replicate": {
            "Type": "String",
            "AllowedValues": ["true", "false"],
            "Default": "false",
            "Description": "true once the bucket that copies go to exists",
        }
    }
    conditions: Template = {"Replicates": equals("Replicate", "true")}
    keys_at_rest(resources, deployment, site)
    _network(resources, deployment, site)
    _peers(resources, parameters, conditions, deployment, site)
    audit(resources, deployment, site)
    _cluster(resources, deployment, site)
    _backups(resources, deployment, site)
    outputs: Template = {
        "Vpc": {"Value": ref("Vpc")},
        "TrailBucket": {"Value": ref("TrailBucket")},
        "Cluster": {"Value": ref("Cluster")},
    }
    if site.custody is not None:
        signing_keys(resources, outputs, deployment, site, site.custody)
    if len(resources) > MOST_RESOURCES:
        raise ValueError(
            f"{site.region}: {len(resources)} resources for {site.validators} validators; a stack "
            f"holds {MOST_RESOURCES}: spread them over more regions, or let them hold their keys"
        )
    if site.replica is None:
        del parameters["Replicate"], conditions["Replicates"]
    whole: Template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"{deployment.name}: {site.validators} validators in {site.name}",
    }
    if parameters:
        whole["Parameters"] = parameters
    if conditions:
        whole["Conditions"] = conditions
    whole["Resources"] = resources
    whole["Outputs"] = outputs
    return whole


def _network(resources: Template, deployment: Deployment, site: Site) -> None:
    resources["Vpc"] = {
        "Type": "AWS::EC2::VPC",
        "Properties": {
            "CidrBlock": site.block,
            "EnableDnsSupport": True,
            "EnableDnsHostnames": True,
            "Tags": tags(deployment.name, "network"),
        },
    }
    resources["Routes"] = {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": ref("Vpc")}}
    for subnet in site.subnets():
        zone = f"Zone{subnet.zone}"
        resources[zone] = {
            "Type": "AWS::EC2::Subnet",
            "Properties": {
                "VpcId": ref("Vpc"),
                "CidrBlock": subnet.block,
                "AvailabilityZone": {"Fn::Select": [subnet.zone - 1, {"Fn::GetAZs": ""}]},
                "MapPublicIpOnLaunch": False,
                "Tags": tags(deployment.name, f"zone-{subnet.zone}"),
            },
        }
        resources[f"{zone}Routes"] = {
            "Type": "AWS::EC2::SubnetRouteTableAssociation",
            "Properties": {"SubnetId": ref(zone), "RouteTableId": ref("Routes")},
        }
    if deployment.agent_networks:
        _way_in(resources)
    resources["Validators"] = {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {
            "GroupDescription": "Who may talk to validators",
            "VpcId": ref("Vpc"),
            "SecurityGroupIngress": _ingress(deployment, site),
            "SecurityGroupEgress": _egress(deployment, site),
            "Tags": tags(deployment.name, "validators"),
        },
    }
    resources["KeyEndpoint"] = {
        "Type": "AWS::EC2::VPCEndpoint",
        "Properties": {
            "VpcId": ref("Vpc"),
            "ServiceName": text("com.amazonaws.${AWS::Region}.kms"),
            "VpcEndpointType": "Interface",
            "PrivateDnsEnabled": True,
            "SubnetIds": [ref(f"Zone{subnet.zone}") for subnet in site.subnets()],
            "SecurityGroupIds": [ref("Validators")],
        },
    }


def _way_in(resources: Template) -> None:
    resources["InternetGateway"] = {"Type": "AWS::EC2::InternetGateway"}
    resources["InternetGatewayAttachment"] = {
        "Type": "AWS::EC2::VPCGatewayAttachment",
        "Properties": {"VpcId": ref("Vpc"), "InternetGatewayId": ref("InternetGateway")},
    }
    resources["DefaultRoute"] = {
        "Type": "AWS::EC2::Route",
        "DependsOn": "InternetGatewayAttachment",
        "Properties": {
            "RouteTableId": ref("Routes"),
            "DestinationCidrBlock": "0.0.0.0/0",
            "GatewayId": ref("InternetGateway"),
        },
    }


def _rule(block: str, port: int, text: str) -> Template:
    return {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "CidrIp": block,
        "Description": text,
    }


def _ingress(deployment: Deployment, site: Site) -> list[Template]:
    rules = [
        _rule(peer.block, deployment.validator_port, f"validators of {peer.region}")
        for peer in deployment.peers(site)
    ]
    for who, networks, port in deployment.visitors():
        rules += [_rule(block, port, who) for block in networks]
    return rules


def _egress(deployment: Deployment, site: Site) -> list[Template]:
    rules = [
        _rule(other.block, deployment.validator_port, f"validators of {other.region}")
        for other in deployment.reached(site)
    ]
    return [*rules, _rule(site.block, 443, "endpoints of services")]


def _peers(
    resources: Template,
    parameters: Template,
    conditions: Template,
    deployment: Deployment,
    site: Site,
) -> None:
    """Join the networks of one separate cloud by peering, those of others by private networks."""
    others: dict[str, list[Site]] = {}
    for other in deployment.linked(site):
        if other.partition == site.partition:
            _peering(resources, parameters, conditions, other)
        else:
            others.setdefault(other.partition, []).append(other)
    if others:
        resources["VpnGateway"] = {
            "Type": "AWS::EC2::VPNGateway",
            "Properties": {"Type": "ipsec.1"},
        }
        resources["VpnGatewayAttachment"] = {
            "Type": "AWS::EC2::VPCGatewayAttachment",
            "Properties": {"VpcId": ref("Vpc"), "VpnGatewayId": ref("VpnGateway")},
        }
    for partition, sites in others.items():
        _tunnel(resources, parameters, conditions, partition, sites)


def _peering(resources: Template, parameters: Template, conditions: Template, other: Site) -> None:
    peer = camel(other.name)
    parameters[f"Vpc{peer}"] = parameter(f"Network in {other.name}, once it exists")
    conditions[f"Joins{peer}"] = stated(f"Vpc{peer}")
    resources[f"Peering{peer}"] = {
        "Type": "AWS::EC2::VPCPeeringConnection",
        "Condition": f"Joins{peer}",
        "Properties": {
            "VpcId": ref("Vpc"),
            "PeerVpcId": ref(f"Vpc{peer}"),
            "PeerRegion": other.name,
        },
    }
    resources[f"Route{peer}"] = {
        "Type": "AWS::EC2::Route",
        "Condition": f"Joins{peer}",
        "Properties": {
            "RouteTableId": ref("Routes"),
            "DestinationCidrBlock": other.block,
            "VpcPeeringConnectionId": ref(f"Peering{peer}"),
        },
    }


def _tunnel(
    resources: Template,
    parameters: Template,
    conditions: Template,
    partition: str,
    sites: list[Site],
) -> None:
    peer = camel(partition)
    parameters[f"Gateway{peer}"] = parameter(f"Address of the gateway of {partition}")
    conditions[f"Reaches{peer}"] = stated(f"Gateway{peer}")
    resources[f"Gateway{peer}Side"] = {
        "Type": "AWS::EC2::CustomerGateway",
        "Condition": f"Reaches{peer}",
        "Properties": {"Type": "ipsec.1", "BgpAsn": 65_000, "IpAddress": ref(f"Gateway{peer}")},
    }
    resources[f"Tunnel{peer}"] = {
        "Type": "AWS::EC2::VPNConnection",
        "Condition": f"Reaches{peer}",
        "Properties": {
            "Type": "ipsec.1",
            "StaticRoutesOnly": True,
            "CustomerGatewayId": ref(f"Gateway{peer}Side"),
            "VpnGatewayId": ref("VpnGateway"),
        },
    }
    for site in sites:
        resources[f"Route{camel(site.region)}"] = {
            "Type": "AWS::EC2::Route",
            "Condition": f"Reaches{peer}",
            "DependsOn": "VpnGatewayAttachment",
            "Properties": {
                "RouteTableId": ref("Routes"),
                "DestinationCidrBlock": site.block,
                "GatewayId": ref("VpnGateway"),
            },
        }


def _cluster(resources: Template, deployment: Deployment, site: Site) -> None:
    zones = [ref(f"Zone{subnet.zone}") for subnet in site.subnets()]
    resources["ClusterRole"] = role("eks.amazonaws.com", "AmazonEKSClusterPolicy")
    resources["Cluster"] = {
        "Type": "AWS::EKS::Cluster",
        "Properties": {
            "Name": deployment.name,
            "Version": KUBERNETES_VERSION,
            "RoleArn": attribute("ClusterRole", "Arn"),
            "ResourcesVpcConfig": {
                "SubnetIds": zones,
                "SecurityGroupIds": [ref("Validators")],
                "EndpointPrivateAccess": True,
                "EndpointPublicAccess": False,
            },
            "EncryptionConfig": [
                {"Provider": {"KeyArn": attribute("Key", "Arn")}, "Resources": ["secrets"]}
            ],
        },
    }
    resources["NodeRole"] = role(
        "ec2.amazonaws.com",
        "AmazonEKSWorkerNodePolicy",
        "AmazonEKS_CNI_Policy",
        "AmazonEC2ContainerRegistryReadOnly",
    )
    resources["Machine"] = {
        "Type": "AWS::EC2::LaunchTemplate",
        "Properties": {
            "LaunchTemplateData": {
                "InstanceType": machine(deployment.workers),
                # The cluster's own group lets its control plane reach the machines.
                "SecurityGroupIds": [
                    ref("Validators"),
                    attribute("Cluster", "ClusterSecurityGroupId"),
                ],
                "MetadataOptions": {"HttpTokens": "required"},
                "TagSpecifications": [
                    {
                        "ResourceType": "volume",
                        "Tags": [{"Key": "backup", "Value": deployment.name}],
                    }
                ],
                "BlockDeviceMappings": [
                    {
                        "DeviceName": "/dev/xvda",
                        "Ebs": {
                            "VolumeSize": DISK_GIB,
                            "VolumeType": "gp3",
                            "Encrypted": True,
                            "KmsKeyId": attribute("Key", "Arn"),
                        },
                    }
                ],
            }
        },
    }
    _node_groups(resources, site)


def _node_groups(resources: Template, site: Site) -> None:
    for subnet in site.subnets():
        if subnet.validators:
            resources[f"Nodes{subnet.zone}"] = {
                "Type": "AWS::EKS::Nodegroup",
                "Properties": {
                    "ClusterName": ref("Cluster"),
                    "NodegroupName": f"zone-{subnet.zone}",
                    "NodeRole": attribute("NodeRole", "Arn"),
                    "Subnets": [ref(f"Zone{subnet.zone}")],
                    "ScalingConfig": {
                        "MinSize": subnet.validators,
                        "DesiredSize": subnet.validators,
                        "MaxSize": subnet.validators + 1,
                    },
                    "LaunchTemplate": {
                        "Id": ref("Machine"),
                        "Version": attribute("Machine", "LatestVersionNumber"),
                    },
                },
            }


def _backups(resources: Template, deployment: Deployment, site: Site) -> None:
    resources["BackupVault"] = {
        "Type": "AWS::Backup::BackupVault",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "BackupVaultName": f"{deployment.name}-{site.name}",
            "EncryptionKeyArn": attribute("Key", "Arn"),
        },
    }
    hours = deployment.backup_hours
    schedule = f"cron(0 0/{hours} * * ? *)" if hours < 24 else f"cron(0 0 1/{hours // 24} * ? *)"
    resources["Backups"] = {
        "Type": "AWS::Backup::BackupPlan",
        "Properties": {
            "BackupPlan": {
                "BackupPlanName": f"{deployment.name}-{site.name}",
                "BackupPlanRule": [
                    {
                        "RuleName": "disks",
                        "TargetBackupVault": ref("BackupVault"),
                        "ScheduleExpression": schedule,
                        "Lifecycle": {"DeleteAfterDays": deployment.backup_keep_days},
                    }
                ],
            }
        },
    }
    resources["BackupRole"] = role(
        "backup.amazonaws.com", "service-role/AWSBackupServiceRolePolicyForBackup"
    )
    resources["BackedUp"] = {
        "Type": "AWS::Backup::BackupSelection",
        "Properties": {
            "BackupPlanId": ref("Backups"),
            "BackupSelection": {
                "SelectionName": "validator-disks",
                "IamRoleArn": attribute("BackupRole", "Arn"),
                "ListOfTags": [
                    {
                        "ConditionType": "STRINGEQUALS",
                        "ConditionKey": "backup",
                        "ConditionValue": deployment.name,
                    }
                ],
            },
        },
    }
