"""One TokenplaceRelay: its metadata and its spec.

The API server applies defaults and rules first, so `parse` finds problems only in objects that were
stored under an older CRD. The defaults are repeated for objects read from a file; a test compares
them with the CRD.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenplace_operator.api import names
from tokenplace_operator.api.kinds import Key, Kind
from tokenplace_operator.api.spec.access import Gateway, Ingress, Service
from tokenplace_operator.api.spec.gpu import Gpu, GpuMode
from tokenplace_operator.api.spec.image import Image
from tokenplace_operator.api.spec.monitoring import Monitoring
from tokenplace_operator.api.spec.network_policy import NetworkPolicy
from tokenplace_operator.api.spec.pods import Drain, PodTemplate, Resources, Rollback
from tokenplace_operator.api.spec.reader import Json, SpecError, SpecReader
from tokenplace_operator.api.spec.relay_settings import RelaySettings
from tokenplace_operator.api.spec.scaling import Autoscaling, BudgetMode, StateMode


@dataclass(frozen=True, slots=True)
class Relay:
    """The desired state of one TokenplaceRelay, and the metadata that child resources need."""

    name: str
    namespace: str
    uid: str
    generation: int
    image: Image
    replicas: int
    state_mode: StateMode
    autoscaling: Autoscaling | None
    budget: BudgetMode
    port: int
    resources: Resources
    gpu: Gpu
    service: Service
    ingress: Ingress
    gateway: Gateway
    network_policy: NetworkPolicy
    monitoring: Monitoring
    settings: RelaySettings
    drain: Drain
    rollback: Rollback
    pod_template: PodTemplate
    paused: bool

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name

    def child_key(self, kind: Kind) -> Key:
        """Namespace and name of the child resource of this kind."""
        return self.namespace, names.child(kind, self.name)

    @property
    def tls_secret_name(self) -> str:
        """The Secret with the certificate of the Ingress."""
        return self.ingress.tls.secret_name or names.tls_secret(self.name)

    @property
    def selector(self) -> dict[str, str]:
        """The labels that select this relay's pods; immutable in a Deployment."""
        return {"app.kubernetes.io/name": names.RELAY_APP, "app.kubernetes.io/instance": self.name}

    @property
    def selector_text(self) -> str:
        """`selector` as text, for status.selector and the scale subresource."""
        return ",".join(f"{key}={value}" for key, value in sorted(self.selector.items()))

    @property
    def is_autoscaled(self) -> bool:
        """Whether an autoscaler sets the number of pods; never with replicas 0."""
        return self.autoscaling is not None and self.replicas > 0

    @property
    def route_hosts(self) -> tuple[str, ...]:
        """The hosts of the HTTPRoute; empty when no HTTPRoute is desired."""
        if not self.gateway.parents:
            return ()
        return self.gateway.hosts or self.ingress.named_hosts

    @property
    def host(self) -> str:
        """The first public host of the relay, or the DNS name of its Service."""
        hosts = self.ingress.effective_hosts or self.route_hosts
        return hosts[0] if hosts else f"{self.name}.{self.namespace}.svc"

    @property
    def public_url(self) -> str:
        """The URL of the relay outside the cluster; empty when it has none."""
        if self.settings.public_url:
            return self.settings.public_url
        if self.ingress.effective_hosts:
            return f"{'https' if self.ingress.tls.enabled else 'http'}://{self.host}"
        # TLS of a Gateway is set at its listener, which the operator does not read; https is usual.
        return f"https://{self.host}" if self.route_hosts else ""

    @property
    def url(self) -> str:
        """The URL of the relay: the public one, or the one inside the cluster."""
        port = "" if self.service.port == 80 else f":{self.service.port}"
        return self.public_url or f"http://{self.name}.{self.namespace}.svc{port}"


def parse(obj: Json) -> Relay:
    """Read one TokenplaceRelay from decoded JSON; SpecError lists all its problems."""
    problems: list[str] = []
    metadata = SpecReader(obj.get("metadata"), "metadata", problems)
    spec = SpecReader(obj.get("spec"), "spec", problems)
    relay = Relay(
        name=metadata.text("name"),
        namespace=metadata.text("namespace"),
        uid=metadata.text("uid"),
        generation=metadata.integer("generation", 0),
        image=Image.read(spec.section("image")),
        replicas=spec.integer("replicas", 1, 0),
        state_mode=spec.section("state").choice("mode", StateMode.MEMORY),
        autoscaling=(
            Autoscaling.read(spec.section("autoscaling")) if "autoscaling" in spec else None
        ),
        budget=spec.section("disruptionBudget").choice("mode", BudgetMode.AUTOMATIC),
        # A port below 1024 would need a capability, and the container drops all of them.
        port=spec.integer("port", 5010, 1024, 65535),
        resources=Resources.read(spec.section("resources")),
        gpu=Gpu.read(spec.section("gpu")),
        service=Service.read(spec.section("service")),
        ingress=Ingress.read(spec.section("ingress")),
        gateway=Gateway.read(spec.section("gateway")),
        network_policy=NetworkPolicy.read(spec.section("networkPolicy")),
        monitoring=Monitoring.read(spec.section("monitoring")),
        settings=RelaySettings.read(spec.section("relay")),
        drain=Drain.read(spec.section("drain")),
        rollback=Rollback.read(spec.section("rollback")),
        pod_template=PodTemplate.read(spec.section("podTemplate")),
        paused=spec.flag("paused"),
    )
    for section in (relay.image, relay.gpu, relay.resources, relay.monitoring):
        problems += section.problems
    problems += _scale_problems(relay) + _reach_problems(relay)
    # All problems together: a user should not have to fix one to see the next.
    if problems:
        raise SpecError(tuple(problems))
    return relay


def _scale_problems(relay: Relay) -> list[str]:
    problems = []
    in_memory = relay.state_mode is StateMode.MEMORY
    # Two pods would each hold a part of the state, so a client could miss its answer.
    if in_memory and relay.replicas > 1:
        problems.append("spec.replicas: must not be greater than 1 while state.mode is Memory")
    if relay.autoscaling is None:
        return problems
    if in_memory and relay.autoscaling.max_replicas > 1:
        problems.append(
            "spec.autoscaling.maxReplicas: must not be greater than 1 while state.mode is Memory"
        )
    for name, percent in (("cpu", relay.autoscaling.cpu), ("memory", relay.autoscaling.memory)):
        # The autoscaler computes percentages of the request; without one it does nothing.
        if percent and name not in relay.resources.requests:
            problems.append(f"spec.autoscaling.{name}: needs resources.requests.{name}")
    return problems + relay.autoscaling.problems


def _reach_problems(relay: Relay) -> list[str]:
    problems = []
    if relay.gateway.parents and not relay.route_hosts:
        problems.append("spec.gateway.hosts: required without ingress.domain and ingress.hosts")
    if relay.settings.require_upstream_health and relay.gpu.mode is GpuMode.NONE:
        problems.append("spec.relay.requireUpstreamHealth: not allowed in gpu.mode None")
    return problems
