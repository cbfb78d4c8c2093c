"""How CloudFormation says things: references, conditions, names, roles.

Owns: its shorthand. Must not know: what a deployment consists of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Template: TypeAlias = dict[str, Any]


def ref(name: str) -> dict[str, str]:
    """Refer to a resource or parameter."""
    return {"Ref": name}


def attribute(name: str, of: str) -> dict[str, list[str]]:
    """Refer to what a resource has become."""
    return {"Fn::GetAtt": [name, of]}


def text(pattern: str) -> dict[str, str]:
    """Fill `${...}` in."""
    return {"Fn::Sub": pattern}


def equals(parameter: str, value: str) -> Template:
    """Say that a parameter has a value."""
    return {"Fn::Equals": [ref(parameter), value]}


def stated(parameter: str) -> Template:
    """Say that a parameter was given."""
    return {"Fn::Not": [equals(parameter, "")]}


def camel(name: str) -> str:
    """Make a logical name of a region or partition."""
    return "".join(part.capitalize() for part in name.replace(":", "-").split("-"))


def tags(name: str, part: str) -> list[dict[str, str]]:
    """Name a resource."""
    return [{"Key": "Name", "Value": f"{name}-{part}"}]


def parameter(description: str) -> Template:
    """Declare a text that may stay empty."""
    return {"Type": "String", "Default": "", "Description": description}


def role(
    service: str,
    *policies: str,
    statements: list[Template] | None = None,
    tagged: bool = False,
) -> Template:
    """Let a service act with managed policies, or with statements of its own.

    `tagged`: it says in tags of the session for whom it acts.
    """
    properties: Template = {
        "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": service},
                    "Action": ["sts:AssumeRole", "sts:TagSession"] if tagged else "sts:AssumeRole",
                }
            ],
        }
    }
    if policies:
        properties["ManagedPolicyArns"] = [
            text(f"arn:${{AWS::Partition}}:iam::aws:policy/{name}") for name in policies
        ]
    if statements:
        properties["Policies"] = [
            {
                "PolicyName": "own",
                "PolicyDocument": {"Version": "2012-10-17", "Statement": statements},
            }
        ]
    return {"Type": "AWS::IAM::Role", "Properties": properties}


def objects_of(name: Mapping[str, str]) -> dict[str, str]:
    """Name all objects of a bucket."""
    return text(f"arn:${{AWS::Partition}}:s3:::{name['Fn::Sub']}/*")
