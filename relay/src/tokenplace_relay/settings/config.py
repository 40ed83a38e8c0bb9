"""The settings of the relay: one frozen dataclass, read from the environment and flags.

Each field carries its variable, its range and a line of help, so that reading, checking,
`tokenplace-relay serve --help` and docs/relay-settings.md share one table. Variables keep the names
of token.place's own relay; older names are read when the newer one is not set. Times are seconds,
sizes are bytes. Limits on callers are in bounds.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, cast

from tokenplace_relay.settings.bounds import Bounds
from tokenplace_relay.settings.setting import (
    About,
    ConfigError,
    describe,
    flag,
    is_host,
    is_tag,
    is_url,
    is_word,
    parse,
    setting,
)

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
ENVIRONMENTS = ("DEV", "DEVELOPMENT", "STAGE", "STAGING", "PROD", "PRODUCTION")


@dataclass(frozen=True, slots=True)
class Config(Bounds):
    """Everything that can be set, with the documented defaults."""

    host: str = setting(
        "127.0.0.1", "RELAY_HOST", "address to listen on; :: listens on all IPv4 and IPv6 addresses"
    )
    port: int = setting(5010, "RELAY_PORT", "port to listen on; 0: any free port", high=65535)
    log_level: str = setting(
        "INFO", "TOKENPLACE_LOG_LEVEL", "lowest level that is logged", choices=LOG_LEVELS
    )
    public_url: str = setting(
        "",
        "TOKENPLACE_RELAY_PUBLIC_URL",
        "public URL of this relay, shown in /healthz",
        also=("TOKEN_PLACE_RELAY_PUBLIC_URL", "RELAY_PUBLIC_URL"),
        check=is_url,
    )
    service_name: str = setting(
        "token.place", "SERVICE_NAME", "name in /api/v1/health", check=is_word
    )

    release_version: str = setting(
        "",
        "TOKENPLACE_RELEASE_VERSION",
        "version in /api/v1/meta; default: the version of this package",
        check=is_word,
    )
    deploy_env: str = setting(
        "",
        "TOKENPLACE_DEPLOY_ENV",
        "environment in /api/v1/meta; default: taken from the Host header",
        choices=ENVIRONMENTS,
    )
    git_sha: str = setting("", "TOKENPLACE_GIT_SHA", "revision of the build", check=is_word)
    image_tag: str = setting(
        "", "TOKENPLACE_IMAGE_TAG", "image tag, shown if no revision is set", check=is_tag
    )

    # Kubernetes takes a moment to remove a pod from its endpoints, and new calls arrive until then.
    drain_delay: float = setting(
        5.0,
        "RELAY_DRAIN_DELAY_SECONDS",
        "after SIGTERM, requests are accepted for this time while readiness fails",
        high=3600,
    )
    drain_timeout: float = setting(
        20.0,
        "RELAY_DRAIN_TIMEOUT_SECONDS",
        "longest wait for accepted requests to be answered",
        high=3600,
    )

    upstream_url: str = setting(
        "",
        "TOKENPLACE_RELAY_UPSTREAM_URL",
        "GPU upstream that is probed; without it and without a host, nothing is probed",
        check=is_url,
    )
    gpu_host: str = setting(
        "",
        "TOKENPLACE_GPU_HOST",
        "host of the GPU upstream; default: the host of the URL",
        also=("GPU_SERVER_HOST",),
        check=is_host,
    )
    gpu_port: int = setting(
        0,
        "TOKENPLACE_GPU_PORT",
        "port of the GPU upstream; 0: the port of the URL, or else 3000",
        high=65535,
        also=("GPU_SERVER_PORT",),
    )
    require_upstream_health: bool = setting(
        False,
        "TOKENPLACE_RELAY_REQUIRE_UPSTREAM_HEALTH",
        "readiness fails while the GPU upstream is unreachable",
    )
    upstream_interval: float = setting(
        10.0,
        "RELAY_UPSTREAM_PROBE_SECONDS",
        "pause between two probes of the GPU upstream",
        low=0.1,
        high=3600,
    )
    upstream_timeout: float = setting(
        3.0, "RELAY_UPSTREAM_PROBE_TIMEOUT_SECONDS", "timeout of a probe", low=0.1, high=60
    )

    facade: bool = setting(
        True,
        "RELAY_FACADE",
        "serve /chat/completions, /completions and /public-key: the relay then sees plaintext",
    )
    # Longer than request_deadline, so that a facade call ends with the outcome of its request.
    facade_timeout: float = setting(
        485.0,
        "TOKENPLACE_API_V1_DISTRIBUTED_TIMEOUT_SECONDS",
        "longest wait of a facade call for its answer",
        low=1,
        high=3600,
    )
    facade_max_requests: int = setting(
        64, "RELAY_FACADE_MAX_REQUESTS", "facade calls at the same time", low=1, high=4096
    )
    facade_spare_keys: int = setting(
        4, "RELAY_FACADE_SPARE_KEYS", "RSA key pairs made in advance", low=1, high=256
    )

    poll_wait: float = setting(
        10.0, "TOKEN_PLACE_API_V1_RELAY_POLL_WAIT_SECONDS", "longest hold of a poll", high=300
    )
    # A whole number, because register returns it as next_ping_in_x_seconds, which is an integer in
    # token.place's protocol.
    node_lease: int = setting(
        30,
        "TOKEN_PLACE_API_V1_RELAY_SERVER_LEASE_SECONDS",
        "a compute node that sends nothing for this time is dropped",
        low=1,
        high=3600,
    )
    silent_grace: float = setting(
        30.0,
        "RELAY_SILENT_NODE_GRACE_SECONDS",
        "once a node's lease has expired, its queued requests wait this much longer before they "
        "are cancelled",
        high=3600,
    )
    working_grace: float = setting(
        90.0,
        "RELAY_WORKING_NODE_GRACE_SECONDS",
        "claimed requests of a node that sent control calls and then nothing are kept this much "
        "longer than its lease",
        high=3600,
    )
    in_flight_lease: float = setting(
        30.0,
        "TOKEN_PLACE_API_V1_IN_FLIGHT_TTL_SECONDS",
        "a claimed request counts as load for this time after its last control call",
        low=1,
        high=3600,
    )
    request_deadline: float = setting(
        480.0,
        "TOKEN_PLACE_API_V1_REQUEST_DEADLINE_SECONDS",
        "a request that is not answered within this time is expired",
        low=1,
        high=3600,
    )
    tombstone_ttl: float = setting(
        60.0,
        "TOKEN_PLACE_API_V1_CONTROL_TOMBSTONE_TTL_SECONDS",
        "a node can learn for this time that a request was cancelled",
        low=1,
        high=300,
    )
    terminal_ttl: float = setting(
        300.0,
        "TOKENPLACE_TERMINAL_REQUEST_TTL_SECONDS",
        "the outcome of a request without an answer is kept for this time",
        low=1,
        high=86400,
    )
    answer_ttl: float = setting(
        300.0,
        "RELAY_ANSWER_TTL_SECONDS",
        "an answer can be read, also repeatedly, for this time",
        low=1,
        high=86400,
    )
    # token.place's nodes clamp the hint to 1 to 10 s, so other values would have no effect.
    control_hint: float = setting(
        2.0,
        "RELAY_CONTROL_HINT_SECONDS",
        "pause between control calls that nodes are asked to keep",
        low=1,
        high=10,
    )
    housekeeping_interval: float = setting(
        1.0, "RELAY_HOUSEKEEPING_SECONDS", "pause between two housekeeping runs", low=0.01, high=60
    )

    server_tokens: tuple[str, ...] = setting(
        (),
        "TOKEN_PLACE_RELAY_SERVER_TOKENS",
        "registration tokens of compute nodes, separated by commas or lines; both variables count; "
        "none: any node may register",
        secret=True,
        also=("TOKEN_PLACE_RELAY_SERVER_TOKEN",),
    )
    operator_token: str = setting(
        "",
        "TOKEN_PLACE_OPERATOR_TOKEN",
        "token for key rotation and forced unregistering; without it both are refused",
        secret=True,
        also=("TOKEN_PLACE_KEY_ROTATION_TOKEN", "PUBLIC_KEY_ROTATION_TOKEN"),
    )
    metrics_token: str | None = setting(
        None,
        "TOKENPLACE_METRICS_TOKEN",
        "bearer token of /metrics; unset: open, except through an ingress; set but empty: closed",
        secret=True,
    )
    metrics_disabled: bool = setting(False, "TOKENPLACE_METRICS_DISABLED", "refuse /metrics")

    fault_delay: float = setting(
        0.0, "RELAY_FAULT_DELAY_SECONDS", "drill: delay of each API response", high=300
    )
    fault_error_rate: float = setting(
        0.0, "RELAY_FAULT_ERROR_RATE", "drill: share of API calls that fail with 500", high=1
    )
    fault_unready: bool = setting(False, "RELAY_FAULT_UNREADY", "drill: /healthz answers 503")


def load(environ: Mapping[str, str], overrides: Mapping[str, str | None]) -> Config:
    """Read the settings; a flag (by field name) wins over the environment.

    Raises ConfigError with one line that names the first invalid setting.
    """
    values: dict[str, Any] = {}
    for spec in fields(Config):
        # An empty variable counts as unset, except where the default is None: there it differs.
        may_be_empty = spec.default is None
        given = [pair for pair in _given(spec, environ, overrides) if pair[1] or may_be_empty]
        if given:
            values[spec.name] = _value(spec, given)
    config = Config(**values)
    _check_sums(config)
    return config


def about() -> list[About]:
    """Return every setting, in the order of the documentation."""
    return [describe(spec) for spec in fields(Config)]


def _check_sums(config: Config) -> None:
    """Refuse totals smaller than one envelope: its sender would get 503 indefinitely."""
    variables = {spec.name: spec.metadata["env"] for spec in fields(Config)}
    least = config.max_envelope_bytes
    for name in ("max_reading_bytes", "max_request_bytes", "max_answer_bytes"):
        if getattr(config, name) < least:
            rule = f"must be at least {variables['max_envelope_bytes']}, {least}"
            raise ConfigError(f"{variables[name]} {rule}")


def _value(spec: "Field[object]", given: list[tuple[str, str]]) -> object:
    """Return the value of the first name; a list joins all its variables (token.place relay.py)."""
    first = parse(spec, *given[0])
    if not isinstance(first, tuple) or given[0][0] == flag(spec):
        return first
    parts = [part for pair in given for part in cast("tuple[str, ...]", parse(spec, *pair))]
    return tuple(dict.fromkeys(parts))


def _given(
    spec: "Field[object]", environ: Mapping[str, str], overrides: Mapping[str, str | None]
) -> Iterator[tuple[str, str]]:
    """Yield the names and texts that set a setting, in the order of precedence."""
    override = overrides.get(spec.name)
    if override is not None:
        # Values from files and Secrets often end with a line break.
        yield flag(spec), override.strip()
    for name in (spec.metadata["env"], *spec.metadata["also"]):
        if name in environ:
            yield name, environ[name].strip()
