"""Kubernetes objects of the validators in one region, and the values of a Helm release.

Owns: what runs in a cluster: a stateful set with sidecars, its disruption budget, spread, network
policy, configuration. Must not know: the clouds below, scenarios, files.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from sim.world.cloud.deployment import Deployment, Site

Object: TypeAlias = dict[str, Any]
LABEL = {"app": "validator"}
DISK_GIB = 100
"""Of a validator's claim; its machine's disk holds images and logs besides."""
IDENTITY_AGENT, IDENTITY_AGENT_PORT = "169.254.170.23/32", 80
"""Where pods ask for their identity (Amazon EKS user guide, "EKS Pod Identity", agent setup)."""
IMAGES = {
    "validator": "creto/validator:phase7",
    "metrics": "creto/validator-metrics:phase7",
    "audit": "creto/audit-shipper:phase7",
}
"""Placeholders: the plan names them, whoever deploys provides them."""


def objects(deployment: Deployment, site: Site) -> list[Object]:
    """Return the objects of one region's cluster, in the order in which to create them."""
    name = deployment.name
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _meta(deployment, "settings"),
            "data": {**deployment.settings, "region": site.region, **_custody(site)},
        },
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": _meta(deployment, "validator"),
            "automountServiceAccountToken": False,
        },
        _service(deployment),
        _stateful_set(deployment, site),
        _budget(deployment, site),
        _policy(deployment, site),
    ]


def helm_values(deployment: Deployment, site: Site) -> Object:
    """Return the values from which a chart would make the same objects."""
    return {
        "nameOverride": deployment.name,
        "region": site.region,
        "replicas": site.validators,
        "zones": site.zones,
        "images": IMAGES,
        "ports": {
            "validators": deployment.validator_port,
            "agents": deployment.agent_port,
            "metrics": deployment.metrics_port,
        },
        "resources": {"cpu": deployment.workers},
        "storage": {"gib": DISK_GIB},
        "disruption": {"maxUnavailable": 1},
        "peers": [peer.block for peer in deployment.peers(site)],
        "agents": list(deployment.agent_networks),
        "metrics": list(deployment.metrics_networks),
        "settings": {**deployment.settings, **_custody(site)},
    }


def _custody(site: Site) -> dict[str, str]:
    """Say who signs: validators with keys of their own, or the region's key service."""
    if site.custody is None:
        return {"custody": "local"}
    return {
        "custody": "service",
        "key-service": site.custody.offer.service,
        "key-service-quota": site.custody.quota_text,
    }


def _meta(deployment: Deployment, name: str) -> Object:
    return {"name": name, "namespace": deployment.name, "labels": LABEL}


def _service(deployment: Deployment) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(deployment, "validators"),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": LABEL,
            "ports": [
                {"name": "validators", "port": deployment.validator_port},
                {"name": "agents", "port": deployment.agent_port},
                {"name": "metrics", "port": deployment.metrics_port},
            ],
        },
    }


def _stateful_set(deployment: Deployment, site: Site) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _meta(deployment, "validator"),
        "spec": {
            "serviceName": "validators",
            "replicas": site.validators,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "selector": {"matchLabels": LABEL},
            "template": {
                "metadata": {"labels": LABEL},
                "spec": {
                    "serviceAccountName": "validator",
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 60,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 10_001,
                        "fsGroup": 10_001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "topologySpreadConstraints": _spread(site),
                    "containers": _containers(deployment, site),
                },
            },
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "chain"},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": f"{DISK_GIB}Gi"}},
                    },
                }
            ],
        },
    }


def _spread(site: Site) -> list[Object]:
    """Spread over machines always, over zones where there are several."""
    keys = ["kubernetes.io/hostname"]
    if site.zones > 1:
        keys.append("topology.kubernetes.io/zone")
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": LABEL},
        }
        for key in keys
    ]


def _containers(deployment: Deployment, site: Site) -> list[Object]:
    sealed = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    probe = {"tcpSocket": {"port": deployment.validator_port}, "periodSeconds": 10}
    chain = {"name": "chain", "mountPath": "/var/lib/validator"}
    return [
        {
            "name": "validator",
            "image": IMAGES["validator"],
            "envFrom": [{"configMapRef": {"name": "settings"}}],
            "env": _environment(deployment, site),
            "ports": [
                {"name": "validators", "containerPort": deployment.validator_port},
                {"name": "agents", "containerPort": deployment.agent_port},
            ],
            "resources": {"requests": {"cpu": str(deployment.workers), "memory": "8Gi"}},
            "readinessProbe": probe,
            "livenessProbe": {**probe, "failureThreshold": 6},
            "securityContext": sealed,
            "volumeMounts": [chain],
        },
        {
            "name": "metrics",
            "image": IMAGES["metrics"],
            "ports": [{"name": "metrics", "containerPort": deployment.metrics_port}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            "securityContext": sealed,
        },
        {
            "name": "audit",
            "image": IMAGES["audit"],
            "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
            "securityContext": sealed,
            "volumeMounts": [{**chain, "readOnly": True}],
        },
    ]


def _environment(deployment: Deployment, site: Site) -> list[Object]:
    """Tell a validator its own name, and under which one its key lies in a service."""
    own = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    if site.custody is None:
        return [own]
    return [own, {"name": "SIGNING_KEY", "value": f"alias/{deployment.signing_key('$(POD)')}"}]


def _budget(deployment: Deployment, site: Site) -> Object:
    """Let maintenance take one validator at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _meta(deployment, "validator"),
        "spec": {"minAvailable": site.validators - 1, "selector": {"matchLabels": LABEL}},
    }


def _policy(deployment: Deployment, site: Site) -> Object:
    targets = [other.block for other in deployment.reached(site)]
    way_in = [([peer.block for peer in deployment.peers(site)], deployment.validator_port)]
    way_in.append((list(deployment.agent_networks), deployment.agent_port))
    way_in.append((list(deployment.metrics_networks), deployment.metrics_port))
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(deployment, "validator"),
        "spec": {
            "podSelector": {"matchLabels": LABEL},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": _blocks(blocks), "ports": [{"protocol": "TCP", "port": port}]}
                for blocks, port in way_in
                if blocks
            ],
            "egress": [
                {
                    "to": _blocks(targets),
                    "ports": [{"protocol": "TCP", "port": deployment.validator_port}],
                },
                {"to": _blocks([site.block]), "ports": [{"protocol": "TCP", "port": 443}]},
                {"ports": [{"protocol": "UDP", "port": 53}]},
                *_identity(site),
            ],
        },
    }


def _identity(site: Site) -> list[Object]:
    """Let pods that sign elsewhere ask their machine's agent who they are."""
    if site.custody is None:
        return []
    ports = [{"protocol": "TCP", "port": IDENTITY_AGENT_PORT}]
    return [{"to": _blocks([IDENTITY_AGENT]), "ports": ports}]


def _blocks(blocks: list[str]) -> list[Object]:
    return [{"ipBlock": {"cidr": block}} for block in blocks]
