"""What `status` and `report` say of a relay, as data: the JSON of `-o json`."""

from tokenplace_operator.api.conditions import Type
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.cli.observe import Snapshot, last_seen
from tokenplace_operator.cli.output import pick

MAX_EVENTS = 6
GOOD_WHEN_FALSE = {Type.RECONCILING, Type.STALLED, Type.PAUSED}
"""Conditions that tell of trouble when they are True; all others when they are not."""


def summary(relay: Object) -> Object:
    """The line of a relay in the table, and the head of its screen."""
    metadata, status = relay["metadata"], relay.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", [])}
    ready = conditions.get(Type.READY, {})
    # A status that is older than the spec says nothing about what is wanted now.
    current = status.get("observedGeneration") == metadata.get("generation")
    unseen = "The operator has not looked at this version of the spec yet. Is it running?"
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "ready": current and ready.get("status") == "True",
        "reason": ready.get("reason", "") if current else "NotObserved",
        "message": ready.get("message", "") if current else unseen,
        "since": ready.get("lastTransitionTime", ""),
        "url": status.get("url", ""),
        "image": status.get("image", {}),
        "created": metadata.get("creationTimestamp", ""),
    }


def details(snapshot: Snapshot) -> Object:
    """Everything of one relay's screen, as data."""
    relay = snapshot.relay
    status = relay.get("status", {})
    return {
        **summary(relay),
        "gpu": {**_gpu_wanted(relay), **status.get("gpu", {})},
        "replicas": {
            "wanted": pick(relay, "spec", "replicas", default=1),
            "ready": status.get("readyReplicas", 0),
        },
        "conditions": [{**one, "good": is_good(one)} for one in status.get("conditions", [])],
        "children": [_named(one) for one in snapshot.children],
        "pods": [_pod(one) for one in snapshot.pods],
        "events": [_event(one) for one in snapshot.events[-MAX_EVENTS:]],
        "notRead": list(snapshot.gaps),
    }


def is_good(condition: Object) -> bool:
    """Whether a condition tells of no trouble."""
    wanted = "False" if condition["type"] in GOOD_WHEN_FALSE else "True"
    return bool(condition.get("status") == wanted)


def _gpu_wanted(relay: Object) -> Object:
    gpu = pick(relay, "spec", "gpu", default={})
    return {name: gpu[name] for name in ("mode", "host", "port") if name in gpu}


def _named(obj: Object) -> Object:
    return {"kind": obj["kind"], "name": obj["metadata"]["name"]}


def _pod(pod: Object) -> Object:
    containers = pick(pod, "status", "containerStatuses", default=[])
    waiting = [pick(one, "state", "waiting", "reason") for one in containers]
    ready = bool(containers) and all(one.get("ready") for one in containers)
    phase = pick(pod, "status", "phase")
    leaving = "deletionTimestamp" in pod["metadata"]
    state = next((one for one in waiting if one), "ready" if ready else phase)
    return {
        "name": pod["metadata"]["name"],
        "state": "Terminating" if leaving else state,
        "ready": ready and not leaving,
        "restarts": sum(one.get("restartCount", 0) for one in containers),
        "node": pick(pod, "spec", "nodeName"),
        "image": containers[0].get("imageID", "") if containers else "",
        "created": pod["metadata"].get("creationTimestamp", ""),
    }


def _event(event: Object) -> Object:
    about = event.get("involvedObject", {})
    return {
        "last": last_seen(event),
        "type": event.get("type", ""),
        "reason": event.get("reason", ""),
        "about": f"{about.get('kind', '')}/{about.get('name', '')}",
        "message": event.get("message", ""),
        "count": event.get("count") or 1,
    }
