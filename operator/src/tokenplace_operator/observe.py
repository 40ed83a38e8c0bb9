"""Looks at what a reconcile must know beyond the relay and its children."""

from dataclasses import dataclass
from typing import Protocol

from tokenplace_operator import status as statuses
from tokenplace_operator.api import GpuMode, Relay
from tokenplace_operator.gpu_target import Resolution, Resolver
from tokenplace_operator.kinds import DEPLOYMENT, POD, Kind, Object
from tokenplace_operator.store import Store


class Reader(Protocol):
    """The calls of `Kube` that looking needs."""

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = ""
    ) -> tuple[list[Object], str]:
        """Read all objects of a kind."""
        ...


@dataclass(frozen=True, slots=True)
class Observer:
    """Reads what is not watched, and no more often than it can have changed."""

    kube: Reader
    store: Store
    resolver: Resolver

    async def gpu(self, relay: Relay, previous: Object) -> Resolution:
        """The addresses behind gpu.host, beginning with those of an earlier process."""
        if relay.gpu.mode is not GpuMode.EXTERNAL_NAME:
            return Resolution(())
        before = previous.get("gpu", {}).get("addresses", [])
        return await self.resolver.resolve(relay.gpu.host, tuple(before))

    async def pods(self, relay: Relay, previous: Object) -> tuple[Object, ...] | None:
        """The relay's pods; None while they cannot tell more than the status knows."""
        deployment = self.store.get(DEPLOYMENT, (relay.namespace, relay.name))
        if deployment is None:
            return ()
        settled = statuses.is_settled(deployment, relay.replicas)
        if settled and statuses.knows_its_image(relay, previous):
            return None
        pods, _ = await self.kube.list(POD, relay.namespace, relay.selector_text)
        return tuple(pods)
