"""A CRD that is older than the operator: Helm, for one, never upgrades CRDs by itself."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.crds import CRDS
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.operator_process import OperatorProcess, Operators
from tokenplace_cluster.subjects.relays import Relays

PATCHES = "tokenplace_operator_kube_requests_total"


def older() -> str:
    """The CRD as it was before rollback and the newer parts of the status."""
    crd = yaml.safe_load((CRDS / "tokenplacerelays.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    del schema["spec"]["properties"]["rollback"]
    for name in ("rollback", "url"):
        del schema["status"]["properties"][name]
    del schema["status"]["properties"]["image"]["properties"]["lastReady"]
    return json.dumps(crd)


@pytest.fixture
def newer_crd(
    control_plane: ControlPlane, crd: str, tmp_path: Path
) -> Iterator[Callable[[], None]]:
    """The older CRD is there, until the newer one is called for; at the end at the latest."""
    del crd
    path = tmp_path / "older.json"
    path.write_text(older())
    replace = ("apply", "--server-side", "--force-conflicts")
    control_plane.kubectl(*replace, f"--filename={path}")

    def come() -> None:
        control_plane.kubectl(*replace, f"--filename={CRDS / 'tokenplacerelays.yaml'}")

    yield come
    come()


@pytest.fixture
def operator(
    newer_crd: Callable[[], None],
    operators: Operators,
    kubelet: FakeKubelet,
    eventually: Eventually,
) -> OperatorProcess:
    del newer_crd, kubelet
    started = operators.start()
    eventually(started.leads, seconds=60)
    return started


def test_only_what_it_lacks_is_missing_until_it_is_replaced(
    operators: Operators,
    operator: OperatorProcess,
    newer_crd: Callable[[], None],
    relays: Relays,
    eventually: Eventually,
) -> None:
    relays.apply()
    relay = eventually(lambda: relays.when(Ready="True"))
    assert relay["status"]["image"]["running"]
    assert not {"url", "rollback"} & set(relay["status"])
    lines = operator.lines("the CRD is older than this operator")
    assert sorted(field for line in lines for field in line["fields"]) == ["image.lastReady", "url"]
    writes = operator.metric(PATCHES, method="PATCH", code="200")
    reconciles = operator.metric("tokenplace_operator_reconcile_total", result="ok")
    relays.patch({"metadata": {"labels": {"touched": "yes"}}})
    eventually(
        lambda: operator.metric("tokenplace_operator_reconcile_total", result="ok") > reconciles
    )
    assert operator.metric(PATCHES, method="PATCH", code="200") == writes, "nothing new to write"
    newer_crd()
    assert operator.end() == 0
    eventually(operators.start().leads, seconds=60)
    eventually(lambda: relays.read()["status"].get("url"))
