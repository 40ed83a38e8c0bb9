"""Values of the metrics token, the ServiceMonitor and the alerts."""

import re

from tokenplace_operator.cli.import_chart.value_mapping import ValueMapping

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def monitoring(mapping: ValueMapping) -> None:
    """Map the metrics token, the ServiceMonitor and the alerts."""
    if mapping.get("metrics", "enabled"):
        auth = mapping.map_at("metrics", "auth")
        secret = {"name": auth.get("existingSecret"), "key": auth.get("secretKey")}
        mapping.carry_over(("metrics",), "spec.monitoring.tokenSecretRef", secret)
    if mapping.get("serviceMonitor", "enabled"):
        _service_monitor(mapping)
    if mapping.get("alerts", "enabled"):
        why = "The alerts use metrics that this relay exports"
        mapping.change(("alerts", "enabled"), "spec.monitoring.prometheusRule.enabled", True, why)


def _service_monitor(mapping: ValueMapping) -> None:
    field = "spec.monitoring.serviceMonitor"
    mapping.carry_over(("serviceMonitor", "enabled"), f"{field}.enabled", True)
    for value, name in (("interval", "intervalSeconds"), ("scrapeTimeout", "timeoutSeconds")):
        path = ("serviceMonitor", value)
        if mapping.is_set(*path):
            seconds = _parse_duration(str(mapping.get(*path)))
            if seconds is None:
                mapping.leave_out(path, f"{field}.{name} takes whole seconds")
            else:
                mapping.carry_over(path, f"{field}.{name}", seconds)
    for value in ("labels", "additionalLabels"):
        mapping.copy(("serviceMonitor", value), f"{field}.labels")
    for value, todo in (
        ("relabelings", "Set these labels in the configuration of Prometheus"),
        ("namespaceSelector", "It always selects the relay's own namespace"),
        ("path", "It is always /metrics"),
        ("port", "It is always http"),
    ):
        if mapping.is_set("serviceMonitor", value):
            mapping.leave_out(("serviceMonitor", value), todo)


def _parse_duration(text: str) -> int | None:
    """Seconds of a duration such as `30s`; None for any other format."""
    parts = re.fullmatch(r"([0-9]+)([smh]?)", text)
    return int(parts[1]) * _SECONDS[parts[2]] if parts else None
