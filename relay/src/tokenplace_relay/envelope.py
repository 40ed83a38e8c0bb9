"""End-to-end encryption between client and compute node, exactly as token.place peers do it.

A 32-byte AES key is base64-encoded, the 44 characters are encrypted with RSA, and the message is
AES-256-CBC with PKCS#7 padding under a random IV. Keys travel as base64 of the whole PEM text.
The relay itself never calls this; the probe, the tests and the facade are peers like any other.
Source: token.place encrypt.py and api/v1 relay envelopes.
"""

import base64
import binascii
import os
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PROTOCOL = "tokenplace_api_v1_relay_e2ee"
VERSION = 1
_AES_BITS = 128
_OAEP = rsa_padding.OAEP(
    mgf=rsa_padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None
)

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

    _private: rsa.RSAPrivateKey
    public: str

    @classmethod
    def create(cls) -> Self:
        """Make a new 2048-bit key pair; takes some 100 ms of CPU, so not in an event loop."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(private, base64.b64encode(pem).decode())

    def open(self, sealed: Sealed) -> Inner:
        """Decrypt to the inner envelope; accepts both paddings of the key, OAEP first."""
        return self.open_as(sealed, dict[str, Any])

    def open_as(self, sealed: Sealed, kind: type[T]) -> T:
        """Decrypt to JSON of another kind, such as a list."""
        wrapped, iv, body = (_decoded(sealed, name) for name in ("cipherkey", "iv", "ciphertext"))
        for choice in (_OAEP, rsa_padding.PKCS1v15()):
            try:
                key = base64.b64decode(self._private.decrypt(wrapped, choice), validate=True)
                return msgspec.json.decode(_decrypt(key, iv, body), type=kind)
            # A wrong v1.5 padding may yield random bytes instead of an error.
            except (ValueError, msgspec.DecodeError, RecursionError):
                continue
        raise EnvelopeError("the envelope is not for this key, or was changed on the way")


def seal(inner: Inner, recipient: str, padding: Padding = "oaep") -> Sealed:
    """Encrypt an inner envelope to the public key of a peer, as it appears on the wire."""
    key, iv = os.urandom(32), os.urandom(16)
    choice = _OAEP if padding == "oaep" else rsa_padding.PKCS1v15()
    wrapped = public_key(recipient).encrypt(base64.b64encode(key), choice)
    body = _encrypt(key, iv, msgspec.json.encode(inner))
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


def public_key(text: str) -> rsa.RSAPublicKey:
    """The key that a peer is called by on the wire; raises EnvelopeError."""
    try:
        key = serialization.load_pem_public_key(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise EnvelopeError("the public key is not base64 of a PEM text") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise EnvelopeError("the public key is not an RSA key")
    return key


def _decoded(sealed: Sealed, name: str) -> bytes:
    try:
        return base64.b64decode(getattr(sealed, name), validate=True)
    except (ValueError, binascii.Error):
        raise EnvelopeError(f"{name} is not base64") from None


def _encrypt(key: bytes, iv: bytes, plain: bytes) -> bytes:
    padder = padding.PKCS7(_AES_BITS).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


def _decrypt(key: bytes, iv: bytes, body: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = padding.PKCS7(_AES_BITS).unpadder()
    padded = decryptor.update(body) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()
