"""What Prometheus and Grafana need to watch a relay, as far as the cluster knows their kinds."""

from __future__ import annotations

import json

from tokenplace_operator.api import Relay
from tokenplace_operator.api.kinds import PROMETHEUS_RULE, SERVICE_MONITOR
from tokenplace_operator.desired.alerts import groups
from tokenplace_operator.desired.dashboard import dashboard
from tokenplace_operator.desired.metadata import Object, child, labels
from tokenplace_operator.observe.facts import Facts


def service_monitor(relay: Relay, facts: Facts) -> list[Object]:
    """Scrapes the pods behind the relay's Service, with the token that they ask for."""
    monitor = relay.monitoring.service_monitor
    if not monitor.enabled or SERVICE_MONITOR not in facts.apis:
        return []
    endpoint: Object = {
        "port": "http",
        "path": "/metrics",
        "interval": f"{monitor.interval_seconds}s",
        "scrapeTimeout": f"{monitor.timeout_seconds}s",
    }
    if relay.monitoring.token is not None:
        token = relay.monitoring.token
        credentials = {"name": token.name, "key": token.key}
        endpoint["authorization"] = {"type": "Bearer", "credentials": credentials}
    # The component, since the GPU Service has the labels of the selector as well.
    chosen = {**relay.selector, "app.kubernetes.io/component": "relay"}
    spec = {"selector": {"matchLabels": chosen}, "endpoints": [endpoint]}
    return [
        child(
            relay,
            SERVICE_MONITOR.api_version,
            SERVICE_MONITOR.kind,
            relay.name,
            extra_labels={**monitor.labels, **labels(relay)},
            spec=spec,
        )
    ]


def prometheus_rule(relay: Relay, facts: Facts) -> list[Object]:
    """Alerts on this relay; none while it is stopped on purpose."""
    rule = relay.monitoring.prometheus_rule
    if not rule.enabled or relay.replicas == 0 or PROMETHEUS_RULE not in facts.apis:
        return []
    return [
        child(
            relay,
            PROMETHEUS_RULE.api_version,
            PROMETHEUS_RULE.kind,
            relay.name,
            extra_labels={**rule.labels, **labels(relay)},
            spec={"groups": groups(relay)},
        )
    ]


def dashboard_config_map(relay: Relay) -> list[Object]:
    """The dashboard in a ConfigMap, where Grafana's sidecar finds it by its label."""
    wanted = relay.monitoring.dashboard
    if not wanted.enabled:
        return []
    text = json.dumps(dashboard(relay), indent=2) + "\n"
    return [
        child(
            relay,
            "v1",
            "ConfigMap",
            f"{relay.name}-dashboard",
            extra_labels={**wanted.labels, **labels(relay)},
            data={f"{relay.namespace}-{relay.name}.json": text},
        )
    ]
