"""The identity of the pods. The relay does not talk to the API server, so it gets no token."""

from __future__ import annotations

from tokenplace_operator.api import Relay
from tokenplace_operator.desired.metadata import Object, child


def service_account(relay: Relay) -> list[Object]:
    """Always wanted."""
    return [child(relay, "v1", "ServiceAccount", relay.name, automountServiceAccountToken=False)]
