"""The audit side of a plan for AWS: a trail, a bucket that nobody can change, its copy, flow logs.

Owns: those resources. Must not know: networks, clusters, other regions' stacks.
"""

from __future__ import annotations

from collections.abc import Mapping

from sim.world.cloud.cloudformation import Template, attribute, objects_of, ref, role, text
from sim.world.cloud.deployment import Deployment, Site

_LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557)


def log_days(days: int) -> int:
    """Return the shortest retention that CloudWatch Logs offers and that is long enough."""
    longer = (2922, 3288, 3653)
    return next(offered for offered in (*_LOG_DAYS, *longer) if offered >= days)


def bucket(deployment: Deployment, region: str) -> Mapping[str, str]:
    """Return the name of a region's audit bucket: unique by account."""
    name = region.partition(":")[2]
    return text(f"{deployment.name.replace('_', '-')}-trail-{name}-${{AWS::AccountId}}")


def audit(resources: Template, deployment: Deployment, site: Site) -> None:
    """Add the audit trail of a region."""
    own = bucket(deployment, site.region)
    properties: Template = {
        "BucketName": own,
        "ObjectLockEnabled": True,
        "ObjectLockConfiguration": {
            "ObjectLockEnabled": "Enabled",
            "Rule": {
                "DefaultRetention": {"Mode": "COMPLIANCE", "Days": deployment.audit_retention_days}
            },
        },
        "VersioningConfiguration": {"Status": "Enabled"},
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [
                {
                    "ServerSideEncryptionByDefault": {
                        "SSEAlgorithm": "aws:kms",
                        "KMSMasterKeyID": attribute("Key", "Arn"),
                    }
                }
            ]
        },
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
    }
    if site.replica is not None:
        properties["ReplicationConfiguration"] = {
            "Fn::If": ["Replicates", _replication(deployment, site.replica), ref("AWS::NoValue")]
        }
        statements: list[Template] = [
            {
                "Effect": "Allow",
                "Action": ["s3:GetReplicationConfiguration", "s3:ListBucket", "s3:GetObject*"],
                "Resource": [
                    text(f"arn:${{AWS::Partition}}:s3:::{own['Fn::Sub']}"),
                    objects_of(own),
                ],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"],
                "Resource": objects_of(bucket(deployment, site.replica)),
            },
        ]
        resources["ReplicationRole"] = role("s3.amazonaws.com", statements=statements)
    resources["TrailBucket"] = {
        "Type": "AWS::S3::Bucket",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": properties,
    }
    _trail(resources, deployment, own)


def _replication(deployment: Deployment, target: str) -> Template:
    name = bucket(deployment, target)["Fn::Sub"]
    return {
        "Role": attribute("ReplicationRole", "Arn"),
        "Rules": [
            {
                "Id": "all",
                "Status": "Enabled",
                "Priority": 1,
                "Filter": {"Prefix": ""},
                "DeleteMarkerReplication": {"Status": "Disabled"},
                "Destination": {"Bucket": text(f"arn:${{AWS::Partition}}:s3:::{name}")},
            }
        ],
    }


def _trail(resources: Template, deployment: Deployment, own: Mapping[str, str]) -> None:
    service = {"Service": "cloudtrail.amazonaws.com"}
    resources["TrailBucketPolicy"] = {
        "Type": "AWS::S3::BucketPolicy",
        "Properties": {
            "Bucket": ref("TrailBucket"),
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": service,
                        "Action": "s3:GetBucketAcl",
                        "Resource": attribute("TrailBucket", "Arn"),
                    },
                    {
                        "Effect": "Allow",
                        "Principal": service,
                        "Action": "s3:PutObject",
                        "Resource": objects_of(own),
                    },
                ],
            },
        },
    }
    resources["Logs"] = {
        "Type": "AWS::Logs::LogGroup",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "LogGroupName": f"/{deployment.name}/network",
            "KmsKeyId": attribute("Key", "Arn"),
            "RetentionInDays": log_days(deployment.audit_retention_days),
        },
    }
    resources["FlowRole"] = role(
        "vpc-flow-logs.amazonaws.com",
        statements=[
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "logs:Describe*"],
                "Resource": attribute("Logs", "Arn"),
            }
        ],
    )
    resources["FlowLog"] = {
        "Type": "AWS::EC2::FlowLog",
        "Properties": {
            "ResourceId": ref("Vpc"),
            "ResourceType": "VPC",
            "TrafficType": "ALL",
            "LogGroupName": ref("Logs"),
            "DeliverLogsPermissionArn": attribute("FlowRole", "Arn"),
        },
    }
    resources["Trail"] = {
        "Type": "AWS::CloudTrail::Trail",
        "DependsOn": "TrailBucketPolicy",
        "Properties": {
            "TrailName": f"{deployment.name}-trail",
            "S3BucketName": ref("TrailBucket"),
            "KMSKeyId": attribute("Key", "Arn"),
            "IsLogging": True,
            "IsMultiRegionTrail": False,
            "IncludeGlobalServiceEvents": True,
            "EnableLogFileValidation": True,
        },
    }
