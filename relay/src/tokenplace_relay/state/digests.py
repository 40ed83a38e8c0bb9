"""Digests that stand for public keys, request ids and secrets; the state keeps nothing else."""

import hashlib
import hmac
from functools import lru_cache

Key = bytes
"""SHA-256 of a client's public key, or of that digest and a request id: 32 bytes."""


def digest(text: str) -> bytes:
    """SHA-256 of a text, 32 bytes; lone surrogates are allowed."""
    # JSON may contain lone surrogates, for which plain UTF-8 raises an exception.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def secret_digest(secret: str) -> bytes:
    """Digest of a credential or token; b'' for an absent one, which proves nothing."""
    return digest(secret) if secret else b""


@lru_cache(maxsize=4096)
def request_key(client: Key, request_id: str) -> Key:
    """The key of a request; ids are unique within a client only.

    Cached, because five calls of one exchange ask for the same key within seconds.
    """
    return hashlib.sha256(client + request_id.encode("utf-8", "surrogatepass")).digest()


def proves(shown: bytes, kept: bytes) -> bool:
    """Whether two secret digests are equal, in constant time; b'' proves nothing."""
    # Two absent secrets are equal, and must not prove anything to each other.
    return bool(shown) and hmac.compare_digest(shown, kept)
