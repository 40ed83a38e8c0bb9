"""Execution of a handover: each step waits until its change has taken effect."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from tokenplace_operator.api.kinds import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    RELAY,
    SERVICE,
    Object,
    key_of,
    of,
)
from tokenplace_operator.api.names import OPERATOR
from tokenplace_operator.api.owners import controller_of
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.cli.connection import MANAGER
from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.handover.plan import HandoverPlan, named
from tokenplace_operator.cli.handover.release import NAME_LABEL, TEMPLATE_HASH_LABEL
from tokenplace_operator.cli.output import pick
from tokenplace_operator.desired.child import owner_reference
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import NotFound
from tokenplace_operator.status.rollout import is_settled

POLL_SECONDS = 0.5
"""Time between two checks of a condition that a step waits for."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Executes a plan.

    report: called with each finished step. timeout_seconds: for each wait.
    drain_seconds: time for the old pods to finish their requests.
    """

    kube: Kube
    plan: HandoverPlan
    report: Callable[[str], None]
    timeout_seconds: float
    drain_seconds: float

    async def hand_over(self, obj: Object, relay: Relay) -> None:
        """Hand all objects over to the relay `obj`.

        CliError when a wait times out; KubeError when the API server rejects a change. Old pods
        are deleted only after the new ones serve, so a second run can continue at any step.
        """
        await self._free_names()
        applied = await self.kube.apply(obj, manager=MANAGER)
        # The uid exists only now, and the owner references need it.
        relay = replace(relay, uid=applied["metadata"]["uid"])
        self.report(f"applied {relay.name}")
        await self._wait("the new pods are ready", partial(self._has_new_pods, relay))
        # The new pods are ready, so adopting the Service loses no request.
        for child in self.plan.adopted:
            await self._adopt(child, relay)
        await self._wait(
            "the Service routes to the new pods only", partial(self._routes_to_new_pods, relay)
        )
        # Ready comes after the adoption: until then the operator reports ResourceNameConflict.
        await self._wait("the relay is Ready", partial(self._is_ready, relay))
        if self.plan.retired:
            self.report(f"draining for {self.drain_seconds:g} s")
            await asyncio.sleep(self.drain_seconds)
        for old in (*self.plan.retired, *self.plan.unused):
            await self._delete(old)

    async def _free_names(self) -> None:
        """Delete what has the names of the relay's children, while the old pods keep serving."""
        for autoscaler in self.plan.autoscalers:
            await self._delete(autoscaler)
        service = self.plan.service
        if service is not None:
            # The hash selects the old pods only. Without the name label the selector still matches
            # them after their label has been changed.
            selector = {NAME_LABEL: None, TEMPLATE_HASH_LABEL: self.plan.template_hash}
            patch = {"spec": {"selector": selector}}
            await self.kube.patch(SERVICE, *key_of(service), patch, manager=MANAGER)
            self.report(f"pinned {named(service)}")
        for owner in self.plan.orphaning:
            uid = owner["metadata"]["uid"]
            # Orphaned: the ReplicaSets and pods stay, and keep serving.
            await self.kube.delete(of(owner), *key_of(owner), uid=uid, orphan=True)
            await self._wait(f"{named(owner)} is gone", partial(self._is_gone, owner))
        for pod in self.plan.relabeled:
            await self._relabel(pod)

    async def _relabel(self, pod: Object) -> None:
        metadata = pod["metadata"]
        labels = {NAME_LABEL: f"{metadata['labels'][NAME_LABEL]}-old"}
        # The uid in the patch makes the API server reject it for a pod that was recreated
        # meanwhile.
        patch = {"metadata": {"uid": metadata["uid"], "labels": labels}}
        await self.kube.patch(of(pod), *key_of(pod), patch, manager=MANAGER)
        self.report(f"changed a label of {named(pod)}")

    async def _adopt(self, obj: Object, relay: Relay) -> None:
        # Existing references stay: a merge patch replaces the whole list.
        owners = [*obj["metadata"].get("ownerReferences", []), owner_reference(relay)]
        patch = {
            "metadata": {
                "uid": obj["metadata"]["uid"],
                "ownerReferences": owners,
                # The operator watches only objects with this label.
                "labels": {"app.kubernetes.io/managed-by": OPERATOR},
            }
        }
        await self.kube.patch(of(obj), *key_of(obj), patch, manager=MANAGER)
        self.report(f"handed {named(obj)} over to the operator")

    async def _delete(self, obj: Object) -> None:
        # With the uid, an object that was recreated under the same name is not deleted.
        await self.kube.delete(of(obj), *key_of(obj), uid=obj["metadata"]["uid"])
        self.report(f"deleted {named(obj)}")

    async def _wait(self, what: str, check: Callable[[], Awaitable[bool]]) -> None:
        # Monotonic: a correction of the clock must not end the wait early.
        end = time.monotonic() + self.timeout_seconds
        while not await check():
            if time.monotonic() > end:
                text = f"timed out after {self.timeout_seconds:g} s, waiting until {what}"
                hint = "run kubectl tokenplace explain, then this command again"
                raise CliError(Exit.NO, f"{text}. The pods that serve keep serving; {hint}")
            await asyncio.sleep(POLL_SECONDS)
        self.report(what)

    async def _is_gone(self, obj: Object) -> bool:
        try:
            live = await self.kube.get(of(obj), *key_of(obj))
        except NotFound:
            return True
        # A new object with the same name also means that the old one is gone.
        return bool(live["metadata"]["uid"] != obj["metadata"]["uid"])

    async def _has_new_pods(self, relay: Relay) -> bool:
        try:
            live = await self.kube.get(DEPLOYMENT, *relay.child_key(DEPLOYMENT))
        except NotFound:
            return False
        owner = controller_of(live)
        is_owned = owner is not None and owner["uid"] == relay.uid
        return is_owned and is_settled(live, relay.replicas)

    async def _routes_to_new_pods(self, relay: Relay) -> bool:
        selector = f"kubernetes.io/service-name={relay.name}"
        slices, _ = await self.kube.list(ENDPOINT_SLICE, relay.namespace, selector)
        endpoints = [
            endpoint
            for endpoint_slice in slices
            # The API server writes null for a slice without endpoints.
            for endpoint in endpoint_slice.get("endpoints") or []
        ]
        pods = {pick(endpoint, "targetRef", "name") for endpoint in endpoints}
        ready = any(pick(endpoint, "conditions", "ready") is True for endpoint in endpoints)
        return ready and not pods & self.plan.old_pods

    async def _is_ready(self, relay: Relay) -> bool:
        live = await self.kube.get(RELAY, relay.namespace, relay.name)
        return any(
            (condition["type"], condition["status"]) == ("Ready", "True")
            # A condition of an older generation does not describe the adopted objects.
            and condition.get("observedGeneration") == live["metadata"]["generation"]
            for condition in pick(live, "status", "conditions", default=[])
        )
