"""Checks of what peers send, in the order and words of token.place relay.py."""

from typing import Any, Final

from tokenplace_relay.config import Config
from tokenplace_relay.http import ApiError, JsonObject
from tokenplace_relay.state import Envelope

PROTOCOL: Final = "tokenplace_api_v1_relay_e2ee"
VERSION: Final = 1

_PLAINTEXT: Final = frozenset({"messages", "prompt", "input", "content", "response", "text"})
_COMMON: Final = frozenset(
    {
        "client_public_key", "ciphertext", "chat_history", "cipherkey", "iv", "request_id",
        "protocol", "version", "cancel_token",
    }
)  # fmt: skip
_REQUEST: Final = _COMMON | {"server_public_key", "reservation_token", "request_deadline_epoch"}
"""The last two come from clients of later releases; the relay keeps its own deadline."""
_RESPONSE: Final = _COMMON | {"control_credential"}
"""The credential is an offer of this relay: a node that sends it proves whose work it was."""
CLAIM: Final = frozenset({"consumer_identity", "claim_generation"})
"""What nodes of later releases say of their claim; the credential says all that is needed."""


def request_envelope(body: JsonObject, config: Config) -> Envelope:
    """The envelope of a client's request as nodes will get it, with both names of the text."""
    _check_keys(body, _REQUEST)
    return _envelope(body, config, required=("client_public_key", "server_public_key"))


def response_envelope(body: JsonObject, config: Config) -> Envelope:
    """The envelope of a node's answer as the client will get it, with both names of the text."""
    proven = _RESPONSE | CLAIM | {"server_public_key"}
    # A later node that lost its credential says so, with an empty one, and is judged without.
    _check_keys(body, proven if "control_credential" in body else _RESPONSE)
    return _envelope(body, config, required=("client_public_key",))


def node_key(body: JsonObject, config: Config) -> str:
    """The public key of a compute node."""
    key = body.get("server_public_key")
    if not key:
        raise ApiError(400, "Missing server public key")
    if not isinstance(key, str):
        raise ApiError(400, "Invalid public key")
    return _bounded(key, "server_public_key", config.max_key_length)


def leaving_key(body: JsonObject) -> str:
    """The public key of a compute node that is to be taken out, known or not."""
    key = body.get("server_public_key")
    if not isinstance(key, str) or not key.strip():
        raise ApiError(400, "Invalid public key")
    return key


def client_key(body: JsonObject, config: Config) -> str:
    """The public key of a client."""
    key = body.get("client_public_key")
    if not key or not isinstance(key, str):
        raise ApiError(400, "Missing client public key")
    return _bounded(key, "client_public_key", config.max_key_length)


def optional_text(body: JsonObject, name: str, config: Config) -> str:
    """A short text that may be absent, else an empty one."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ApiError(400, f"{name} must be a string")
    return _bounded(value, name, config.max_id_length)


def required_text(body: JsonObject, name: str, config: Config) -> str:
    """A short text that must be there."""
    text = optional_text(body, name, config)
    if not text:
        raise ApiError(400, "Invalid request data")
    return text


def _bounded(text: str, name: str, limit: int) -> str:
    if len(text) > limit:
        raise ApiError(413, f"{name} is longer than {limit} characters")
    return text


def _check_keys(body: JsonObject, allowed: frozenset[str]) -> None:
    if _PLAINTEXT & body.keys():
        text = "Plaintext relay payload fields are forbidden; send ciphertext envelope only"
        raise ApiError(400, text)
    if body.keys() - allowed:
        text = "Unexpected relay payload fields are forbidden; send ciphertext envelope only"
        raise ApiError(400, text)


def _envelope(body: JsonObject, config: Config, required: tuple[str, ...]) -> Envelope:
    text = body.get("ciphertext") or body.get("chat_history")
    if not (text and body.get("cipherkey") and body.get("iv")):
        raise ApiError(400, "Invalid request data")
    if "server_public_key" in required and not body.get("server_public_key"):
        raise ApiError(400, "Invalid request data")
    envelope: dict[str, Any] = {
        "client_public_key": client_key(body, config),
        "ciphertext": text,
        "chat_history": text,
        "cipherkey": body["cipherkey"],
        "iv": body["iv"],
    }
    for name in ("request_id", "protocol", "version"):
        if body.get(name) is not None:
            envelope[name] = body[name]
    optional_text(body, "request_id", config)
    return envelope
