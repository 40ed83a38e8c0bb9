"""Evaluates objects with kstatus, the library with which Flux and others wait."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from tokenplace_cluster.programs.build import program


def verdicts(objects: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the name of each object -> Current, InProgress, Failed or Terminating."""
    done = subprocess.run(
        [program("kstatus")],
        input=json.dumps(objects),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line["status"] for line in lines}
