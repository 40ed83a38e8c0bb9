"""Settings of the operator: one table for flags, environment, --help, chart and docs.

Each field of `Config` with a `setting` is a flag of `tokenplace-operator run`, an environment
variable and a row in docs/operator-settings.md. Add one here, and everything else follows.
"""

import math
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

from tokenplace_operator.api.kinds import is_label
from tokenplace_operator.api.names import OPERATOR

T = TypeVar("T")

PREFIX: Final = "TOKENPLACE_OPERATOR"
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")


class ConfigError(ValueError):
    """A setting breaks a rule; the text names the setting and the rule."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    field: of `Config`. help: one sentence. low, high: bounds of a number.
    choices: all values of a text. is_label: whether each value is a DNS label.
    chart: the chart's value below `operator`, or the constant that the chart passes; empty when
    the chart does not pass the flag.
    """

    field: str
    help: str
    default: Any
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    is_label: bool = False
    chart: str = ""

    @property
    def is_list(self) -> bool:
        """Whether the flag may be repeated."""
        return isinstance(self.default, tuple)

    @property
    def name(self) -> str:
        """The name without dashes in front; of a list in the singular: `namespace`."""
        return (self.field.removesuffix("s") if self.is_list else self.field).replace("_", "-")

    @property
    def flag(self) -> str:
        """The flag: `--metrics-port`."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable; a list is separated by spaces."""
        return f"{PREFIX}_{self.name.replace('-', '_').upper()}"

    @property
    def is_chart_value(self) -> bool:
        """Whether `chart` is a value of the chart, and no constant."""
        # A constant has a digit or a `$`.
        return self.chart.isalpha()

    @property
    def rule(self) -> str:
        """The allowed values: `from 1 to 64`; empty when all are."""
        if self.is_label:
            return "a DNS label"
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.high < math.inf:
            return f"from {self.low:g} to {self.high:g}"
        return f"at least {self.low:g}" if self.low > -math.inf else ""

    def check(self, value: Any) -> None:  # noqa: ANN401 (of the type of the default)
        """Raise ConfigError for a value that breaks the rule."""
        for item in value if self.is_list else (value,):
            if self.is_label:
                allowed = is_label(item)
            elif self.choices:
                allowed = item in self.choices
            else:
                allowed = self.low <= item <= self.high
            if not allowed:
                raise ConfigError(f"{self.name}: {item!r} must be {self.rule}")


def setting(default: T, help_text: str, **attributes: Any) -> T:  # noqa: ANN401 (of Setting)
    """Return a dataclass field with the attributes of a Setting as metadata."""
    value: T = field(default=default, metadata={"help": help_text, **attributes})
    return value


def _identity() -> str:
    """Unique per process, and readable in the Lease."""
    # A restarted container has the same pod name, but must not take its predecessor's Lease for its
    # own.
    name = os.environ.get("POD_NAME") or socket.gethostname()
    return f"{name}_{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one process; times are in seconds. Raises ConfigError."""

    namespaces: tuple[str, ...] = setting(
        (),
        "Namespace to watch; may be repeated. Default: the whole cluster.",
        is_label=True,
        chart="watchNamespaces",
    )
    metrics_port: int = setting(
        8080,
        "Port of /livez, /readyz and /metrics; 0 selects a free one.",
        low=0,
        high=65535,
        chart="8080",
    )
    lease_namespace: str = setting(
        "tokenplace-system",
        "Namespace of the Lease: the operator's own.",
        is_label=True,
        chart="$(POD_NAMESPACE)",
    )
    lease_seconds: float = setting(
        15.0,
        "Seconds until a standby takes over from a leader that has failed.",
        low=3,
        chart="leaseSeconds",
    )
    workers: int = setting(4, "Number of concurrent reconciles.", low=1, high=64, chart="workers")
    resync_seconds: float = setting(
        600.0,
        "Seconds between full lists, which correct what a watch may have missed.",
        low=1,
    )
    discovery_seconds: float = setting(
        30.0,
        "Seconds between reads of the optional APIs: prometheus-operator, Gateway API.",
        low=1,
    )
    # The API server sends a bookmark about once a minute, so a shorter time restarts good watches.
    watch_idle_seconds: float = setting(
        70.0,
        "Seconds without any event or bookmark after which a watch is restarted.",
        low=1,
    )
    log_level: str = setting(
        "INFO", "Log level: DEBUG, INFO, WARNING or ERROR.", choices=LOG_LEVELS, chart="logLevel"
    )
    lease_name: str = OPERATOR
    identity: str = field(default_factory=_identity)
    drain_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Check every setting."""
        for each in settings():
            each.check(getattr(self, each.field))


def settings() -> Iterator[Setting]:
    """All settings, in the order of `Config`."""
    for each in fields(Config):
        if "help" in each.metadata:
            yield Setting(field=each.name, default=each.default, **each.metadata)
