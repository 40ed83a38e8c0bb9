"""One TokenplaceRelay as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from tokenplace_operator.api.access import Ingress, Service
from tokenplace_operator.api.common import APP, Json, SpecError
from tokenplace_operator.api.gpu import Gpu
from tokenplace_operator.api.image import Image
from tokenplace_operator.api.pods import Drain, PodTemplate, Resources, Rollback
from tokenplace_operator.api.policy import NetworkPolicy
from tokenplace_operator.api.scaling import StateMode
from tokenplace_operator.spec_reader import Reader


@dataclass(frozen=True, slots=True)
class Relay:
    """One TokenplaceRelay as it is wanted: metadata that children need, and spec."""

    name: str
    namespace: str
    uid: str
    generation: int
    image: Image
    replicas: int
    state_mode: StateMode
    port: int
    resources: Resources
    gpu: Gpu
    service: Service
    ingress: Ingress
    network_policy: NetworkPolicy
    drain: Drain
    rollback: Rollback
    pod_template: PodTemplate
    paused: bool

    @property
    def selector(self) -> dict[str, str]:
        """The labels that select this relay's pods; immutable in a Deployment."""
        return {"app.kubernetes.io/name": APP, "app.kubernetes.io/instance": self.name}

    @property
    def selector_text(self) -> str:
        """`selector` as status.selector and the scale subresource want it."""
        return ",".join(f"{key}={value}" for key, value in sorted(self.selector.items()))

    @property
    def host(self) -> str:
        """The name people reach the relay by: the first Ingress host, or the Service's name."""
        hosts = self.ingress.effective_hosts
        return hosts[0] if hosts else f"{self.name}.{self.namespace}.svc"

    @property
    def url(self) -> str:
        """Where the relay answers: through the Ingress, or inside the cluster without one."""
        if self.ingress.effective_hosts:
            return f"{'https' if self.ingress.tls.enabled else 'http'}://{self.host}"
        port = "" if self.service.port == 80 else f":{self.service.port}"
        return f"http://{self.host}{port}"


def parse(obj: Json) -> Relay:
    """Read one TokenplaceRelay; SpecError lists everything that is wrong with it at once."""
    problems: list[str] = []
    metadata = Reader(obj.get("metadata"), "metadata", problems)
    spec = Reader(obj.get("spec"), "spec", problems)
    relay = Relay(
        name=metadata.text("name"),
        namespace=metadata.text("namespace"),
        uid=metadata.text("uid"),
        generation=metadata.integer("generation", 0),
        image=Image.read(spec.section("image")),
        replicas=spec.integer("replicas", 1, 0),
        state_mode=spec.section("state").choice("mode", StateMode.MEMORY),
        port=spec.integer("port", 5010, 1024, 65535),
        resources=Resources.read(spec.section("resources")),
        gpu=Gpu.read(spec.section("gpu")),
        service=Service.read(spec.section("service")),
        ingress=Ingress.read(spec.section("ingress")),
        network_policy=NetworkPolicy.read(spec.section("networkPolicy")),
        drain=Drain.read(spec.section("drain")),
        rollback=Rollback.read(spec.section("rollback")),
        pod_template=PodTemplate.read(spec.section("podTemplate")),
        paused=spec.flag("paused"),
    )
    problems += relay.image.problems + relay.gpu.problems
    problems += relay.resources.problems + _scale_problems(relay)
    if problems:
        raise SpecError(tuple(problems))
    return relay


def _scale_problems(relay: Relay) -> list[str]:
    if relay.state_mode is StateMode.MEMORY and relay.replicas > 1:
        return ["spec.replicas: more than 1 is refused while state.mode is Memory"]
    return []
