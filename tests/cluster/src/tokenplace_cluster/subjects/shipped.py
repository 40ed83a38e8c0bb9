"""The shipped manifests of the operator, and a login with the rights that they grant."""

from pathlib import Path
from typing import Any, Final

import yaml

from tokenplace_cluster.control_plane.control_plane import ControlPlane

MANIFESTS: Final = Path(__file__).parents[5] / "deploy" / "operator"
NAMESPACE: Final = "tokenplace-system"
NAME: Final = "tokenplace-operator"
USER: Final = f"system:serviceaccount:{NAMESPACE}:{NAME}"


def manifests(operator_image: str = "") -> list[dict[str, Any]]:
    """The shipped objects in the order of their files; operator_image replaces their image."""
    objects: list[dict[str, Any]] = []
    for path in sorted(MANIFESTS.glob("*.yaml")):
        objects += yaml.safe_load_all(path.read_text())
    for obj in objects:
        if operator_image and obj["kind"] == "Deployment":
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = operator_image
    return objects


def rights() -> list[dict[str, Any]]:
    """All shipped objects except the Deployment, for an operator outside the cluster."""
    return [obj for obj in manifests() if obj["kind"] != "Deployment"]


def install_rights(plane: ControlPlane) -> Path:
    """Apply all shipped objects except the Deployment; return a kubeconfig of the operator."""
    plane.kubectl("apply", "--server-side", "--filename=-", given=yaml.safe_dump_all(rights()))
    return plane.service_account_kubeconfig(NAMESPACE, NAME)


def delete_lease(plane: ControlPlane) -> None:
    """Delete the Lease of an operator that was killed, so that the next one leads at once."""
    plane.kubectl("delete", "lease", NAME, f"--namespace={NAMESPACE}", "--ignore-not-found")
