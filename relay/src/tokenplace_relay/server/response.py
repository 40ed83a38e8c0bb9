"""JSON responses, and the one shape of an error.

An error is `{"error": {"message", "code", ...}}`. `code` repeats the HTTP status, unless peers
match on a word (token.place relay.py).
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web
from multidict import CIMultiDict

JsonObject = dict[str, Any]
_encoder: Final = msgspec.json.Encoder(order="sorted")
JSON_TYPE: Final = "application/json"
JSON_HEADERS: Final = CIMultiDict({hdrs.CONTENT_TYPE: JSON_TYPE})
SERVER: Final = "tokenplace-relay"
"""The Server header; it names no version, which would help an attacker."""


class ApiError(Exception):
    """An error response: status, code, message, extra fields and Retry-After seconds."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | int | None = None,
        *,
        retry_after: int | None = None,
        extra: JsonObject | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: JsonObject = {
            "error": {"message": message, "code": status if code is None else code, **(extra or {})}
        }
        self.retry_after = retry_after
        self.close = close

    def response(self) -> web.Response:
        """Return the HTTP response of this error."""
        response = json_response(self.body, self.status)
        if self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)
        if self.close:
            response.force_close()
        return response


def json_response(body: JsonObject, status: int = 200) -> web.Response:
    """Return compact JSON with sorted keys and a final newline."""
    return _factory.make(_encoder.encode(body) + b"\n", status)


def plain_response(body: bytes, status: int) -> web.Response:
    """Return a JSON response by aiohttp's documented API alone."""
    return web.Response(body=body, status=status, headers=JSON_HEADERS)


class _Factory:
    """Makes the responses of this process; `server.runner` sets it when a relay starts."""

    # Without staticmethod, Python would pass the factory as the first argument.
    make: Callable[[bytes, int], web.Response] = staticmethod(plain_response)


_factory: Final = _Factory()


def set_response_factory(make: Callable[[bytes, int], web.Response]) -> None:
    """Make all JSON responses of this process with `make`, given body and status."""
    _factory.make = make


def body_size(response: web.StreamResponse) -> int:
    """Return the bytes of a response's body, 0 for one that is not held in memory."""
    # isinstance(response, web.Response) is slow: aiohttp's response classes are abstract.
    body = getattr(response, "body", None)
    return len(body) if isinstance(body, bytes) else 0
