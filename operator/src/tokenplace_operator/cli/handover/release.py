"""What runs of upstream's charts, as the cluster tells it to the person who asks."""

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
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.cache.store import controller_of
from tokenplace_operator.desired.build import build
from tokenplace_operator.desired.child import labels
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import NotFound
from tokenplace_operator.observe.facts import Facts

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
RELEASE = "meta.helm.sh/release-name"
_CHART = re.compile(r"tokenplace(-relay)?-[0-9]")
HASH = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class ReleaseObjects:
    """What was read.

    relay_uid: empty while there is no relay of that name.
    taken: what has the names of the relay's children and is not its own, in their order.
    others: objects of the same release under other names.
    replica_sets, pods: those of the old Deployment, and those that it left behind.
    """

    relay_uid: str = ""
    release: str = ""
    taken: tuple[Object, ...] = ()
    others: tuple[Object, ...] = ()
    replica_sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()

    def one(self, kind: Kind, name: str) -> Object | None:
        """The object of a kind and name among those that are taken."""
        return next(
            (one for one in self.taken if of(one) == kind and one["metadata"]["name"] == name), None
        )


async def look(kube: Kube, relay: Relay, release: str = "") -> ReleaseObjects:
    """Read all that has to do with a handover. release: when the objects themselves do not say."""
    uid = await _uid(kube, relay)
    apis = frozenset([kind for kind in OPTIONAL_CHILD_KINDS if await kube.serves(kind)])
    wanted = [identity(one) for one in build(relay, Facts(apis=apis))]
    live = [one for where in wanted if (one := await _get(kube, *where)) is not None]
    taken = [one for one in live if not _is_controlled_by(one, uid)]
    release = release or next(iter(filter(None, map(release_of, [*taken, *live]))), "")
    if not release:
        return ReleaseObjects(uid, taken=tuple(taken))
    selector = f"{INSTANCE}={release}"
    others = []
    for kind in (*CHILD_KINDS, *sorted(apis, key=lambda kind: kind.kind)):
        listed, _ = await kube.list(kind, relay.namespace, selector)
        # A controller copies the labels of a Service to its slices: they are not Helm's.
        alone = [one for one in listed if is_upstreams(one) and controller_of(one) is None]
        others += [one for one in alone if identity(one) not in wanted]
    replica_sets, _ = await kube.list(REPLICA_SET, relay.namespace, selector)
    pods, _ = await kube.list(POD, relay.namespace, selector)
    deployments = {one["metadata"]["uid"] for one in taken if one["kind"] == "Deployment"}
    old_sets = [one for one in replica_sets if _is_left(one) or _owner(one) in deployments]
    sets = {one["metadata"]["uid"] for one in old_sets}
    old_pods = [one for one in pods if _is_left(one) or _owner(one) in sets]
    return ReleaseObjects(
        uid, release, tuple(taken), tuple(others), tuple(old_sets), tuple(old_pods)
    )


def is_upstreams(obj: Object) -> bool:
    """Whether Helm made it from one of upstream's charts."""
    found = obj["metadata"].get("labels", {})
    by_helm = found.get("app.kubernetes.io/managed-by") == "Helm"
    return by_helm and _CHART.match(found.get("helm.sh/chart", "")) is not None


def release_of(obj: Object) -> str:
    """The Helm release that an object is or was of, empty for none."""
    metadata = obj["metadata"]
    named = metadata.get("annotations", {}).get(RELEASE)
    return str(named or (metadata["labels"].get(INSTANCE, "") if is_upstreams(obj) else ""))


def would_be_the_relays(relay: Relay, selector: Object) -> bool:
    """Whether a selector of the old release takes the relay's new pods as well."""
    new = {**relay.pod_template.labels, **labels(relay)}
    return {name: value for name, value in selector.items() if name != HASH}.items() <= new.items()


async def _uid(kube: Kube, relay: Relay) -> str:
    found = await _get(kube, RELAY, (relay.namespace, relay.name))
    return "" if found is None else str(found["metadata"]["uid"])


async def _get(kube: Kube, kind: Kind, key: tuple[str, str]) -> Object | None:
    try:
        return await kube.get(kind, *key)
    except NotFound as error:
        if not error.knows_kind:
            raise
        return None


def _is_left(obj: Object) -> bool:
    """A relay's pods, or their set, that nothing controls: left by a Deployment that was let go."""
    template = obj if obj["kind"] == "Pod" else obj["spec"]["template"]
    runs = {one["name"] for one in template["spec"]["containers"]}
    made = HASH in obj["metadata"].get("labels", {})
    return controller_of(obj) is None and made and "relay" in runs


def _is_controlled_by(obj: Object, uid: str) -> bool:
    return bool(uid) and _owner(obj) == uid


def _owner(obj: Object) -> str:
    owner = controller_of(obj)
    return "" if owner is None else str(owner["uid"])
