"""A graph as a row of a table, and the Grafana dashboard made from such a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

# A variable, because the uid of the Prometheus data source differs between installations of
# Grafana.
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Grafana's grid is 24 units wide.
WIDTH, HEIGHT, COLUMNS = 8, 8, 3

Fill = Callable[[str], str]
"""Replaces the placeholders ($SELECT and others) of an expression with label matchers."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph. curves: pairs of PromQL expression and legend; unit: a unit name of Grafana."""

    title: str
    unit: str
    curves: tuple[tuple[str, str], ...]
    description: str = ""


def draw(uid: str, title: str, panels: Iterable[Panel], fill: Fill) -> dict[str, Any]:
    """Return the dashboard as JSON for Grafana; the data source is a variable of the dashboard."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["tokenplace"],
        "schemaVersion": 39,
        # The dashboard is provisioned, so a change in the browser would be lost.
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}],
        },
        "panels": [_graph(number, panel, fill) for number, panel in enumerate(panels)],
    }


def _graph(number: int, panel: Panel, fill: Fill) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": DATASOURCE,
                "expr": fill(expression),
                "legendFormat": legend,
            }
            for place, (expression, legend) in enumerate(panel.curves)
        ],
    }
