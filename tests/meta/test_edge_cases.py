"""The tables of edge cases: each route has one, with a row for every answer that is documented."""

import ast
from pathlib import Path

import pytest

from tokenplace_harness.openapi import Contract

TESTS = Path(__file__).parents[1] / "relay"
RELAY = "/api/v1/relay"
TABLES = {
    "NEXT": f"GET {RELAY}/servers/next",
    "REQUESTS": f"POST {RELAY}/requests",
    "CANCEL": f"POST {RELAY}/requests/cancel",
    "RETRIEVE": f"POST {RELAY}/responses/retrieve",
    "REGISTER": f"POST {RELAY}/servers/register",
    "POLL": f"POST {RELAY}/servers/poll",
    "CONTROL": f"POST {RELAY}/servers/control",
    "UNREGISTER": f"POST {RELAY}/servers/unregister",
    "RESPONSES": f"POST {RELAY}/responses",
    "PROGRESS": f"POST {RELAY}/progress",
}
"""Name of a table -> the call that its rows make."""
ELSEWHERE = {"401", "408", "413", "415", "429", "500", "503", "default"}
"""What every route can answer: test_edges_http.py, test_bounds.py, test_rate_policy.py."""
AT_LEAST = 150


def tables() -> dict[str, list[ast.Call]]:
    """Every `Row(...)` of each table; one that stands for several counts once."""
    found: dict[str, list[ast.Call]] = {}
    for path in sorted(TESTS.glob("test_edges_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                calls = [one for one in ast.walk(node.value) if isinstance(one, ast.Call)]
                rows = [one for one in calls if getattr(one.func, "id", "") == "Row"]
                if rows:
                    found[node.targets[0].id] = rows
    return found


def test_every_table_is_that_of_a_route() -> None:
    assert tables().keys() == TABLES.keys()
    assert sum(len(rows) for rows in tables().values()) >= AT_LEAST


def test_every_route_of_the_relay_has_a_table() -> None:
    documented = {f"{method} {path}" for method, path, _ in Contract().operations()}
    # The operator's, in test_edges_http.py, and a list that takes nothing, in test_ops.py.
    others = {f"POST {RELAY}/unregister", f"GET {RELAY}/server-nodes"}
    assert {one for one in documented if f" {RELAY}/" in one} - others == set(TABLES.values())


@pytest.mark.parametrize("name", TABLES)
def test_every_documented_answer_has_a_row(name: str) -> None:
    documented = {f"{m} {p}": set(one["responses"]) for m, p, one in Contract().operations()}
    shown = {ast.unparse(row.args[3]) for row in tables()[name]}
    assert documented[TABLES[name]] - ELSEWHERE - shown == set()


@pytest.mark.parametrize("name", TABLES)
def test_rows_have_names_of_their_own(name: str) -> None:
    firsts = [row.args[0] for row in tables()[name]]
    names = [one.value for one in firsts if isinstance(one, ast.Constant)]
    assert [one for one in names if names.count(one) > 1] == []
