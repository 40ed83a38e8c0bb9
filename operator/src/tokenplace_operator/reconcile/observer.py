"""Looks at what a reconcile must know beyond the relay and its children."""

from dataclasses import dataclass, field
from typing import Protocol

from tokenplace_operator.api.kinds import CERTIFICATE, DEPLOYMENT, POD, SERVICE, Kind, Object
from tokenplace_operator.api.spec.gpu import GpuMode
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.cache.optional_apis import OptionalApis
from tokenplace_operator.cache.store import Store
from tokenplace_operator.observe.certificates import CertificateInfo, Certificates
from tokenplace_operator.observe.facts import Facts
from tokenplace_operator.observe.gpu_addresses import Resolution, Resolver
from tokenplace_operator.observe.upstream_health import UpstreamHealth, UpstreamProbe
from tokenplace_operator.status.image_pinned import is_image_recorded
from tokenplace_operator.status.pods import is_running
from tokenplace_operator.status.rollout import is_settled

MAX_RELAYS = 4096


class Lister(Protocol):
    """The calls of `Kube` that looking needs."""

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = ""
    ) -> tuple[list[Object], str]:
        """Read all objects of a kind."""
        ...


@dataclass(frozen=True, slots=True)
class Observer:
    """Reads what is not watched, and no more often than it can have changed."""

    kube: Lister
    store: Store
    resolver: Resolver
    upstreams: UpstreamProbe
    certificates: Certificates
    discovery: OptionalApis
    nameservers: tuple[str, ...] = ()
    _seen: set[str] = field(default_factory=set)
    """Uids of relays whose pods this process has read."""

    async def facts(self, relay: Relay, previous: Object) -> tuple[Facts, str]:
        """What the builders must know, and why gpu.host did not resolve; empty when it did."""
        resolution = await self.gpu(relay, previous)
        facts = Facts(
            gpu_addresses=resolution.addresses,
            gpu_retiring=resolution.retiring,
            apis=self.discovery.present,
            nameservers=self.nameservers,
        )
        return facts, resolution.error

    async def gpu(self, relay: Relay, previous: Object) -> Resolution:
        """The addresses behind gpu.host, beginning with those of an earlier process."""
        if relay.gpu.mode is not GpuMode.EXTERNAL_NAME:
            return Resolution(())
        before = previous.get("gpu", {}).get("addresses", [])
        return await self.resolver.resolve(relay.gpu.host, tuple(before))

    async def certificate(self, relay: Relay) -> CertificateInfo | None:
        """The certificate of the relay's Ingress; None when it has none."""
        return await self.certificates.read(relay, served=CERTIFICATE in self.discovery.present)

    async def pods(self, relay: Relay, previous: Object) -> tuple[Object, ...] | None:
        """The relay's pods; None, unread, while they tell no more than the status has on record.

        That is where it was Ready and is settled. A tag may have moved, and its pods may have been
        replaced, while no operator ran: those are read once per process.
        """
        deployment = self.store.get(DEPLOYMENT, relay.child_key(DEPLOYMENT))
        if deployment is None or not deployment.get("status", {}).get("replicas"):
            return ()  # There is none, and the first one changes the Deployment: an event.
        settled = is_settled(deployment, relay.replicas)
        known = relay.image.digest or relay.uid in self._seen
        if settled and known and is_image_recorded(relay, previous):
            return None
        pods, _ = await self.kube.list(POD, relay.namespace, relay.selector_text)
        if len(self._seen) >= MAX_RELAYS:
            self._seen.clear()
        self._seen.add(relay.uid)
        return tuple(pods)

    def upstream(self, relay: Relay, pods: tuple[Object, ...] | None) -> UpstreamHealth | None:
        """What the relay says of its GPU upstream; None before its first answer.

        A pod that is not ready, perhaps for want of that upstream, is no endpoint of the Service.
        """
        if relay.gpu.mode is GpuMode.NONE:
            return None
        key = relay.key
        if pods is not None and not any(map(is_running, pods)):
            self.upstreams.forget(key)
            return None
        where = _of_pod(relay, pods or ()) or self._of_service(relay)
        return self.upstreams.health(key, f"http://{where}") if where else None

    def _of_service(self, relay: Relay) -> str:
        service = self.store.get(SERVICE, relay.child_key(SERVICE)) or {}
        address = service.get("spec", {}).get("clusterIP", "None")
        return "" if address in {"", "None"} else f"{_bracketed(address)}:{relay.service.port}"


def _of_pod(relay: Relay, pods: tuple[Object, ...]) -> str:
    for pod in pods:
        address = pod.get("status", {}).get("podIP")
        if address and is_running(pod):
            return f"{_bracketed(address)}:{relay.port}"
    return ""


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
