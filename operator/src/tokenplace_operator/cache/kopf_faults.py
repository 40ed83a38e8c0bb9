"""The fault-tolerant watch: turns faults of the API server into ones that kopf survives.

kopf ends the process on a 410 response to a list or a watch, on an ERROR event that is not 410, on
an incomplete line, and when a server responds with 5xx for a minute. Each of these only means that
the list must be repeated. kopf repeats it when a connection fails and after an ERROR event with
code 410, so the faults are turned into these. 401, 403 and 404 still end the process, because a
restart would not help.
"""

from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp

from tokenplace_operator.logs import get_logger

log = get_logger(__name__)

RESTART_EVENT = b'{"type":"ERROR","object":{"code":410}}\n'
"""The event by which the API server ends a watch that must restart with a list."""
_GONE = 410
_ERROR = b'{"type":"ERROR"'


async def tolerate_faults(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Middleware of kopf's session."""
    response = await handler(request)
    watches = request.url.query.get("watch") == "true"
    gone = response.status == _GONE
    # kopf repeats a request indefinitely only when its connection failed.
    if response.status >= 500 or (gone and not watches):
        response.close()
        raise aiohttp.ClientConnectionError(f"the API server answered {response.status}")
    if watches and (gone or response.status == 200):
        events = _Events(response.content, over=gone)
        # kopf would raise an error for 410 before it reads the content.
        response.status = 200
        response.content = cast("aiohttp.StreamReader", events)
    return response


class _Events:
    """The content of a watch in whole lines, up to the first ERROR.

    over: the response itself was an error, so there is no event.
    """

    def __init__(self, content: aiohttp.StreamReader, *, over: bool) -> None:
        self._content = content
        self._over = over

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (for what closes a stream)
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """The complete lines of each chunk; the rest of a chunk waits for the next one."""
        if self._over:
            yield RESTART_EVENT
            return
        rest = b""
        async for data in self._content.iter_chunked(size):
            # An incomplete line at the end of the stream is dropped: the next list has its object.
            whole, newline, rest = (rest + data).rpartition(b"\n")
            events, error = _up_to_error(whole + newline)
            if error:
                log.info("watch restarted", error=error[:500])
                yield events + RESTART_EVENT
                return
            yield events


def _up_to_error(lines: bytes) -> tuple[bytes, str]:
    # The API server writes `type` first and without spaces, so no line needs to be parsed here.
    at = 0 if lines.startswith(_ERROR) else lines.find(b"\n" + _ERROR) + 1
    if at or lines.startswith(_ERROR):
        return lines[:at], lines[at:].decode(errors="replace")
    return lines, ""
