"""`--plain-http` runs the relay's tests without aiohttp's internals."""

import pytest

from tokenplace_harness.mode import MODE

_MALFORMED = (
    "aiohttp itself answers malformed HTTP: as text, without a count, and with its own statuses"
)
_HEADS = "aiohttp has no time limit for a head"
_UNREAD = "aiohttp neither bounds nor counts responses that a peer does not read"
NOT_IN_PLAIN_HTTP = {
    "test_broken_http.py": _MALFORMED,
    "test_edges_http.py::test_method_that_does_not_exist": _MALFORMED,
    "test_slow_peers.py::test_head_that_never_ends_is_cut_off": _HEADS,
    "test_slow_peers.py::test_next_head_on_a_kept_connection_is_cut_off_too": _HEADS,
    "test_slow_peers.py::test_half_a_head_that_comes_with_the_connection_is_cut_off": _HEADS,
    "test_slow_peers.py::test_half_a_head_behind_a_request_is_cut_off": _HEADS,
    "test_connections.py::test_connection_beyond_the_bound_gets_a_response": (
        "aiohttp has no limit on connections"
    ),
    "test_slow_peers.py::test_reader_that_does_not_read_is_cut_off": _UNREAD,
    "test_unsent.py": _UNREAD,
}
"""A file or a test -> why it cannot pass with aiohttp's own connections."""


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
        reason = NOT_IN_PLAIN_HTTP.get(item.path.name) or NOT_IN_PLAIN_HTTP.get(_test_of(item))
        if reason:
            item.add_marker(pytest.mark.skip(reason=f"plain aiohttp: {reason}"))


def _test_of(item: pytest.Item) -> str:
    return f"{item.path.name}::{item.name.partition('[')[0]}"
