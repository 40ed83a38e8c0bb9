"""Checks of what peers send, in the order and words of token.place relay.py."""

from typing import Any, Final, Literal, cast

import msgspec

from tokenplace_relay.server.response import ApiError, JsonObject
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.results import Envelope

ROUTES: Final = "/api/v1/relay/"
"""Where the routes of the relay begin that take envelopes."""

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

_Name = Literal[
    "client_public_key", "ciphertext", "chat_history", "cipherkey", "iv", "request_id",
    "protocol", "version", "cancel_token", "server_public_key", "reservation_token",
    "request_deadline_epoch", "control_credential", "consumer_identity", "claim_generation",
]  # fmt: skip
"""Every name that an envelope may have, of a request or of an answer."""
_BROKEN: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_ABSENT: Final = msgspec.Raw(b"")
_flat: Final = msgspec.json.Decoder(dict[_Name, str | int | float | bool | None])


class _Plaintext(msgspec.Struct):
    """What must not be there; all else is passed over, and no objects are made of it."""

    messages: msgspec.Raw = _ABSENT
    prompt: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT
    content: msgspec.Raw = _ABSENT
    response: msgspec.Raw = _ABSENT
    text: msgspec.Raw = _ABSENT


_plaintext: Final = msgspec.json.Decoder(_Plaintext)
_names: Final = msgspec.json.Decoder(dict[_Name, msgspec.Raw])
_NESTED: Final = (None,)
"""Stands for a value that nests, which no field may."""
_WIDEST: Final = 4
"""Bytes that one character of a text may take."""


def flat(raw: bytes) -> tuple[JsonObject, int]:
    """The names and plain values of an envelope, and what it weighs in bytes.

    No objects are made of JSON that nests: they would take many times its own bytes. Raises
    ApiError 400 for a name that no envelope has, and for what is not a JSON object.
    """
    body: JsonObject
    try:
        body = cast("JsonObject", _flat.decode(raw))
    except msgspec.ValidationError:
        body = _unnested(raw)
    except _BROKEN:
        raise _not_json() from None
    weight = len(raw)
    for value in body.values():
        if type(value) is str and not value.isascii():
            # Its widest character tells how wide all of them are kept.
            weight += _WIDEST * len(value)
    return body, weight


def _unnested(raw: bytes) -> JsonObject:
    """The same of an envelope that nests, which does so in vain, or has other names."""
    found = _found(raw)
    if any(getattr(found, name) is not _ABSENT for name in found.__struct_fields__):
        raise _forbidden("Plaintext")
    try:
        values = _names.decode(raw)
    except msgspec.ValidationError:
        raise _forbidden("Unexpected") from None
    try:
        return {name: _plain(bytes(value)) for name, value in values.items()}
    except _BROKEN:
        raise _not_json() from None


def _found(raw: bytes) -> _Plaintext:
    try:
        raw.decode()
        return _plaintext.decode(raw)
    except msgspec.ValidationError:
        pass
    except _BROKEN:
        raise _not_json() from None
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except _BROKEN:
        raise _not_json() from None
    raise ApiError(400, "Invalid request data")


def _plain(value: bytes) -> object:
    return _NESTED if value[:1] in b"[{" else msgspec.json.decode(value)


def _not_json() -> ApiError:
    return ApiError(400, "Request body is not valid JSON")


def _forbidden(kind: str) -> ApiError:
    text = f"{kind} relay payload fields are forbidden; send ciphertext envelope only"
    return ApiError(400, text)


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
    if body.keys() - allowed:
        raise _forbidden("Unexpected")


def _envelope(body: JsonObject, config: Config, required: tuple[str, ...]) -> Envelope:
    text = body.get("ciphertext") or body.get("chat_history")
    sealed = (text, body.get("cipherkey"), body.get("iv"))
    if not all(value and isinstance(value, str) for value in sealed):
        raise ApiError(400, "Invalid request data")
    if "server_public_key" in required and not body.get("server_public_key"):
        raise ApiError(400, "Invalid request data")
    envelope: dict[str, Any] = {
        "client_public_key": client_key(body, config),
        "ciphertext": text,
        "chat_history": text,
        "cipherkey": sealed[1],
        "iv": sealed[2],
    }
    for name in ("request_id", "protocol", "version"):
        value = body.get(name)
        if value is _NESTED:
            raise ApiError(400, "Invalid request data")
        if value is not None:
            envelope[name] = value
    optional_text(body, "request_id", config)
    return envelope
