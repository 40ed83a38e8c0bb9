"""Alerting rules over given series, evaluated by Prometheus' own rule manager."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tokenplace_cluster.build import program

STEP_SECONDS: Final = 30

Moment = dict[str, Any]
"""at: seconds since the start; firing and pending: alerts with labels and annotations."""


def evaluate(
    folder: Path, groups: Iterable[Any], series: Mapping[str, str], minutes: float
) -> list[Moment]:
    """The alerts at every step of the first minutes; series as in Prometheus' own unit tests."""
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": list(groups)}))
    question = {"step": f"{STEP_SECONDS}s", "until": f"{minutes * 60:.0f}s", "series": dict(series)}
    done = subprocess.run(
        [program("rules"), file],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[Moment] = json.loads(done.stdout)
    return found


def firing(moments: list[Moment], minutes: float) -> set[tuple[str, str]]:
    """Name and severity of the alerts that fire at a moment."""
    moment = next(one for one in moments if one["at"] == minutes * 60)
    return {(one["labels"]["alertname"], one["labels"]["severity"]) for one in moment["firing"]}


def first(moments: list[Moment], name: str, severity: str) -> Moment:
    """The alert as it fired first."""
    return next(
        alert
        for moment in moments
        for alert in moment["firing"]
        if (alert["labels"]["alertname"], alert["labels"]["severity"]) == (name, severity)
    )
