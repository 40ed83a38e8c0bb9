"""Which calls are counted, against which rates, and what a caller is told who asks too often.

Clients are counted per route and address; nodes per route and address, and also per node where
they have shown who they are. Health, operations, static files and the calls that a waiting client
repeats are never counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Final

from tokenplace_relay.rate_limit.client_address import Proxies
from tokenplace_relay.rate_limit.limiter import Charge, Left, Limiter, Rate, Refusal, parse
from tokenplace_relay.server.response import ApiError
from tokenplace_relay.settings.config import Config

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
"""Route of nodes -> the setting of its rate per node."""
_PUBLIC: Final = ("/api/v1/", "/v1/")
_FREE: Final = frozenset(
    {
        f"{_RELAY}/servers/next", f"{_RELAY}/responses/retrieve", f"{_RELAY}/server-nodes",
        "/api/v1/health", "/v1/health", "/api/v1/meta", "/api/v1/version",
    }
)  # fmt: skip
_GUESSES: Final = frozenset({401, 403})
"""Of what went wrong by the caller's own fault, only this counts: it may be guessing."""


class Quota:
    """The rates of one relay, and how much of them is used up."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self.limiter = Limiter(clock, config.max_rate_buckets)
        self._proxies = Proxies(config.trusted_proxies)
        self._public = [one for one in _rates(config, "public_rate", "public_quota") if one]
        self._address = _rates(config, "node_ip_rate")[0]
        self._nodes = {route: _node_rate(config, name) for route, name in _NODE_RATES.items()}

    def address(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """The client's address behind the trusted proxies."""
        return self._proxies.client(peer, forwarded)

    def counts(self, route: str) -> bool:
        """Whether calls of this route are counted by address at all."""
        if route in _NODE_RATES:
            return bool(self._address or self._public)
        return bool(self._public) and route not in _FREE and route.startswith(_PUBLIC)

    @staticmethod
    def is_for_nodes(route: str) -> bool:
        """Whether compute nodes call this route."""
        return route in _NODE_RATES

    def of_client(self, route: str, address: str) -> list[Charge]:
        """What a call of a client is counted against, also one of a node with a wrong token."""
        bucket = f"client {route.removeprefix('/api')} {address}"
        return [(bucket, rate) for rate in self._public]

    def of_node(self, route: str, address: str) -> list[Charge]:
        """What a call of a node is counted against by its address."""
        return [] if self._address is None else [(f"address {route} {address}", self._address)]

    def of_identity(self, route: str, identity: str) -> list[Charge]:
        """What a call of a node is counted against by who it is; identity is a fingerprint."""
        rate = self._nodes[route]
        return [] if rate is None else [(f"node {route} {identity}", rate)]

    @staticmethod
    def is_free(status: int) -> bool:
        """Whether a client's call with this outcome is not counted after all."""
        return 400 <= status < 500 and status not in _GUESSES


def told(left: Left) -> dict[str, str]:
    """What a client is told of its rate before it is used up (IETF draft of RateLimit headers)."""
    rate = left.rate
    return {
        "RateLimit-Policy": f'"client";q={rate.amount};w={rate.seconds}',
        "RateLimit": f'"client";r={left.events};t={left.seconds}',
    }


def too_often(refusal: Refusal) -> ApiError:
    """What a caller is told."""
    seconds = refusal.retry_after
    text = f"Rate limit exceeded: {refusal.rate.text}. Try again in {seconds} seconds."
    extra = {"type": "rate_limit_error", "param": None}
    return ApiError(429, text, "rate_limit_exceeded", retry_after=seconds, extra=extra)


def _rates(config: Config, *names: str) -> list[Rate | None]:
    return [parse(getattr(config, name) or _default(name)) for name in names]


def _node_rate(config: Config, name: str) -> Rate | None:
    """The rate of a node route: its own setting, else the one that stands for all."""
    own = getattr(config, name) or _default(name)
    return parse(config.node_rate if config.node_rate and own == _default(name) else own)


def _default(name: str) -> str:
    return next(str(spec.default) for spec in fields(Config) if spec.name == name)
