"""Refusals of the relay's state; api/errors.py has the HTTP answer to each."""

from tokenplace_relay.state.results import Stage


class StateError(Exception):
    """A call was refused; nothing was changed by it."""


class Full(StateError):
    """A bound is reached: status 429 for a bound of the client, 503 for one of the relay."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class UnknownNode(StateError):
    """No such compute node is registered."""


class UnknownRequest(StateError):
    """No such request is known, or it was evicted."""


class WrongProof(StateError):
    """A credential or cancel token is missing or wrong."""


class NotActive(StateError):
    """The request is not claimed by this node."""


class Finished(StateError):
    """The request has ended: cancelled, expired, or completed and read."""

    def __init__(self, status: Stage, reason: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.reason = reason


class TooLarge(StateError):
    """The answer has more bytes than its reader has room for; it stays unread."""


class StateUnreachable(StateError):
    """The backend of the state cannot be reached; the call may be repeated."""
