"""End-to-end encryption between client and compute node, as token.place's peers do it.

A 32-byte AES key is base64-encoded, the 44 characters are encrypted with RSA, and the message is
AES-256-CBC with PKCS#7 padding under a random IV. Keys are sent as base64 of the whole PEM text.
The relay's own routes never open an envelope; the facade, the probe and the tests act as peers.
Source: token.place encrypt.py and api/v1 relay envelopes.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import msgspec

from tokenplace_relay.protocol.constants import PROTOCOL, VERSION
from tokenplace_relay.protocol.nesting import MAX_BYTES, is_sparse

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

Padding = Literal["oaep", "pkcs1v15"]
Inner = dict[str, Any]
T = TypeVar("T")


class EnvelopeError(ValueError):
    """An envelope or key is invalid, or the inner envelope does not match the outer one."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """One encrypted message as three base64 texts."""

    ciphertext: str
    cipherkey: str
    iv: str


@dataclass(frozen=True, slots=True)
class Identity:
    """A key pair; `public` is base64 of the public PEM text, and names the peer."""

    _private: "RSAPrivateKey"
    public: str

    @classmethod
    def create(cls) -> Self:
        """Return a new 2048-bit key pair; takes about 100 ms of CPU, so never in an event loop."""
        from tokenplace_relay.protocol import ciphers  # noqa: PLC0415 (ciphers.py says why)

        return cls(*ciphers.new_pair())

    def open(self, sealed: Sealed) -> Inner:
        """Decrypt to the inner envelope; tries OAEP, then PKCS#1 v1.5; raises EnvelopeError."""
        return self.open_as(sealed, dict[str, Any])

    def open_as(self, sealed: Sealed, type_: type[T], most: int = MAX_BYTES) -> T:
        """Decrypt to JSON of a given type; most: the limit of bytes outside of JSON strings."""
        from tokenplace_relay.protocol import ciphers  # noqa: PLC0415

        wrapped, iv, body = (_decoded(sealed, name) for name in ("cipherkey", "iv", "ciphertext"))
        for plain in ciphers.candidates(self._private, wrapped, iv, body):
            # The plaintext comes from a peer, and nested JSON takes many times its bytes in memory.
            if not is_sparse(plain, most):
                continue
            try:
                return msgspec.json.decode(plain, type=type_)
            # These may be random bytes from the wrong padding, so the next candidate is tried.
            except (msgspec.DecodeError, ValueError, RecursionError):
                continue
        text = "the envelope is for another key, was modified, or is nested too deeply"
        raise EnvelopeError(text)


def seal(inner: Inner, recipient: str, padding: Padding = "oaep") -> Sealed:
    """Encrypt to a public key, given as base64 of its PEM text; raises EnvelopeError."""
    from tokenplace_relay.protocol import ciphers  # noqa: PLC0415

    plain = msgspec.json.encode(inner)
    key = public_key(recipient)
    try:
        wrapped, iv, body = ciphers.seal(plain, key, oaep=padding == "oaep")
    # OpenSSL loads some keys that it cannot encrypt with.
    except ValueError:
        raise EnvelopeError("the public key cannot be used to encrypt") from None
    texts = (base64.b64encode(part).decode() for part in (body, wrapped, iv))
    return Sealed(*texts)


def request(request_id: str, client: str, model: str, messages: list[Inner]) -> Inner:
    """Return the inner envelope of a chat request."""
    content: Inner = {"model": model, "messages": messages, "options": {}}
    return {**_header(request_id, client), "api_v1_request": content}


def response(request_id: str, client: str, reply: Inner) -> Inner:
    """Return the inner envelope of an answer; reply has a `message` or an `error`."""
    return {**_header(request_id, client), "api_v1_response": reply}


def progress(
    request_id: str, client: str, sequence: int, phase: str, counts: dict[str, int]
) -> Inner:
    """Return the inner envelope of a progress report; missing counts are 0."""
    names = (
        "total_prompt_tokens", "cached_prompt_tokens", "processed_prompt_tokens",
        "generated_tokens", "elapsed_ms",
    )  # fmt: skip
    report: Inner = {"schema_version": 1, "sequence": sequence, "phase": phase}
    report.update({name: counts.get(name, 0) for name in names})
    return {**_header(request_id, client), "api_v1_progress": report}


def check(inner: Inner, request_id: str, client: str) -> None:
    """Raise EnvelopeError if an inner envelope is not for this request of this client."""
    # The relay can read and change the outer envelope, so the peers compare it with the inner one.
    for name, expected in _header(request_id, client).items():
        if inner.get(name) != expected:
            raise EnvelopeError(f"the inner envelope has a different {name} than the outer one")


def _header(request_id: str, client: str) -> Inner:
    return {
        "protocol": PROTOCOL,
        "version": VERSION,
        "request_id": request_id,
        "client_public_key": client,
    }


def public_key(text: str) -> "RSAPublicKey":
    """Parse a public key, given as base64 of its PEM text; raises EnvelopeError."""
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
