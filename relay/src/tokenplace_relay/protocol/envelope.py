"""End-to-end encryption between client and compute node, exactly as token.place peers do it.

A 32-byte AES key is base64-encoded, the 44 characters are encrypted with RSA, and the message is
AES-256-CBC with PKCS#7 padding under a random IV. Keys travel as base64 of the whole PEM text.
The relay itself never calls this; the probe, the tests and the facade are peers like any other.
Source: token.place encrypt.py and api/v1 relay envelopes.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import msgspec

from tokenplace_relay.protocol.constants import PROTOCOL, VERSION
from tokenplace_relay.protocol.nesting import MOST_BYTES, is_sparse

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

Padding = Literal["oaep", "pkcs1v15"]
Inner = dict[str, Any]
T = TypeVar("T")


class EnvelopeError(ValueError):
    """An envelope or key that cannot be read, or whose inside contradicts its outside."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """One encrypted message: three base64 texts."""

    ciphertext: str
    cipherkey: str
    iv: str


@dataclass(frozen=True, slots=True)
class Identity:
    """A key pair; `public` is what the peer is called on the wire."""

    _private: "RSAPrivateKey"
    public: str

    @classmethod
    def create(cls) -> Self:
        """Make a new 2048-bit key pair; takes some 100 ms of CPU, so not in an event loop."""
        from tokenplace_relay.protocol import ciphers  # noqa: PLC0415 (see there)

        return cls(*ciphers.new_pair())

    def open(self, sealed: Sealed) -> Inner:
        """Decrypt to the inner envelope; accepts both paddings of the key, OAEP first."""
        return self.open_as(sealed, dict[str, Any])

    def open_as(self, sealed: Sealed, kind: type[T], most: int = MOST_BYTES) -> T:
        """Decrypt to JSON of another kind, such as a list; most: bytes outside of its texts."""
        from tokenplace_relay.protocol import ciphers  # noqa: PLC0415

        wrapped, iv, body = (_decoded(sealed, name) for name in ("cipherkey", "iv", "ciphertext"))
        for plain in ciphers.candidates(self._private, wrapped, iv, body):
            if not is_sparse(plain, most):
                continue
            try:
                return msgspec.json.decode(plain, type=kind)
            except (msgspec.DecodeError, ValueError, RecursionError):
                continue
        text = "the envelope is not for this key, was changed on the way, or nests too much"
        raise EnvelopeError(text)


def seal(inner: Inner, recipient: str, padding: Padding = "oaep") -> Sealed:
    """Encrypt to the public key of a peer, as it appears on the wire; raises EnvelopeError."""
    from tokenplace_relay.protocol import ciphers  # noqa: PLC0415

    plain = msgspec.json.encode(inner)
    key = public_key(recipient)
    try:
        wrapped, iv, body = ciphers.seal(plain, key, oaep=padding == "oaep")
    except ValueError:
        raise EnvelopeError("the public key can be read, and cannot encrypt") from None
    texts = (base64.b64encode(part).decode() for part in (body, wrapped, iv))
    return Sealed(*texts)


def request(request_id: str, client: str, model: str, messages: list[Inner]) -> Inner:
    """The inner envelope of a chat request."""
    asked: Inner = {"model": model, "messages": messages, "options": {}}
    return {**_header(request_id, client), "api_v1_request": asked}


def response(request_id: str, client: str, reply: Inner) -> Inner:
    """The inner envelope of an answer; reply has a `message`, or an `error`."""
    return {**_header(request_id, client), "api_v1_response": reply}


def progress(
    request_id: str, client: str, sequence: int, phase: str, counts: dict[str, int]
) -> Inner:
    """The inner envelope of news of a request; counts that are not given are 0."""
    names = (
        "total_prompt_tokens", "cached_prompt_tokens", "processed_prompt_tokens",
        "generated_tokens", "elapsed_ms",
    )  # fmt: skip
    news: Inner = {"schema_version": 1, "sequence": sequence, "phase": phase}
    news.update({name: counts.get(name, 0) for name in names})
    return {**_header(request_id, client), "api_v1_progress": news}


def check(inner: Inner, request_id: str, client: str) -> None:
    """Refuse an inner envelope that is not about this request of this client."""
    for name, wanted in _header(request_id, client).items():
        if inner.get(name) != wanted:
            raise EnvelopeError(f"the inner envelope has another {name} than the outer one")


def _header(request_id: str, client: str) -> Inner:
    return {
        "protocol": PROTOCOL,
        "version": VERSION,
        "request_id": request_id,
        "client_public_key": client,
    }


def public_key(text: str) -> "RSAPublicKey":
    """The key that a peer is called by on the wire; raises EnvelopeError."""
    from tokenplace_relay.protocol import ciphers  # noqa: PLC0415

    try:
        return ciphers.public_key(text)
    except ValueError as error:
        raise EnvelopeError(str(error)) from None


def _decoded(sealed: Sealed, name: str) -> bytes:
    try:
        return base64.b64decode(getattr(sealed, name), validate=True)
    except (ValueError, binascii.Error):
        raise EnvelopeError(f"{name} is not base64") from None
