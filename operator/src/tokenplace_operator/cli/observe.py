"""One relay with all that belongs to it, as the cluster tells it to the person who asks."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from tokenplace_operator.api import APP
from tokenplace_operator.kinds import CHILD_KINDS, EVENT, MANAGED_BY_SELECTOR, POD, RELAY, Object
from tokenplace_operator.kube import Forbidden, Kube, NotFound
from tokenplace_operator.store import controller_of

_OWNED_INDIRECTLY = {"ReplicaSet"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read. gaps: what the person may not read, one sentence each."""

    relay: Object
    children: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    events: tuple[Object, ...] = ()
    gaps: tuple[str, ...] = ()


async def observe(kube: Kube, namespace: str, name: str) -> Snapshot:
    """Read a relay and its surroundings; KubeError only when the relay itself is out of reach."""
    relay = await kube.get(RELAY, namespace, name)
    gaps: list[str] = []
    selector = f"{MANAGED_BY_SELECTOR},app.kubernetes.io/instance={name}"
    pods, events, *lists = await asyncio.gather(
        _allowed(kube.list(POD, namespace, pod_selector(name)), gaps),
        _allowed(kube.list(EVENT, namespace), gaps),
        *(_allowed(kube.list(kind, namespace, selector), gaps) for kind in CHILD_KINDS),
    )
    children = [one for found in lists for one in found if _is_child(one, relay)]
    about = [one for one in events if _is_about(one, [relay, *children, *pods], name)]
    about.sort(key=last_seen)
    return Snapshot(relay, tuple(children), tuple(pods), tuple(about), tuple(sorted(set(gaps))))


def pod_selector(name: str) -> str:
    """Selects the pods of a relay."""
    return f"app.kubernetes.io/name={APP},app.kubernetes.io/instance={name}"


def last_seen(event: Object) -> str:
    """When an Event happened last; the fields differ between its makers."""
    for field in ("lastTimestamp", "eventTime", "firstTimestamp"):
        if event.get(field):
            return str(event[field])
    return str(event["metadata"].get("creationTimestamp", ""))


async def _allowed(reading: Awaitable[tuple[list[Object], str]], gaps: list[str]) -> list[Object]:
    """What a list holds; nothing when the kind does not exist or the person may not read it."""
    try:
        items, _ = await reading
    except NotFound:
        return []
    except Forbidden as error:
        gaps.append(error.message)
        return []
    return items


def _is_child(obj: Object, relay: Object) -> bool:
    owner = controller_of(obj)
    return owner is not None and owner["uid"] == relay["metadata"]["uid"]


def _is_about(event: Object, objects: list[Object], name: str) -> bool:
    about = event.get("involvedObject", {})
    if about.get("uid") in {one["metadata"]["uid"] for one in objects}:
        return True
    return about.get("kind") in _OWNED_INDIRECTLY and str(about.get("name")).startswith(f"{name}-")
