"""Values of the NetworkPolicy."""

from typing import Any

from tokenplace_operator.api.compact import compact
from tokenplace_operator.cli.import_chart.charts import Chart
from tokenplace_operator.cli.import_chart.value_mapping import ValueMapping

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


def network_policy(mapping: ValueMapping, chart: Chart) -> None:
    """Map the NetworkPolicy. Chart tokenplace has none, so the operator's policy is a change."""
    if chart is not Chart.TOKENPLACE_RELAY:
        why = "New: admits only Traefik's pods; add others to spec.networkPolicy.extraIngress"
        mapping.change(("networkPolicy",), "spec.networkPolicy", None, why)
        return
    mapping.copy(("networkPolicy", "enabled"), "spec.networkPolicy.enabled")
    _peers(mapping)
    if mapping.get("networkPolicy", "allowDNS") is False:
        mapping.leave_out(("networkPolicy", "allowDNS"), "DNS is always allowed")
    if mapping.is_set("networkPolicy", "externalNameCIDR"):
        why = "The operator allows the addresses that gpu.host resolves to"
        mapping.change(("networkPolicy", "externalNameCIDR"), "", None, why)
    for name in ("extraIngress", "extraEgress"):
        if mapping.is_set("networkPolicy", name):
            rules = compact(mapping.list_at("networkPolicy", name))
            mapping.carry_over(("networkPolicy", name), f"spec.networkPolicy.{name}", rules)


def _peers(mapping: ValueMapping) -> None:
    """Map the selectors of Traefik and of the cluster's DNS."""
    if mapping.is_set("networkPolicy", "traefik"):
        traefik = mapping.map_at("networkPolicy", "traefik")
        peer = _peer(traefik.get("namespace"), traefik.get("podSelector"))
        field = "spec.networkPolicy.ingressController"
        mapping.carry_over(("networkPolicy", "traefik"), field, peer)
    dns_values = ("dnsNamespace", "kubeDNSSelector")
    if any(mapping.is_set("networkPolicy", name) for name in dns_values):
        policy = mapping.map_at("networkPolicy")
        peer = _peer(policy.get("dnsNamespace"), policy.get("kubeDNSSelector"))
        for name in dns_values:
            mapping.carry_over(("networkPolicy", name), "spec.networkPolicy.dns", peer)


def _peer(namespace: Any, pods: Any) -> dict[str, Any]:  # noqa: ANN401
    # Kubernetes sets this label on every namespace; its value is the name.
    selector = {"matchLabels": {NAMESPACE_LABEL: str(namespace)}} if namespace else {}
    return {"namespaceSelector": selector, "podSelector": pods or {}}
