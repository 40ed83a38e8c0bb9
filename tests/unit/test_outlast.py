"""What kopf gets to see of an API server that has faults: only what it outlasts."""

from collections.abc import AsyncIterator, Iterable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tokenplace_operator.outlast import BEGIN_AGAIN, outlast

ADDED = b'{"type":"ADDED","object":{"metadata":{"name":"{\\"type\\":\\"ERROR\\""}}}\n'
DELETED = b'{"type":"DELETED","object":{}}\n'
ERROR = b'{"type":"ERROR","object":{"code":500,"message":"etcd went away"}}\n'
WATCH = {"watch": "true"}


class Server:
    """Answers with a status and some pieces of a body."""

    def __init__(self) -> None:
        self.status = 200
        self.pieces: Iterable[bytes] = ()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=self.status)
        await answer.prepare(request)
        for piece in self.pieces:
            await answer.write(piece)
        return answer


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def session(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    app = web.Application()
    app.router.add_get("/", server.answer)
    async with TestServer(app) as listening:
        url = listening.make_url("/")
        async with aiohttp.ClientSession(base_url=url, middlewares=(outlast,)) as opened:
            yield opened


async def watched(session: aiohttp.ClientSession) -> bytes:
    """All that a watch tells."""
    async with session.get("/", params=WATCH) as answer:
        assert answer.status == 200
        return b"".join([data async for data in answer.content.iter_chunked(2**16)])


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_events_pass_and_half_a_line_is_left_out(
    server: Server, session: aiohttp.ClientSession, size: int
) -> None:
    told = ADDED + DELETED + ADDED[:20]
    server.pieces = [told[at : at + size] for at in range(0, len(told), size)]
    assert await watched(session) == ADDED + DELETED


@pytest.mark.parametrize("before", [b"", ADDED])
async def test_an_error_event_lets_the_watch_begin_again(
    server: Server, session: aiohttp.ClientSession, before: bytes
) -> None:
    server.pieces = [before + ERROR + DELETED]
    assert await watched(session) == before + BEGIN_AGAIN


async def test_a_watch_that_is_gone_begins_again(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.status = 410
    assert await watched(session) == BEGIN_AGAIN


@pytest.mark.parametrize(("status", "params"), [(500, WATCH), (503, {}), (410, {})])
async def test_a_server_in_trouble_is_a_failed_connection(
    server: Server, session: aiohttp.ClientSession, status: int, params: dict[str, str]
) -> None:
    server.status = status
    with pytest.raises(aiohttp.ClientConnectionError, match=f"answered {status}"):
        await session.get("/", params=params)


@pytest.mark.parametrize("status", [401, 403, 404, 429])
async def test_what_must_be_told_is_told(
    server: Server, session: aiohttp.ClientSession, status: int
) -> None:
    server.status, server.pieces = status, [b"why"]
    async with session.get("/", params=WATCH) as answer:
        assert answer.status == status
        assert await answer.text() == "why"
