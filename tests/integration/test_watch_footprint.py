"""What stays in the process of each watched object once its event is taken: one copy, no task."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_operator.api.kinds import SERVICE_ACCOUNT, Object
from tokenplace_operator.cache.event_handler import EventHandler
from tokenplace_operator.cache.store import Store
from tokenplace_operator.cache.watch import watch
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.runtime.workqueue import WorkQueue

LABELS = {"app.kubernetes.io/managed-by": "tokenplace-operator"}
OBJECTS = 120
"""More than two pages of kopf's list, and twice as many as kopf has tasks without any."""


@asynccontextmanager
async def watching(kube: Kube, store: Store, namespace: str) -> AsyncIterator[None]:
    """Run kopf's watches into a store until the end of the block."""
    metrics = Metrics()
    queue = WorkQueue(asyncio.get_running_loop().time, Random(0), metrics)
    handler = EventHandler(store, queue, metrics)
    stop, ready = asyncio.Event(), asyncio.Event()
    work = watch(kube, handler, [namespace], stop=stop, ready=ready, idle_seconds=60)
    running = asyncio.create_task(work)
    try:
        await ready.wait()
        yield
    finally:
        stop.set()
        await running


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 (nobody tells of a task that ends)
            await asyncio.sleep(0.02)


def sockets() -> set[str]:
    """The sockets that this process has open, by their inodes."""
    found = set()
    for file in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # The folder's own, which is closed by now.
            found.add(str(file.readlink()))
    return {name for name in found if name.startswith("socket:")}


def account(namespace: str, number: int) -> Object:
    metadata = {"namespace": namespace, "name": f"a{number}", "labels": LABELS}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


async def test_objects_that_rest_cost_one_copy_without_managed_fields_and_no_task(
    control_plane: ControlPlane, crd: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert crd
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    before = sockets()
    async with Kube.connect(Metrics()) as kube:
        for number in range(OBJECTS):
            await kube.apply(account(namespace, number))
        store = Store(Metrics())
        async with watching(kube, store, namespace):
            await until(lambda: len(store.all(SERVICE_ACCOUNT)) == OBJECTS)
            # kopf itself runs some sixty.
            await until(lambda: len(asyncio.all_tasks()) < OBJECTS)
            await kube.apply(account(namespace, OBJECTS))
            await until(lambda: len(store.all(SERVICE_ACCOUNT)) == OBJECTS + 1)
        kept = store.all(SERVICE_ACCOUNT)
        assert not any("managedFields" in one["metadata"] for one in kept)
    # A connection with TLS is closed once the server has sent its close notification.
    await until(lambda: sockets() <= before)
