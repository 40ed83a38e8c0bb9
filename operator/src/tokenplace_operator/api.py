"""The TokenplaceRelay as frozen dataclasses that mirror crds/tokenplacerelays.yaml.

`parse` reads the decoded JSON of one object. The API server has applied defaults and rules before
we see an object, so problems are found only in objects stored under an older or looser CRD; the
defaults are repeated here for objects read from a file, and a test keeps both equal.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tokenplace_operator.quantity import canonical
from tokenplace_operator.spec_reader import Reader

GROUP = "token.place"
VERSION = "v1alpha1"
KIND = "TokenplaceRelay"
APP = "tokenplace-relay"
MANAGER = "tokenplace-operator"
RELAY_REPOSITORY = "ghcr.io/futuroptimist/tokenplace-relay"

DRAIN_MARGIN_SECONDS = 5
"""Time a pod has left after its drain timeout to close its sockets and exit."""

Json = Mapping[str, Any]


class SpecError(Exception):
    """The object cannot be reconciled; each problem names a field and its rule."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class StateMode(StrEnum):
    """Where a relay keeps registrations and requests."""

    MEMORY = "Memory"


class GpuMode(StrEnum):
    """How relay pods reach a GPU server, if at all."""

    EXTERNAL_NAME = "ExternalName"
    HEADLESS = "Headless"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Image:
    """spec.image."""

    repository: str = RELAY_REPOSITORY
    tag: str = ""
    digest: str = ""
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """What the kubelet is told to pull: the digest wins over the tag."""
        return (
            f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"
        )


@dataclass(frozen=True, slots=True)
class Gpu:
    """spec.gpu: host is set only in mode ExternalName, addresses only in mode Headless."""

    mode: GpuMode = GpuMode.EXTERNAL_NAME
    host: str = ""
    addresses: tuple[str, ...] = ()
    port: int = 5015
    service_name: str = "gpu-server"


@dataclass(frozen=True, slots=True)
class Service:
    """spec.service."""

    type: str = "ClusterIP"
    port: int = 80
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tls:
    """spec.ingress.tls: without an issuer the certificate in secret_name is the user's own."""

    enabled: bool = True
    secret_name: str = ""
    cluster_issuer: str = ""
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Ingress:
    """spec.ingress: enabled is None while the user leaves it to domain and hosts."""

    enabled: bool | None = None
    domain: str = ""
    hosts: tuple[str, ...] = ()
    class_name: str = "traefik"
    annotations: Mapping[str, str] = field(default_factory=dict)
    tls: Tls = field(default_factory=lambda: Tls(cluster_issuer="letsencrypt-dns01"))

    @property
    def effective_hosts(self) -> tuple[str, ...]:
        """The hosts to serve, in the user's order; none when there is to be no Ingress."""
        if self.enabled is False:
            return ()
        if self.hosts:
            return self.hosts
        return (f"relay.{self.domain}",) if self.domain else ()


@dataclass(frozen=True, slots=True)
class Peer:
    """Pods that match both selectors; an empty namespace selector means any namespace."""

    namespace_selector: Json = field(default_factory=dict)
    pod_selector: Json = field(default_factory=dict)


TRAEFIK = Peer(pod_selector={"matchLabels": {"app.kubernetes.io/name": "traefik"}})
KUBE_DNS = Peer(pod_selector={"matchLabels": {"k8s-app": "kube-dns"}})


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """spec.networkPolicy; extra rules are networking.k8s.io/v1 rules as the user wrote them."""

    enabled: bool = True
    ingress_controller: Peer = TRAEFIK
    dns: Peer = KUBE_DNS
    extra_ingress: tuple[Json, ...] = ()
    extra_egress: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Drain:
    """spec.drain, in seconds."""

    delay_seconds: int = 5
    timeout_seconds: int = 20

    @property
    def grace_period_seconds(self) -> int:
        """terminationGracePeriodSeconds of the pods: never shorter than the drain itself."""
        return self.delay_seconds + self.timeout_seconds + DRAIN_MARGIN_SECONDS


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """spec.podTemplate: what the user adds to the pods, in the shapes of core/v1."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Json, ...] = ()
    affinity: Json = field(default_factory=dict)
    topology_spread_constraints: tuple[Json, ...] = ()
    priority_class_name: str = ""
    env: tuple[Json, ...] = ()
    env_from: tuple[Json, ...] = ()
    volumes: tuple[Json, ...] = ()
    volume_mounts: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Resources:
    """spec.resources: quantities as the user wrote them, by resource name."""

    requests: Mapping[str, str | int]
    limits: Mapping[str, str | int]


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
        image=_image(spec.section("image")),
        replicas=spec.integer("replicas", 1, 0),
        state_mode=spec.section("state").choice("mode", StateMode.MEMORY),
        port=spec.integer("port", 5010, 1024, 65535),
        resources=_resources(spec.section("resources")),
        gpu=_gpu(spec.section("gpu")),
        service=_service(spec.section("service")),
        ingress=_ingress(spec.section("ingress")),
        network_policy=_network_policy(spec.section("networkPolicy")),
        drain=_drain(spec.section("drain")),
        pod_template=_pod_template(spec.section("podTemplate")),
        paused=spec.flag("paused"),
    )
    problems += _image_problems(relay.image) + _gpu_problems(relay.gpu)
    problems += _resource_problems(relay.resources) + _scale_problems(relay)
    if problems:
        raise SpecError(tuple(problems))
    return relay


def _image(spec: Reader) -> Image:
    return Image(
        repository=spec.text("repository", RELAY_REPOSITORY),
        tag=spec.text("tag"),
        digest=spec.text("digest"),
        pull_policy=spec.text("pullPolicy", "IfNotPresent"),
        pull_secrets=tuple(str(secret.get("name")) for secret in spec.objects("pullSecrets")),
    )


def _resources(spec: Reader) -> Resources:
    return Resources(
        requests=spec.mapping("requests", {"cpu": "100m", "memory": "128Mi"}),
        limits=spec.mapping("limits", {"cpu": "500m", "memory": "256Mi"}),
    )


def _gpu(spec: Reader) -> Gpu:
    return Gpu(
        mode=spec.choice("mode", GpuMode.EXTERNAL_NAME),
        host=spec.text("host"),
        addresses=spec.texts("addresses"),
        port=spec.integer("port", 5015, 1, 65535),
        service_name=spec.text("serviceName", "gpu-server"),
    )


def _service(spec: Reader) -> Service:
    return Service(
        type=spec.text("type", "ClusterIP"),
        port=spec.integer("port", 80, 1, 65535),
        annotations=spec.mapping("annotations", {}),
    )


def _ingress(spec: Reader) -> Ingress:
    default_issuer = "" if "tls" in spec else "letsencrypt-dns01"
    tls = spec.section("tls")
    return Ingress(
        enabled=spec.flag("enabled") if "enabled" in spec else None,
        domain=spec.text("domain"),
        hosts=spec.texts("hosts"),
        class_name=spec.text("className", "traefik"),
        annotations=spec.mapping("annotations", {}),
        tls=Tls(
            enabled=tls.flag("enabled", default=True),
            secret_name=tls.text("secretName"),
            cluster_issuer=tls.text("clusterIssuer", default_issuer),
            issuer=tls.text("issuer"),
        ),
    )


def _network_policy(spec: Reader) -> NetworkPolicy:
    return NetworkPolicy(
        enabled=spec.flag("enabled", default=True),
        ingress_controller=_peer(spec.section("ingressController"), TRAEFIK),
        dns=_peer(spec.section("dns"), KUBE_DNS),
        extra_ingress=spec.objects("extraIngress"),
        extra_egress=spec.objects("extraEgress"),
    )


def _peer(spec: Reader, default: Peer) -> Peer:
    return Peer(
        namespace_selector=spec.mapping("namespaceSelector", default.namespace_selector),
        pod_selector=spec.mapping("podSelector", default.pod_selector),
    )


def _drain(spec: Reader) -> Drain:
    return Drain(
        delay_seconds=spec.integer("delaySeconds", 5, 0),
        timeout_seconds=spec.integer("timeoutSeconds", 20, 0),
    )


def _pod_template(spec: Reader) -> PodTemplate:
    return PodTemplate(
        labels=spec.mapping("labels", {}),
        annotations=spec.mapping("annotations", {}),
        node_selector=spec.mapping("nodeSelector", {}),
        tolerations=spec.objects("tolerations"),
        affinity=spec.mapping("affinity", {}),
        topology_spread_constraints=spec.objects("topologySpreadConstraints"),
        priority_class_name=spec.text("priorityClassName"),
        env=spec.objects("env"),
        env_from=spec.objects("envFrom"),
        volumes=spec.objects("volumes"),
        volume_mounts=spec.objects("volumeMounts"),
    )


def _image_problems(image: Image) -> list[str]:
    if not image.tag and not image.digest:
        return ["spec.image: set digest (preferred) or tag"]
    if image.tag.lower().endswith("latest") and not image.digest:
        return ["spec.image.tag: latest names no fixed image; use a release tag or a digest"]
    return []


def _gpu_problems(gpu: Gpu) -> list[str]:
    problems = []
    if (gpu.mode is GpuMode.EXTERNAL_NAME) != bool(gpu.host):
        problems.append("spec.gpu.host: required in mode ExternalName, refused in other modes")
    if (gpu.mode is GpuMode.HEADLESS) != bool(gpu.addresses):
        problems.append("spec.gpu.addresses: required in mode Headless, refused in other modes")
    problems += [
        f"spec.gpu.addresses: {address!r} is no IPv4 or IPv6 address that pods can reach"
        for address in gpu.addresses
        if not _reachable(address)
    ]
    return problems


def _reachable(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (ip.is_loopback or ip.is_unspecified or ip.is_link_local or ip.is_multicast)


def _resource_problems(resources: Resources) -> list[str]:
    problems = []
    for kind, amounts in (("requests", resources.requests), ("limits", resources.limits)):
        for name, amount in amounts.items():
            try:
                canonical(amount)
            except ValueError as error:
                problems.append(f"spec.resources.{kind}.{name}: {error}")
    return problems


def _scale_problems(relay: Relay) -> list[str]:
    if relay.state_mode is StateMode.MEMORY and relay.replicas > 1:
        return ["spec.replicas: more than 1 is refused while state.mode is Memory"]
    return []
