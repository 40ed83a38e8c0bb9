"""The settings of the relay: one frozen dataclass, read from the environment and flags.

Each field carries its variable, its bounds and a line of help, so that reading, checking,
`tokenplace-relay serve --help` and docs/relay-settings.md share one table. Names that
token.place's own relay has are kept; older names are read when the newer one is not set.
Times are seconds, sizes are bytes. Bounds on what strangers can send or make us keep: bounds.py.
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
        "127.0.0.1", "RELAY_HOST", "address to listen on, :: for all of IPv4 and IPv6"
    )
    port: int = setting(5010, "RELAY_PORT", "port to listen on, 0 for any free one", high=65535)
    log_level: str = setting(
        "INFO", "TOKENPLACE_LOG_LEVEL", "least level that is logged", choices=LOG_LEVELS
    )
    public_url: str = setting(
        "",
        "TOKENPLACE_RELAY_PUBLIC_URL",
        "URL that clients know, shown in /healthz",
        also=("TOKEN_PLACE_RELAY_PUBLIC_URL", "RELAY_PUBLIC_URL"),
        check=is_url,
    )
    service_name: str = setting(
        "token.place", "SERVICE_NAME", "name in /api/v1/health", check=is_word
    )

    release_version: str = setting(
        "",
        "TOKENPLACE_RELEASE_VERSION",
        "version in /api/v1/meta, else this package's",
        check=is_word,
    )
    deploy_env: str = setting(
        "",
        "TOKENPLACE_DEPLOY_ENV",
        "environment in /api/v1/meta; none: told by the Host header",
        choices=ENVIRONMENTS,
    )
    git_sha: str = setting("", "TOKENPLACE_GIT_SHA", "revision of the build", check=is_word)
    image_tag: str = setting(
        "", "TOKENPLACE_IMAGE_TAG", "image tag, shown where no revision is set", check=is_tag
    )

    drain_delay: float = setting(
        5.0, "RELAY_DRAIN_DELAY_SECONDS", "served on after SIGTERM with readiness red", high=3600
    )
    drain_timeout: float = setting(
        20.0, "RELAY_DRAIN_TIMEOUT_SECONDS", "longest wait for work to be answered", high=3600
    )

    upstream_url: str = setting(
        "",
        "TOKENPLACE_RELAY_UPSTREAM_URL",
        "GPU upstream that is probed; none, and no host: nothing is probed",
        check=is_url,
    )
    gpu_host: str = setting(
        "",
        "TOKENPLACE_GPU_HOST",
        "GPU upstream host, else that of the URL",
        also=("GPU_SERVER_HOST",),
        check=is_host,
    )
    gpu_port: int = setting(
        0,
        "TOKENPLACE_GPU_PORT",
        "GPU upstream port; 0: that of the URL, else 3000",
        high=65535,
        also=("GPU_SERVER_PORT",),
    )
    require_upstream_health: bool = setting(
        False,
        "TOKENPLACE_RELAY_REQUIRE_UPSTREAM_HEALTH",
        "/healthz is red while the GPU upstream is unreachable",
    )
    upstream_interval: float = setting(
        10.0, "RELAY_UPSTREAM_PROBE_SECONDS", "pause between two probes", low=0.1, high=3600
    )
    upstream_timeout: float = setting(
        3.0, "RELAY_UPSTREAM_PROBE_TIMEOUT_SECONDS", "longest probe", low=0.1, high=60
    )

    facade: bool = setting(
        True,
        "RELAY_FACADE",
        "serve /chat/completions, /completions and /public-key: the relay then sees plaintext",
    )
    facade_timeout: float = setting(
        485.0,
        "TOKENPLACE_API_V1_DISTRIBUTED_TIMEOUT_SECONDS",
        "longest wait of a facade request for its answer",
        low=1,
        high=3600,
    )
    facade_max_requests: int = setting(
        64, "RELAY_FACADE_MAX_REQUESTS", "facade requests at a time", low=1, high=4096
    )
    facade_spare_keys: int = setting(
        4, "RELAY_FACADE_SPARE_KEYS", "RSA key pairs made ahead", low=1, high=256
    )

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
    silent_grace: float = setting(
        30.0,
        "RELAY_SILENT_NODE_GRACE_SECONDS",
        "queued work of a silent node waits this much longer before its client is sent elsewhere",
        high=3600,
    )
    working_grace: float = setting(
        90.0,
        "RELAY_WORKING_NODE_GRACE_SECONDS",
        "claimed work of a node that asked about it, and then fell silent, is waited for this much"
        " longer than its lease",
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
        "the outcome of a request without an answer is remembered this long",
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

    server_tokens: tuple[str, ...] = setting(
        (),
        "TOKEN_PLACE_RELAY_SERVER_TOKENS",
        "registration tokens of nodes, by comma or line, of both variables; none: open to all",
        secret=True,
        also=("TOKEN_PLACE_RELAY_SERVER_TOKEN",),
    )
    operator_token: str = setting(
        "",
        "TOKEN_PLACE_OPERATOR_TOKEN",
        "token of key rotation and forced unregistering; none: both are refused",
        secret=True,
        also=("TOKEN_PLACE_KEY_ROTATION_TOKEN", "PUBLIC_KEY_ROTATION_TOKEN"),
    )
    metrics_token: str | None = setting(
        None,
        "TOKENPLACE_METRICS_TOKEN",
        "bearer token of /metrics; unset: open, but not through an ingress; set but empty: closed",
        secret=True,
    )
    metrics_disabled: bool = setting(False, "TOKENPLACE_METRICS_DISABLED", "refuse /metrics")

    fault_delay: float = setting(
        0.0, "RELAY_FAULT_DELAY_SECONDS", "drill: delay of each API answer", high=300
    )
    fault_error_rate: float = setting(
        0.0, "RELAY_FAULT_ERROR_RATE", "drill: part of API calls that fail with 500", high=1
    )
    fault_unready: bool = setting(False, "RELAY_FAULT_UNREADY", "drill: /healthz answers 503")


def load(environ: Mapping[str, str], overrides: Mapping[str, str | None]) -> Config:
    """Read the settings: a flag (by field name) wins over the environment, that over defaults.

    Raises ConfigError with one line that names the first setting that cannot be used.
    """
    values: dict[str, Any] = {}
    for spec in fields(Config):
        # Only where unset and empty are not the same is empty something that was said.
        may_be_empty = spec.default is None
        found = [one for one in _given(spec, environ, overrides) if one[1] or may_be_empty]
        if found:
            values[spec.name] = _value(spec, found)
    config = Config(**values)
    _check_sums(config)
    return config


def about() -> list[About]:
    """Every setting, in the order in which it is documented."""
    return [describe(spec) for spec in fields(Config)]


def _check_sums(config: Config) -> None:
    """Refuse sums in which one envelope has no room: those who send it would try for ever."""
    variables = {spec.name: spec.metadata["env"] for spec in fields(Config)}
    one = config.max_envelope_bytes
    for name in ("max_reading_bytes", "max_request_bytes", "max_answer_bytes"):
        if getattr(config, name) < one:
            rule = f"must be at least {variables['max_envelope_bytes']}, {one}"
            raise ConfigError(f"{variables[name]} {rule}")


def _value(spec: "Field[object]", given: list[tuple[str, str]]) -> object:
    """What the strongest says; a list has what each of its variables says, as with upstream."""
    first = parse(spec, *given[0])
    if not isinstance(first, tuple) or given[0][0] == flag(spec):
        return first
    parts = [part for one in given for part in cast("tuple[str, ...]", parse(spec, *one))]
    return tuple(dict.fromkeys(parts))


def _given(
    spec: "Field[object]", environ: Mapping[str, str], overrides: Mapping[str, str | None]
) -> Iterator[tuple[str, str]]:
    """Names and texts in which a setting is given, the strongest first."""
    override = overrides.get(spec.name)
    if override is not None:
        yield flag(spec), override.strip()
    for name in (spec.metadata["env"], *spec.metadata["also"]):
        if name in environ:
            yield name, environ[name].strip()
