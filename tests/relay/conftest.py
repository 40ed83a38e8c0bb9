"""`--plain-http` runs the relay's tests without aiohttp's internals."""

import pytest

from tokenplace_harness.mode import MODE

NOT_IN_PLAIN_HTTP: dict[str, str] = {}
"""A file or test -> why plain aiohttp cannot do what it tests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plain-http",
        action="store_true",
        help="start every relay with RELAY_PLAIN_HTTP: aiohttp's own connections and responses",
    )


def pytest_configure(config: pytest.Config) -> None:
    MODE.plain_http = bool(config.getoption("--plain-http", default=False))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not MODE.plain_http:
        return
    for item in items:
        name = f"{item.path.name}::{item.name.partition('[')[0]}"
        reason = NOT_IN_PLAIN_HTTP.get(item.path.name) or NOT_IN_PLAIN_HTTP.get(name)
        if reason:
            item.add_marker(pytest.mark.skip(reason=f"plain aiohttp: {reason}"))
