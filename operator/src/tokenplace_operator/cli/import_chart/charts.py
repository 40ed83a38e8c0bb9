"""Upstream's two charts of the relay: their default values, and detection of the chart.

Source: futuroptimist/token.place as of August 2026, with values of older chart versions.
"""

from dataclasses import dataclass
from enum import StrEnum

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.cli.import_chart.value_mapping import ValuesError

MAX_NAME = 63


class Chart(StrEnum):
    """Values of --chart: the names in Chart.yaml."""

    TOKENPLACE = "tokenplace"
    """charts/tokenplace, published as oci://ghcr.io/futuroptimist/charts/tokenplace."""
    TOKENPLACE_RELAY = "tokenplace-relay"
    """deploy/charts/tokenplace-relay, which upstream calls deprecated."""


@dataclass(frozen=True, slots=True)
class Source:
    """A release: its chart, and the user's values without the chart's defaults."""

    chart: Chart
    given: Object


POD_SECURITY: Object = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Object = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "seccompProfile": {"type": "RuntimeDefault"},
    "capabilities": {"drop": ["ALL"]},
}
_BOTH: Object = {
    "image": {"repository": "", "tag": "", "digest": "", "pullPolicy": ""},
    "imagePullSecrets": [],
    "nameOverride": "",
    "fullnameOverride": "",
    "replicaCount": 1,
    "containerPort": 5010,
    "serviceAccount": {"create": False, "annotations": {}, "name": ""},
    "podAnnotations": {},
    "podLabels": {},
    "podSecurityContext": POD_SECURITY,
    "securityContext": CONTAINER_SECURITY,
    "resources": {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "300m", "memory": "256Mi"},
    },
    "service": {"type": "ClusterIP", "port": 80},
    "envFrom": [],
    "nodeSelector": {},
    "tolerations": [],
    "affinity": {},
}
DEFAULTS: dict[Chart, Object] = {
    Chart.TOKENPLACE: {
        **_BOTH,
        "strategy": {"type": "Recreate"},
        "deployEnv": "",
        "ingress": {
            "enabled": False,
            "className": "",
            "host": "",
            "annotations": {},
            "tls": {"enabled": False, "secretName": ""},
        },
        "metrics": {
            "enabled": False,
            "path": "/metrics",
            "auth": {"existingSecret": "", "secretKey": "token"},
        },
        "serviceMonitor": {
            "enabled": False,
            "interval": "30s",
            "scrapeTimeout": "10s",
            "additionalLabels": {"release": "kube-prometheus-stack"},
            "relabelings": {"app": "tokenplace", "environment": "", "release": "", "cluster": ""},
        },
        "env": {
            "XDG_CONFIG_HOME": "/tmp/.config",  # noqa: S108 (a path in the pod)
            "XDG_DATA_HOME": "/tmp/.local/share",  # noqa: S108
            "XDG_CACHE_HOME": "/tmp/.cache",  # noqa: S108
            "XDG_STATE_HOME": "/tmp/.local/state",  # noqa: S108
        },
        "extraEnv": [],
        "terminationGracePeriodSeconds": 30,
        "preStop": {"enabled": True, "sleepSeconds": 5},
        "probes": {
            "liveness": {
                "initialDelaySeconds": 20,
                "periodSeconds": 20,
                "timeoutSeconds": 2,
                "failureThreshold": 3,
            },
            "readiness": {
                "initialDelaySeconds": 5,
                "periodSeconds": 10,
                "timeoutSeconds": 2,
                "failureThreshold": 6,
            },
        },
    },
    Chart.TOKENPLACE_RELAY: {
        **_BOTH,
        "autoscaling": {
            "enabled": False,
            "minReplicas": 1,
            "maxReplicas": 3,
            "targetCPUUtilizationPercentage": 60,
            "targetMemoryUtilizationPercentage": 70,
        },
        "service": {"type": "ClusterIP", "port": 80, "targetPort": "http"},
        "ingress": {
            "enabled": True,
            "className": "traefik",
            "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt-dns01"},
            "hosts": [
                {"host": "relay.example.com", "paths": [{"path": "/", "pathType": "Prefix"}]}
            ],
            "tls": [{"secretName": "relay-tls", "hosts": ["relay.example.com"]}],
        },
        "gpuExternalName": {
            "useHeadless": False,
            "host": "gpu.example.com",
            "port": 5015,
            "headless": {"enabled": False, "addresses": []},
        },
        "upstream": {"url": "http://gpu-server:5015"},
        "env": [],
        "serviceMonitor": {
            "enabled": False,
            "labels": {"release": "kube-prometheus-stack"},
            "namespaceSelector": {"any": True},
            "interval": "30s",
            "scrapeTimeout": "10s",
            "path": "/metrics",
            "port": "http",
        },
        "alerts": {"enabled": False},
        "networkPolicy": {
            "enabled": True,
            "allowDNS": True,
            "dnsNamespace": "kube-system",
            "kubeDNSSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            "traefik": {
                "namespace": "traefik",
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "traefik"}},
            },
            "externalNameCIDR": "192.0.2.42/32",
            "extraIngress": [],
            "extraEgress": [],
        },
        "extraVolumes": [],
        "extraVolumeMounts": [],
        "topologySpreadConstraints": [],
    },
}


def detect_chart(given: Object, chosen: Chart | None) -> Chart:
    """The chosen chart, or the one that has these values; ValuesError when each has some.

    When both charts have all the values, it is the chart that upstream publishes.
    """
    if chosen is not None:
        return chosen
    distinct = {
        # Only values that one chart alone has can identify it; most names are in both.
        chart: sorted(given.keys() & (DEFAULTS[chart].keys() - DEFAULTS[other].keys()))
        for chart, other in zip(Chart, reversed(Chart), strict=True)
    }
    old, new = distinct[Chart.TOKENPLACE_RELAY], distinct[Chart.TOKENPLACE]
    if old and new:
        raise ValuesError(
            f"{new[0]} is a value of chart tokenplace, {old[0]} of tokenplace-relay; add --chart"
        )
    return Chart.TOKENPLACE_RELAY if old else Chart.TOKENPLACE


def object_name(source: Source, release: str) -> str:
    """The name of the release's Deployment, Service and Ingress; both charts use one rule."""
    chart = str(source.given.get("nameOverride") or source.chart)
    full_name = str(source.given.get("fullnameOverride") or "")
    release = release or source.chart
    name = full_name or (release if chart in release else f"{release}-{chart}")
    # A cut can leave a hyphen at the end, which is no valid name; Helm's trimSuffix removes one.
    return name[:MAX_NAME].removesuffix("-")
