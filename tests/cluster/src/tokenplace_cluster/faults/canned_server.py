"""A server with a fixed answer, for tests of client middlewares."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

WATCH = {"watch": "true"}


@dataclass
class Canned:
    """The answer, a status and the pieces of a body, and a session to the server."""

    session: aiohttp.ClientSession = field(init=False)
    url: str = field(init=False)
    status: int = 200
    pieces: Iterable[bytes] = ()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        answer = web.StreamResponse(status=self.status)
        answer.content_type = "application/json"
        await answer.prepare(request)
        for piece in self.pieces:
            await answer.write(piece)
        return answer

    async def read(self, path: str = "/", params: Mapping[str, str] = WATCH) -> bytes:
        """Request a path, by default as a watch, and return the body after the middlewares."""
        async with self.session.get(path, params=params) as answer:
            return b"".join([data async for data in answer.content.iter_chunked(2**16)])


@asynccontextmanager
async def canned(*middlewares: aiohttp.ClientMiddlewareType) -> AsyncIterator[Canned]:
    """Run a server and a session with these middlewares until the end of the block."""
    found = Canned()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    async with TestServer(app) as server:
        url = server.make_url("/")
        found.url = str(url).rstrip("/")
        async with aiohttp.ClientSession(base_url=url, middlewares=middlewares) as found.session:
            yield found
