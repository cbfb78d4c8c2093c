"""The keys of a plan for AWS: one for all that rests, and one a validator where KMS signs votes.

Owns: those keys, who may use them, how validators reach the service. Must not know: other regions'
stacks, scenarios.

Sources: AWS KMS developer guide, "ML-DSA keys", "Request quotas"; Amazon EKS user guide, "EKS Pod
Identity" and the session tags that it sets.
"""

from __future__ import annotations

from sim.world.cloud.cloudformation import Template, attribute, ref, role, tags, text
from sim.world.cloud.custody import KEY_SPEC, Custody
from sim.world.cloud.deployment import Deployment, Site, pod

_ROOT = "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"
_ADMINISTRATION = (
    *("kms:Describe*", "kms:Enable*", "kms:Disable*", "kms:List*", "kms:Put*", "kms:Update*"),
    *("kms:Revoke*", "kms:Get*", "kms:Delete*", "kms:TagResource", "kms:UntagResource"),
    *("kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion"),
)
"""What an account may do with a validator's key: everything but sign."""
_ALGORITHM = "ML_DSA_SHAKE_256"
_POD = "aws:PrincipalTag/kubernetes-pod-name"


def keys_at_rest(resources: Template, deployment: Deployment, site: Site) -> None:
    """Add the key of disks, backups, logs and the trail."""
    services = ["cloudtrail.amazonaws.com", f"logs.{site.name}.amazonaws.com"]
    uses = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*"]
    resources["Key"] = {
        "Type": "AWS::KMS::Key",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "Description": "Disks, backups, logs and the audit trail of validators",
            "EnableKeyRotation": True,
            "RotationPeriodInDays": deployment.key_rotation_days,
            "KeyPolicy": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "Account",
                        "Effect": "Allow",
                        "Principal": {"AWS": text(_ROOT)},
                        "Action": "kms:*",
                        "Resource": "*",
                    },
                    {
                        "Sid": "Services",
                        "Effect": "Allow",
                        "Principal": {"Service": services},
                        "Action": [*uses, "kms:DescribeKey"],
                        "Resource": "*",
                    },
                ],
            },
        },
    }


def signing_keys(
    resources: Template, outputs: Template, deployment: Deployment, site: Site, custody: Custody
) -> None:
    """Add what votes are signed with: a key a validator, which only its own pod may use."""
    resources["SigningRole"] = role("pods.eks.amazonaws.com", tagged=True)
    resources["PodIdentity"] = {
        "Type": "AWS::EKS::Addon",
        "Properties": {"AddonName": "eks-pod-identity-agent", "ClusterName": ref("Cluster")},
    }
    resources["ValidatorIdentity"] = {
        "Type": "AWS::EKS::PodIdentityAssociation",
        "Properties": {
            "ClusterName": ref("Cluster"),
            "Namespace": deployment.name,
            "ServiceAccount": "validator",
            "RoleArn": attribute("SigningRole", "Arn"),
        },
    }
    for number in range(site.validators):
        resources[f"SigningKey{number}"] = _signing_key(pod(number))
        resources[f"SigningKey{number}Name"] = {
            "Type": "AWS::KMS::Alias",
            "Properties": {
                "AliasName": f"alias/{deployment.signing_key(pod(number))}",
                "TargetKeyId": ref(f"SigningKey{number}"),
            },
        }
    resources["Endpoints"] = {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {
            "GroupDescription": "Who may ask the key service",
            "VpcId": ref("Vpc"),
            "SecurityGroupIngress": [
                {
                    "IpProtocol": "tcp",
                    "FromPort": 443,
                    "ToPort": 443,
                    "CidrIp": site.block,
                    "Description": "validators that sign",
                }
            ],
            "Tags": tags(deployment.name, "endpoints"),
        },
    }
    resources["KeyEndpoint"]["Properties"]["SecurityGroupIds"] = [ref("Endpoints")]
    outputs["SigningQuota"] = {
        "Description": (
            f"Requests of ML-DSA keys that the account needs in {site.name} by Service Quotas: "
            f"{custody.quota_text}, as simulated"
        ),
        "Value": custody.quota_text.partition(" ")[0].replace(",", ""),
    }


def _signing_key(name: str) -> Template:
    return {
        "Type": "AWS::KMS::Key",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "Description": f"Votes of {name}",
            "KeySpec": KEY_SPEC,
            "KeyUsage": "SIGN_VERIFY",
            "PendingWindowInDays": 30,
            "KeyPolicy": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "Administration",
                        "Effect": "Allow",
                        "Principal": {"AWS": text(_ROOT)},
                        "Action": list(_ADMINISTRATION),
                        "Resource": "*",
                    },
                    {
                        "Sid": "Votes",
                        "Effect": "Allow",
                        "Principal": {"AWS": attribute("SigningRole", "Arn")},
                        "Action": ["kms:Sign"],
                        "Resource": "*",
                        "Condition": {
                            "StringEquals": {_POD: name, "kms:SigningAlgorithm": _ALGORITHM}
                        },
                    },
                    {
                        "Sid": "PublicKeys",
                        "Effect": "Allow",
                        "Principal": {"AWS": attribute("SigningRole", "Arn")},
                        "Action": ["kms:GetPublicKey", "kms:DescribeKey"],
                        "Resource": "*",
                    },
                ],
            },
        },
    }
