"""The manifests of the operator that are shipped, and a login with the rights that they give."""

from pathlib import Path
from typing import Any, Final

import yaml

from tokenplace_cluster.control_plane.control_plane import ControlPlane

MANIFESTS: Final = Path(__file__).parents[5] / "deploy" / "operator"
NAMESPACE: Final = "tokenplace-system"
NAME: Final = "tokenplace-operator"
USER: Final = f"system:serviceaccount:{NAMESPACE}:{NAME}"


def manifests(operator_image: str = "") -> list[dict[str, Any]]:
    """The shipped objects in the order of their files, with another image when one is named."""
    found: list[dict[str, Any]] = []
    for path in sorted(MANIFESTS.glob("*.yaml")):
        found += yaml.safe_load_all(path.read_text())
    for one in found:
        if operator_image and one["kind"] == "Deployment":
            one["spec"]["template"]["spec"]["containers"][0]["image"] = operator_image
    return found


def rights() -> list[dict[str, Any]]:
    """All that is shipped but the Deployment, for an operator that runs outside."""
    return [one for one in manifests() if one["kind"] != "Deployment"]


def install_rights(plane: ControlPlane) -> Path:
    """Apply all that is shipped but the Deployment; return a kubeconfig of the operator."""
    plane.kubectl("apply", "--server-side", "--filename=-", given=yaml.safe_dump_all(rights()))
    return plane.service_account_kubeconfig(NAMESPACE, NAME)
