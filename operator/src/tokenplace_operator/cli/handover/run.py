"""Carries a handover out, step after step; each step waits for what it changed."""

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
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.cache.store import controller_of
from tokenplace_operator.cli.connection import MANAGER
from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.handover.plan import HandoverPlan, named
from tokenplace_operator.cli.handover.release import HASH, NAME
from tokenplace_operator.cli.output import pick
from tokenplace_operator.desired.child import owner_reference
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import NotFound
from tokenplace_operator.status.rollout import is_settled

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Runner:
    """timeout and drain in seconds; tell hears of each thing that was done."""

    kube: Kube
    plan: HandoverPlan
    tell: Callable[[str], None]
    timeout: float
    drain: float

    async def carry_out(self, obj: Object, relay: Relay) -> None:
        """Hand everything over to the relay `obj`; CliError when a wait takes too long."""
        await self._free_the_names()
        applied = await self.kube.apply(obj, manager=MANAGER)
        relay = _known(relay, applied)
        self.tell(f"applied {relay.name}")
        await self._wait("the new pods are ready", partial(self._has_new_pods, relay))
        for one in self.plan.give:
            await self._give(one, relay)
        await self._wait(
            "the Service leads to the new pods only", partial(self._is_switched, relay)
        )
        await self._wait("the relay is Ready", partial(self._is_ready, relay))
        if self.plan.old:
            self.tell(f"draining for {self.drain:g} s")
            await asyncio.sleep(self.drain)
        for one in (*self.plan.old, *self.plan.leftovers):
            await self._delete(one)

    async def _free_the_names(self) -> None:
        """The old pods serve on throughout."""
        for one in self.plan.scalers:
            await self._delete(one)
        pinned = self.plan.pinned
        if pinned is not None:
            patch = {"spec": {"selector": {NAME: None, HASH: self.plan.pin}}}
            await self.kube.patch(SERVICE, *key_of(pinned), patch, manager=MANAGER)
            self.tell(f"pinned {named(pinned)}")
        for one in self.plan.let_go:
            uid = one["metadata"]["uid"]
            await self.kube.delete(of(one), *key_of(one), uid=uid, orphan=True)
            await self._wait(f"{named(one)} is gone", partial(self._is_gone, one))
        for one in self.plan.aside:
            metadata = one["metadata"]
            labels = {NAME: f"{metadata['labels'][NAME]}-old"}
            changed = {"metadata": {"uid": metadata["uid"], "labels": labels}}
            await self.kube.patch(of(one), *key_of(one), changed, manager=MANAGER)
            self.tell(f"renamed the label of {named(one)}")

    async def _give(self, obj: Object, relay: Relay) -> None:
        """Make the relay its owner, and let the operator see it: it watches by this label."""
        owners = [*obj["metadata"].get("ownerReferences", []), owner_reference(relay)]
        patch = {
            "metadata": {
                "uid": obj["metadata"]["uid"],
                "ownerReferences": owners,
                "labels": {"app.kubernetes.io/managed-by": OPERATOR},
            }
        }
        await self.kube.patch(of(obj), *key_of(obj), patch, manager=MANAGER)
        self.tell(f"gave {named(obj)} to the operator")

    async def _delete(self, obj: Object) -> None:
        await self.kube.delete(of(obj), *key_of(obj), uid=obj["metadata"]["uid"])
        self.tell(f"deleted {named(obj)}")

    async def _wait(self, what: str, check: Callable[[], Awaitable[bool]]) -> None:
        end = time.monotonic() + self.timeout
        while not await check():
            if time.monotonic() > end:
                text = f"not true within {self.timeout:g} s: {what}. What served before serves on"
                raise CliError(Exit.NO, f"{text}; see explain, then run this again")
            await asyncio.sleep(POLL_SECONDS)
        self.tell(what)

    async def _is_gone(self, obj: Object) -> bool:
        try:
            live = await self.kube.get(of(obj), *key_of(obj))
        except NotFound:
            return True
        return bool(live["metadata"]["uid"] != obj["metadata"]["uid"])

    async def _has_new_pods(self, relay: Relay) -> bool:
        try:
            live = await self.kube.get(DEPLOYMENT, relay.namespace, relay.name)
        except NotFound:
            return False
        owner = controller_of(live)
        is_ours = owner is not None and owner["uid"] == relay.uid
        return is_ours and is_settled(live, relay.replicas)

    async def _is_switched(self, relay: Relay) -> bool:
        service = f"kubernetes.io/service-name={relay.name}"
        slices, _ = await self.kube.list(ENDPOINT_SLICE, relay.namespace, service)
        ends = [end for one in slices for end in one.get("endpoints") or []]
        pods = {pick(end, "targetRef", "name") for end in ends}
        ready = any(pick(end, "conditions", "ready") is True for end in ends)
        return ready and not pods & self.plan.old_pods

    async def _is_ready(self, relay: Relay) -> bool:
        live = await self.kube.get(RELAY, relay.namespace, relay.name)
        return any(
            (one["type"], one["status"]) == ("Ready", "True")
            and one.get("observedGeneration") == live["metadata"]["generation"]
            for one in pick(live, "status", "conditions", default=[])
        )


def _known(relay: Relay, applied: Object) -> Relay:
    """The relay with the uid that the server gave it."""
    return replace(relay, uid=applied["metadata"]["uid"])
