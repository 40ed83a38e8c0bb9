"""One table from exceptions of the state to HTTP answers.

A handler catches StateError and raises `answer(error, call)`. A call has rows of its own where
token.place relay.py words an error differently for it; all other rows are shared.
"""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from tokenplace_relay.server.response import ApiError
from tokenplace_relay.state.capabilities import InvalidCapabilities
from tokenplace_relay.state.errors import (
    Finished,
    Full,
    NotActive,
    StateUnreachable,
    TooLarge,
    UnknownNode,
    UnknownRequest,
    WrongProof,
)

_FULL_RETRY: Final = 5
"""Seconds that a peer waits after it met a bound."""
_BACKEND_RETRY: Final = 2
"""Seconds that a peer waits while the state's backend is unreachable."""

Row = Callable[[str, Exception], ApiError]
"""Makes the answer from a request id, which may be '', and the exception."""


class Call(Enum):
    """Calls with error rows of their own."""

    NODE = auto()
    SUBMIT = auto()
    CANCEL = auto()
    RETRIEVE = auto()
    ANSWER = auto()
    PROGRESS = auto()


def answer(error: Exception, call: Call = Call.NODE, request_id: str = "") -> ApiError:
    """The HTTP answer to an exception of the state; raises KeyError for one without a row."""
    rows = _OF_CALL.get(call, {})
    row = rows.get(type(error)) or _SHARED[type(error)]
    return row(request_id, error)


def _fixed(status: int, text: str, code: str | None = None, retry_after: int | None = None) -> Row:
    return lambda _request_id, _error: ApiError(status, text, code, retry_after=retry_after)


def _full(_request_id: str, error: Exception) -> ApiError:
    assert isinstance(error, Full)
    return ApiError(error.status, error.message, error.code, retry_after=_FULL_RETRY)


def _capabilities(_request_id: str, error: Exception) -> ApiError:
    return ApiError(400, str(error), "invalid_capabilities")


def _finished(_request_id: str, error: Exception) -> ApiError:
    assert isinstance(error, Finished)
    status = str(error.status)
    return ApiError(
        410, f"Request {status}", status, extra={"status": status, "reason": error.reason}
    )


def _unknown_request(request_id: str, _error: Exception) -> ApiError:
    text = f"Unknown request_id: {request_id}"
    return ApiError(404, text if request_id else "No response available for the given public key")


def _not_waiting(_request_id: str, error: Exception) -> ApiError:
    # `gone` is the status of token.place relay.py for an unknown id; for a node each 410 is final.
    status = str(error.status) if isinstance(error, Finished) else "gone"
    text = "Request is no longer waiting for a response"
    return ApiError(410, text, status, extra={"status": status})


_SHARED: Final[Mapping[type[Exception], Row]] = {
    Full: _full,
    Finished: _finished,
    InvalidCapabilities: _capabilities,
    # A node that gets this 404 registers again, and a client chooses another node.
    UnknownNode: _fixed(404, "Server with the specified public key not found"),
    UnknownRequest: _unknown_request,
    TooLarge: _fixed(503, "This relay is sending too much at once", "relay_full", _FULL_RETRY),
    WrongProof: _fixed(403, "Missing or invalid relay server control credential"),
    # With 403 or 404 a node would stop computing, so this must be 503, after which it goes on.
    StateUnreachable: _fixed(
        503, "The relay's state backend is unavailable", "state_backend_unavailable", _BACKEND_RETRY
    ),
}
_OF_CALL: Final[Mapping[Call, Mapping[type[Exception], Row]]] = {
    Call.CANCEL: {WrongProof: _fixed(403, "Missing or invalid cancel proof")},
    Call.RETRIEVE: {WrongProof: _fixed(403, "Missing or invalid retrieval credential")},
    Call.ANSWER: {UnknownRequest: _not_waiting, Finished: _not_waiting},
    Call.PROGRESS: {
        # After a 410 a node sends no more progress for this request.
        NotActive: _fixed(410, "Progress request is not active for this owner"),
        Finished: _fixed(410, "Progress request has expired"),
    },
}
"""Rows that replace the shared one in a call."""
