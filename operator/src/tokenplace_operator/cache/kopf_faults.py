"""Faults of the API server, in a shape that kopf outlasts.

kopf ends the whole operator on an answer 410 to a list or a watch, on an ERROR event that is not
410, on a line that breaks off, and when a server answers 5xx for a minute. Each of these only
means: begin again. kopf does so when a connection fails and when an ERROR event says 410, so that
is what it gets to see. What a restart would not hide either still ends it: 401, 403 and 404.
"""

from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp

from tokenplace_operator.logs import get_logger

log = get_logger(__name__)

BEGIN_AGAIN = b'{"type":"ERROR","object":{"code":410}}\n'
"""The event by which the API server ends a watch that must begin again with a list."""
_GONE = 410
_ERROR = b'{"type":"ERROR"'


async def tolerate_faults(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Middleware of the session that kopf lists and watches with."""
    response = await handler(request)
    watches = request.url.query.get("watch") == "true"
    gone = response.status == _GONE
    if response.status >= 500 or (gone and not watches):
        response.close()
        raise aiohttp.ClientConnectionError(f"the API server answered {response.status}")
    if watches and (gone or response.status == 200):
        events = _Events(response.content, over=gone)
        response.status = 200
        response.content = cast("aiohttp.StreamReader", events)
    return response


class _Events:
    """The content of a watch in whole lines, up to the first ERROR; over: it is one itself."""

    def __init__(self, content: aiohttp.StreamReader, *, over: bool) -> None:
        self._content = content
        self._over = over

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever closes a stream)
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """What has come, without the line that is not whole yet."""
        if self._over:
            yield BEGIN_AGAIN
            return
        rest = b""
        async for data in self._content.iter_chunked(size):
            whole, newline, rest = (rest + data).rpartition(b"\n")
            events, error = _up_to_error(whole + newline)
            if error:
                log.info("a watch begins again", error=error[:500])
                yield events + BEGIN_AGAIN
                return
            yield events


def _up_to_error(lines: bytes) -> tuple[bytes, str]:
    at = 0 if lines.startswith(_ERROR) else lines.find(b"\n" + _ERROR) + 1
    if at or lines.startswith(_ERROR):
        return lines[:at], lines[at:].decode(errors="replace")
    return lines, ""
