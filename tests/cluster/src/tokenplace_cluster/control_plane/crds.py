"""Installs the CRD on an API server and waits until it is served."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

CRDS: Final = Path(__file__).parents[5] / "crds"
NAME: Final = "tokenplacerelays.token.place"
SERVED_SECONDS: Final = 60.0

Kubectl = Callable[..., str]
"""Runs kubectl with arguments and returns its output; raises when it fails."""


def install_crd(kubectl: Kubectl) -> str:
    """Apply the CRD and wait until it is served; return its name."""
    kubectl("apply", "--server-side", f"--filename={CRDS}")
    wait_until_established(kubectl, NAME)
    return NAME


def wait_until_established(kubectl: Kubectl, crd: str) -> None:
    """Wait until a CRD is established; `kubectl wait` fails on a CRD without status."""
    deadline = time.monotonic() + SERVED_SECONDS
    while True:
        live = json.loads(kubectl("get", "crd", crd, "--output=json"))
        conditions = live.get("status", {}).get("conditions") or []
        statuses = {condition["type"]: condition["status"] for condition in conditions}
        if statuses.get("Established") == "True":
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{crd} was not established within {SERVED_SECONDS:g} s")
        time.sleep(0.1)
