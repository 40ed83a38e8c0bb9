"""Reservation tokens and acknowledgements of later token.place clients.

Such a client sends its key and request id to servers/next and receives a token; it sends the token
with its request, and again to retrieve the answer. The relay keeps only the token's digest, and
only with a request: a reservation holds no place. Earlier clients use none of this.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping

from tokenplace_relay.server.response import JsonObject
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.digests import Key
from tokenplace_relay.state.errors import WrongProof


def offered(query: Mapping[str, str], config: Config) -> JsonObject:
    """Fields that servers/next adds for a client that names itself; the deadline is a Unix time."""
    if not (query.get("client_public_key") and query.get("request_id")):
        return {}
    deadline = time.time() + config.request_deadline
    return {"reservation_token": secrets.token_urlsafe(32), "request_deadline_epoch": deadline}


def acknowledgement(request: Key, credential: str) -> str:
    """The token that acknowledges an answer; only a client with the credential can make it."""
    return hmac.new(credential.encode(), b"acknowledgement" + request, hashlib.sha256).hexdigest()


def check(token: str, request: Key, credential: str) -> None:
    """Raise WrongProof for a token that acknowledgement() did not give."""
    # compare_digest raises TypeError for a text with characters outside of ASCII.
    if not hmac.compare_digest(token.encode(), acknowledgement(request, credential).encode()):
        raise WrongProof
