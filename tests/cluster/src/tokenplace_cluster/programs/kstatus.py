"""What kstatus, the library by which Flux and others wait, makes of objects."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from tokenplace_cluster.programs.build import program


def verdicts(objects: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Current, InProgress, Failed or Terminating, by the name of the object."""
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
