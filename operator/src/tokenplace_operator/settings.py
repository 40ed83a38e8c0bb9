"""Settings of the operator; flags and TOKENPLACE_OPERATOR_* variables end here, checked."""

import os
import secrets
import socket
from dataclasses import dataclass, field

from tokenplace_operator.api.kinds import is_label
from tokenplace_operator.api.names import OPERATOR

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
MIN_LEASE_SECONDS = 3.0


class ConfigError(ValueError):
    """A setting breaks a rule; the text names the setting and the rule."""


def _identity() -> str:
    """Unique per process, and readable in the Lease."""
    name = os.environ.get("POD_NAME") or socket.gethostname()
    return f"{name}_{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one process; times in seconds.

    namespaces: watch only these; empty: the whole cluster.
    look_seconds: pause between two looks for optional APIs and what is in them.
    silence_seconds: a watch that says nothing for so long is taken up anew. The API server sends
        a bookmark about once a minute, so less than that renews watches that are well.
    lease_seconds: how long a dead leader blocks the next; renewal and retry follow from it.
    """

    namespaces: tuple[str, ...] = ()
    metrics_port: int = 8080
    lease_namespace: str = "tokenplace-system"
    lease_name: str = OPERATOR
    lease_seconds: float = 15.0
    identity: str = field(default_factory=_identity)
    log_level: str = "INFO"
    workers: int = 4
    resync_seconds: float = 600.0
    look_seconds: float = 30.0
    silence_seconds: float = 70.0
    drain_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Check every setting."""
        for namespace in self.namespaces:
            _check(is_label(namespace), "namespace", namespace, "a DNS label")
        _check(
            is_label(self.lease_namespace), "lease-namespace", self.lease_namespace, "a DNS label"
        )
        _check(
            0 <= self.metrics_port <= 65535,
            "metrics-port",
            self.metrics_port,
            "from 0 to 65535 (0: any free port)",
        )
        _check(
            self.log_level in LOG_LEVELS,
            "log-level",
            self.log_level,
            f"one of {', '.join(LOG_LEVELS)}",
        )
        _check(1 <= self.workers <= 64, "workers", self.workers, "from 1 to 64")
        _check(self.resync_seconds >= 1, "resync-seconds", self.resync_seconds, "at least 1")
        _check(self.look_seconds >= 1, "look-seconds", self.look_seconds, "at least 1")
        _check(self.silence_seconds >= 1, "silence-seconds", self.silence_seconds, "at least 1")
        _check(
            self.lease_seconds >= MIN_LEASE_SECONDS,
            "lease-seconds",
            self.lease_seconds,
            f"at least {MIN_LEASE_SECONDS:g}",
        )


def _check(good: bool, name: str, value: object, rule: str) -> None:
    if not good:
        raise ConfigError(f"{name}: {value!r} must be {rule}")
