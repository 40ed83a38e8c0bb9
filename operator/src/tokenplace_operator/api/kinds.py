"""The Kubernetes kinds that the operator reads and writes, as plain values."""

import re
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON, or a part of one."""

Key = tuple[str, str]
"""Namespace and name of an object."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A namespaced kind. plural: its name in URLs; kind: the `kind` of its objects."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """The `apiVersion` of objects of this kind: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self, namespace: str | None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """Return the URL path of the collection, of an object or of its subresource.

        namespace None: all namespaces.
        """
        root = f"/apis/{self.group}" if self.group else "/api"
        parts = [root, self.version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part is not None]
        return "/".join(parts)


Identity = tuple[Kind, Key]
"""Kind and key of an object: what makes it unique in a cluster."""

RELAY = Kind("token.place", "v1alpha1", "tokenplacerelays", "TokenplaceRelay")
SERVICE_ACCOUNT = Kind("", "v1", "serviceaccounts", "ServiceAccount")
DEPLOYMENT = Kind("apps", "v1", "deployments", "Deployment")
REPLICA_SET = Kind("apps", "v1", "replicasets", "ReplicaSet")
SERVICE = Kind("", "v1", "services", "Service")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
INGRESS = Kind("networking.k8s.io", "v1", "ingresses", "Ingress")
NETWORK_POLICY = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
CONFIG_MAP = Kind("", "v1", "configmaps", "ConfigMap")
AUTOSCALER = Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
DISRUPTION_BUDGET = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
SERVICE_MONITOR = Kind("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor")
PROMETHEUS_RULE = Kind("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule")
HTTP_ROUTE = Kind("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
CERTIFICATE = Kind("cert-manager.io", "v1", "certificates", "Certificate")
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease")
EVENT = Kind("", "v1", "events", "Event")
POD = Kind("", "v1", "pods", "Pod")

CHILD_KINDS = (
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    DEPLOYMENT,
    SERVICE,
    ENDPOINT_SLICE,
    INGRESS,
    NETWORK_POLICY,
    AUTOSCALER,
    DISRUPTION_BUDGET,
)
"""Kinds of child resources that every cluster serves; all are watched."""

# A watch of a CRD that is deleted later would end the process.
OPTIONAL_CHILD_KINDS = (SERVICE_MONITOR, PROMETHEUS_RULE, HTTP_ROUTE)
"""Kinds of child resources whose CRDs may be absent; listed periodically, not watched."""

OPTIONAL_KINDS = (*OPTIONAL_CHILD_KINDS, CERTIFICATE)
"""Every kind whose API may be absent."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_BY_NAME = {
    (kind.api_version, kind.kind): kind
    for kind in (RELAY, *CHILD_KINDS, *OPTIONAL_KINDS, REPLICA_SET, LEASE, EVENT, POD)
}


def is_label(text: str) -> bool:
    """Whether the text is a DNS label, like the names of namespaces and of relays."""
    return _LABEL.fullmatch(text) is not None


def of(obj: Object) -> Kind:
    """Return the kind of an object; ValueError for a kind that the operator does not use."""
    name = (obj.get("apiVersion", ""), obj.get("kind", ""))
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(f"unknown kind {name[1]!r} of {name[0]!r}") from None


def key_of(obj: Object) -> Key:
    """Return namespace and name of an object."""
    metadata = obj["metadata"]
    return metadata["namespace"], metadata["name"]


def version_of(obj: Object) -> str:
    """Return the resourceVersion of an object; empty without one."""
    return str(obj["metadata"].get("resourceVersion", ""))


def identity(obj: Object) -> Identity:
    """Return kind, namespace and name of an object."""
    return of(obj), key_of(obj)
