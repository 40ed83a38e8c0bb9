"""The client on the real API server: answers, errors by class, and comparable versions."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_operator.api.kinds import DEPLOYMENT, LEASE, SERVICE, SERVICE_ACCOUNT, Object
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import (
    Conflict,
    FieldConflict,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
)
from tokenplace_operator.metrics import Metrics

LABELS = {"app.kubernetes.io/managed-by": "tokenplace-operator"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def kube(
    control_plane: ControlPlane, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Kube]:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    async with Kube.connect(metrics) as kube:
        yield kube


def account(namespace: str, name: str, **fields: object) -> Object:
    metadata = {"namespace": namespace, "name": name, "labels": LABELS}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, **fields}


def service(namespace: str, port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": "web"},
        "spec": {"ports": [{"name": "http", "port": port}]},
    }


def version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


async def test_versions_are_numbers_that_grow_over_kinds(kube: Kube, namespace: str) -> None:
    first = await kube.apply(account(namespace, "a"))
    second = await kube.apply(service(namespace, 80))
    third = await kube.apply(account(namespace, "a", automountServiceAccountToken=False))
    _, listed = await kube.list(SERVICE, namespace)
    assert version(first) < version(second) < version(third) <= int(listed)


async def test_an_apply_that_changes_nothing_keeps_the_version(kube: Kube, namespace: str) -> None:
    first = await kube.apply(service(namespace, 80))
    assert version(await kube.apply(service(namespace, 80))) == version(first)


async def test_a_dry_run_stores_nothing(kube: Kube, namespace: str) -> None:
    await kube.apply(account(namespace, "dry"), dry_run=True)
    with pytest.raises(NotFound):
        await kube.get(SERVICE_ACCOUNT, namespace, "dry")


async def test_a_conflict_names_field_and_manager_and_force_wins(
    kube: Kube, control_plane: ControlPlane, namespace: str
) -> None:
    mine = service(namespace, 80)
    mine["spec"]["sessionAffinity"] = "ClientIP"
    await kube.apply(mine)
    control_plane.kubectl(
        "patch",
        "service",
        "web",
        f"-n={namespace}",
        '-p={"spec":{"sessionAffinity":"None"}}',
        "--field-manager=meddler",
    )
    with pytest.raises(Conflict) as caught:
        await kube.apply(mine)
    assert any(cause.manager == "meddler" for cause in caught.value.causes)
    assert all(isinstance(cause, FieldConflict) and cause.field for cause in caught.value.causes)
    forced = await kube.apply(mine, force=True)
    assert forced["spec"]["sessionAffinity"] == "ClientIP"


async def test_a_request_needs_no_thread(
    kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would when aiohttp looked for proxies and in ~/.netrc: half of a request's work."""
    await kube.list(SERVICE, namespace)
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", None)
    await kube.apply(service(namespace, 80))
    await kube.list(SERVICE, namespace)


async def test_what_must_be_new_is_made_once_and_never_merged_into_what_exists(
    kube: Kube, control_plane: ControlPlane, namespace: str
) -> None:
    """Not documented by Kubernetes for an object that is missing, so held by this test."""
    made = await kube.apply_new(account(namespace, "new"))
    managers = [(one["manager"], one["operation"]) for one in made["metadata"]["managedFields"]]
    assert managers == [("tokenplace-operator", "Apply")]
    with pytest.raises(Conflict) as caught:
        await kube.apply_new(account(namespace, "new", automountServiceAccountToken=False))
    assert caught.value.causes == ()
    control_plane.kubectl("create", "serviceaccount", "strange", f"-n={namespace}")
    with pytest.raises(Conflict):
        await kube.apply_new(account(namespace, "strange"))
    found = await kube.get(SERVICE_ACCOUNT, namespace, "strange")
    assert "labels" not in found["metadata"]


async def test_an_invalid_object_is_refused_with_its_field(kube: Kube, namespace: str) -> None:
    with pytest.raises(Invalid, match=r"spec\.ports"):
        await kube.apply(service(namespace, 0))


async def test_a_delete_means_one_object_and_gone_is_success(kube: Kube, namespace: str) -> None:
    made = await kube.apply(account(namespace, "victim"))
    with pytest.raises(Conflict):
        await kube.delete(SERVICE_ACCOUNT, namespace, "victim", uid="another")
    await kube.delete(SERVICE_ACCOUNT, namespace, "victim", uid=made["metadata"]["uid"])
    await kube.delete(SERVICE_ACCOUNT, namespace, "victim", uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        await kube.get(SERVICE_ACCOUNT, namespace, "victim")


async def test_a_list_reads_all_pages_names_the_kind_and_drops_managed_fields(
    kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenplace_operator.kube.client.PAGE_SIZE", 2)
    for number in range(5):
        await kube.apply(account(namespace, f"a{number}"))
    selector = "app.kubernetes.io/managed-by=tokenplace-operator"
    items, _ = await kube.list(SERVICE_ACCOUNT, namespace, selector)
    assert sorted(item["metadata"]["name"] for item in items) == [f"a{n}" for n in range(5)]
    assert {(item["apiVersion"], item["kind"]) for item in items} == {("v1", "ServiceAccount")}
    assert not any("managedFields" in item["metadata"] for item in items)


async def test_a_stale_replace_is_a_conflict(kube: Kube, namespace: str) -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": namespace, "name": "l"},
        "spec": {"holderIdentity": "a"},
    }
    made = await kube.create(lease)
    await kube.replace({**made, "spec": {"holderIdentity": "b"}})
    with pytest.raises(Conflict):
        await kube.replace({**made, "spec": {"holderIdentity": "c"}})
    with pytest.raises(Conflict):
        await kube.create(lease)
    assert (await kube.get(LEASE, namespace, "l"))["spec"]["holderIdentity"] == "b"


async def test_a_missing_right_is_forbidden_and_named(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.user_kubeconfig("nobody")))
    async with Kube.connect(Metrics()) as kube:
        with pytest.raises(Forbidden, match="cannot list resource"):
            await kube.list(DEPLOYMENT, namespace)


async def test_a_leader_whose_lease_is_not_renewed_writes_nothing_but_the_lease(
    kube: Kube, namespace: str
) -> None:
    await kube.apply(account(namespace, "before"))
    kube.guard_writes(lambda: False)
    for write in (
        kube.apply(account(namespace, "after")),
        kube.delete(SERVICE_ACCOUNT, namespace, "before", uid="any"),
        kube.patch(SERVICE_ACCOUNT, namespace, "before", {"automountServiceAccountToken": False}),
    ):
        with pytest.raises(Unavailable, match="the Lease is not renewed"):
            await write
    kept = await kube.get(SERVICE_ACCOUNT, namespace, "before")
    assert "automountServiceAccountToken" not in kept
    with pytest.raises(NotFound):
        await kube.get(SERVICE_ACCOUNT, namespace, "after")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    await kube.create({**lease, "metadata": {"namespace": namespace, "name": "mine"}, "spec": {}})


async def test_requests_are_counted(kube: Kube, metrics: Metrics, namespace: str) -> None:
    with pytest.raises(NotFound):
        await kube.get(SERVICE, namespace, "none")
    value = metrics.registry.get_sample_value
    labels = {"method": "GET", "code": "404"}
    assert value("tokenplace_operator_kube_requests_total", labels) == 1


async def test_no_answer_is_unavailable(
    kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenplace_operator.kube.transport.REQUEST_SECONDS", 0.0)
    with pytest.raises(Unavailable) as caught:
        await kube.get(SERVICE, namespace, "web")
    assert caught.value.code == 0


async def test_a_new_session_is_logged_in_and_closes(kube: Kube) -> None:
    async with kube.new_session() as session, session.get(kube.server + "/version") as response:
        assert response.status == 200
