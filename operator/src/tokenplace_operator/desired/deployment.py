"""The relay pods: hardened, drained before they stop, and never two at once over memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenplace_operator.api import PodTemplate, Relay
from tokenplace_operator.api.quantity import canonical, canonical_values
from tokenplace_operator.desired.environment import environment
from tokenplace_operator.desired.metadata import Object, child, labels
from tokenplace_operator.desired.raw import compact
from tokenplace_operator.observe.facts import Facts

UID = 1000
STARTUP_SECONDS = 60

CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsGroup": UID,
    "runAsNonRoot": True,
    "runAsUser": UID,
    "seccompProfile": {"type": "RuntimeDefault"},
}
POD_SECURITY = {
    "fsGroup": UID,
    "runAsGroup": UID,
    "runAsNonRoot": True,
    "runAsUser": UID,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def deployment(relay: Relay, facts: Facts) -> list[Object]:
    """Always wanted."""
    spec = {
        # An autoscaler owns the number; naming it here would take it back at each apply.
        **({} if relay.is_autoscaled else {"replicas": relay.replicas}),
        "selector": {"matchLabels": relay.selector},
        "strategy": {"type": "Recreate"},
        "progressDeadlineSeconds": relay.rollback.deadline_seconds,
        "revisionHistoryLimit": 3,
        "template": _pod_template(relay, facts),
    }
    return [child(relay, "apps/v1", "Deployment", relay.name, spec=spec)]


def _pod_template(relay: Relay, facts: Facts) -> Object:
    added = relay.pod_template
    metadata: Object = {"labels": {**added.labels, **labels(relay)}}
    if added.annotations:
        metadata["annotations"] = dict(added.annotations)
    spec = {
        "serviceAccountName": relay.name,
        "automountServiceAccountToken": False,
        # Without this, a Service named "relay" would inject its own RELAY_PORT into the pods.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": relay.drain.grace_period_seconds,
        # The server keeps no `false`, but that we said it: one who says `true` is contradicted.
        "hostNetwork": False,
        "hostPID": False,
        "hostIPC": False,
        "securityContext": POD_SECURITY,
        "containers": [_container(relay, facts)],
        "volumes": [_tmp(), *(_volume(volume) for volume in added.volumes)],
        **_pull_secrets(relay),
        **_scheduling(relay),
    }
    return {"metadata": metadata, "spec": spec}


def _container(relay: Relay, facts: Facts) -> Object:
    added = relay.pod_template
    container: Object = {
        "name": "relay",
        "image": relay.image.reference,
        "imagePullPolicy": relay.image.pull_policy,
        "ports": [{"name": "http", "containerPort": relay.port, "protocol": "TCP"}],
        "env": [*environment(relay, facts), *compact(added.env)],
        "resources": _resources(relay),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *compact(added.volume_mounts)],  # noqa: S108 (a path in the pod)
        **_probes(),
    }
    if added.env_from:
        container["envFrom"] = compact(added.env_from)
    return container


def _probes() -> Object:
    """Readiness turns red on the first failure, within the drain delay of a terminating pod."""
    alive = {"httpGet": {"path": "/livez", "port": "http"}, "timeoutSeconds": 2}
    ready = {"httpGet": {"path": "/healthz", "port": "http"}, "timeoutSeconds": 2}
    return {
        "startupProbe": {**alive, "periodSeconds": 1, "failureThreshold": STARTUP_SECONDS},
        "livenessProbe": {**alive, "periodSeconds": 10, "failureThreshold": 3},
        "readinessProbe": {**ready, "periodSeconds": 2, "failureThreshold": 1},
    }


def _resources(relay: Relay) -> Object:
    resources = {
        "requests": canonical_values(relay.resources.requests),
        "limits": canonical_values(relay.resources.limits),
    }
    return {name: amounts for name, amounts in resources.items() if amounts}


def _tmp() -> Object:
    return {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}


def _volume(volume: Mapping[str, Any]) -> Object:
    copy: Object = compact(volume)
    size = copy.get("emptyDir", {}).get("sizeLimit")
    if size is not None:
        copy["emptyDir"] = {**copy["emptyDir"], "sizeLimit": canonical(size)}
    return copy


def _pull_secrets(relay: Relay) -> Object:
    secrets = [{"name": name} for name in relay.image.pull_secrets]
    return {"imagePullSecrets": secrets} if secrets else {}


def _scheduling(relay: Relay) -> Object:
    added: PodTemplate = relay.pod_template
    fields = {
        "nodeSelector": dict(added.node_selector),
        "tolerations": compact(added.tolerations),
        "affinity": compact(added.affinity),
        "topologySpreadConstraints": [
            {**compact(constraint), "labelSelector": {"matchLabels": relay.selector}}
            for constraint in added.topology_spread_constraints
        ],
        "priorityClassName": added.priority_class_name,
    }
    return {name: value for name, value in fields.items() if value}
