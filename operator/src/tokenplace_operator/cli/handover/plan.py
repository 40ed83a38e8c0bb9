"""Plan of a handover: its steps and the problems that prevent it, before any change."""

from dataclasses import dataclass

from tokenplace_operator.api import names
from tokenplace_operator.api.kinds import (
    AUTOSCALER,
    DEPLOYMENT,
    INGRESS,
    SERVICE,
    Object,
    of,
)
from tokenplace_operator.api.owners import controller_of
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.cli.handover.problems import find_problems
from tokenplace_operator.cli.handover.release import TEMPLATE_HASH_LABEL as HASH
from tokenplace_operator.cli.handover.release import (
    Release,
    selects_new_pods,
)


@dataclass(frozen=True, slots=True)
class HandoverPlan:
    """The objects of a handover, by what happens to them; fields are in the order of the steps.

    autoscalers: deleted first, because they would scale the new pods too.
    service: the Service to pin to the old pods, when its selector also selects new pods.
    template_hash: the pod-template-hash of the old pods, which pins the Service.
    orphaning: deleted while their ReplicaSets and pods stay.
    relabeled: old pods that the relay's Deployment would select; their name label is changed.
    adopted: get the relay as their owner, those that carry traffic last.
    retired: old ReplicaSets or pods, deleted after the drain. old_pods: names of the old pods.
    unused: deleted at the end.
    """

    problems: tuple[str, ...] = ()
    autoscalers: tuple[Object, ...] = ()
    service: Object | None = None
    template_hash: str = ""
    orphaning: tuple[Object, ...] = ()
    relabeled: tuple[Object, ...] = ()
    adopted: tuple[Object, ...] = ()
    retired: tuple[Object, ...] = ()
    old_pods: frozenset[str] = frozenset()
    unused: tuple[Object, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a release is left to hand over."""
        groups = (self.adopted, self.orphaning, self.retired, self.autoscalers, self.unused)
        return not any(groups)

    @property
    def steps(self) -> list[str]:
        """The steps, one sentence each."""
        pods = f"the {len(self.old_pods)} old pods" if len(self.old_pods) != 1 else "the old pod"
        steps = [f"delete {named(obj)}, which would scale the new pods" for obj in self.autoscalers]
        if self.service is not None:
            steps.append(f"pin {named(self.service)} to {pods}; its selector matches new pods too")
        steps += [f"delete {named(obj)}, but keep its pods running" for obj in self.orphaning]
        steps += [
            f"change a label of {named(obj)}, so that the new Deployment does not select it"
            for obj in self.relabeled
        ]
        steps.append("apply the relay, and wait until its new pods are ready")
        steps += [f"hand {named(obj)} over to the operator" for obj in self.adopted]
        steps.append("wait until the Service routes to new pods only and the relay is Ready")
        steps += [f"delete {named(obj)}, after the drain" for obj in self.retired]
        steps += [f"delete {named(obj)}, which is no longer used" for obj in self.unused]
        return steps


def named(obj: Object) -> str:
    """Kind and name of an object."""
    return f"{obj['kind']} {obj['metadata']['name']}"


def plan_handover(relay: Relay, live: Release) -> HandoverPlan:
    """Plan the handover of a release's live objects to a relay."""
    deployment = live.conflicting_object(DEPLOYMENT, names.child(DEPLOYMENT, relay.name))
    service = live.conflicting_object(SERVICE, names.child(SERVICE, relay.name))
    template_hash = _shared_template_hash(live)
    taken_over = [
        replica_set for replica_set in live.replica_sets if _would_be_taken_over(relay, replica_set)
    ]
    staying = [replica_set for replica_set in live.replica_sets if replica_set not in taken_over]
    bare_pods = [pod for pod in live.pods if controller_of(pod) is None]
    pods_of_taken_over = [pod for pod in live.pods if _is_controlled_by(pod, taken_over)]
    # Pinning is possible only when one hash selects all old pods.
    pins = service is not None and bool(template_hash) and _selects_new_pods(relay, service)
    return HandoverPlan(
        problems=tuple(find_problems(relay, live, template_hash)),
        autoscalers=tuple(obj for obj in live.others if of(obj) == AUTOSCALER),
        service=service if pins else None,
        template_hash=template_hash,
        # A Deployment's selector is immutable, so it cannot be adopted and must be recreated.
        orphaning=(*([deployment] if deployment is not None else []), *taken_over),
        relabeled=tuple(pod for pod in live.pods if _has_relay_labels(relay, pod)),
        adopted=tuple(_traffic_last(relay, [o for o in live.conflicting if o is not deployment])),
        # ReplicaSets stay until the end, because they replace an old pod that dies.
        retired=(*staying, *pods_of_taken_over, *bare_pods),
        old_pods=frozenset(pod["metadata"]["name"] for pod in live.pods),
        unused=tuple(obj for obj in live.others if of(obj) not in {AUTOSCALER, INGRESS}),
    )


def _would_be_taken_over(relay: Relay, replica_set: Object) -> bool:
    """Whether the new Deployment would own a ReplicaSet, and scale it down too early."""
    # A Deployment adopts every ReplicaSet without a controller that its selector matches.
    return selects_new_pods(relay, replica_set["spec"]["selector"]["matchLabels"])


def _has_relay_labels(relay: Relay, pod: Object) -> bool:
    pod_labels: Object = pod["metadata"]["labels"]
    return relay.selector.items() <= pod_labels.items()


def _selects_new_pods(relay: Relay, service: Object) -> bool:
    return selects_new_pods(relay, service["spec"].get("selector", {}))


def _is_controlled_by(pod: Object, replica_sets: list[Object]) -> bool:
    owner = controller_of(pod)
    return owner is not None and owner["uid"] in {
        replica_set["metadata"]["uid"] for replica_set in replica_sets
    }


def _shared_template_hash(live: Release) -> str:
    """The pod-template-hash of all old pods; empty when they are of several rollouts."""
    # Pods that are terminating no longer receive requests.
    active = [pod["metadata"] for pod in live.pods if "deletionTimestamp" not in pod["metadata"]]
    hashes = {str(metadata["labels"].get(HASH, "")) for metadata in active}
    return hashes.pop() if len(hashes) == 1 else ""


def _traffic_last(relay: Relay, objects: list[Object]) -> list[Object]:
    """The objects with the relay's Service near the end and the Ingress last."""

    def rank(obj: Object) -> int:
        if of(obj) == SERVICE and obj["metadata"]["name"] == relay.name:
            return 1
        return 2 if of(obj) == INGRESS else 0

    return sorted(objects, key=rank)
