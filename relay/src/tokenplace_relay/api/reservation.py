"""What clients of later token.place releases do more: reserve, prove who retrieves, acknowledge.

Such a client names itself to servers/next and gets a token; it hands that in with its request, and
shows it again to retrieve. The relay keeps the token's digest with the request, nothing before
that: a reservation holds no place. Clients of earlier releases know nothing of all this.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping

from tokenplace_relay.server.response import JsonObject
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.model import Key, WrongProof


def offered(query: Mapping[str, str], config: Config) -> JsonObject:
    """What servers/next says more to a client that names itself; the deadline is a Unix time."""
    if not (query.get("client_public_key") and query.get("request_id")):
        return {}
    deadline = time.time() + config.request_deadline
    return {"reservation_token": secrets.token_urlsafe(32), "request_deadline_epoch": deadline}


def acknowledgement(request: Key, credential: str) -> str:
    """The token that tells that an answer arrived; only who could read it can know it."""
    return hmac.new(credential.encode(), b"acknowledgement" + request, hashlib.sha256).hexdigest()


def check(token: str, request: Key, credential: str) -> None:
    """Raise WrongProof for a token that acknowledgement() did not give."""
    if not hmac.compare_digest(token.encode(), acknowledgement(request, credential).encode()):
        raise WrongProof
