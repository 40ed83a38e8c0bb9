"""Objects of a Helm release of upstream's charts, read with the rights of the user."""

import re
from dataclasses import dataclass

from tokenplace_operator.api.kinds import (
    CHILD_KINDS,
    OPTIONAL_CHILD_KINDS,
    POD,
    RELAY,
    REPLICA_SET,
    Kind,
    Object,
    identity,
    of,
)
from tokenplace_operator.api.owners import controller_of
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.build import build
from tokenplace_operator.desired.child import labels
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import NotFound
from tokenplace_operator.observe.facts import Facts

NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
TEMPLATE_HASH_LABEL = "pod-template-hash"
RELEASE_ANNOTATION = "meta.helm.sh/release-name"
_CHART = re.compile(r"tokenplace(-relay)?-[0-9]")


@dataclass(frozen=True, slots=True)
class Release:
    """The live objects that a handover concerns.

    relay_uid: empty while no relay of that name exists.
    name: of the Helm release; empty when no object names one.
    conflicting: objects with the names of the relay's children that the relay does not own, in
        the order of its children.
    others: objects of the same release under other names.
    replica_sets, pods: of the old Deployment, and orphans of an interrupted handover.
    """

    relay_uid: str = ""
    name: str = ""
    conflicting: tuple[Object, ...] = ()
    others: tuple[Object, ...] = ()
    replica_sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()

    def conflicting_object(self, kind: Kind, name: str) -> Object | None:
        """The conflicting object of a kind and name, or None."""
        for obj in self.conflicting:
            if of(obj) == kind and obj["metadata"]["name"] == name:
                return obj
        return None


async def read_release(kube: Kube, relay: Relay, name: str = "") -> Release:
    """Read all objects that a handover concerns; KubeError when one cannot be read.

    name: of the Helm release, for objects that do not name it.
    """
    uid = await _relay_uid(kube, relay)
    # Only kinds that the cluster serves: a list of any other would fail with 404.
    apis = frozenset([kind for kind in OPTIONAL_CHILD_KINDS if await kube.serves(kind)])
    children = [identity(child) for child in build(relay, Facts(apis=apis))]
    live = [obj for child in children if (obj := await _get(kube, *child)) is not None]
    conflicting = [obj for obj in live if not _is_controlled_by(obj, uid)]
    # An adopted object keeps Helm's annotation, so an interrupted handover still finds the release.
    name = name or next(iter(filter(None, map(release_name, [*conflicting, *live]))), "")
    if not name:
        return Release(uid, conflicting=tuple(conflicting))
    selector = f"{INSTANCE_LABEL}={name}"
    others: list[Object] = []
    for kind in (*CHILD_KINDS, *sorted(apis, key=lambda kind: kind.kind)):
        items, _ = await kube.list(kind, relay.namespace, selector)
        others += [obj for obj in items if _is_made_by_helm(obj) and identity(obj) not in children]
    replica_sets, _ = await kube.list(REPLICA_SET, relay.namespace, selector)
    pods, _ = await kube.list(POD, relay.namespace, selector)
    deployments = {obj["metadata"]["uid"] for obj in conflicting if obj["kind"] == "Deployment"}
    # An interrupted handover may have deleted the Deployment already, so orphans count as its own.
    old_sets = [obj for obj in replica_sets if _is_orphan(obj) or _owner_uid(obj) in deployments]
    set_uids = {obj["metadata"]["uid"] for obj in old_sets}
    old_pods = [pod for pod in pods if _is_orphan(pod) or _owner_uid(pod) in set_uids]
    return Release(uid, name, tuple(conflicting), tuple(others), tuple(old_sets), tuple(old_pods))


def is_of_upstream_chart(obj: Object) -> bool:
    """Whether the labels of an object name Helm and one of upstream's charts."""
    object_labels = obj["metadata"].get("labels", {})
    managed_by_helm = object_labels.get("app.kubernetes.io/managed-by") == "Helm"
    return managed_by_helm and _CHART.match(object_labels.get("helm.sh/chart", "")) is not None


def release_name(obj: Object) -> str:
    """The Helm release that an object belongs or belonged to; empty for none."""
    metadata = obj["metadata"]
    name = metadata.get("annotations", {}).get(RELEASE_ANNOTATION)
    # helm template with kubectl apply sets labels but no annotation.
    if not name and is_of_upstream_chart(obj):
        name = metadata["labels"].get(INSTANCE_LABEL)
    return str(name or "")


def selects_new_pods(relay: Relay, selector: Object) -> bool:
    """Whether a selector of the old release also selects the relay's new pods."""
    new = {**relay.pod_template.labels, **labels(relay)}
    # The hash is a pin of an interrupted handover; the selector before it is the one that matters.
    without_hash = {key: v for key, v in selector.items() if key != TEMPLATE_HASH_LABEL}
    return without_hash.items() <= new.items()


async def _relay_uid(kube: Kube, relay: Relay) -> str:
    live = await _get(kube, RELAY, (relay.namespace, relay.name))
    return "" if live is None else str(live["metadata"]["uid"])


async def _get(kube: Kube, kind: Kind, key: tuple[str, str]) -> Object | None:
    try:
        return await kube.get(kind, *key)
    except NotFound as error:
        # A missing CRD must not look like a relay that does not exist yet.
        if not error.knows_kind:
            raise
        return None


def _is_made_by_helm(obj: Object) -> bool:
    # A controller copies the labels of a Service to its EndpointSlices; Helm did not make those.
    return is_of_upstream_chart(obj) and controller_of(obj) is None


def _is_orphan(obj: Object) -> bool:
    """Whether it is a relay pod or ReplicaSet without a controller, after an orphaning delete."""
    template = obj if obj["kind"] == "Pod" else obj["spec"]["template"]
    containers = {container["name"] for container in template["spec"]["containers"]}
    of_deployment = TEMPLATE_HASH_LABEL in obj["metadata"].get("labels", {})
    return controller_of(obj) is None and of_deployment and "relay" in containers


def _is_controlled_by(obj: Object, uid: str) -> bool:
    return bool(uid) and _owner_uid(obj) == uid


def _owner_uid(obj: Object) -> str:
    owner = controller_of(obj)
    return "" if owner is None else str(owner["uid"])
