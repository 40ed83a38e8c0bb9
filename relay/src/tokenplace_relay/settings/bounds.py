"""Limits on what callers can send, how often, and how much the relay stores for them.

Sizes are bytes, times are seconds. Beyond a limit the response is 413, 429 or 503 with Retry-After.

With the defaults and all limits reached at once, messages take at most 192 MiB: 120 MiB stored,
32 MiB being received and 40 MiB not read by their peers. The relay itself takes about 50 MiB, each
connection 9 KiB, or 14 KiB with a held poll. So a pod with 256 MiB has room for all of this and
about a thousand connections; one with RELAY_MAX_CONNECTIONS at the same time needs 400 MiB more.
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
    """Limits on the size of one message."""

    max_envelope_bytes: int = setting(
        4 * _MIB,
        "RELAY_MAX_ENVELOPE_BYTES",
        "largest body with an envelope: a request or an answer",
        low=2 * _MIB,
    )
    max_body_bytes: int = setting(
        64 * 1024,
        "RELAY_MAX_BODY_BYTES",
        "largest body of all other calls; for the facade, the bytes of a body outside of JSON "
        "strings",
        low=4096,
    )
    max_reading_bytes: int = setting(
        16 * _MIB,
        "RELAY_MAX_READING_BYTES",
        "bodies being received at the same time, in total, at least one envelope; beyond it a body "
        "gets 503, a small body beyond twice this limit",
        low=2 * _MIB,
    )
    max_unsent_bytes: int = setting(
        16 * _MIB,
        "RELAY_MAX_UNSENT_BYTES",
        "responses that peers have not read, in total; beyond it a large response is replaced by "
        "503, and beyond twice this limit a peer that does not read is disconnected",
        low=64 * 1024,
    )
    # 8190 is aiohttp's own default for a request line and for a header.
    max_url_bytes: int = setting(
        8190, "RELAY_MAX_URL_BYTES", "longest request line", low=512, high=65536
    )
    max_header_bytes: int = setting(
        8190, "RELAY_MAX_HEADER_BYTES", "longest header", low=512, high=65536
    )
    max_headers: int = setting(
        64, "RELAY_MAX_HEADERS", "most headers of a request", low=16, high=1024
    )
    max_key_length: int = setting(
        8192, "RELAY_MAX_KEY_LENGTH", "most characters of a public key", low=64
    )
    max_id_length: int = setting(256, "RELAY_MAX_ID_LENGTH", "most characters of an id", low=64)


@dataclass(frozen=True)
class Counts:
    """Limits on how much is stored at the same time."""

    max_nodes: int = setting(1024, "RELAY_MAX_NODES", "registered compute nodes", low=1)
    max_queue_depth: int = setting(
        1024,
        "TOKEN_PLACE_API_V1_MAX_QUEUE_DEPTH_PER_NODE",
        "queued requests per compute node",
        low=1,
    )
    max_client_requests: int = setting(
        64,
        "RELAY_MAX_REQUESTS_PER_CLIENT",
        "requests per client key that are unanswered or whose answer is unread",
        low=1,
    )
    max_requests: int = setting(
        16384,
        "RELAY_MAX_REQUESTS",
        "requests in total that are unanswered or whose answer is unread",
        low=1,
    )
    max_request_bytes: int = setting(
        48 * _MIB,
        "RELAY_MAX_QUEUED_BYTES",
        "unanswered requests in total, in bytes; at least one envelope",
        low=4 * _MIB,
        called="max-queued-bytes",
    )
    max_answer_bytes: int = setting(
        48 * _MIB,
        "RELAY_MAX_ANSWER_BYTES",
        "unread answers in total, in bytes; at least one envelope; new requests are rejected from "
        "half of it on",
        low=4 * _MIB,
    )
    max_progress_bytes: int = setting(
        8 * _MIB, "RELAY_MAX_PROGRESS_BYTES", "unread progress in total, in bytes", low=16384
    )
    max_replays: int = setting(
        8192, "RELAY_MAX_REPLAYS", "answers in total that are kept after they were read"
    )
    max_replay_bytes: int = setting(16 * _MIB, "RELAY_MAX_REPLAY_BYTES", "the same, in bytes")
    max_outcomes: int = setting(
        32768,
        "RELAY_MAX_OUTCOMES",
        "outcomes of ended requests that are kept, and as many tombstones",
        low=1,
    )
    max_held_polls: int = setting(20000, "RELAY_MAX_HELD_POLLS", "held polls in total", low=1)
    max_node_polls: int = setting(
        64, "RELAY_MAX_POLLS_PER_NODE", "held polls per compute node", low=1
    )
    max_held_retrieves: int = setting(
        4096,
        "RELAY_MAX_HELD_RETRIEVES",
        "retrieves in total held by Prefer: wait; 0: none are held",
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
    """Limits on connections: their number, and their times."""

    max_connections: int = setting(
        30000, "RELAY_MAX_CONNECTIONS", "open connections; further ones get 503", low=8
    )
    plain_http: bool = setting(
        False,
        "RELAY_PLAIN_HTTP",
        "use aiohttp's own connections and responses, without the limits on connections, heads and "
        "unread responses; for trying a newer aiohttp",
    )
    header_timeout: float = setting(
        15.0,
        "RELAY_HEADER_TIMEOUT_SECONDS",
        "the head of a request must arrive within this time",
        low=0.1,
    )
    body_timeout: float = setting(
        30.0,
        "RELAY_BODY_TIMEOUT_SECONDS",
        "the body of a request must arrive within this time",
        low=0.1,
        high=600,
    )
    write_timeout: float = setting(
        30.0,
        "RELAY_WRITE_TIMEOUT_SECONDS",
        "within this time a peer must read a tenth of what waits for it",
        low=0.1,
    )
    # If the relay closed first, a proxy could send a request on a connection that is closing, and
    # its client would get 502.
    keepalive_timeout: float = setting(
        620.0,
        "RELAY_KEEPALIVE_SECONDS",
        "idle connections are closed after this time; longer than proxies keep theirs",
        low=1,
    )
    max_prefer_wait: float = setting(
        25.0,
        "RELAY_MAX_PREFER_WAIT_SECONDS",
        "longest hold of a retrieve with Prefer: wait; 0: none are held",
        high=300,
    )


@dataclass(frozen=True)
class Rates:
    """Limits on how often a caller may call; rate.py has the form of a rate."""

    public_rate: str = setting(
        "600/hour",
        "API_RATE_LIMIT",
        "rate per client route and address; ten messages a minute for one household",
        check=rate_error,
    )
    public_quota: str = setting(
        "5000/day", "API_DAILY_QUOTA", "a second such rate, per day", check=rate_error
    )
    node_rate: str = setting(
        "",
        "API_RELAY_CONTROL_PLANE_RATE_LIMIT",
        "rate for every node route without a setting of its own",
        check=rate_error,
    )
    register_rate: str = setting(
        "240/hour",
        "API_RELAY_CONTROL_PLANE_REGISTER_RATE_LIMIT",
        "rate per node with a valid token; a node registers about 150 times an hour",
        check=rate_error,
    )
    unregister_rate: str = setting(
        "240/hour",
        "API_RELAY_CONTROL_PLANE_UNREGISTER_RATE_LIMIT",
        "rate per node with a valid credential",
        check=rate_error,
    )
    poll_rate: str = setting(
        "14400/hour",
        "API_RELAY_CONTROL_PLANE_POLL_RATE_LIMIT",
        "rate per node with a valid token; four short answers a second",
        check=rate_error,
    )
    control_rate: str = setting(
        "14400/hour",
        "API_RELAY_CONTROL_PLANE_CONTROL_RATE_LIMIT",
        "rate per node with a valid credential; eight requests with a control call each 2 s",
        check=rate_error,
    )
    response_rate: str = setting(
        "14400/hour",
        "API_RELAY_CONTROL_PLANE_RESPONSE_RATE_LIMIT",
        "rate of answers per client, from nodes with a valid token",
        check=rate_error,
    )
    progress_rate: str = setting(
        "28800/hour",
        "API_RELAY_CONTROL_PLANE_PROGRESS_RATE_LIMIT",
        "rate per node with a valid credential; one a second for each of eight requests",
        check=rate_error,
    )
    node_ip_rate: str = setting(
        "72000/hour",
        "API_RELAY_CONTROL_PLANE_IP_RATE_LIMIT",
        "rate per node route and address; several busy nodes may share an address",
        check=rate_error,
    )
    max_rate_buckets: int = setting(
        65536, "RELAY_MAX_RATE_BUCKETS", "addresses and nodes counted at the same time", low=16
    )
    trusted_proxies: tuple[str, ...] = setting(
        PRIVATE,
        "RELAY_TRUSTED_PROXIES",
        "networks of proxies whose X-Forwarded-For is trusted; by default all private ones, so "
        "that an ingress in the cluster works: set your proxies where others share your network; "
        "none: no proxy is trusted",
        check=is_network,
    )


@dataclass(frozen=True)
class Bounds(Sizes, Counts, Connections, Rates):
    """All limits."""
