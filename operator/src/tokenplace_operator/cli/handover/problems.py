"""Problems that prevent a handover: whatever would lose requests that are served today."""

from tokenplace_operator.api import names
from tokenplace_operator.api.kinds import DEPLOYMENT, INGRESS, SERVICE, Object, of
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.cli.handover.release import (
    Release,
    is_of_upstream_chart,
    release_name,
    selects_new_pods,
)
from tokenplace_operator.desired.ingress import ingress
from tokenplace_operator.status.rollout import is_settled


def find_problems(relay: Relay, live: Release, template_hash: str) -> list[str]:
    """All problems, each with the field or object to change.

    template_hash: the pod-template-hash that all old pods share; empty when there is none.
    """
    problems = _spec_problems(relay) + _owner_problems(live)
    deployment = live.conflicting_object(DEPLOYMENT, names.child(DEPLOYMENT, relay.name))
    if deployment is not None and not _is_rolled_out(deployment):
        name = deployment["metadata"]["name"]
        problems.append(f"Deployment {name} is not rolled out: wait until its pods are ready")
    service = live.conflicting_object(SERVICE, names.child(SERVICE, relay.name))
    if service is not None:
        problems += _service_problems(relay, service, template_hash)
    return problems + _ingress_problems(relay, live)


def _spec_problems(relay: Relay) -> list[str]:
    problems = []
    if relay.paused:
        problems.append("spec.paused is true: the operator would create no pods")
    if relay.replicas == 0:
        problems.append("spec.replicas is 0: no new pod would serve")
    return problems


def _owner_problems(live: Release) -> list[str]:
    """Objects that are not of upstream's charts, or of several releases."""
    problems = [
        f"{obj['kind']} {obj['metadata']['name']} is not of upstream's charts: "
        "delete or rename it, or choose another name"
        for obj in live.conflicting
        if not is_of_upstream_chart(obj)
    ]
    releases = sorted({release_name(obj) for obj in live.conflicting if is_of_upstream_chart(obj)})
    if len(releases) > 1:
        problems.append(f"the names belong to several Helm releases: {', '.join(releases)}")
    return problems


def _is_rolled_out(deployment: Object) -> bool:
    # The API server defaults an absent number of replicas to 1.
    return is_settled(deployment, int(deployment["spec"].get("replicas", 1)))


def _service_problems(relay: Relay, service: Object, template_hash: str) -> list[str]:
    problems = []
    name, spec = service["metadata"]["name"], service["spec"]
    # The pin needs one hash for all old pods; with several, some would lose their traffic.
    if selects_new_pods(relay, spec.get("selector", {})) and not template_hash:
        problems.append(f"Service {name} routes to pods of several rollouts, or to none")
    ports = {port["port"] for port in spec.get("ports", [])}
    # Clients use the old port number, and the operator's apply would remove it.
    if ports - {relay.service.port}:
        served = ", ".join(str(port) for port in sorted(ports))
        problems.append(f"spec.service.port: Service {name} serves port {served}")
    if spec.get("type", "ClusterIP") != relay.service.type:
        problems.append(f"spec.service.type: Service {name} has type {spec['type']}")
    return problems


def _ingress_problems(relay: Relay, live: Release) -> list[str]:
    desired_hosts = set(relay.ingress.effective_hosts)
    desired = (ingress(relay) or [{"spec": {}}])[0]["spec"]
    problems = []
    for obj in (*live.conflicting, *live.others):
        if of(obj) != INGRESS:
            continue
        name, spec = obj["metadata"]["name"], obj["spec"]
        hosts = {str(rule.get("host", "")) for rule in spec.get("rules", [])}
        if hosts - desired_hosts:
            missing = ", ".join(sorted(hosts - desired_hosts))
            problems.append(f"spec.ingress.hosts: Ingress {name} also serves {missing}")
        # An Ingress without rules serves nothing, so its class does not matter.
        if hosts and spec.get("ingressClassName") != desired.get("ingressClassName"):
            problems.append(f"spec.ingress.className: Ingress {name} has another class")
        if _tls_secrets(spec) != _tls_secrets(desired):
            problems.append(f"spec.ingress.tls: Ingress {name} uses another TLS Secret")
    return problems


def _tls_secrets(spec: Object) -> set[str]:
    return {str(entry.get("secretName")) for entry in spec.get("tls", [])}
