"""What a handover does and what forbids it, decided before anything is touched."""

from dataclasses import dataclass

from tokenplace_operator.api.kinds import (
    AUTOSCALER,
    DEPLOYMENT,
    INGRESS,
    SERVICE,
    Object,
    of,
)
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.cache.store import controller_of
from tokenplace_operator.cli.handover.release import (
    HASH,
    ReleaseObjects,
    is_upstreams,
    release_of,
    would_be_the_relays,
)
from tokenplace_operator.desired.ingress import ingress
from tokenplace_operator.status.rollout import is_settled


@dataclass(frozen=True, slots=True)
class HandoverPlan:
    """The objects of a handover, in the order in which it comes to them.

    scalers: would set the number of the new pods as well.
    pinned: the Service, when its selector would take the new pods too; pin: the hash of the old.
    let_go: deleted, while what they own lives on. aside: old pods that the relay's own selector
    would take. give: get the relay as their owner.
    old: what runs the old pods, or they themselves. leftovers: nobody needs them afterwards.
    """

    problems: tuple[str, ...] = ()
    scalers: tuple[Object, ...] = ()
    pinned: Object | None = None
    pin: str = ""
    let_go: tuple[Object, ...] = ()
    aside: tuple[Object, ...] = ()
    give: tuple[Object, ...] = ()
    old: tuple[Object, ...] = ()
    old_pods: frozenset[str] = frozenset()
    leftovers: tuple[Object, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a release is left to hand over."""
        return not (self.give or self.let_go or self.old or self.scalers or self.leftovers)

    @property
    def steps(self) -> list[str]:
        """What will be done, for people."""
        pods = f"{len(self.old_pods)} old pods" if len(self.old_pods) != 1 else "the old pod"
        found = [f"delete {named(one)}, which would scale the new pods" for one in self.scalers]
        if self.pinned is not None:
            found.append(f"pin {named(self.pinned)} to {pods}, for the new ones look alike")
        found += [f"delete {named(one)}, but not what it owns: it serves on" for one in self.let_go]
        found += [f"rename the label of {named(one)}, for the same reason" for one in self.aside]
        found.append("apply the relay, and wait until its new pods are ready")
        found += [f"give {named(one)} to the operator" for one in self.give]
        found.append("wait until the Service leads to the new pods only, and the relay is Ready")
        found += [f"delete {named(one)}, after a time to drain" for one in self.old]
        found += [f"delete {named(one)}, which nobody needs any more" for one in self.leftovers]
        return found


def named(obj: Object) -> str:
    """An object as people name it."""
    return f"{obj['kind']} {obj['metadata']['name']}"


def plan(relay: Relay, found: ReleaseObjects) -> HandoverPlan:
    """The handover of what was found to a relay."""
    deployment = found.one(DEPLOYMENT, relay.name)
    service = found.one(SERVICE, relay.name)
    alike = [one for one in found.replica_sets if _takes_new_pods(relay, one)]
    bare = [one for one in found.pods if controller_of(one) is None]
    names = {one["metadata"]["name"] for one in found.pods}
    pin = _hash_of(found)
    pinned = service if service is not None and pin and _leads_to_new_pods(relay, service) else None
    staying = [one for one in found.replica_sets if one not in alike]
    controlled = [one for one in found.pods if _belongs_to(one, alike)]
    return HandoverPlan(
        problems=tuple(_problems(relay, found)),
        scalers=tuple(one for one in found.others if of(one) == AUTOSCALER),
        pinned=pinned,
        pin=pin,
        let_go=(*([deployment] if deployment is not None else []), *alike),
        aside=tuple(one for one in found.pods if _looks_new(relay, one)),
        give=tuple(_in_order(relay, [one for one in found.taken if one is not deployment])),
        old=(*staying, *controlled, *bare),
        old_pods=frozenset(names),
        leftovers=tuple(one for one in found.others if of(one) not in {AUTOSCALER, INGRESS}),
    )


def _takes_new_pods(relay: Relay, replica_set: Object) -> bool:
    """Its new Deployment would take such a set over, and end it before the new pods serve."""
    return would_be_the_relays(relay, replica_set["spec"]["selector"]["matchLabels"])


def _looks_new(relay: Relay, pod: Object) -> bool:
    found: Object = pod["metadata"]["labels"]
    return relay.selector.items() <= found.items()


def _leads_to_new_pods(relay: Relay, service: Object) -> bool:
    return would_be_the_relays(relay, service["spec"].get("selector", {}))


def _belongs_to(pod: Object, sets: list[Object]) -> bool:
    owner = controller_of(pod)
    return owner is not None and owner["uid"] in {one["metadata"]["uid"] for one in sets}


def _hash_of(found: ReleaseObjects) -> str:
    """The hash that the old pods have in common, empty when they are of several rollouts."""
    staying = [pod["metadata"] for pod in found.pods if "deletionTimestamp" not in pod["metadata"]]
    hashes = {str(one["labels"].get(HASH, "")) for one in staying}
    return hashes.pop() if len(hashes) == 1 else ""


def _in_order(relay: Relay, given: list[Object]) -> list[Object]:
    """What leads traffic comes last, the Service before the Ingress that names it."""

    def rank(obj: Object) -> int:
        if of(obj) == SERVICE and obj["metadata"]["name"] == relay.name:
            return 1
        return 2 if of(obj) == INGRESS else 0

    return sorted(given, key=rank)


def _problems(relay: Relay, found: ReleaseObjects) -> list[str]:
    problems = []
    if relay.paused:
        problems.append("spec.paused is true: the operator would make no pods")
    if relay.replicas == 0:
        problems.append("spec.replicas is 0: no new pod would take over")
    for one in found.taken:
        if not is_upstreams(one):
            text = "is not of upstream's charts: delete or rename it, or choose another name"
            problems.append(f"{named(one)} {text}")
    releases = sorted({release_of(one) for one in found.taken if is_upstreams(one)})
    if len(releases) > 1:
        problems.append(f"the names belong to several Helm releases: {', '.join(releases)}")
    deployment = found.one(DEPLOYMENT, relay.name)
    if deployment is not None and not _serves(deployment):
        problems.append(f"{named(deployment)} is not settled: wait until its pods are ready")
    service = found.one(SERVICE, relay.name)
    if service is not None and _leads_to_new_pods(relay, service) and not _hash_of(found):
        problems.append(f"{named(service)} leads to pods of several rollouts, or to none")
    return problems + _service_problems(relay, found) + _ingress_problems(relay, found)


def _serves(deployment: Object) -> bool:
    return is_settled(deployment, int(deployment["spec"].get("replicas", 1)))


def _service_problems(relay: Relay, found: ReleaseObjects) -> list[str]:
    """What would refuse requests that come in today."""
    live = found.one(SERVICE, relay.name)
    if live is None:
        return []
    problems = []
    ports = {one["port"] for one in live["spec"].get("ports", [])}
    if ports - {relay.service.port}:
        served = ", ".join(str(port) for port in sorted(ports))
        problems.append(f"spec.service.port: {named(live)} serves port {served}")
    if live["spec"].get("type", "ClusterIP") != relay.service.type:
        problems.append(f"spec.service.type: {named(live)} is a {live['spec']['type']}")
    return problems


def _ingress_problems(relay: Relay, found: ReleaseObjects) -> list[str]:
    wanted = set(relay.ingress.effective_hosts)
    section = (ingress(relay) or [{"spec": {}}])[0]["spec"]
    problems = []
    lives = [one for one in (*found.taken, *found.others) if of(one) == INGRESS]
    for live in lives:
        hosts = {str(rule.get("host", "")) for rule in live["spec"].get("rules", [])}
        if hosts - wanted:
            missing = ", ".join(sorted(hosts - wanted))
            problems.append(f"spec.ingress.hosts: {named(live)} serves {missing}")
        if hosts and live["spec"].get("ingressClassName") != section.get("ingressClassName"):
            problems.append(f"spec.ingress.className: {named(live)} has another class")
        if _secrets(live["spec"]) != _secrets(section):
            problems.append(f"spec.ingress.tls: {named(live)} has the certificate of other Secrets")
    return problems


def _secrets(spec: Object) -> set[str]:
    return {str(one.get("secretName")) for one in spec.get("tls", [])}
