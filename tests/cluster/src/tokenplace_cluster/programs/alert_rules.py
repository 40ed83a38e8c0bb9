"""Alerting rules over given series, evaluated by Prometheus' own rule manager."""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tokenplace_cluster.programs.build import program

STEP_SECONDS: Final = 30
FOREVER: Final = "x400"
RUNBOOKS: Final = Path(__file__).parents[5] / "docs" / "runbooks"

Moment = dict[str, Any]
"""at: seconds since the start; firing and pending: alerts with labels and annotations."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What differs from health from the start on; which alert fires, how bad, and when.

    minutes: the alert must fire after that many, and must not a minute before.
    """

    alert: str
    severity: str
    minutes: float
    change: dict[str, str | None] = field(default_factory=dict)

    def series(self, healthy: Mapping[str, str]) -> dict[str, str]:
        """Replacements for the series of health; None in `change` removes one."""
        given = {name: text for name, text in {**healthy, **self.change}.items() if text}
        return given or {'up{job="another"}': steady(1)}

    def raised(self, moments: list[Moment]) -> Moment:
        """The alert, which alone fired, in time and with all that people need to read."""
        wanted = (self.alert, self.severity)
        assert wanted not in firing(moments, self.minutes - 1)
        assert wanted in firing(moments, self.minutes)
        assert {name for name, _ in firing(moments, self.minutes)} == {self.alert}
        alert = first(moments, *wanted)
        texts = alert["annotations"]
        assert "{{" not in texts["description"], "every template is filled in"
        assert "error" not in texts["description"].replace("server errors", "")
        assert texts["runbook_url"].endswith(f"/docs/runbooks/{self.alert}.md")
        return alert


def steady(value: float) -> str:
    """A series that stays as it is."""
    return f"{value}{FOREVER}"


def growing(step: float) -> str:
    """So much more at every scrape, each 30 s."""
    return f"0+{step}{FOREVER}"


def check_runbook(alert: str) -> None:
    """Whether the runbook of an alert has the sections meaning, impact and fix."""
    text = (RUNBOOKS / f"{alert}.md").read_text()
    headings = re.findall(r"^#+ .*$", text, re.MULTILINE)
    assert headings == [f"# {alert}", "## Meaning", "## Impact", "## Diagnosis", "## Fix"]
    parts = re.split(r"^## \w+$", text, flags=re.MULTILINE)[1:]
    assert all(len(part.split()) > 5 for part in parts)


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
