"""Handlers and tests use the state of the relay through its interface only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RELAY = ROOT / "relay" / "src" / "tokenplace_relay"
STATE = RELAY / "state"
INTERNAL = {"machine", "tables", "model", "node_index", "waiters", "expiring",
            "node_transitions", "client_transitions"}  # fmt: skip
OF_THE_MACHINE = {
    "tests/harness/src/tokenplace_harness/promises.py", "tests/relay/test_state_machine.py",
    "tests/relay/test_undone_claims.py", "tests/relay/test_selection.py",
    "tests/relay/test_polls.py", "tests/relay/test_bounds.py",
    "tests/harness/src/tokenplace_harness/bench/select.py",
}  # fmt: skip
"""Tests of the pure machine and of its parts: they make one of their own."""
SOURCES = sorted(
    path
    for folder in (RELAY, ROOT / "tests")
    for path in folder.rglob("*.py")
    if STATE not in path.parents and ".venv" not in path.parts
)


def tables() -> set[str]:
    """The attributes of the state's tables: records, sums and orders."""
    tree = ast.parse((STATE / "tables.py").read_text())
    start = next(
        node for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )  # fmt: skip
    targets = [
        node.targets[0] if isinstance(node, ast.Assign) else node.target
        for node in ast.walk(start)
        if isinstance(node, ast.Assign | ast.AnnAssign)
    ]
    return {node.attr for node in targets if isinstance(node, ast.Attribute)}


TABLES = tables() | {"_machine"}


def is_state(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in {"state", "_machine"}


def imported(tree: ast.AST) -> set[str]:
    named = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    whole = {f"{node.module}.{alias.name}" for node in named for alias in node.names}
    return whole | {str(node.module) for node in named}


def test_the_tables_were_found() -> None:
    assert {"nodes", "requests", "inboxes", "pending", "_deadlines", "_tombstones"} <= TABLES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_outside_reads_the_tables(path: Path) -> None:
    tree = ast.parse(path.read_text())
    reads = [
        f"{path.name}:{node.lineno} {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in TABLES and is_state(node.value)
    ]
    assert reads == []
    if str(path.relative_to(ROOT)) not in OF_THE_MACHINE:
        internal = {f"tokenplace_relay.state.{name}" for name in INTERNAL}
        assert not imported(tree) & internal
