"""State of a relay as the data that `status`, `explain` and `report` print."""

from tokenplace_operator.api.conditions import Type
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.cli.output import pick
from tokenplace_operator.cli.snapshot import Snapshot, last_seen

MAX_EVENTS = 6
GOOD_WHEN_FALSE = {Type.RECONCILING, Type.STALLED, Type.PAUSED}
"""Condition types that are healthy when False; all others are healthy when True."""


def summary(relay: Object) -> Object:
    """A relay's row in the table, and the head of its page."""
    metadata, status = relay["metadata"], relay.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    ready = conditions.get(Type.READY, {})
    # A status of an older generation does not describe the current spec.
    current = status.get("observedGeneration") == metadata.get("generation")
    not_observed = "The operator has not observed this generation of the spec. Check that it runs."
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "ready": current and ready.get("status") == "True",
        "reason": ready.get("reason", "") if current else "NotObserved",
        "message": ready.get("message", "") if current else not_observed,
        "since": ready.get("lastTransitionTime", ""),
        "url": status.get("url", ""),
        "image": status.get("image", {}),
        "created": metadata.get("creationTimestamp", ""),
    }


def details(snapshot: Snapshot) -> Object:
    """Everything that `status NAME` prints."""
    relay = snapshot.relay
    status = relay.get("status", {})
    return {
        **summary(relay),
        "gpu": {**_gpu_spec(relay), **status.get("gpu", {})},
        "replicas": {
            "desired": pick(relay, "spec", "replicas", default=1),
            "ready": status.get("readyReplicas", 0),
        },
        "conditions": [
            {**condition, "good": is_good(condition)} for condition in status.get("conditions", [])
        ],
        "children": [_reference(child) for child in snapshot.children],
        "pods": [_pod(pod) for pod in snapshot.pods],
        "events": [_event(event) for event in snapshot.events[-MAX_EVENTS:]],
        "unreadable": list(snapshot.unreadable),
    }


def is_good(condition: Object) -> bool:
    """Whether a condition is healthy."""
    healthy = "False" if condition["type"] in GOOD_WHEN_FALSE else "True"
    return bool(condition.get("status") == healthy)


def _gpu_spec(relay: Object) -> Object:
    gpu = pick(relay, "spec", "gpu", default={})
    return {name: gpu[name] for name in ("mode", "host", "port") if name in gpu}


def _reference(obj: Object) -> Object:
    return {"kind": obj["kind"], "name": obj["metadata"]["name"]}


def _pod(pod: Object) -> Object:
    containers = pick(pod, "status", "containerStatuses", default=[])
    # A waiting reason such as CrashLoopBackOff names the problem; the phase is still Running.
    waiting = [pick(container, "state", "waiting", "reason") for container in containers]
    # all() of an empty list is true, but a pod without container statuses is not ready.
    ready = bool(containers) and all(container.get("ready") for container in containers)
    phase = pick(pod, "status", "phase")
    # Kubernetes has no phase Terminating; kubectl derives it from deletionTimestamp, too.
    terminating = "deletionTimestamp" in pod["metadata"]
    state = next((reason for reason in waiting if reason), "ready" if ready else phase)
    return {
        "name": pod["metadata"]["name"],
        "state": "Terminating" if terminating else state,
        "ready": ready and not terminating,
        "restarts": sum(container.get("restartCount", 0) for container in containers),
        "node": pick(pod, "spec", "nodeName"),
        "image": containers[0].get("imageID", "") if containers else "",
        "created": pod["metadata"].get("creationTimestamp", ""),
    }


def _event(event: Object) -> Object:
    subject = event.get("involvedObject", {})
    return {
        "last": last_seen(event),
        "type": event.get("type", ""),
        "reason": event.get("reason", ""),
        "about": f"{subject.get('kind', '')}/{subject.get('name', '')}",
        "message": event.get("message", ""),
        # The field is null in Events of the newer API.
        "count": event.get("count") or 1,
    }
