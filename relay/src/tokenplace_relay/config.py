"""The settings of the relay: one frozen dataclass, read from the environment and flags.

Each field carries its variable, its bounds and a line of help, so that reading, checking and
`tokenplace-relay serve --help` share one table. Names that token.place's own relay has are kept.
Times are seconds, sizes are bytes.
"""

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T")

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class ConfigError(ValueError):
    """A setting has a value the relay cannot use; the text is one line that names it."""


def setting(
    default: T,
    env: str,
    text: str,
    *,
    low: float = 0,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> T:
    """Return a dataclass field that knows its variable, bounds and help text."""
    about = {
        "env": env,
        "text": text,
        "low": low,
        "high": high,
        "choices": choices,
        "secret": secret,
    }
    found: T = field(default=default, repr=not secret, metadata=about)
    return found


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set, with the documented defaults."""

    host: str = setting("127.0.0.1", "RELAY_HOST", "address to listen on")
    port: int = setting(5010, "RELAY_PORT", "port to listen on, 0 for any free one", high=65535)
    log_level: str = setting(
        "INFO", "TOKENPLACE_LOG_LEVEL", "least level that is logged", choices=LOG_LEVELS
    )
    public_url: str = setting("", "TOKENPLACE_RELAY_PUBLIC_URL", "URL that clients know")

    drain_delay: float = setting(
        5.0, "RELAY_DRAIN_DELAY_SECONDS", "served on after SIGTERM with readiness red", high=3600
    )
    drain_timeout: float = setting(
        20.0, "RELAY_DRAIN_TIMEOUT_SECONDS", "longest wait for work to be answered", high=3600
    )

    upstream_url: str = setting("", "TOKENPLACE_RELAY_UPSTREAM_URL", "GPU upstream, shown only")
    gpu_host: str = setting("", "TOKENPLACE_GPU_HOST", "GPU upstream host, shown only")
    gpu_port: int = setting(3000, "TOKENPLACE_GPU_PORT", "GPU upstream port", low=1, high=65535)

    poll_wait: float = setting(
        10.0, "TOKEN_PLACE_API_V1_RELAY_POLL_WAIT_SECONDS", "longest hold of a poll", high=300
    )
    node_lease: int = setting(
        30,
        "TOKEN_PLACE_API_V1_RELAY_SERVER_LEASE_SECONDS",
        "a silent node is dropped after this",
        low=1,
        high=3600,
    )
    in_flight_lease: float = setting(
        30.0,
        "TOKEN_PLACE_API_V1_IN_FLIGHT_TTL_SECONDS",
        "claimed work counts as load this long after the last control call",
        low=1,
        high=3600,
    )
    request_deadline: float = setting(
        480.0,
        "TOKEN_PLACE_API_V1_REQUEST_DEADLINE_SECONDS",
        "a request not answered by then is expired",
        low=1,
        high=3600,
    )
    tombstone_ttl: float = setting(
        60.0,
        "TOKEN_PLACE_API_V1_CONTROL_TOMBSTONE_TTL_SECONDS",
        "a node can learn of a cancelled request this long",
        low=1,
        high=300,
    )
    terminal_ttl: float = setting(
        300.0,
        "TOKENPLACE_TERMINAL_REQUEST_TTL_SECONDS",
        "the outcome of a request is remembered this long",
        low=1,
        high=86400,
    )
    answer_ttl: float = setting(
        300.0,
        "RELAY_ANSWER_TTL_SECONDS",
        "an answer can be read, and read again, this long",
        low=1,
        high=86400,
    )
    control_hint: float = setting(
        2.0, "RELAY_CONTROL_HINT_SECONDS", "asked pause between control calls", low=1, high=10
    )
    housekeeping_interval: float = setting(
        1.0, "RELAY_HOUSEKEEPING_SECONDS", "pause between two housekeeping runs", low=0.01, high=60
    )
    body_timeout: float = setting(
        30.0, "RELAY_BODY_TIMEOUT_SECONDS", "a request body must arrive within", low=0.1, high=600
    )

    server_tokens: tuple[str, ...] = setting(
        (),
        "TOKEN_PLACE_RELAY_SERVER_TOKENS",
        "registration tokens of nodes, by comma or line; none: open to all",
        secret=True,
    )
    metrics_token: str = setting("", "TOKENPLACE_METRICS_TOKEN", "bearer of /metrics", secret=True)
    metrics_disabled: bool = setting(False, "TOKENPLACE_METRICS_DISABLED", "refuse /metrics")

    max_envelope_bytes: int = setting(
        4 * 1024 * 1024, "RELAY_MAX_ENVELOPE_BYTES", "body of a request or answer", low=2097152
    )
    max_body_bytes: int = setting(
        64 * 1024, "RELAY_MAX_BODY_BYTES", "body of any other call", low=4096
    )
    max_key_length: int = setting(8192, "RELAY_MAX_KEY_LENGTH", "characters of a key", low=64)
    max_id_length: int = setting(256, "RELAY_MAX_ID_LENGTH", "characters of an id", low=64)
    max_nodes: int = setting(1024, "RELAY_MAX_NODES", "registered nodes", low=1)
    max_queue_depth: int = setting(
        1024, "TOKEN_PLACE_API_V1_MAX_QUEUE_DEPTH_PER_NODE", "queued requests per node", low=1
    )
    max_client_requests: int = setting(
        64, "RELAY_MAX_REQUESTS_PER_CLIENT", "unanswered requests per client key", low=1
    )
    max_requests: int = setting(65536, "RELAY_MAX_REQUESTS", "unanswered requests in all", low=1)
    max_outcomes: int = setting(
        262144, "RELAY_MAX_OUTCOMES", "remembered outcomes and tombstones", low=1024
    )
    max_answers: int = setting(65536, "RELAY_MAX_ANSWERS", "answers kept in all", low=1)
    max_request_bytes: int = setting(
        256 * 1024 * 1024, "RELAY_MAX_QUEUED_BYTES", "queued requests in all", low=4194304
    )
    max_answer_bytes: int = setting(
        256 * 1024 * 1024, "RELAY_MAX_ANSWER_BYTES", "kept answers in all", low=4194304
    )
    max_held_polls: int = setting(20000, "RELAY_MAX_HELD_POLLS", "held polls in all", low=1)
    max_node_polls: int = setting(64, "RELAY_MAX_POLLS_PER_NODE", "held polls per node", low=1)


def load(environ: Mapping[str, str], overrides: Mapping[str, str | None]) -> Config:
    """Read the settings: a flag (by field name) wins over the environment, that over defaults.

    Raises ConfigError with one line that names the first setting that cannot be used.
    """
    values: dict[str, Any] = {}
    for spec in fields(Config):
        name, text = spec.metadata["env"], environ.get(spec.metadata["env"])
        flag = overrides.get(spec.name)
        if flag is not None:
            name, text = f"--{spec.name.replace('_', '-')}", flag
        if text is not None and (text.strip() or isinstance(spec.default, str)):
            values[spec.name] = _parse(spec, name, text.strip())
    return Config(**values)


def describe() -> str:
    """Return one line per variable with its default and meaning, for `--help`."""
    lines = []
    for spec in fields(Config):
        default = "" if spec.metadata["secret"] else f" [{spec.default}]"
        lines.append(f"{spec.metadata['env']}{default}: {spec.metadata['text']}")
    return "\n\n".join(lines)


def _parse(spec: "Field[object]", name: str, text: str) -> object:
    default = spec.default
    if isinstance(default, bool):
        return _boolean(name, text)
    if isinstance(default, int | float):
        return _number(spec, name, text)
    if isinstance(default, tuple):
        return tuple(part for line in text.splitlines() for part in _split(line))
    if spec.metadata["choices"]:
        return _choice(name, text, spec.metadata["choices"])
    return text


def _split(line: str) -> list[str]:
    return [part.strip() for part in line.split(",") if part.strip()]


def _boolean(name: str, text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ConfigError(f"{name} must be true or false, got {text!r}")


def _choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    if text.upper() in choices:
        return text.upper()
    raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {text!r}")


def _number(spec: "Field[object]", name: str, text: str) -> float:
    kind: type[int | float] = int if isinstance(spec.default, int) else float
    low, high = spec.metadata["low"], spec.metadata["high"]
    noun = "a whole number" if kind is int else "a number"
    span = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
    try:
        value = kind(text)
    except ValueError:
        raise ConfigError(f"{name} must be {noun} {span}, got {text!r}") from None
    if not (low <= value <= high) or value == math.inf:
        raise ConfigError(f"{name} must be {noun} {span}, got {text!r}")
    return value
