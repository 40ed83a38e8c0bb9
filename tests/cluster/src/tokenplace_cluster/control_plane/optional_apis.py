"""The CRDs of other projects that the operator uses if they are installed, unchanged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.programs.build import module_folder

_PROMETHEUS: Final = "github.com/prometheus-operator/prometheus-operator"
_GATEWAY: Final = "sigs.k8s.io/gateway-api"
_CERTIFICATES: Final = "github.com/cert-manager/cert-manager"

FILES: Final = {
    "servicemonitors.monitoring.coreos.com": (
        _PROMETHEUS,
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    "prometheusrules.monitoring.coreos.com": (
        _PROMETHEUS,
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "httproutes.gateway.networking.k8s.io": (
        _GATEWAY,
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ),
    "certificates.cert-manager.io": (
        _CERTIFICATES,
        "deploy/crds/cert-manager.io_certificates.yaml",
    ),
    "clusterissuers.cert-manager.io": (
        _CERTIFICATES,
        "deploy/crds/cert-manager.io_clusterissuers.yaml",
    ),
}
MONITORING: Final = (
    "servicemonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
)
ROUTES: Final = ("httproutes.gateway.networking.k8s.io",)
CERTIFICATES: Final = ("certificates.cert-manager.io",)
ISSUERS: Final = ("clusterissuers.cert-manager.io",)


def crd_file(name: str) -> Path:
    """The path of the CRD of this name; its Go module is downloaded on first use."""
    module, path = FILES[name]
    return module_folder(module) / path


def install(control_plane: ControlPlane, *names: str) -> None:
    """Install the CRDs of these kinds and wait until they are served."""
    files = [f"--filename={crd_file(name)}" for name in names]
    control_plane.kubectl("apply", "--server-side", *files)
    for name in names:
        control_plane.wait_established(name)


def remove(control_plane: ControlPlane, *names: str) -> None:
    """Remove the kinds with all their objects; absent ones are no error."""
    control_plane.kubectl("delete", "crd", *names, "--ignore-not-found", "--timeout=60s")


@contextmanager
def served(control_plane: ControlPlane, *names: str) -> Iterator[None]:
    """Install these kinds for the time of the block."""
    install(control_plane, *names)
    try:
        yield
    finally:
        remove(control_plane, *names)
