"""One graph as a row of a table, and the dashboard of Grafana that such a table becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, COLUMNS = 8, 8, 3

Fill = Callable[[str], str]
"""Puts matchers in the place of the words with $ in an expression."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: curves are pairs of expression and legend; $SELECT stands for the matchers."""

    title: str
    unit: str
    curves: tuple[tuple[str, str], ...]
    about: str = ""


def draw(uid: str, title: str, panels: Iterable[Panel], fill: Fill) -> dict[str, Any]:
    """The dashboard as Grafana imports it; the data source is chosen in Grafana."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["tokenplace"],
        "schemaVersion": 39,
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
        "description": panel.about,
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
