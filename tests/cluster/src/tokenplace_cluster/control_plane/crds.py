"""Brings a kind to an API server, and waits until it is served."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

CRDS: Final = Path(__file__).parents[5] / "crds"
NAME: Final = "tokenplacerelays.token.place"
SERVED_SECONDS: Final = 60.0

Kubectl = Callable[..., str]
"""Runs kubectl with some arguments and returns what it prints; raises when it fails."""


def install_kind(kubectl: Kubectl) -> str:
    """Apply the CRD and wait until it is served; return its name."""
    kubectl("apply", "--server-side", f"--filename={CRDS}")
    wait_until_established(kubectl, NAME)
    return NAME


def wait_until_established(kubectl: Kubectl, crd: str) -> None:
    """Wait until a kind is served; `kubectl wait` fails on a CRD that has no status yet."""
    deadline = time.monotonic() + SERVED_SECONDS
    while True:
        found = json.loads(kubectl("get", "crd", crd, "--output=json"))
        conditions = found.get("status", {}).get("conditions") or []
        if any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{crd} was not established within {SERVED_SECONDS:g} s")
        time.sleep(0.1)
