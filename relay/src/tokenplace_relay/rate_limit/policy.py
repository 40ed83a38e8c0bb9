"""Decides which calls are counted, in which buckets, and against which rates.

Client calls are counted per route and address. Node calls are counted per route and address, and
per node once the node has proven its identity. Health checks, operator routes, static files, and
the calls that a waiting client repeats are never counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Final

from tokenplace_relay.rate_limit.client_address import TrustedProxies
from tokenplace_relay.rate_limit.limiter import Charge, Limiter
from tokenplace_relay.settings.config import Config
from tokenplace_relay.settings.rate import Rate, parse

_RELAY: Final = "/api/v1/relay"
_NODE_RATES: Final = {
    f"{_RELAY}/servers/register": "register_rate",
    f"{_RELAY}/servers/unregister": "unregister_rate",
    "/unregister": "unregister_rate",
    f"{_RELAY}/servers/poll": "poll_rate",
    f"{_RELAY}/servers/control": "control_rate",
    f"{_RELAY}/responses": "response_rate",
    f"{_RELAY}/progress": "progress_rate",
}
"""Node route -> the setting with its rate per node."""
_PUBLIC: Final = ("/api/v1/", "/v1/")
_UNCOUNTED: Final = frozenset(
    {
        f"{_RELAY}/servers/next", f"{_RELAY}/responses/retrieve", f"{_RELAY}/server-nodes",
        "/api/v1/health", "/v1/health", "/api/v1/meta", "/api/v1/version",
    }
)  # fmt: skip
_CREDENTIAL_ERRORS: Final = frozenset({401, 403})
"""The only 4xx statuses that are counted, because the caller may be guessing a token."""


class RatePolicy:
    """The rates of one relay, and the limiter that counts against them."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self.limiter = Limiter(clock, config.max_rate_buckets)
        self._proxies = TrustedProxies(config.trusted_proxies)
        rates = (_rate(config, "public_rate"), _rate(config, "public_quota"))
        self._public = [rate for rate in rates if rate]
        self._address = _rate(config, "node_ip_rate")
        self._nodes = {route: _node_rate(config, name) for route, name in _NODE_RATES.items()}

    def client_address(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """Return the client's address behind the trusted proxies."""
        return self._proxies.client_address(peer, forwarded)

    def is_counted(self, route: str) -> bool:
        """Whether calls of this route are counted per address."""
        if route in _NODE_RATES:
            return bool(self._address or self._public)
        return bool(self._public) and route not in _UNCOUNTED and route.startswith(_PUBLIC)

    @staticmethod
    def is_for_nodes(route: str) -> bool:
        """Whether compute nodes call this route."""
        return route in _NODE_RATES

    def client_charges(self, route: str, address: str) -> list[Charge]:
        """Return the charges of a client call, or of a node call without a valid token."""
        # /v1/... and /api/v1/... are names of the same route, so they share a bucket.
        bucket = f"client {route.removeprefix('/api')} {address}"
        return [(bucket, rate) for rate in self._public]

    def node_address_charges(self, route: str, address: str) -> list[Charge]:
        """Return the charges of a node call by its address."""
        return [] if self._address is None else [(f"address {route} {address}", self._address)]

    def node_charges(self, route: str, identity: str) -> list[Charge]:
        """Return the charges of a node call by its identity, which is a fingerprint."""
        rate = self._nodes[route]
        return [] if rate is None else [(f"node {route} {identity}", rate)]

    @staticmethod
    def is_refunded(status: int) -> bool:
        """Whether a client call that ended with this HTTP status is not counted."""
        return 400 <= status < 500 and status not in _CREDENTIAL_ERRORS


def _rate(config: Config, name: str) -> Rate | None:
    return parse(getattr(config, name) or _default(name))


def _node_rate(config: Config, name: str) -> Rate | None:
    """Return a node route's rate: its own setting, or else the one for all node routes."""
    # A setting with its default value counts as unset: the configuration does not record which
    # settings were given.
    own = getattr(config, name) or _default(name)
    return parse(config.node_rate if config.node_rate and own == _default(name) else own)


def _default(name: str) -> str:
    return next(str(spec.default) for spec in fields(Config) if spec.name == name)
