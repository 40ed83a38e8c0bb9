"""The ServiceMonitor through which Prometheus scrapes a relay."""

from __future__ import annotations

from tokenplace_operator.api.kinds import SERVICE_MONITOR, Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.child import child, labels
from tokenplace_operator.observe.facts import Facts


def service_monitor(relay: Relay, facts: Facts) -> list[Object]:
    """Desired when enabled in spec.monitoring and its CRD is installed.

    With spec.monitoring.tokenSecretRef, Prometheus sends the bearer token from that Secret.
    """
    monitor = relay.monitoring.service_monitor
    if not monitor.enabled or SERVICE_MONITOR not in facts.apis:
        return []
    endpoint: Object = {
        "port": "http",
        "path": "/metrics",
        "interval": f"{monitor.interval_seconds}s",
        "scrapeTimeout": f"{monitor.timeout_seconds}s",
    }
    token = relay.monitoring.token
    if token is not None:
        credentials = {"name": token.name, "key": token.key}
        endpoint["authorization"] = {"type": "Bearer", "credentials": credentials}
    # The GPU Service matches the relay's selector as well; the component tells them apart.
    match_labels = {**relay.selector, "app.kubernetes.io/component": "relay"}
    spec = {"selector": {"matchLabels": match_labels}, "endpoints": [endpoint]}
    # The relay's labels come last: a user label must not hide the object from the operator's list.
    extra_labels = {**monitor.labels, **labels(relay)}
    return [child(relay, SERVICE_MONITOR, extra_labels=extra_labels, spec=spec)]
