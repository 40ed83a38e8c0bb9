"""RSA and AES of token.place's peers, through the cryptography library.

Import this file inside the functions that need it, and call them in threads: the library takes
9 MB and its import blocks, and a relay without facade calls needs neither.
"""

import base64
import binascii
import os
from collections.abc import Iterator

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

# The block size, which PKCS#7 pads to; the keys have 256 bits.
_AES_BITS = 128
_OAEP = rsa_padding.OAEP(
    mgf=rsa_padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None
)
_MIN_BITS, _MAX_BITS = 2048, 16384
"""Smaller keys are unsafe or too small for a wrapped key; OpenSSL refuses larger ones."""
_PKCS1V15 = rsa_padding.PKCS1v15()


def new_pair() -> tuple[RSAPrivateKey, str]:
    """Return a new 2048-bit private key, and its public key as base64 of the PEM text."""
    private = generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, base64.b64encode(pem).decode()


def public_key(text: str) -> RSAPublicKey:
    """Parse a public key, given as base64 of its PEM text; raises ValueError."""
    try:
        # Strict base64, as token.place's nodes decode it: a node must be able to read each key that
        # is accepted here.
        key = serialization.load_pem_public_key(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise ValueError("the public key is not base64 of a PEM text") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the public key is not an RSA key")  # noqa: TRY004 (it came as text)
    if not _MIN_BITS <= key.key_size <= _MAX_BITS:
        raise ValueError(f"the public key must have {_MIN_BITS} to {_MAX_BITS} bits")
    return key


def seal(plain: bytes, recipient: RSAPublicKey, *, oaep: bool) -> tuple[bytes, bytes, bytes]:
    """Encrypt; return the wrapped AES key, the IV and the ciphertext; raises ValueError."""
    key, iv = os.urandom(32), os.urandom(16)
    # Peers wrap the base64 text of the AES key, not its 32 bytes (token.place encrypt.py).
    wrapped = recipient.encrypt(base64.b64encode(key), _OAEP if oaep else _PKCS1V15)
    padder = padding.PKCS7(_AES_BITS).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    body = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    return wrapped, iv, body


def candidates(private: RSAPrivateKey, wrapped: bytes, iv: bytes, body: bytes) -> Iterator[bytes]:
    """Yield the plaintexts by each padding of the wrapped key, OAEP first.

    The wrong v1.5 padding may yield random bytes instead of an error, so callers must check.
    """
    # No field of an envelope names the padding: token.place's Python clients use OAEP, its web page
    # and its nodes PKCS#1 v1.5.
    for rsa in (_OAEP, _PKCS1V15):
        try:
            key = base64.b64decode(private.decrypt(wrapped, rsa), validate=True)
            yield _decrypt(key, iv, body)
        except ValueError:
            continue


def _decrypt(key: bytes, iv: bytes, body: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = padding.PKCS7(_AES_BITS).unpadder()
    padded = decryptor.update(body) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()
