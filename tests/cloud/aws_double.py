"""Carry an AWS plan out in moto, a test double of AWS that runs in this process.

moto's CloudFormation has no EKS clusters, trails, backups and bucket policies, and forgets locks of
buckets: those resources are created through the services' own interfaces, from the same properties.
Its `Fn::GetAZs` names zones of us-east-1 wherever it is asked (`test_what_the_double_gets_wrong`):
zones are put in here. It knows no ML-DSA keys: elliptic-curve ones stand in for them.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from typing import Any

NOT_IN_ITS_STACKS = (
    "AWS::EKS::Cluster",
    "AWS::EKS::Nodegroup",
    "AWS::EKS::Addon",
    "AWS::EKS::PodIdentityAssociation",
    "AWS::CloudTrail::Trail",
    "AWS::S3::Bucket",
    "AWS::S3::BucketPolicy",
    "AWS::Backup::BackupVault",
    "AWS::Backup::BackupPlan",
    "AWS::Backup::BackupSelection",
    "AWS::EC2::LaunchTemplate",
)


def carry_out(boto3: Any, template: Mapping[str, Any], region: str) -> None:
    """Create everything that the template names, in `region`."""
    whole = copy.deepcopy(dict(template))
    resources = whole["Resources"]
    rest = {name: r for name, r in resources.items() if r["Type"] in NOT_IN_ITS_STACKS}
    whole["Resources"] = {
        name: _as_it_knows(r, region) for name, r in resources.items() if name not in rest
    }
    whole["Outputs"] = {name: {"Value": {"Ref": name}} for name in ("Vpc", *_subnets(resources))}
    stacks = boto3.client("cloudformation", region_name=region)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stacks.create_stack(
            StackName="plan", TemplateBody=json.dumps(whole), Capabilities=["CAPABILITY_IAM"]
        )
    outputs = stacks.describe_stacks(StackName="plan")["Stacks"][0]["Outputs"]
    became = {each["OutputKey"]: each["OutputValue"] for each in outputs}
    _by_hand(boto3, rest, became, region)


def _subnets(resources: Mapping[str, Any]) -> list[str]:
    return [name for name, r in resources.items() if r["Type"] == "AWS::EC2::Subnet"]


def _as_it_knows(resource: dict[str, Any], region: str) -> dict[str, Any]:
    if resource.get("Properties", {}).get("KeySpec") == "ML_DSA_87":
        resource["Properties"]["KeySpec"] = "ECC_NIST_P521"
    if resource["Type"] == "AWS::EC2::Subnet":
        place, _ = resource["Properties"]["AvailabilityZone"]["Fn::Select"]
        resource["Properties"]["AvailabilityZone"] = f"{region}{'abcdef'[place]}"
    return resource


def _by_hand(boto3: Any, rest: Mapping[str, Any], became: Mapping[str, str], region: str) -> None:
    bucket = _bucket(boto3.client("s3", region_name=region), rest["TrailBucket"], region)
    clusters = boto3.client("eks", region_name=region)
    trails = boto3.client("cloudtrail", region_name=region)
    backups = boto3.client("backup", region_name=region)
    name = rest["Cluster"]["Properties"]["Name"]
    clusters.create_cluster(
        name=name,
        version=rest["Cluster"]["Properties"]["Version"],
        roleArn="arn:aws-us-gov:iam::123456789012:role/cluster",
        resourcesVpcConfig={"subnetIds": [became[s] for s in became if s.startswith("Zone")]},
    )
    for resource in rest.values():
        wanted = resource["Properties"]
        if resource["Type"] == "AWS::EKS::Nodegroup":
            scaling = wanted["ScalingConfig"]
            clusters.create_nodegroup(
                clusterName=name,
                nodegroupName=wanted["NodegroupName"],
                nodeRole="arn:aws-us-gov:iam::123456789012:role/node",
                subnets=[became[each["Ref"]] for each in wanted["Subnets"]],
                scalingConfig={
                    "minSize": scaling["MinSize"],
                    "desiredSize": scaling["DesiredSize"],
                    "maxSize": scaling["MaxSize"],
                },
            )
        elif resource["Type"] == "AWS::CloudTrail::Trail":
            trails.create_trail(
                Name=wanted["TrailName"],
                S3BucketName=bucket,
                EnableLogFileValidation=wanted["EnableLogFileValidation"],
                IsMultiRegionTrail=wanted["IsMultiRegionTrail"],
            )
            if wanted["IsLogging"]:
                trails.start_logging(Name=wanted["TrailName"])
        elif resource["Type"] == "AWS::Backup::BackupPlan":
            _backups(backups, wanted["BackupPlan"])


def _bucket(s3: Any, resource: Mapping[str, Any], region: str) -> str:
    wanted = resource["Properties"]
    name = str(wanted["BucketName"]["Fn::Sub"]).replace("${AWS::AccountId}", "123456789012")
    where = {"LocationConstraint": region}
    locked = wanted["ObjectLockEnabled"]
    s3.create_bucket(
        Bucket=name, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=locked
    )
    s3.put_object_lock_configuration(
        Bucket=name, ObjectLockConfiguration=wanted["ObjectLockConfiguration"]
    )
    return name


def _backups(backups: Any, wanted: Mapping[str, Any]) -> None:
    backups.create_backup_vault(BackupVaultName="vault")
    backups.create_backup_plan(
        BackupPlan={
            "BackupPlanName": wanted["BackupPlanName"],
            "Rules": [
                {
                    "RuleName": rule["RuleName"],
                    "TargetBackupVaultName": "vault",
                    "ScheduleExpression": rule["ScheduleExpression"],
                    "Lifecycle": rule["Lifecycle"],
                }
                for rule in wanted["BackupPlanRule"]
            ],
        }
    )


def read_back(boto3: Any, region: str) -> dict[str, Any]:
    """Return the topology and what protects it, as the double's services tell it."""
    ec2 = boto3.client("ec2", region_name=region)
    vpc = next(v for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"])
    mine = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    subnets = ec2.describe_subnets(Filters=mine)["Subnets"]
    zones = {s["SubnetId"]: s["AvailabilityZone"] for s in subnets}
    groups = ec2.describe_security_groups(Filters=mine)["SecurityGroups"]
    opened = {
        (block["CidrIp"], rule["FromPort"])
        for group in groups
        for rule in group["IpPermissions"]
        for block in rule["IpRanges"]
    }
    keys = boto3.client("kms", region_name=region)
    rotating = [
        keys.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]
        for key in keys.list_keys()["Keys"]
    ]
    trails = boto3.client("cloudtrail", region_name=region)
    eks = boto3.client("eks", region_name=region)
    machines: dict[str, int] = {}
    for cluster in eks.list_clusters()["clusters"]:
        for name in eks.list_nodegroups(clusterName=cluster)["nodegroups"]:
            group = eks.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"]
            machines[zones[group["subnets"][0]]] = group["scalingConfig"]["desiredSize"]
    s3 = boto3.client("s3", region_name=region)
    kept = []
    for bucket in s3.list_buckets()["Buckets"]:
        if region in bucket["Name"]:
            lock = s3.get_object_lock_configuration(Bucket=bucket["Name"])
            rule = lock["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
            kept.append((rule["Mode"], rule["Days"]))
    backups = boto3.client("backup", region_name=region)
    plans = [
        rule["Lifecycle"]["DeleteAfterDays"]
        for plan in backups.list_backup_plans()["BackupPlansList"]
        for rule in backups.get_backup_plan(BackupPlanId=plan["BackupPlanId"])["BackupPlan"][
            "Rules"
        ]
    ]
    return {
        "network": vpc["CidrBlock"],
        "subnets": sorted((s["AvailabilityZone"], s["CidrBlock"]) for s in subnets),
        "opened": opened,
        "rotating": rotating,
        "trails": [
            trails.get_trail_status(Name=trail["TrailARN"])["IsLogging"]
            for trail in trails.describe_trails()["trailList"]
        ],
        "machines": machines,
        "kept": kept,
        "backups": plans,
    }
