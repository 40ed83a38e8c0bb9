"""JSON over HTTP to a relay, for our own client and compute node."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import aiohttp
import msgspec

Json = dict[str, Any]
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class RelayError(Exception):
    """The relay answered with an error: HTTP status, and `code` and `message` of its body."""

    def __init__(self, route: str, status: int, code: str, message: str) -> None:
        super().__init__(f"{route}: {status} {message}".strip())
        self.status = status
        self.code = code
        self.message = message


class RelayConnection:
    """Calls one relay; the caller owns the session."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, token: str = "") -> None:
        self._session = session
        self._base = base_url.rstrip("/")
        self._headers = {"X-Relay-Server-Token": token} if token else {}

    async def post(
        self, route: str, body: Json, headers: Mapping[str, str] = _NONE
    ) -> tuple[int, Json]:
        """POST a JSON object to a route below /api/v1/relay; return status and body."""
        url = f"{self._base}/api/v1/relay/{route}"
        async with self._session.post(
            url, json=body, headers={**self._headers, **headers}
        ) as response:
            return await _answer(route, response)

    async def get(self, path: str, query: dict[str, str] | None = None) -> tuple[int, Json]:
        """GET a path below the base URL; return status and body."""
        url = f"{self._base}/{path}"
        async with self._session.get(url, params=query) as response:
            return await _answer(path, response)


async def _answer(route: str, response: aiohttp.ClientResponse) -> tuple[int, Json]:
    content = await response.read()
    try:
        body = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        text = "the answer is not JSON: is this a token.place relay?"
        raise RelayError(route, response.status, "", text) from None
    if response.status >= 400:
        error = body.get("error")
        # Some routes of token.place's relay send `error` as a text.
        error = error if isinstance(error, dict) else {}
        code, message = str(error.get("code", "")), str(error.get("message", ""))
        raise RelayError(route, response.status, code, message)
    return response.status, body
