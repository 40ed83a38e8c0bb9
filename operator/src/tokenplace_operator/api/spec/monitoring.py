"""spec.monitoring: resources for Prometheus and Grafana."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenplace_operator.api.spec.reader import SpecReader

PROMETHEUS_LABELS = {"release": "kube-prometheus-stack"}
GRAFANA_LABELS = {"grafana_dashboard": "1"}


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key of a Secret in the relay's namespace. Only pods read it, never the operator."""

    name: str = ""
    key: str = ""

    @classmethod
    def read(cls, spec: SpecReader) -> SecretKey | None:
        """Read the section; None when it is not set."""
        return cls(spec.text("name"), spec.text("key", "token")) if "name" in spec else None


@dataclass(frozen=True, slots=True)
class ServiceMonitor:
    """spec.monitoring.serviceMonitor. labels: those by which Prometheus selects it."""

    enabled: bool = False
    interval_seconds: int = 30
    timeout_seconds: int = 10
    labels: Mapping[str, str] = field(default_factory=lambda: PROMETHEUS_LABELS)

    @classmethod
    def read(cls, spec: SpecReader) -> ServiceMonitor:
        """Read the section."""
        return cls(
            enabled=spec.flag("enabled"),
            interval_seconds=spec.integer("intervalSeconds", 30, 1),
            timeout_seconds=spec.integer("timeoutSeconds", 10, 1),
            labels=spec.mapping("labels", PROMETHEUS_LABELS),
        )


@dataclass(frozen=True, slots=True)
class Labelled:
    """spec.monitoring.prometheusRule or .dashboard. labels: those by which it is selected."""

    enabled: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, spec: SpecReader, labels: Mapping[str, str]) -> Labelled:
        """Read the section."""
        return cls(spec.flag("enabled"), spec.mapping("labels", labels))


@dataclass(frozen=True, slots=True)
class Monitoring:
    """spec.monitoring."""

    service_monitor: ServiceMonitor = field(default_factory=ServiceMonitor)
    prometheus_rule: Labelled = field(default_factory=lambda: Labelled(labels=PROMETHEUS_LABELS))
    dashboard: Labelled = field(default_factory=lambda: Labelled(labels=GRAFANA_LABELS))
    token: SecretKey | None = None

    @classmethod
    def read(cls, spec: SpecReader) -> Monitoring:
        """Read the section."""
        return cls(
            service_monitor=ServiceMonitor.read(spec.section("serviceMonitor")),
            prometheus_rule=Labelled.read(spec.section("prometheusRule"), PROMETHEUS_LABELS),
            dashboard=Labelled.read(spec.section("dashboard"), GRAFANA_LABELS),
            token=SecretKey.read(spec.section("tokenSecretRef")),
        )

    @property
    def is_scraped(self) -> bool:
        """Whether the relay serves /metrics and the NetworkPolicy allows Prometheus."""
        return self.service_monitor.enabled or self.token is not None

    @property
    def problems(self) -> list[str]:
        """Violations of the CRD's rules between fields."""
        # Prometheus rejects a scrape timeout above the interval.
        if self.service_monitor.timeout_seconds > self.service_monitor.interval_seconds:
            return [
                "spec.monitoring.serviceMonitor.timeoutSeconds: "
                "must not be greater than intervalSeconds"
            ]
        return []
