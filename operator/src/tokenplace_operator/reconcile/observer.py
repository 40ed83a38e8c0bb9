"""Reads the inputs of a reconcile that are neither the relay nor its watched children."""

from dataclasses import dataclass, field

from tokenplace_operator.api.kinds import CERTIFICATE, DEPLOYMENT, POD, SERVICE, Object
from tokenplace_operator.api.spec.gpu import GpuMode
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.bounded import BoundedDict
from tokenplace_operator.cache.optional_apis import OptionalApis
from tokenplace_operator.cache.store import Lister, Store
from tokenplace_operator.observe.certificates import Certificates
from tokenplace_operator.observe.facts import CertificateInfo, Facts, UpstreamHealth
from tokenplace_operator.observe.gpu_addresses import Resolution, Resolver
from tokenplace_operator.observe.upstream_health import UpstreamProbe
from tokenplace_operator.status.image_pinned import is_image_recorded
from tokenplace_operator.status.pods import is_running
from tokenplace_operator.status.rollout import is_settled


@dataclass(frozen=True, slots=True)
class Observer:
    """Reads what is not watched, no more often than it can have changed."""

    kube: Lister
    store: Store
    resolver: Resolver
    upstreams: UpstreamProbe
    certificates: Certificates
    optional_apis: OptionalApis
    nameservers: tuple[str, ...] = ()
    _pods_read: BoundedDict[str, bool] = field(default_factory=BoundedDict)
    """By uid, the relays whose pods this process has read."""

    async def facts(self, relay: Relay, previous: Object) -> tuple[Facts, str]:
        """The inputs of the builders, and why gpu.host did not resolve; empty when it did."""
        resolution = await self.gpu(relay, previous)
        facts = Facts(
            gpu_addresses=resolution.addresses,
            gpu_retiring=resolution.retiring,
            apis=self.optional_apis.present,
            nameservers=self.nameservers,
        )
        return facts, resolution.error

    async def gpu(self, relay: Relay, previous: Object) -> Resolution:
        """The addresses of gpu.host, starting with those that an earlier process recorded."""
        if relay.gpu.mode is not GpuMode.EXTERNAL_NAME:
            return Resolution(())
        recorded = previous.get("gpu", {}).get("addresses", [])
        return await self.resolver.resolve(relay.gpu.host, tuple(recorded))

    async def certificate(self, relay: Relay) -> CertificateInfo | None:
        """The certificate of the relay's Ingress; None when it has no TLS."""
        served = CERTIFICATE in self.optional_apis.present
        return await self.certificates.read(relay, served=served)

    async def pods(self, relay: Relay, previous: Object) -> tuple[Object, ...] | None:
        """The relay's pods; None, without a read, when the status already has what they show.

        That is so for a settled relay that was Ready. Once per process the pods of relays with a
        tag are read anyway: it may have moved, and pods been replaced, while no operator ran.
        """
        deployment = self.store.get(DEPLOYMENT, relay.child_key(DEPLOYMENT))
        if deployment is None or not deployment.get("status", {}).get("replicas"):
            return ()  # The first pod changes the Deployment, which is an event.
        settled = is_settled(deployment, relay.replicas)
        image_is_fixed = relay.image.digest or relay.uid in self._pods_read
        if settled and image_is_fixed and is_image_recorded(relay, previous):
            return None
        # Read, not watched: pods change often, and only a rollout needs their details.
        pods, _ = await self.kube.list(POD, relay.namespace, relay.selector_text)
        self._pods_read[relay.uid] = True
        return tuple(pods)

    def upstream(self, relay: Relay, pods: tuple[Object, ...] | None) -> UpstreamHealth | None:
        """The relay's report on its GPU upstream; None before its first answer.

        The relay is asked at a pod if the pods were read: a pod that is not ready, perhaps
        because of that upstream, is no endpoint of the Service.
        """
        if relay.gpu.mode is GpuMode.NONE:
            return None
        key = relay.key
        # A new pod may have another upstream, so the report of the old one must not be shown.
        if pods is not None and not any(map(is_running, pods)):
            self.upstreams.forget(key)
            return None
        address = _pod_address(relay, pods or ()) or self._service_address(relay)
        return self.upstreams.health(key, f"http://{address}") if address else None

    def _service_address(self, relay: Relay) -> str:
        service = self.store.get(SERVICE, relay.child_key(SERVICE)) or {}
        # A headless Service has the text None as its address.
        address = service.get("spec", {}).get("clusterIP", "None")
        return "" if address in {"", "None"} else f"{_bracketed(address)}:{relay.service.port}"


def _pod_address(relay: Relay, pods: tuple[Object, ...]) -> str:
    for pod in pods:
        address = pod.get("status", {}).get("podIP")
        if address and is_running(pod):
            return f"{_bracketed(address)}:{relay.port}"
    return ""


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
