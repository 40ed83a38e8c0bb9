"""Errors of the facade in OpenAI's shape, and one table from exceptions of the state to them."""

from collections.abc import Callable, Mapping
from typing import Final

from tokenplace_relay.facade.completions import failure
from tokenplace_relay.server.response import ApiError, JsonObject
from tokenplace_relay.state.errors import (
    Finished,
    Full,
    StateError,
    StateUnreachable,
    UnknownNode,
    UnknownRequest,
)
from tokenplace_relay.state.results import Stage

_MESSAGE_LENGTH: Final = 500
"""Characters of a node's own error message that a caller receives."""
_CALLERS_FAULT: Final = frozenset(
    {
        "compute_node_invalid_request", "compute_node_request_too_large",
        "compute_node_model_unsupported", "compute_node_options_unsupported",
        "compute_node_context_tier_unsupported", "compute_node_context_window_exceeded",
    }
)  # fmt: skip
_NODE_UNABLE: Final = frozenset(
    {"compute_node_runtime_unavailable", "compute_node_context_admission_unavailable"}
)


def answer(error: StateError) -> ApiError:
    """The error for an exception of the state; raises KeyError for one without a row."""
    return _TABLE[type(error)](error)


def node_error(error: object) -> ApiError:
    """The error for one that a compute node sealed into its answer."""
    fields: JsonObject = error if isinstance(error, dict) else {}
    code, message = fields.get("code"), fields.get("message")
    text = message[:_MESSAGE_LENGTH] if isinstance(message, str) else "The compute node failed"
    if code in _CALLERS_FAULT:
        return failure(400, text, str(code), "invalid_request_error")
    if code in _NODE_UNABLE:
        return failure(503, text, str(code), "server_error", retry_after=5)
    # A node may send any code; callers receive only codes of token.place's list.
    return failure(502, text, "compute_node_bridge_error", "server_error")


def relay_full(text: str, code: str, retry_after: int = 5) -> ApiError:
    """A bound of the relay is reached."""
    return failure(503, text, code, "server_error", retry_after=retry_after)


def timed_out() -> ApiError:
    """The compute node did not answer before the deadline."""
    text = "The compute node did not answer in time"
    return failure(504, text, "compute_node_timeout", "server_error")


def unreachable() -> ApiError:
    """The compute node has unregistered, or its key cannot encrypt."""
    text = "The compute node is gone; try again"
    return failure(503, text, "compute_node_unreachable", "server_error", retry_after=1)


def unreadable() -> ApiError:
    """The compute node's answer cannot be decrypted, or has the wrong shape."""
    text = "The compute node's answer cannot be read"
    return failure(502, text, "compute_node_invalid_payload", "server_error")


def _full(error: StateError) -> ApiError:
    assert isinstance(error, Full)
    return relay_full(error.message, error.code)


def _finished(error: StateError) -> ApiError:
    assert isinstance(error, Finished)
    if error.reason == "server_unregistered":
        return unreachable()
    if error.status is Stage.EXPIRED:
        return timed_out()
    text = "The request was cancelled"
    return failure(504, text, "compute_node_request_cancelled", "server_error")


_TABLE: Final[Mapping[type[StateError], Callable[[StateError], ApiError]]] = {
    Full: _full,
    Finished: _finished,
    UnknownNode: lambda _error: unreachable(),
    UnknownRequest: lambda _error: unreachable(),
    # WrongProof has no row, because the facade always shows its own token.
    StateUnreachable: lambda _error: relay_full(
        "The relay's state backend is unavailable", "state_backend_unavailable", 2
    ),
}
