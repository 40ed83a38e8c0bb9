"""spec.relay: the settings of the relay, and the environment variable of each.

Only values that differ from the relay's own defaults become variables, so a new setting in a newer
operator does not restart pods that do not use it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenplace_operator.api.spec.monitoring import SecretKey
from tokenplace_operator.api.spec.reader import SpecReader

LOG_LEVEL = "TOKENPLACE_LOG_LEVEL"
PUBLIC_URL = "TOKENPLACE_RELAY_PUBLIC_URL"
REQUIRE_UPSTREAM = "TOKENPLACE_RELAY_REQUIRE_UPSTREAM_HEALTH"
REGISTRATION_TOKEN = "TOKEN_PLACE_RELAY_SERVER_TOKENS"  # noqa: S105 (a variable's name)
OPERATOR_TOKEN = "TOKEN_PLACE_OPERATOR_TOKEN"  # noqa: S105
MAX_INTEGER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Setting:
    """An integer field of spec.relay.timers (in seconds) or of spec.relay.limits."""

    field: str
    env: str
    default: int
    low: int
    high: int = MAX_INTEGER


TIMERS = (
    Setting("pollWaitSeconds", "TOKEN_PLACE_API_V1_RELAY_POLL_WAIT_SECONDS", 10, 0, 300),
    Setting("nodeLeaseSeconds", "TOKEN_PLACE_API_V1_RELAY_SERVER_LEASE_SECONDS", 30, 1, 3600),
    Setting("inFlightLeaseSeconds", "TOKEN_PLACE_API_V1_IN_FLIGHT_TTL_SECONDS", 30, 1, 3600),
    Setting("requestDeadlineSeconds", "TOKEN_PLACE_API_V1_REQUEST_DEADLINE_SECONDS", 480, 1, 3600),
    Setting("tombstoneSeconds", "TOKEN_PLACE_API_V1_CONTROL_TOMBSTONE_TTL_SECONDS", 60, 1, 300),
    Setting("outcomeSeconds", "TOKENPLACE_TERMINAL_REQUEST_TTL_SECONDS", 300, 1, 86400),
    Setting("answerSeconds", "RELAY_ANSWER_TTL_SECONDS", 300, 1, 86400),
    Setting("controlHintSeconds", "RELAY_CONTROL_HINT_SECONDS", 2, 1, 10),
    Setting("bodySeconds", "RELAY_BODY_TIMEOUT_SECONDS", 30, 1, 600),
)
LIMITS = (
    Setting("envelopeBytes", "RELAY_MAX_ENVELOPE_BYTES", 4194304, 2097152, 16777216),
    Setting("bodyBytes", "RELAY_MAX_BODY_BYTES", 65536, 4096),
    Setting("nodes", "RELAY_MAX_NODES", 1024, 1),
    Setting("queuedPerNode", "TOKEN_PLACE_API_V1_MAX_QUEUE_DEPTH_PER_NODE", 1024, 1),
    Setting("requestsPerClient", "RELAY_MAX_REQUESTS_PER_CLIENT", 64, 1),
    Setting("requests", "RELAY_MAX_REQUESTS", 16384, 1),
    Setting("outcomes", "RELAY_MAX_OUTCOMES", 32768, 1),
    Setting("readAnswers", "RELAY_MAX_REPLAYS", 8192, 0),
    Setting("queuedBytes", "RELAY_MAX_QUEUED_BYTES", 50331648, 4194304),
    Setting("answerBytes", "RELAY_MAX_ANSWER_BYTES", 50331648, 4194304),
    Setting("polls", "RELAY_MAX_HELD_POLLS", 20000, 1),
    Setting("pollsPerNode", "RELAY_MAX_POLLS_PER_NODE", 64, 1),
)


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """spec.relay. numbers: pairs of variable and value, for values that differ from the default."""

    log_level: str = "INFO"
    public_url: str = ""
    require_upstream_health: bool = False
    registration_token: SecretKey | None = None
    operator_token: SecretKey | None = None
    numbers: tuple[tuple[str, int], ...] = field(default=())

    @classmethod
    def read(cls, spec: SpecReader) -> RelaySettings:
        """Read the section."""
        return cls(
            log_level=spec.text("logLevel", "INFO"),
            public_url=spec.text("publicUrl"),
            require_upstream_health=spec.flag("requireUpstreamHealth"),
            registration_token=SecretKey.read(spec.section("registrationTokenSecretRef")),
            operator_token=SecretKey.read(spec.section("operatorTokenSecretRef")),
            numbers=(
                *_changed(spec.section("timers"), TIMERS),
                *_changed(spec.section("limits"), LIMITS),
            ),
        )


def _changed(spec: SpecReader, settings: tuple[Setting, ...]) -> list[tuple[str, int]]:
    """Return variable and value of every setting that differs from its default."""
    changed = []
    for setting in settings:
        value = spec.integer(setting.field, setting.default, setting.low, setting.high)
        if value != setting.default:
            changed.append((setting.env, value))
    return changed
