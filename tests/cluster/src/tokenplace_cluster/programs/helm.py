"""Runs Helm with directories of its own, for the chart of this repository."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final, Protocol

from tokenplace_cluster.programs import build

CHART: Final = Path(__file__).parents[5] / "deploy" / "charts" / "tokenplace-relay"

Object = dict[str, Any]
Done = subprocess.CompletedProcess[str]


class Helm(Protocol):
    """Run Helm and return its outcome, also of a failure; values go to standard input."""

    def __call__(self, *arguments: str, values: Object | None = None) -> Done: ...


class Render(Protocol):
    """Render the chart for namespace `relays`; fails the test if Helm refuses the values."""

    def __call__(self, values: Object | None = None) -> list[Object]: ...


def helm_for(folder: Path, kubeconfig: Path | str) -> Helm:
    """Helm as the user of a kubeconfig; its cache and configuration lie below a folder."""
    binary = build.program("helm")
    homes = {f"HELM_{name}_HOME": str(folder / name) for name in ("CACHE", "CONFIG", "DATA")}

    def run(*arguments: str, values: Object | None = None) -> Done:
        given = [] if values is None else ["--values=-"]
        return subprocess.run(
            [str(binary), *arguments, *given],
            input=None if values is None else json.dumps(values),
            env={**homes, "HOME": str(folder), "KUBECONFIG": str(kubeconfig)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
