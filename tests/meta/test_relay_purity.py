"""The relay's state machine is pure: no I/O, no clock of its own, and nothing to wait for."""

import ast
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "relay" / "src" / "tokenplace_relay"
PURE = [
    "state/model", "state/capabilities", "state/digests", "state/errors", "state/results",
    "state/node_index", "state/expiring", "state/tables", "state/node_transitions",
    "state/client_transitions", "state/machine", "state/selection", "rate_limit/limiter",
    "rate_limit/policy", "settings/rate",
    "rate_limit/client_address", "api/prefer",
]  # fmt: skip
FORBIDDEN = {
    "aiohttp", "asyncio", "logging", "os", "socket", "structlog", "threading", "time", "datetime",
}  # fmt: skip
WAITING = ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith


def imported(tree: ast.AST) -> set[str]:
    plain = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    named = {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    return {name.partition(".")[0] for name in plain | named}


@pytest.mark.parametrize("module", PURE)
def test_module_is_pure(module: str) -> None:
    tree = ast.parse((SOURCES / f"{module}.py").read_text())
    assert imported(tree) & FORBIDDEN == set()
    assert not [node for node in ast.walk(tree) if isinstance(node, WAITING)]
