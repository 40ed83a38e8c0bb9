"""The ConfigMap with the Grafana dashboard of a relay."""

from __future__ import annotations

import json

from tokenplace_operator.api.kinds import CONFIG_MAP, Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.child import child, labels
from tokenplace_operator.monitoring.relay_dashboard import dashboard


def dashboard_config_map(relay: Relay) -> list[Object]:
    """Desired when enabled; Grafana's sidecar selects it by its label."""
    config = relay.monitoring.dashboard
    if not config.enabled:
        return []
    text = json.dumps(dashboard(relay), indent=2) + "\n"
    # Grafana's sidecar writes all dashboards into one folder, so the file name must be unique in
    # the cluster, not only in the namespace.
    data = {f"{relay.namespace}-{relay.name}.json": text}
    return [child(relay, CONFIG_MAP, extra_labels={**config.labels, **labels(relay)}, data=data)]
