"""A GPU host that moves: policy and status on the real API server, with DNS and clock of ours."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.audit import AuditEvent
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.subjects.relays import Relays
from tokenplace_operator.cache.optional_apis import OptionalApis
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.write_backoff import WriteBackoff
from tokenplace_operator.clock import utc_now
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.observe.certificates import Certificates
from tokenplace_operator.observe.gpu_addresses import (
    GRACE_SECONDS,
    REFRESH_SECONDS,
    RETIRING_SECONDS,
    Resolver,
)
from tokenplace_operator.observe.upstream_health import UpstreamProbe
from tokenplace_operator.reconcile.events import Recorder
from tokenplace_operator.reconcile.observer import Observer
from tokenplace_operator.reconcile.reconciler import FIRST_STATUS_SECONDS, Reconciler
from tokenplace_operator.reconcile.rejection_backoff import RejectionBackoff
from tokenplace_operator.reconcile.status_writer import StatusWriter

Object = dict[str, Any]
A, B, C = "192.0.2.1", "192.0.2.2", "2001:db8::3"


class Life:
    """The reconciler of one process after the other, over a DNS and a clock of the test."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace
        self.now = 1000.0
        self.answers: tuple[str, ...] | None = ()
        self.restart()

    def restart(self) -> None:
        """Restart with nothing but the state of the cluster."""
        metrics = Metrics()
        self.store = Store(metrics)

        def clock() -> float:
            return self.now

        observer = Observer(
            self.kube,
            self.store,
            Resolver(clock, metrics, self.lookup),
            UpstreamProbe(clock),
            Certificates(self.kube, clock),
            OptionalApis(self.kube, self.store),
        )
        backoff = WriteBackoff(clock, metrics)
        recorder = Recorder(self.kube, utc_now)
        status_writer = StatusWriter(self.kube, self.store, recorder, clock, metrics, backoff)
        self.reconciler = Reconciler(
            self.kube,
            self.store,
            metrics,
            observer,
            status_writer,
            backoff,
            RejectionBackoff(clock),
            utc_now,
        )

    async def lookup(self, _: str) -> list[str]:
        if self.answers is None:
            raise OSError(-3, "Temporary failure in name resolution")
        return list(self.answers)

    async def after(self, seconds: float, *answers: str, fails: bool = False) -> None:
        """Reconcile every minute for this time, and once at the end."""
        self.answers = None if fails else answers
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + REFRESH_SECONDS)
            await self.store.resync(self.kube, (self.namespace,))
            result = await self.reconciler.reconcile((self.namespace, "relay"))
            if result.requeue_after == FIRST_STATUS_SECONDS:
                await self.reconciler.reconcile((self.namespace, "relay"))


@pytest.fixture
async def life(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Life]:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    async with Kube.connect(Metrics()) as kube:
        yield Life(kube, namespace)


def opened(relays: Relays) -> list[str]:
    """The blocks that the policy lets the relay send to on the GPU's port."""
    policy = relays.read(kind="networkpolicy")
    return [
        peer["ipBlock"]["cidr"]
        for rule in policy["spec"]["egress"]
        if rule["ports"][0]["port"] == 5015
        for peer in rule["to"]
    ]


def told(relays: Relays) -> tuple[str, str, Object]:
    found = relays.conditions()["NetworkPolicyAccurate"]
    gpu = relays.read()["status"]["gpu"]
    return found["status"], found["message"], gpu


async def test_the_policy_follows_a_host_and_never_closes_what_worked(
    life: Life, relays: Relays, control_plane: ControlPlane, namespace: str
) -> None:
    relays.apply(gpu={"host": "gpu.example.com"})
    await life.after(REFRESH_SECONDS, fails=True)
    assert opened(relays) == []
    status, message, _ = told(relays)
    assert status == "False"
    assert "Temporary failure in name resolution" in message
    assert "no GPU address is allowed" in message
    (event,) = relays.events("GPUHostUnresolved")
    assert (event["type"], event["message"]) == ("Warning", message)

    await life.after(REFRESH_SECONDS, A, C)
    assert opened(relays) == [f"{A}/32", f"{C}/128"]
    status, _, gpu = told(relays)
    assert (status, gpu["addresses"]) == ("True", [A, C])
    assert gpu["lastResolved"]

    # Without a node no pod can run; the scheduler reports it at a time of its own.
    async with asyncio.timeout(60):
        while relays.conditions()["Ready"]["reason"] != "PodUnschedulable":
            await life.after(REFRESH_SECONDS, A, C)
    since = audit.now()
    await life.after(3 * REFRESH_SECONDS, C, A)
    assert ours(control_plane, namespace, since) == []

    await life.after(REFRESH_SECONDS, B, C)
    assert opened(relays) == [f"{A}/32", f"{B}/32", f"{C}/128"]
    await life.after(RETIRING_SECONDS, B, C)
    status, message, gpu = told(relays)
    assert (status, gpu["retiring"]) == ("True", [A])
    assert f"DNS no longer returns {A}" in message

    await life.after(2 * GRACE_SECONDS, fails=True)
    assert opened(relays) == [f"{A}/32", f"{B}/32", f"{C}/128"]
    status, message, _ = told(relays)
    assert status == "False"
    assert "the 3 last known addresses stay allowed" in message
    again = [one["count"] for one in relays.events("GPUHostUnresolved")]
    assert again == [1, 1], "one for each time that it begins, in its words"

    life.restart()
    since = audit.now()
    await life.after(REFRESH_SECONDS, fails=True)
    assert opened(relays) == [f"{A}/32", f"{B}/32", f"{C}/128"]
    written = ours(control_plane, namespace, since)
    assert {one.resource for one in written} <= {"tokenplacerelays"}
    assert len(relays.events("GPUHostUnresolved")) == 2

    await life.after(GRACE_SECONDS, B, C)
    assert opened(relays) == [f"{A}/32", f"{B}/32", f"{C}/128"]
    await life.after(2 * REFRESH_SECONDS, B, C)
    assert opened(relays) == [f"{B}/32", f"{C}/128"]
    status, message, gpu = told(relays)
    assert (status, gpu["addresses"]) == ("True", [B, C])
    assert "retiring" not in gpu
    assert "no longer" not in message


def ours(control_plane: ControlPlane, namespace: str, since: str) -> list[AuditEvent]:
    """Writes of the administrator, the user of this operator; the scheduler writes as well."""
    return audit.writes(control_plane.audit_log, user="admin", namespace=namespace, since=since)
