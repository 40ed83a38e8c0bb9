"""The peers' encryption: real RSA and AES, both paddings, and what happens to changed messages."""

import base64
import secrets
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenplace_relay.protocol import ciphers, envelope
from tokenplace_relay.protocol.envelope import EnvelopeError, Identity, Padding, Sealed

MESSAGES = [{"role": "user", "content": "how are you? \u2603"}]


@pytest.fixture(scope="module")
def node() -> Identity:
    return Identity.create()


@pytest.mark.parametrize("padding", ["oaep", "pkcs1v15"])
def test_round_trip(node: Identity, padding: Padding) -> None:
    inner = envelope.request("r1", "client", "qwen3-8b-instruct", MESSAGES)
    assert node.open(envelope.seal(inner, node.public, padding)) == inner


@given(st.dictionaries(st.text(), st.text(max_size=200), max_size=5))
@settings(max_examples=50, deadline=None)
def test_any_json_object_survives(content: dict[str, str]) -> None:
    assert KEPT.open(envelope.seal(dict(content), KEPT.public)) == content


KEPT = Identity.create()


def test_key_travels_as_base64_of_the_pem_text(node: Identity) -> None:
    pem = base64.b64decode(node.public, validate=True)
    assert pem.startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert len(node.public) == 604


def test_lengths_on_the_wire(node: Identity) -> None:
    sealed = envelope.seal({"a": 1}, node.public)
    assert (len(sealed.cipherkey), len(sealed.iv)) == (344, 24)


def test_two_messages_share_nothing(node: Identity) -> None:
    first, second = (envelope.seal({"a": 1}, node.public) for _ in range(2))
    assert first.iv != second.iv
    assert first.ciphertext != second.ciphertext
    assert first.cipherkey != second.cipherkey


def test_another_key_cannot_open(node: Identity) -> None:
    sealed = envelope.seal({"a": 1}, node.public)
    with pytest.raises(EnvelopeError, match="for another key"):
        KEPT.open(sealed)


@pytest.mark.parametrize("field", ["ciphertext", "cipherkey", "iv"])
def test_text_that_is_not_base64_is_named(node: Identity, field: str) -> None:
    sealed = envelope.seal({"a": 1}, node.public)
    with pytest.raises(EnvelopeError, match=f"{field} is not base64"):
        node.open(replace(sealed, **{field: "***"}))


def test_changed_key_wrap_is_refused(node: Identity) -> None:
    sealed = envelope.seal({"a": 1}, node.public)
    changed = base64.b64encode(bytes(256)).decode()
    with pytest.raises(EnvelopeError, match="was modified"):
        node.open(Sealed(sealed.ciphertext, changed, sealed.iv))


@pytest.mark.parametrize("key", ["", "####", base64.b64encode(b"no PEM").decode()])
def test_public_key_that_cannot_be_read(key: str) -> None:
    with pytest.raises(EnvelopeError, match="not base64 of a PEM text"):
        envelope.seal({}, key)


def test_public_key_of_another_kind() -> None:
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(EnvelopeError, match="not an RSA key"):
        envelope.seal({}, base64.b64encode(pem).decode())


@pytest.mark.parametrize("bits", [384, 1024, 2047, 16_385, 20_000])
def test_public_key_of_a_useless_length(bits: int) -> None:
    with pytest.raises(EnvelopeError, match="must have 2048 to 16384 bits"):
        envelope.seal({}, key_of(secrets.randbits(bits) | 1 << (bits - 1) | 1))


def test_public_key_that_loads_and_cannot_encrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("Encryption failed")

    monkeypatch.setattr(ciphers, "seal", fail)
    with pytest.raises(EnvelopeError, match="cannot be used to encrypt"):
        envelope.seal({}, KEPT.public)


def key_of(modulus: int) -> str:
    pem = (
        rsa.RSAPublicNumbers(65537, modulus)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(pem).decode()


@pytest.mark.parametrize("field", ["protocol", "version", "request_id", "client_public_key"])
def test_inside_that_contradicts_the_outside(field: str) -> None:
    inner = envelope.response("r1", "client", {"message": {"role": "assistant", "content": "yes"}})
    envelope.check(inner, "r1", "client")
    with pytest.raises(EnvelopeError, match=f"different {field}"):
        envelope.check({**inner, field: "other"}, "r1", "client")
