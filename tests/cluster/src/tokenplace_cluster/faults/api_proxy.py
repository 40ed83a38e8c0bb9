"""A proxy before the API server that injects faults into requests and watches.

It accepts plain HTTP on 127.0.0.1, so that it can read the traffic, and talks TLS to the server.
It runs in its own thread; tests read and set its attributes.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Final, Self

import aiohttp
import yaml
import yarl
from aiohttp import web

from tokenplace_cluster.faults.schedule import Fault, Place, Schedule

REFUSALS: Final = {
    Fault.CONFLICT: (409, "Conflict"),
    Fault.GONE: (410, "Expired"),
    Fault.BUSY: (429, "TooManyRequests"),
    Fault.INTERNAL: (500, "InternalError"),
}
RETRY_AFTER_SECONDS: Final = 1
CALL_SECONDS: Final = 30
PASSED_ON: Final = ("Authorization", "Accept", "Content-Type", "User-Agent")
LONGEST_EVENT: Final = 2**21


class FaultProxy:
    """Forwards to one API server; injects faults as soon as there is a schedule."""

    def __init__(self, server: str, authority: Path) -> None:
        self._server = server
        self._authority = authority
        self._port = 0
        self._watches = 0
        self._silenced = 0
        self.schedule: Schedule | None = None
        self.dropped = 0
        """The number of lines of silenced watches that were dropped."""

    @classmethod
    @contextmanager
    def start(cls, server: str, authority: Path) -> Iterator[Self]:
        """Forward until the end of the block."""
        proxy = cls(server, authority)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="fault-proxy")
        thread.start()
        parts = AsyncExitStack()
        try:
            asyncio.run_coroutine_threadsafe(proxy._open(parts), loop).result(CALL_SECONDS)
            yield proxy
        finally:
            asyncio.run_coroutine_threadsafe(parts.aclose(), loop).result(CALL_SECONDS)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def login(self, kubeconfig: Path, through: Path) -> Path:
        """Write a kubeconfig that uses the proxy; the user of the given one must have a token."""
        document = yaml.safe_load(kubeconfig.read_text())
        document["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._port}"}
        through.write_text(yaml.safe_dump(document))
        return through

    def silence(self) -> None:
        """Drop all further lines of the open watches; new watches work."""
        self._silenced = self._watches

    async def _open(self, parts: AsyncExitStack) -> None:
        trusted = ssl.create_default_context(cafile=str(self._authority))
        self._session = await parts.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trusted, limit=0),
                timeout=aiohttp.ClientTimeout(total=None),
                read_bufsize=LONGEST_EVENT,
                auto_decompress=False,
            )
        )
        app = web.Application(client_max_size=LONGEST_EVENT)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # A silent answer ends only when its client disconnects and the handler is cancelled.
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        parts.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = int(runner.addresses[0][1])

    def _next(self, place: Place | None) -> Fault | None:
        if self.schedule is None or place is None:
            return None
        return self.schedule.next(place)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        place = _place(request)
        fault = self._next(place)
        if fault in REFUSALS:
            return _refusal(fault)
        if fault is Fault.TIMEOUT:
            await _never()
        if fault is Fault.CUT:
            return _cut(request)
        async with self._session.request(
            request.method,
            yarl.URL(self._server + request.raw_path, encoded=True),
            data=await request.read() or None,
            headers={name: request.headers[name] for name in PASSED_ON if name in request.headers},
        ) as answer:
            if place is Place.WATCH and answer.status == 200:
                return await self._stream(request, answer)
            body = await answer.read()
            if fault is Fault.LOST:
                return _cut(request)
            if fault is Fault.BROKEN:
                return await _break(request, body)
            kept = {"Content-Type": answer.headers["Content-Type"]}
            return web.Response(status=answer.status, body=body, headers=kept)

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        self._watches += 1
        number = self._watches
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        await stream.prepare(request)
        async for line in answer.content:
            fault = None if _is_bookmark(line) else self._next(Place.EVENT)
            if number <= self._silenced:
                self.dropped += 1
            elif fault is Fault.SILENCE:
                await _never()
            elif fault is Fault.CUT:
                return _cut(request)
            elif fault is Fault.BROKEN:
                await stream.write(line[: len(line) // 2])
                break
            elif fault in {Fault.GONE, Fault.INTERNAL}:
                await stream.write(_error_event(fault))
                break
            elif fault is not Fault.LOST:
                await stream.write(line * 2 if fault is Fault.DUPLICATE else line)
        return stream


def _place(request: web.Request) -> Place | None:
    reads, of_lease = request.method == "GET", "/leases/" in request.path
    if of_lease:
        return None if reads else Place.LEASE
    if not reads:
        return Place.WRITE
    return Place.WATCH if request.query.get("watch") == "true" else Place.READ


def _is_bookmark(line: bytes) -> bool:
    return line.startswith(b'{"type":"BOOKMARK"')


def _status(fault: Fault) -> dict[str, object]:
    code, reason = REFUSALS[fault]
    message = f"the proxy says {code}"
    named = {"apiVersion": "v1", "kind": "Status", "status": "Failure"}
    return {**named, "code": code, "reason": reason, "message": message}


def _refusal(fault: Fault) -> web.Response:
    status = _status(fault)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if fault is Fault.BUSY else None
    return web.json_response(status, status=REFUSALS[fault][0], headers=headers)


def _error_event(fault: Fault) -> bytes:
    event = {"type": "ERROR", "object": _status(fault)}
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _break(request: web.Request, body: bytes) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Type": "application/json"})
    stream.content_length = len(body)
    await stream.prepare(request)
    await stream.write(body[: len(body) // 2])
    return _cut(request)


async def _never() -> None:
    await asyncio.Event().wait()
