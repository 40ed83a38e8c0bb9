"""Golden children on the real API server: it gives back what was applied, in every mode."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.objects import Object
from tokenplace_cluster.control_plane.optional_apis import MONITORING, ROUTES, served
from tokenplace_cluster.fixtures import Kubectl

GOLDEN = Path(__file__).parents[1] / "unit" / "operator" / "golden"


@pytest.fixture(scope="module")
def optional_apis(control_plane: ControlPlane) -> Iterator[None]:
    with served(control_plane, *MONITORING, *ROUTES):
        yield


@pytest.mark.usefixtures("optional_apis")
@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.children.yaml")), ids=lambda p: p.name)
def test_children_come_back_as_they_were_applied(kubectl: Kubectl, golden: Path) -> None:
    """Otherwise the operator would see drift in an unchanged object, and write indefinitely."""
    for child in yaml.safe_load_all(golden.read_text()):
        applied = server_side_apply(kubectl, child)
        assert not missing(child["metadata"]["labels"], applied["metadata"]["labels"])
        wanted = {field: value for field, value in child.items() if field != "metadata"}
        assert missing(wanted, applied) == []


def test_switching_the_gpu_mode_changes_the_service_in_place(kubectl: Kubectl) -> None:
    """Both directions: the server has fields of its own (clusterIPs, ipFamilies) to drop."""
    for case in ("external-name", "headless", "external-name"):
        children = yaml.safe_load_all((GOLDEN / f"{case}.children.yaml").read_text())
        service = next(c for c in children if "gpu" in c["metadata"]["name"])
        service["metadata"]["name"] = "switched"
        applied = server_side_apply(kubectl, service, dry_run=False)
        assert missing(service["spec"], applied["spec"]) == []


def server_side_apply(kubectl: Kubectl, child: Object, *, dry_run: bool = True) -> Object:
    """The object as the server would store it; the test's namespace, not that of the file."""
    metadata = {k: v for k, v in child["metadata"].items() if k != "namespace"}
    done = kubectl(
        "apply",
        "--server-side",
        "--field-manager=tokenplace-operator",
        f"--dry-run={'server' if dry_run else 'none'}",
        "--output=json",
        "--filename=-",
        given=json.dumps({**child, "metadata": metadata}),
    )
    assert done.returncode == 0, done.stderr
    applied: Object = json.loads(done.stdout)
    return applied


def missing(desired: object, live: object, path: str = "") -> list[str]:
    """Where `desired` is not a part of `live`; lists must agree item by item.

    The server stores no `false`: its absence means the same.
    """
    if isinstance(desired, dict) and isinstance(live, dict):
        return [
            problem
            for name, value in desired.items()
            for problem in missing(value, live.get(name), f"{path}.{name}")
        ]
    if isinstance(desired, list) and isinstance(live, list) and len(desired) == len(live):
        pairs = enumerate(zip(desired, live, strict=True))
        return [p for i, (w, have) in pairs for p in missing(w, have, f"{path}[{i}]")]
    if desired is False and live is None:
        return []
    return [] if desired == live else [f"{path}: {desired!r} became {live!r}"]
