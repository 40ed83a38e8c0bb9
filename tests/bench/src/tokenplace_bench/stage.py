"""A fresh control plane for one contender, and what is measured on it from outside."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenplace_bench.arrivals import Arrivals
from tokenplace_bench.relays import create, kinds_and_counts
from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.crds import install_crd
from tokenplace_operator.api.kinds import Kind
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.metrics import Metrics

SERVICES_RANGE = "10.96.0.0/16"
"""Room for a thousand ClusterIPs."""

USER = "contender"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a contender plays."""

    plane: ControlPlane
    kube: Kube
    folder: Path

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["Stage"]:
        """Start a control plane with the kind installed; stop it at the end."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            plane = stack.enter_context(ControlPlane.start(services_range=SERVICES_RANGE))
            install_crd(plane.kubectl)
            plane.kubectl("create", "namespace", "tokenplace-system")
            os.environ["KUBECONFIG"] = str(plane.kubeconfig)
            async with Kube.connect(Metrics()) as kube:
                yield cls(plane, kube, folder)

    @property
    def kubeconfig(self) -> Path:
        """Of the contender, by its user name in the audit log."""
        return self.plane.user_kubeconfig(USER, ["system:masters"])

    @asynccontextmanager
    async def namespace(self, name: str) -> AsyncIterator[tuple[Arrivals, dict[Kind, int]]]:
        """A namespace, a watch of its children, and the number of children of one relay."""
        self.plane.kubectl("create", "namespace", name)
        each = kinds_and_counts(name)
        async with Arrivals.watch(self.kube, name, each) as arrivals:
            yield arrivals, each

    async def seconds_to_create(self, name: str, count: int) -> float:
        """From the first creation of a relay to the last child, in a namespace of its own."""
        async with self.namespace(name) as (arrivals, each):
            started = time.monotonic()
            await create(self.kube, name, count)
            return await arrivals.complete(times(each, count)) - started

    async def warm_up(self) -> None:
        """One relay and its children: the contender runs, and its connections are made."""
        await self.seconds_to_create("warm-up", 1)

    def writes(self, since: str) -> list[audit.AuditEvent]:
        """What the contender wrote since then, without its Lease."""
        found = audit.writes(self.plane.audit_log, user=USER, since=since)
        return [one for one in found if one.resource != "leases"]


def times(each: dict[Kind, int], count: int) -> dict[Kind, int]:
    """The number of children of this many relays."""
    return {kind: number * count for kind, number in each.items()}


async def until(check: object, seconds: float) -> float:
    """Wait until check() is true; the time at which it was."""
    assert callable(check)
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {check}")
        await asyncio.sleep(0.05)
    return time.monotonic()
