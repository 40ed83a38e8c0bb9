"""Bounds on what strangers can send, how often, and what they can make the relay keep.

Sizes are bytes, times are seconds. Past a bound the answer is 413, 429 or 503 with Retry-After.

By the defaults messages take at most 192 MiB, with all bounds reached at once: 120 that are kept,
32 being received, and 40 that peers do not read on. The relay itself takes about 50 MiB, and each
connection 9 KiB, or 14 while it polls. So a pod with 256 MiB has room for all of that with about a
thousand connections; one that is to hold RELAY_MAX_CONNECTIONS in such a moment needs 400 MiB more.
"""

from dataclasses import dataclass

from tokenplace_relay.settings.rate import rate_error
from tokenplace_relay.settings.setting import is_network, setting

_MIB = 1024 * 1024
PRIVATE = (
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7",
)  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """How large one message may be."""

    max_envelope_bytes: int = setting(
        4 * _MIB, "RELAY_MAX_ENVELOPE_BYTES", "body of a request or answer", low=2 * _MIB
    )
    max_body_bytes: int = setting(
        64 * 1024,
        "RELAY_MAX_BODY_BYTES",
        "body of any other call; of a call of the facade and of what is sealed to it, what is "
        "outside of its texts",
        low=4096,
    )
    max_reading_bytes: int = setting(
        16 * _MIB,
        "RELAY_MAX_READING_BYTES",
        "bodies being received at one time, in all, one envelope at least; more is 503, for small "
        "ones past twice as much",
        low=2 * _MIB,
    )
    max_unsent_bytes: int = setting(
        16 * _MIB,
        "RELAY_MAX_UNSENT_BYTES",
        "answers that peers did not read on, in all; past it a large one is 503, past twice as "
        "much who does not read on is cut off",
        low=64 * 1024,
    )
    max_url_bytes: int = setting(8190, "RELAY_MAX_URL_BYTES", "request line", low=512, high=65536)
    max_header_bytes: int = setting(
        8190, "RELAY_MAX_HEADER_BYTES", "one header", low=512, high=65536
    )
    max_headers: int = setting(64, "RELAY_MAX_HEADERS", "headers of a request", low=16, high=1024)
    max_key_length: int = setting(8192, "RELAY_MAX_KEY_LENGTH", "characters of a key", low=64)
    max_id_length: int = setting(256, "RELAY_MAX_ID_LENGTH", "characters of an id", low=64)


@dataclass(frozen=True)
class Counts:
    """How much is kept at one time."""

    max_nodes: int = setting(1024, "RELAY_MAX_NODES", "registered nodes", low=1)
    max_queue_depth: int = setting(
        1024, "TOKEN_PLACE_API_V1_MAX_QUEUE_DEPTH_PER_NODE", "queued requests per node", low=1
    )
    max_client_requests: int = setting(
        64, "RELAY_MAX_REQUESTS_PER_CLIENT", "unanswered or unread requests per client key", low=1
    )
    max_requests: int = setting(
        16384, "RELAY_MAX_REQUESTS", "unanswered or unread requests in all", low=1
    )
    max_request_bytes: int = setting(
        48 * _MIB,
        "RELAY_MAX_QUEUED_BYTES",
        "unanswered requests in all, one envelope at least",
        low=4 * _MIB,
        called="max-queued-bytes",
    )
    max_answer_bytes: int = setting(
        48 * _MIB,
        "RELAY_MAX_ANSWER_BYTES",
        "unread answers in all, one envelope at least; half of it closes the door to new requests",
        low=4 * _MIB,
    )
    max_progress_bytes: int = setting(
        8 * _MIB, "RELAY_MAX_PROGRESS_BYTES", "unread progress in all", low=16384
    )
    max_replays: int = setting(
        8192, "RELAY_MAX_REPLAYS", "answers kept after they were read, in all"
    )
    max_replay_bytes: int = setting(
        16 * _MIB, "RELAY_MAX_REPLAY_BYTES", "answers kept after they were read, in all"
    )
    max_outcomes: int = setting(
        32768, "RELAY_MAX_OUTCOMES", "remembered outcomes, and as many tombstones", low=1
    )
    max_held_polls: int = setting(20000, "RELAY_MAX_HELD_POLLS", "held polls in all", low=1)
    max_node_polls: int = setting(64, "RELAY_MAX_POLLS_PER_NODE", "held polls per node", low=1)
    max_held_retrieves: int = setting(
        4096, "RELAY_MAX_HELD_RETRIEVES", "retrieves held by Prefer: wait, in all; 0: none are held"
    )
    max_client_retrieves: int = setting(
        8,
        "RELAY_MAX_RETRIEVES_PER_REQUEST",
        "retrieves held for one request",
        low=1,
        called="max-request-retrieves",
    )


@dataclass(frozen=True)
class Connections:
    """How many connections there are, and how long they may take."""

    max_connections: int = setting(
        30000, "RELAY_MAX_CONNECTIONS", "open connections; the next one is told 503", low=8
    )
    header_timeout: float = setting(
        15.0, "RELAY_HEADER_TIMEOUT_SECONDS", "a request's head must arrive within", low=0.1
    )
    body_timeout: float = setting(
        30.0, "RELAY_BODY_TIMEOUT_SECONDS", "a request's body must arrive within", low=0.1, high=600
    )
    write_timeout: float = setting(
        30.0,
        "RELAY_WRITE_TIMEOUT_SECONDS",
        "a peer must read on within, a tenth of what waits for it",
        low=0.1,
    )
    keepalive_timeout: float = setting(
        620.0,
        "RELAY_KEEPALIVE_SECONDS",
        "an idle connection is closed after; longer than proxies keep theirs",
        low=1,
    )
    max_prefer_wait: float = setting(
        25.0,
        "RELAY_MAX_PREFER_WAIT_SECONDS",
        "longest hold of a retrieve that asks with Prefer: wait; 0: none",
        high=300,
    )


@dataclass(frozen=True)
class Rates:
    """How often a stranger may ask; see rates.py for the form."""

    public_rate: str = setting(
        "600/hour",
        "API_RATE_LIMIT",
        "each route of clients, per address: ten messages a minute for a household",
        check=rate_error,
    )
    public_quota: str = setting(
        "5000/day", "API_DAILY_QUOTA", "the same, over a day", check=rate_error
    )
    node_rate: str = setting(
        "",
        "API_RELAY_CONTROL_PLANE_RATE_LIMIT",
        "stands for each node route that is not set itself",
        check=rate_error,
    )
    register_rate: str = setting(
        "240/hour",
        "API_RELAY_CONTROL_PLANE_REGISTER_RATE_LIMIT",
        "per node with a right token; a node registers about 150 times an hour",
        check=rate_error,
    )
    unregister_rate: str = setting(
        "240/hour",
        "API_RELAY_CONTROL_PLANE_UNREGISTER_RATE_LIMIT",
        "per node that proves itself",
        check=rate_error,
    )
    poll_rate: str = setting(
        "14400/hour",
        "API_RELAY_CONTROL_PLANE_POLL_RATE_LIMIT",
        "per node with a right token; four short answers a second",
        check=rate_error,
    )
    control_rate: str = setting(
        "14400/hour",
        "API_RELAY_CONTROL_PLANE_CONTROL_RATE_LIMIT",
        "per node that proves itself; eight requests at work, each asked about every 2 s",
        check=rate_error,
    )
    response_rate: str = setting(
        "14400/hour",
        "API_RELAY_CONTROL_PLANE_RESPONSE_RATE_LIMIT",
        "answers per client, with a right token",
        check=rate_error,
    )
    progress_rate: str = setting(
        "28800/hour",
        "API_RELAY_CONTROL_PLANE_PROGRESS_RATE_LIMIT",
        "per node that proves itself; eight requests at work, each once a second",
        check=rate_error,
    )
    node_ip_rate: str = setting(
        "72000/hour",
        "API_RELAY_CONTROL_PLANE_IP_RATE_LIMIT",
        "each node route, per address: room for several busy nodes behind one",
        check=rate_error,
    )
    max_rate_buckets: int = setting(
        65536, "RELAY_MAX_RATE_BUCKETS", "addresses and nodes that are counted at one time", low=16
    )
    trusted_proxies: tuple[str, ...] = setting(
        PRIVATE,
        "RELAY_TRUSTED_PROXIES",
        "networks whose X-Forwarded-For is believed; private ones, so that an ingress in the "
        "cluster works: name yours where strangers share your network; none: believe nobody",
        check=is_network,
    )


@dataclass(frozen=True)
class Bounds(Sizes, Counts, Connections, Rates):
    """All bounds."""
