"""A relay with its children, pods and Events, read with the rights of the user."""

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
from tokenplace_operator.api.owners import controller_of
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import Forbidden, NotFound

_TEMPLATE_HASH = re.compile("[bcdfghjklmnpqrstvwxz2456789]{1,10}")
"""A pod-template-hash: SafeEncodeString of k8s.io/apimachinery/pkg/util/rand."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A relay and the objects that belong to it, as of one moment.

    unreadable: for each list that the user may not read, the API server's message.
    apis: the optional kinds that the cluster serves.
    """

    relay: Object
    children: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    events: tuple[Object, ...] = ()
    unreadable: tuple[str, ...] = ()
    apis: frozenset[Kind] = frozenset()


async def read_snapshot(kube: Kube, namespace: str, name: str) -> Snapshot:
    """Read a relay and all that belongs to it; KubeError only when the relay cannot be read."""
    relay = await kube.get(RELAY, namespace, name)
    unreadable: list[str] = []
    selector = f"{MANAGED_BY_SELECTOR},app.kubernetes.io/instance={name}"
    kinds = (*CHILD_KINDS, *OPTIONAL_CHILD_KINDS)
    pods, events, *lists = await asyncio.gather(
        _items(kube.list(POD, namespace, pod_selector(name)), unreadable),
        _items(kube.list(EVENT, namespace), unreadable),
        *(_items(kube.list(kind, namespace, selector), unreadable) for kind in kinds),
    )
    # Labels can be set by anyone, so a child must also have the relay as its controller.
    children = [child for items in lists for child in items or () if _is_child(child, relay)]
    objects = [relay, *children, *(pods or ())]
    related = [event for event in events or () if _is_about(event, objects, name)]
    related.sort(key=last_seen)
    # A kind counts as served also when the user may not list it.
    served = {kind for kind, items in zip(kinds, lists, strict=True) if items is not None}
    return Snapshot(
        relay,
        tuple(children),
        tuple(pods or ()),
        tuple(related),
        unreadable=tuple(sorted(set(unreadable))),
        apis=frozenset(served.intersection(OPTIONAL_CHILD_KINDS)),
    )


def pod_selector(name: str) -> str:
    """The label selector of a relay's pods."""
    return f"app.kubernetes.io/name={RELAY_APP},app.kubernetes.io/instance={name}"


def last_seen(event: Object) -> str:
    """RFC 3339 time of an Event's last occurrence; components use different fields for it."""
    for field in ("lastTimestamp", "eventTime", "firstTimestamp"):
        if event.get(field):
            return str(event[field])
    return str(event["metadata"].get("creationTimestamp", ""))


async def _items(
    request: Awaitable[tuple[list[Object], str]], unreadable: list[str]
) -> list[Object] | None:
    """The items of a list request; None when the kind does not exist, none when forbidden."""
    try:
        items, _ = await request
    except NotFound:
        return None
    except Forbidden as error:
        unreadable.append(error.message)
        return []
    return items


def _is_child(obj: Object, relay: Object) -> bool:
    owner = controller_of(obj)
    # By uid: a relay that was deleted and recreated has other children of the same name.
    return owner is not None and owner["uid"] == relay["metadata"]["uid"]


def _is_about(event: Object, objects: list[Object], name: str) -> bool:
    subject = event.get("involvedObject", {})
    if subject.get("uid") in {obj["metadata"]["uid"] for obj in objects}:
        return True
    if subject.get("kind") != REPLICA_SET.kind:
        return False
    # ReplicaSets are not read, and old ones may be deleted: match the Deployment's name and hash.
    owner, _, template_hash = str(subject.get("name")).rpartition("-")
    return owner == name and _TEMPLATE_HASH.fullmatch(template_hash) is not None
