"""The Deployment of a relay: hardened pods that drain before they stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenplace_operator.api import names
from tokenplace_operator.api.compact import compact
from tokenplace_operator.api.kinds import DEPLOYMENT, SERVICE_ACCOUNT, Object
from tokenplace_operator.api.quantity import canonical, canonical_values
from tokenplace_operator.api.spec.pods import PodTemplate
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.child import child, labels
from tokenplace_operator.desired.environment import environment
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
    """Always desired. Strategy Recreate: two pods would each hold a part of the state in memory."""
    spec = {
        # The autoscaler owns the field; an apply with it would reset its value.
        **({} if relay.is_autoscaled else {"replicas": relay.replicas}),
        "selector": {"matchLabels": relay.selector},
        "strategy": {"type": "Recreate"},
        "progressDeadlineSeconds": relay.rollback.deadline_seconds,
        # A rollback uses the digest in the status, not an old ReplicaSet; a few are kept for
        # kubectl rollout history.
        "revisionHistoryLimit": 3,
        "template": _pod_template(relay, facts),
    }
    return [child(relay, DEPLOYMENT, spec=spec)]


def _pod_template(relay: Relay, facts: Facts) -> Object:
    extra = relay.pod_template
    # User labels come first, so that they cannot replace the labels that selectors use.
    metadata: Object = {"labels": {**extra.labels, **labels(relay)}}
    if extra.annotations:
        metadata["annotations"] = dict(extra.annotations)
    spec = {
        "serviceAccountName": names.child(SERVICE_ACCOUNT, relay.name),
        "automountServiceAccountToken": False,
        # A Service named "relay" would otherwise set RELAY_PORT in the pods.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": relay.drain.grace_period_seconds,
        # False is not stored, but we still own the field, so a later `true` is reverted.
        "hostNetwork": False,
        "hostPID": False,
        "hostIPC": False,
        "securityContext": POD_SECURITY,
        "containers": [_container(relay, facts)],
        "volumes": [_tmp(), *(_volume(volume) for volume in extra.volumes)],
        **_pull_secrets(relay),
        **_scheduling(relay),
    }
    return {"metadata": metadata, "spec": spec}


def _container(relay: Relay, facts: Facts) -> Object:
    extra = relay.pod_template
    container: Object = {
        "name": "relay",
        "image": relay.image.reference,
        "imagePullPolicy": relay.image.pull_policy,
        "ports": [{"name": "http", "containerPort": relay.port, "protocol": "TCP"}],
        "env": [*environment(relay, facts), *compact(extra.env)],
        "resources": _resources(relay),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *compact(extra.volume_mounts)],  # noqa: S108 (a path in the pod)
        **_probes(),
    }
    if extra.env_from:
        container["envFrom"] = compact(extra.env_from)
    return container


def _probes() -> Object:
    # One failure makes a pod unready, so that a draining pod leaves the endpoints in time.
    alive = {"httpGet": {"path": "/livez", "port": "http"}, "timeoutSeconds": 2}
    ready = {"httpGet": {"path": "/healthz", "port": "http"}, "timeoutSeconds": 2}
    return {
        "startupProbe": {**alive, "periodSeconds": 1, "failureThreshold": STARTUP_SECONDS},
        # /livez, not /healthz: a draining relay fails /healthz by design, and a restart would lose
        # its state.
        "livenessProbe": {**alive, "periodSeconds": 10, "failureThreshold": 3},
        "readinessProbe": {**ready, "periodSeconds": 2, "failureThreshold": 1},
    }


def _resources(relay: Relay) -> Object:
    # The API server stores 0.5 as 500m; any other form would count as drift after each restart.
    resources = {
        "requests": canonical_values(relay.resources.requests),
        "limits": canonical_values(relay.resources.limits),
    }
    return {name: amounts for name, amounts in resources.items() if amounts}


def _tmp() -> Object:
    # The root file system is read-only. The limit keeps a full /tmp from filling the node's disk.
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
    extra: PodTemplate = relay.pod_template
    fields = {
        "nodeSelector": dict(extra.node_selector),
        "tolerations": compact(extra.tolerations),
        "affinity": compact(extra.affinity),
        "topologySpreadConstraints": [
            {**compact(constraint), "labelSelector": {"matchLabels": relay.selector}}
            for constraint in extra.topology_spread_constraints
        ],
        "priorityClassName": extra.priority_class_name,
    }
    return {name: value for name, value in fields.items() if value}
