"""Each undocumented name of aiohttp still exists, with the shape that the relay needs."""

import inspect
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.http_writer import _serialize_headers
from aiohttp.web_protocol import _ErrInfo
from multidict import CIMultiDict

from tokenplace_relay import app as relay_app
from tokenplace_relay.api.routes import clients, nodes, progress
from tokenplace_relay.server import aiohttp_internals
from tokenplace_relay.server.aiohttp_internals import INTERNALS, Internal, OneStepResponse
from tokenplace_relay.server.direct import DirectRoute

SOURCES = Path(aiohttp_internals.__file__).parents[1]
ERROR = BadHttpMessage("broken")


async def _unused(_request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError


@pytest.fixture
async def server() -> AsyncIterator[web.Server]:
    made = web.Server(_unused)
    yield made
    await made.shutdown()


@pytest.fixture
async def connection(server: web.Server) -> web.RequestHandler:
    return server()


VALUES: dict[str, Callable[[object], bool]] = {
    "_messages": lambda value: isinstance(value, deque) and not value,
    "_request_count": lambda value: value == 0,
    "_request_in_progress": lambda value: value is False,
    "_current_request": lambda value: value is None,
    "_lingering_time": lambda value: isinstance(value, float),
    "_reading_paused": lambda value: value is False,
    "_buffer_paused": lambda value: value is False,
}
"""A name of a new connection -> the check of its value."""
PARAMETERS = {
    "data_received": ["self", "data"],
    "resume_reading": ["self", "resume_parser"],
    "handle_error": ["self", "request", "status", "exc", "message"],
    "finish_response": ["self", "request", "resp", "start_time"],
    "_make_server": ["self"],
}
"""A method -> its parameters."""
OF_RESPONSES = {"_body": b"x", "_status": 201, "_reason": "Created", "_keep_alive": None}
"""A name of a new response -> its value."""


@pytest.mark.parametrize("name", VALUES)
async def test_connection_has_the_value(connection: web.RequestHandler, name: str) -> None:
    assert VALUES[name](getattr(connection, name))


@pytest.mark.parametrize("internal", [one for one in INTERNALS if one.name in PARAMETERS])
def test_method_has_the_parameters(internal: Internal) -> None:
    method = getattr(internal.owner, internal.name)
    assert list(inspect.signature(method).parameters) == PARAMETERS[internal.name]


@pytest.mark.parametrize("name", ["finish_response", "_make_server"])
def test_method_is_a_coroutine_function(name: str) -> None:
    (internal,) = (one for one in INTERNALS if one.name == name)
    assert inspect.iscoroutinefunction(getattr(internal.owner, name))


@pytest.mark.parametrize("name", OF_RESPONSES)
def test_response_has_the_value(name: str) -> None:
    for response in (web.Response(body=b"x", status=201), OneStepResponse(b"x", 201, {})):
        assert getattr(response, name) == OF_RESPONSES[name]


def test_response_keeps_its_headers_in_headers() -> None:
    response = web.Response(headers={"A": "b"})
    assert isinstance(response._headers, CIMultiDict)
    assert response._headers is response.headers


def test_closing_response_has_keep_alive_false() -> None:
    response = OneStepResponse(b"x", 200, {})
    response.force_close()
    assert response._keep_alive is False


def test_serialize_headers_makes_a_head() -> None:
    head = _serialize_headers("HTTP/1.1 200 OK", CIMultiDict({"A": "b"}))
    assert head == b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"


def test_broken_request_is_marked_by_err_info() -> None:
    assert _ErrInfo(400, ERROR, "broken").exc is ERROR


async def test_broken_request_is_queued_with_err_info(server: web.Server) -> None:
    connection = server()
    connection.data_received(b"hello\r\n\r\n")
    assert isinstance(connection._messages[-1][0], _ErrInfo)
    assert connection._request_count == 1


async def test_server_has_what_a_wrapping_factory_takes_over(server: web.Server) -> None:
    assert server.request_handler is _unused
    assert callable(server.request_factory)
    assert server.handler_cancellation is False


def test_every_listed_name_is_checked_by_a_test() -> None:
    own_test = {
        "_headers", "_serialize_headers", "_ErrInfo", "request_handler", "request_factory",
        "handler_cancellation",
    }  # fmt: skip
    assert {one.name for one in INTERNALS} == {*VALUES, *PARAMETERS, *OF_RESPONSES, *own_test}
    assert all(one.reason for one in INTERNALS)


def test_every_private_name_that_the_file_uses_is_listed() -> None:
    text = Path(aiohttp_internals.__file__).read_text()
    own = {"_is_written", "_wrap", "_date", "_is_usual", "_HANDLER"}
    used = set(re.findall(r"\b_[A-Za-z]\w*", text)) - own
    assert used == {one.name for one in INTERNALS if one.name.startswith("_")}


COMMON = {"_body", "_headers", "_status", "_reason"}
"""Names that our own classes may have, too."""
PRIVATE = {one.name for one in INTERNALS if one.name.startswith("_")} - COMMON
OTHERS = [
    path
    for path in SOURCES.rglob("*.py")
    if "aiohttp" in path.read_text() and path != Path(aiohttp_internals.__file__)
]


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(SOURCES)))
def test_no_other_file_uses_a_private_name(path: Path) -> None:
    text = path.read_text()
    assert not set(re.findall(r"\b_[A-Za-z]\w*", text)) & PRIVATE
    assert not re.search(r"from aiohttp[\w.]* import .*\b_\w", text)


@pytest.mark.parametrize("module", [clients, nodes, progress])
def test_direct_handlers_take_a_request_without_application(module: object) -> None:
    """mypy refuses a handler that needs `web.Request` here; this is the same at run time."""
    routes: list[DirectRoute] = module.routes()  # type: ignore[attr-defined]
    for route in routes:
        parameters = inspect.signature(route.handler, eval_str=True).parameters
        assert [one.annotation for one in parameters.values()] == [web.BaseRequest]


def test_direct_route_needs_a_fixed_path() -> None:
    with pytest.raises(ValueError, match="fixed path"):
        DirectRoute("GET", "/models/{model}", _unused)


def test_modules_with_direct_routes_are_those_of_the_table() -> None:
    assert (clients, nodes, progress) == relay_app._DIRECT_MODULES


def test_every_exception_of_plain_http_names_a_test() -> None:
    """A renamed test must be renamed in conftest.py, too."""
    table = (Path(__file__).parent / "conftest.py").read_text()
    for name, test in re.findall(r'"(test_\w+\.py)(?:::(\w+))?": ', table):
        text = (Path(__file__).parent / name).read_text()
        assert not test or f"def {test}(" in text
