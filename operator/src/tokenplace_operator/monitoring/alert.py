"""One alert as a row of a table, and the rule of Prometheus that it becomes.

Every alert has a runbook of its name in docs/runbooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RUNBOOKS = "https://github.com/futuroptimist/token.place/blob/main/docs/runbooks"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert; `lasts` is how long the expression must hold, as Prometheus writes durations."""

    name: str
    severity: str
    lasts: str
    expr: str
    summary: str
    description: str


def rule(alert: Alert, labels: Mapping[str, str]) -> dict[str, Any]:
    """The rule of a PrometheusRule, and of a rule file of Prometheus just as well."""
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.lasts,
        "labels": {"severity": alert.severity, **labels},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{RUNBOOKS}/{alert.name}.md",
        },
    }
