"""An alert as a row of a table, and the Prometheus rule made from it.

Every alert has a runbook of the same name in docs/runbooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RUNBOOKS = "https://github.com/futuroptimist/token.place/blob/main/docs/runbooks"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `duration` is how long `expr` must be true, as a Prometheus duration: `5m`.

    severity: `warning` (investigate today) or `critical` (people are affected now).
    """

    name: str
    severity: str
    duration: str
    expr: str
    summary: str
    description: str


def rule(alert: Alert, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the alerting rule, as PrometheusRules and rule files of Prometheus hold it."""
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.duration,
        "labels": {"severity": alert.severity, **labels},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{RUNBOOKS}/{alert.name}.md",
        },
    }
