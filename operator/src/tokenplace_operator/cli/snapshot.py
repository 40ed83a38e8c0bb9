"""One relay with all that belongs to it, as the cluster tells it to the person who asks."""

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import dataclass

from tokenplace_operator.api.kinds import (
    CHILD_KINDS,
    EVENT,
    OPTIONAL_CHILD_KINDS,
    POD,
    RELAY,
    REPLICA_SET,
    Kind,
    Object,
)
from tokenplace_operator.api.labels import MANAGED_BY_SELECTOR
from tokenplace_operator.api.names import RELAY_APP
from tokenplace_operator.cache.store import controller_of
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import Forbidden, NotFound

_HASH = re.compile("[bcdfghjklmnpqrstvwxz2456789]{1,10}")
"""Letters and digits of k8s.io/apimachinery/pkg/util/rand, SafeEncodeString."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read.

    gaps: what the person may not read, one sentence each.
    apis: the optional kinds that the cluster serves.
    """

    relay: Object
    children: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    events: tuple[Object, ...] = ()
    gaps: tuple[str, ...] = ()
    apis: frozenset[Kind] = frozenset()


async def observe(kube: Kube, namespace: str, name: str) -> Snapshot:
    """Read a relay and its surroundings; KubeError only when the relay itself is out of reach."""
    relay = await kube.get(RELAY, namespace, name)
    gaps: list[str] = []
    selector = f"{MANAGED_BY_SELECTOR},app.kubernetes.io/instance={name}"
    kinds = (*CHILD_KINDS, *OPTIONAL_CHILD_KINDS)
    pods, events, *lists = await asyncio.gather(
        _allowed(kube.list(POD, namespace, pod_selector(name)), gaps),
        _allowed(kube.list(EVENT, namespace), gaps),
        *(_allowed(kube.list(kind, namespace, selector), gaps) for kind in kinds),
    )
    children = [one for found in lists for one in found or () if _is_child(one, relay)]
    about = [one for one in events or () if _is_about(one, [relay, *children, *(pods or ())], name)]
    about.sort(key=last_seen)
    served = {kind for kind, found in zip(kinds, lists, strict=True) if found is not None}
    return Snapshot(
        relay,
        tuple(children),
        tuple(pods or ()),
        tuple(about),
        gaps=tuple(sorted(set(gaps))),
        apis=frozenset(served.intersection(OPTIONAL_CHILD_KINDS)),
    )


def pod_selector(name: str) -> str:
    """Selects the pods of a relay."""
    return f"app.kubernetes.io/name={RELAY_APP},app.kubernetes.io/instance={name}"


def last_seen(event: Object) -> str:
    """When an Event happened last; the fields differ between its makers."""
    for field in ("lastTimestamp", "eventTime", "firstTimestamp"):
        if event.get(field):
            return str(event[field])
    return str(event["metadata"].get("creationTimestamp", ""))


async def _allowed(
    reading: Awaitable[tuple[list[Object], str]], gaps: list[str]
) -> list[Object] | None:
    """What a list holds; None when the kind does not exist, nothing when it may not be read."""
    try:
        items, _ = await reading
    except NotFound:
        return None
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
    if about.get("kind") != REPLICA_SET.kind:
        return False
    # Of the Deployment, some gone already: its name and the hash of a pod template.
    owner, _, template = str(about.get("name")).rpartition("-")
    return owner == name and _HASH.fullmatch(template) is not None
