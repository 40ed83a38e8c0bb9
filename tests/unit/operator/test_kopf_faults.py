"""kopf's view of a faulty API server: only faults that kopf survives."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tokenplace_cluster.faults.canned_server import WATCH, Canned, canned
from tokenplace_operator.cache.kopf_faults import RESTART_EVENT, tolerate_faults

ADDED = b'{"type":"ADDED","object":{"metadata":{"name":"{\\"type\\":\\"ERROR\\""}}}\n'
DELETED = b'{"type":"DELETED","object":{}}\n'
ERROR = b'{"type":"ERROR","object":{"code":500,"message":"etcd went away"}}\n'


@pytest.fixture
async def server() -> AsyncIterator[Canned]:
    async with canned(tolerate_faults) as found:
        yield found


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_events_pass_and_half_a_line_is_left_out(server: Canned, size: int) -> None:
    told = ADDED + DELETED + ADDED[:20]
    server.pieces = [told[at : at + size] for at in range(0, len(told), size)]
    assert await server.read() == ADDED + DELETED


@pytest.mark.parametrize("before", [b"", ADDED])
async def test_an_error_event_restarts_the_watch(server: Canned, before: bytes) -> None:
    server.pieces = [before + ERROR + DELETED]
    assert await server.read() == before + RESTART_EVENT


async def test_a_watch_that_is_gone_restarts(server: Canned) -> None:
    server.status = 410
    assert await server.read() == RESTART_EVENT


@pytest.mark.parametrize(("status", "params"), [(500, WATCH), (503, {}), (410, {})])
async def test_a_server_error_is_a_failed_connection(
    server: Canned, status: int, params: dict[str, str]
) -> None:
    server.status = status
    with pytest.raises(aiohttp.ClientConnectionError, match=f"answered {status}"):
        await server.session.get("/", params=params)


@pytest.mark.parametrize("status", [401, 403, 404, 429])
async def test_permission_errors_are_passed_on(server: Canned, status: int) -> None:
    server.status, server.pieces = status, [b"why"]
    async with server.session.get("/", params=WATCH) as answer:
        assert answer.status == status
        assert await answer.text() == "why"
