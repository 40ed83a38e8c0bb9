"""Evaluates alerting rules over given series, with Prometheus' own rule manager."""

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
REPEATED: Final = "x400"
"""Longer than any evaluation."""
RUNBOOKS: Final = Path(__file__).parents[5] / "docs" / "runbooks"

Moment = dict[str, Any]
"""at: seconds since the start; firing and pending: alerts with labels and annotations."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault that is present from the start, and the one alert that it must raise.

    minutes: when the alert must fire; a minute earlier it must not.
    change: series that replace those of a healthy relay; None removes a series.
    """

    alert: str
    severity: str
    minutes: float
    change: dict[str, str | None] = field(default_factory=dict)

    def series(self, healthy: Mapping[str, str]) -> dict[str, str]:
        """The series of a relay with this fault; at least one, since the evaluation needs data."""
        series = {name: text for name, text in {**healthy, **self.change}.items() if text}
        return series or {'up{job="another"}': steady(1)}

    def raised(self, moments: list[Moment]) -> Moment:
        """Check that only this alert fired, at its time and with complete texts; return it."""
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
    """A series with a constant value."""
    return f"{value}{REPEATED}"


def growing(step: float) -> str:
    """A series that grows by a step at every scrape, each 30 s."""
    return f"0+{step}{REPEATED}"


def check_runbook(alert: str) -> None:
    """Check that the runbook of an alert has its four sections, each with some text."""
    text = (RUNBOOKS / f"{alert}.md").read_text()
    headings = re.findall(r"^#+ .*$", text, re.MULTILINE)
    assert headings == [f"# {alert}", "## Meaning", "## Impact", "## Diagnosis", "## Fix"]
    parts = re.split(r"^## \w+$", text, flags=re.MULTILINE)[1:]
    assert all(len(part.split()) > 5 for part in parts)


def evaluate(
    folder: Path, groups: Iterable[Any], series: Mapping[str, str], minutes: float
) -> list[Moment]:
    """Return the alerts at every step; series use the notation of `promtool test rules`."""
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": list(groups)}))
    query = {"step": f"{STEP_SECONDS}s", "until": f"{minutes * 60:.0f}s", "series": dict(series)}
    done = subprocess.run(
        [program("rules"), file],
        input=json.dumps(query),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    moments: list[Moment] = json.loads(done.stdout)
    return moments


def firing(moments: list[Moment], minutes: float) -> set[tuple[str, str]]:
    """Name and severity of the alerts that fire at a moment."""
    moment = next(moment for moment in moments if moment["at"] == minutes * 60)
    labels = [alert["labels"] for alert in moment["firing"]]
    return {(label["alertname"], label["severity"]) for label in labels}


def first(moments: list[Moment], name: str, severity: str) -> Moment:
    """The alert when it first fired."""
    return next(
        alert
        for moment in moments
        for alert in moment["firing"]
        if (alert["labels"]["alertname"], alert["labels"]["severity"]) == (name, severity)
    )
