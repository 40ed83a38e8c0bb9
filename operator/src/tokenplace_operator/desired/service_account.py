"""The ServiceAccount of the relay pods."""

from __future__ import annotations

from tokenplace_operator.api.kinds import SERVICE_ACCOUNT, Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.child import child


def service_account(relay: Relay) -> list[Object]:
    """Always desired. Its token is not mounted: the relay does not call the API server."""
    return [child(relay, SERVICE_ACCOUNT, automountServiceAccountToken=False)]
