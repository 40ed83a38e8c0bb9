"""The HorizontalPodAutoscaler of a relay."""

from __future__ import annotations

from tokenplace_operator.api import names
from tokenplace_operator.api.kinds import AUTOSCALER, DEPLOYMENT, Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.api.spec.scaling import Autoscaling
from tokenplace_operator.desired.child import child


def autoscaler(relay: Relay) -> list[Object]:
    """Desired when spec.autoscaling is set and spec.replicas is not 0."""
    if relay.autoscaling is None or not relay.is_autoscaled:
        return []
    target = {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": DEPLOYMENT.kind,
        "name": names.child(DEPLOYMENT, relay.name),
    }
    spec = {
        "scaleTargetRef": target,
        "minReplicas": relay.autoscaling.min_replicas,
        "maxReplicas": relay.autoscaling.max_replicas,
        "metrics": _metrics(relay.autoscaling),
    }
    return [child(relay, AUTOSCALER, spec=spec)]


def _metrics(autoscaling: Autoscaling) -> list[Object]:
    percents = {"cpu": autoscaling.cpu, "memory": autoscaling.memory}
    return [
        {
            "type": "Resource",
            "resource": {
                "name": name,
                "target": {"type": "Utilization", "averageUtilization": percent},
            },
        }
        for name, percent in percents.items()
        # The CRD uses 0 for 'no target'; the API server rejects averageUtilization 0.
        if percent
    ]
