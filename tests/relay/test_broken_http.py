"""What no handler ever sees: JSON of the one shape, the right status, a count, and no traceback."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import pytest

from tokenplace_harness.process import RelayProcess, relay_process

_TYPE: Final = b"Content-Type: application/json\r\n"
_GET: Final = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
_POST: Final = b"POST /api/v1/relay/responses/retrieve HTTP/1.1\r\nHost: a\r\n" + _TYPE
_CHUNKED: Final = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN: Final = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "unknown version": (b"GET /livez HTTP/9.9\r\n\r\n", 400),
    "unknown method": (b"BREW /livez HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "URL that is none": (b"GET http://[::1/livez HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no host": (b"GET /livez HTTP/1.1\r\n\r\n", 400),
    "two hosts": (_GET + b"Host: b\r\n\r\n", 400),
    "name with a space": (_GET + b"X Y: 1\r\n\r\n", 400),
    "folded header": (_GET + b"X: 1\r\n 2\r\n\r\n", 400),
    "null byte": (_GET + b"X: \x00\r\n\r\n", 400),
    "length that is no number": (_POST + b"Content-Length: x\r\n\r\n", 400),
    "negative length": (_POST + b"Content-Length: -1\r\n\r\n", 400),
    "length of 30 digits": (_POST + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n{}", 400),
    "two lengths": (_POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "length and chunks": (
        _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "unknown coding": (_POST + b"Transfer-Encoding: gzip\r\n\r\n{}", 400),
    "size of a chunk": (_CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", 400),
    "chunk longer than it says": (_CHUNKED + b"2\r\n{}}}\r\n0\r\n\r\n", 400),
    "chunks of a GET": (_GET + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "body beyond its bound": (_POST + b"Content-Length: 99999999999\r\n\r\n{}", 413),
    "long request line": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
    "unknown expectation": (_POST + b"Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{}", 417),
    "long header": (_GET + b"Cookie: " + b"x" * 9000 + b"\r\n\r\n", 431),
    "long name of a header": (_GET + b"x" * 9000 + b": 1\r\n\r\n", 431),
    "many headers": (_GET + b"B: 2\r\n" * 100 + b"\r\n", 431),
    "long trailer": (_CHUNKED + b"2\r\n{}\r\n0\r\nB: " + b"x" * 9000 + b"\r\n\r\n", 431),
    "many trailers": (_CHUNKED + b"2\r\n{}\r\n0\r\n" + b"B: 2\r\n" * 200 + b"\r\n", 431),
}  # fmt: skip
"""What is sent, and the status of its answer."""


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with relay_process(TOKENPLACE_LOG_LEVEL="DEBUG") as process:
        yield process


@asynccontextmanager
async def connected(
    relay: RelayProcess,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    place = urlsplit(relay.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def counted(relay: RelayProcess, status: int) -> float:
    """How many answers with this status the relay has counted on routes that it does not know."""
    name = f'tokenplace_relay_requests_total{{endpoint="other",method="other",status="{status}"}} '
    async with aiohttp.ClientSession(relay.url) as http, http.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


async def refused(reader: asyncio.StreamReader, status: int) -> None:
    """One error of the usual shape, after which the connection closes."""
    async with asyncio.timeout(5):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readuntil(b"\n")
    assert int(head.split()[1]) == status
    assert b"content-type: application/json" in head
    assert b"x-request-id: " in head
    assert head.startswith(b"http/1.0") or b"connection: close" in head
    answer = json.loads(body)
    assert answer["error"]["code"] == status
    assert answer.keys() == {"error"}
    assert answer["error"].keys() == {"code", "message"}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_broken_gets_json_and_the_end(relay: RelayProcess, name: str) -> None:
    raw, status = BROKEN[name]
    before = await counted(relay, status)
    async with connected(relay) as (reader, writer):
        writer.write(raw)
        await refused(reader, status)
    was_read_by_a_handler = status == 413
    assert await counted(relay, status) == before + (not was_read_by_a_handler)
    assert relay.stderr == []


async def test_body_that_breaks_while_it_is_awaited(relay: RelayProcess) -> None:
    """The handler waits for the next chunk, and what comes is none: no wait for its timeout."""
    async with connected(relay) as (reader, writer):
        writer.write(_CHUNKED + b"2\r\n{}\r\n")
        await asyncio.sleep(0.1)
        writer.write(b"zz\r\n")
        await refused(reader, 400)
    assert relay.stderr == []


async def test_garbage_on_a_kept_connection(relay: RelayProcess) -> None:
    async with connected(relay) as (reader, writer):
        writer.write(_GET + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        assert await reader.readuntil(b"\n") == b'{"status":"alive"}\n'
        writer.write(b"hello\r\n\r\n")
        await refused(reader, 400)
    assert relay.stderr == []


async def test_bound_of_the_number_of_headers() -> None:
    with relay_process(RELAY_MAX_HEADERS="16") as small:
        for more, status in ((10, b"200"), (20, b"431")):
            async with connected(small) as (reader, writer):
                writer.write(_GET + b"B: 2\r\n" * more + b"\r\n")
                assert (await reader.readuntil(b"\r\n")).split()[1] == status


async def test_bounds_of_a_line_and_of_a_header_may_be_equal() -> None:
    """The error still shows which of them was exceeded."""
    equal = {"RELAY_MAX_URL_BYTES": "600", "RELAY_MAX_HEADER_BYTES": "600"}
    with relay_process(**equal) as small:
        for raw, status in ((b"GET /" + b"x" * 700 + b" HTTP/1.1\r\n\r\n", 414),
                            (_GET + b"A: " + b"x" * 700 + b"\r\n\r\n", 431)):  # fmt: skip
            async with connected(small) as (reader, writer):
                writer.write(raw)
                await refused(reader, status)
