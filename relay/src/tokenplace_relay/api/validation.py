"""Validates what peers send, in the order and with the messages of token.place relay.py."""

from typing import Any, Final, Literal, cast

import msgspec

from tokenplace_relay.server.response import ApiError, JsonObject
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.results import Envelope

ROUTES: Final = "/api/v1/relay/"
"""Prefix of the routes that take envelopes."""

_COMMON: Final = frozenset(
    {
        "client_public_key", "ciphertext", "chat_history", "cipherkey", "iv", "request_id",
        "protocol", "version", "cancel_token",
    }
)  # fmt: skip
_REQUEST: Final = _COMMON | {"server_public_key", "reservation_token", "request_deadline_epoch"}
"""Clients of later releases send the last two; the relay uses its own deadline."""
_RESPONSE: Final = _COMMON | {"control_credential"}
"""A node may send its credential, with which it proves that it claimed the request."""
CLAIM: Final = frozenset({"consumer_identity", "claim_generation"})
"""Nodes of later releases describe their claim with these; the credential is sufficient."""

_Name = Literal[
    "client_public_key", "ciphertext", "chat_history", "cipherkey", "iv", "request_id",
    "protocol", "version", "cancel_token", "server_public_key", "reservation_token",
    "request_deadline_epoch", "control_credential", "consumer_identity", "claim_generation",
]  # fmt: skip
"""Every field name of a request's or an answer's envelope."""
_DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_ABSENT: Final = msgspec.Raw(b"")
_flat: Final = msgspec.json.Decoder(dict[_Name, str | int | float | bool | None])


class _Plaintext(msgspec.Struct):
    """Detects forbidden plaintext fields; all other fields are skipped without making objects."""

    messages: msgspec.Raw = _ABSENT
    prompt: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT
    content: msgspec.Raw = _ABSENT
    response: msgspec.Raw = _ABSENT
    text: msgspec.Raw = _ABSENT


_plaintext: Final = msgspec.json.Decoder(_Plaintext)
_names: Final = msgspec.json.Decoder(dict[_Name, msgspec.Raw])
_NESTED: Final = (None,)
"""Replaces a nested value, which no field accepts."""
_MAX_CHARACTER_BYTES: Final = 4
"""Bytes per character of a Python string with a character beyond U+FFFF."""


def flat(raw: bytes) -> tuple[JsonObject, int]:
    """Return an envelope's fields, and the bytes of memory to count for it.

    Nested JSON becomes no objects, because they would take many times its bytes. Raises ApiError
    400 for an unknown field and for anything that is not a JSON object.
    """
    body: JsonObject
    try:
        body = cast("JsonObject", _flat.decode(raw))
    # The fast path knows only flat bodies with expected fields. The slow path finds out which rule
    # another body breaks.
    except msgspec.ValidationError:
        body = _unnested(raw)
    except _DECODE_ERRORS:
        raise _not_json() from None
    weight = len(raw)
    for value in body.values():
        if type(value) is str and not value.isascii():
            # CPython stores all characters of a string as wide as the widest one.
            weight += _MAX_CHARACTER_BYTES * len(value)
    return body, weight


def _unnested(raw: bytes) -> JsonObject:
    """Slow path for nested or unknown fields; nested values are rejected later."""
    # Plaintext is checked before unknown fields, in the order of token.place relay.py.
    plaintext = _plaintext_fields(raw)
    if any(getattr(plaintext, name) is not _ABSENT for name in plaintext.__struct_fields__):
        raise _forbidden("Plaintext")
    try:
        values = _names.decode(raw)
    except msgspec.ValidationError:
        raise _forbidden("Unexpected") from None
    try:
        return {name: _plain(bytes(value)) for name, value in values.items()}
    except _DECODE_ERRORS:
        raise _not_json() from None


def _plaintext_fields(raw: bytes) -> _Plaintext:
    try:
        # msgspec does not check the UTF-8 of fields that it skips.
        raw.decode()
        return _plaintext.decode(raw)
    except msgspec.ValidationError:
        pass
    except _DECODE_ERRORS:
        raise _not_json() from None
    # The body is no object, or no JSON at all, and the two have different messages.
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except _DECODE_ERRORS:
        raise _not_json() from None
    raise ApiError(400, "Invalid request data")


def _plain(value: bytes) -> object:
    return _NESTED if value[:1] in b"[{" else msgspec.json.decode(value)


def _not_json() -> ApiError:
    return ApiError(400, "Request body is not valid JSON")


def _forbidden(adjective: str) -> ApiError:
    text = f"{adjective} relay payload fields are forbidden; send ciphertext envelope only"
    return ApiError(400, text)


def request_envelope(body: JsonObject, config: Config) -> Envelope:
    """Return the envelope of a request as the node gets it, with both names of the ciphertext."""
    _check_keys(body, _REQUEST)
    return _envelope(body, config, required=("client_public_key", "server_public_key"))


def response_envelope(body: JsonObject, config: Config) -> Envelope:
    """Return the envelope of an answer as the client gets it, with both names of the ciphertext."""
    proven = _RESPONSE | CLAIM | {"server_public_key"}
    # A node of a later release that lost its credential sends an empty one.
    _check_keys(body, proven if "control_credential" in body else _RESPONSE)
    return _envelope(body, config, required=("client_public_key",))


def node_key(body: JsonObject, config: Config) -> str:
    """Return the public key of a compute node."""
    key = body.get("server_public_key")
    if not key:
        raise ApiError(400, "Missing server public key")
    if not isinstance(key, str):
        raise ApiError(400, "Invalid public key")
    return _bounded(key, "server_public_key", config.max_key_length)


def leaving_key(body: JsonObject) -> str:
    """Return the public key of a compute node to unregister, known or not."""
    key = body.get("server_public_key")
    if not isinstance(key, str) or not key.strip():
        raise ApiError(400, "Invalid public key")
    return key


def client_key(body: JsonObject, config: Config) -> str:
    """Return the public key of a client."""
    key = body.get("client_public_key")
    if not key or not isinstance(key, str):
        raise ApiError(400, "Missing client public key")
    return _bounded(key, "client_public_key", config.max_key_length)


def optional_text(body: JsonObject, name: str, config: Config) -> str:
    """Return a short text; an empty one if the field is absent."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ApiError(400, f"{name} must be a string")
    return _bounded(value, name, config.max_id_length)


def required_text(body: JsonObject, name: str, config: Config) -> str:
    """Return a short text; raises ApiError 400 if it is absent or empty."""
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
    # Browsers send only `ciphertext`, and Python clients and nodes only `chat_history`. The relay
    # emits both names, because Python peers read `chat_history` only.
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
    # The cancel token is left out. token.place relay.py passes it on, and then a node could cancel
    # in the client's name.
    for name in ("request_id", "protocol", "version"):
        value = body.get(name)
        if value is _NESTED:
            raise ApiError(400, "Invalid request data")
        if value is not None:
            envelope[name] = value
    optional_text(body, "request_id", config)
    return envelope
