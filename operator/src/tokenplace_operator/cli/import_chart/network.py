"""Values of what stands around the relay: the GPU server, the NetworkPolicy, and monitoring."""

import re
from typing import Any

from tokenplace_operator.api import addresses
from tokenplace_operator.api.compact import compact
from tokenplace_operator.cli.import_chart.charts import Chart
from tokenplace_operator.cli.import_chart.ledger import Ledger, Path

PLACEHOLDER = "gpu.example.com"
SERVICE = "gpu-server"
NAMESPACE = "kubernetes.io/metadata.name"
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def gpu(ledger: Ledger, chart: Chart) -> None:
    """Only the older chart routes to a GPU server; else compute nodes poll outward."""
    if chart is not Chart.TOKENPLACE_RELAY:
        ledger.spec["gpu"] = {"mode": "None"}
        return
    section = ("gpuExternalName",)
    headless = ledger.mapping(*section, "headless")
    if ledger.get(*section, "useHeadless") or headless.get("enabled"):
        _addresses(ledger, (*section, "headless"), [str(a) for a in headless.get("addresses", [])])
    else:
        _host(ledger, (*section, "host"), str(ledger.get(*section, "host") or ""))
    if ledger.says(*section, "useHeadless"):
        ledger.carry((*section, "useHeadless"), "spec.gpu.mode", None)
    if ledger.spec["gpu"]["mode"] != "None":
        ledger.copy((*section, "port"), "spec.gpu.port")
    _upstream(ledger)


def _upstream(ledger: Ledger) -> None:
    """The operator makes the URL of the Service and the port, which the chart does not."""
    if not ledger.says("upstream", "url"):
        return
    path, port = ("upstream", "url"), ledger.get("gpuExternalName", "port")
    if ledger.get(*path) == f"http://{SERVICE}:{port}":
        ledger.carry(path, "", None, "It follows spec.gpu")
    else:
        ledger.leave(path, f"Pods ask http://{SERVICE} and spec.gpu.port: set host and port there")


def _addresses(ledger: Ledger, path: Path, addresses: list[str]) -> None:
    if addresses:
        ledger.carry(path, "spec.gpu", {"mode": "Headless", "addresses": addresses})
    else:
        ledger.change(path, "spec.gpu", {"mode": "None"}, "Without addresses it leads nowhere")


def _host(ledger: Ledger, path: Path, host: str) -> None:
    if not host or (host == PLACEHOLDER and not ledger.says(*path)):
        why = f"{PLACEHOLDER} is a placeholder: nothing is routed to a GPU server"
        ledger.change(path, "spec.gpu", {"mode": "None"}, why)
    elif addresses.parse(host):
        section = {"mode": "Headless", "addresses": [host]}
        ledger.change(path, "spec.gpu", section, "An address is no name: mode Headless")
    else:
        ledger.carry(path, "spec.gpu", {"mode": "ExternalName", "host": host.lower()})


def policy(ledger: Ledger, chart: Chart) -> None:
    """The newer chart has none, so pods that come in by other ways than Traefik must be named."""
    if chart is not Chart.TOKENPLACE_RELAY:
        why = "New: only Traefik's pods come in; name others in spec.networkPolicy.extraIngress"
        ledger.change(("networkPolicy",), "spec.networkPolicy", None, why)
        return
    ledger.copy(("networkPolicy", "enabled"), "spec.networkPolicy.enabled")
    if ledger.says("networkPolicy", "traefik"):
        traefik = ledger.mapping("networkPolicy", "traefik")
        peer = _peer(traefik.get("namespace"), traefik.get("podSelector"))
        ledger.carry(("networkPolicy", "traefik"), "spec.networkPolicy.ingressController", peer)
    if ledger.says("networkPolicy", "dnsNamespace") or ledger.says(
        "networkPolicy", "kubeDNSSelector"
    ):
        found = ledger.mapping("networkPolicy")
        peer = _peer(found.get("dnsNamespace"), found.get("kubeDNSSelector"))
        for name in ("dnsNamespace", "kubeDNSSelector"):
            ledger.carry(("networkPolicy", name), "spec.networkPolicy.dns", peer)
    if ledger.get("networkPolicy", "allowDNS") is False:
        ledger.leave(("networkPolicy", "allowDNS"), "The way to DNS is always open")
    if ledger.says("networkPolicy", "externalNameCIDR"):
        why = "The operator opens the addresses that gpu.host resolves to"
        ledger.change(("networkPolicy", "externalNameCIDR"), "", None, why)
    for name in ("extraIngress", "extraEgress"):
        if ledger.says("networkPolicy", name):
            rules = compact(ledger.objects("networkPolicy", name))
            ledger.carry(("networkPolicy", name), f"spec.networkPolicy.{name}", rules)


def _peer(namespace: Any, pods: Any) -> dict[str, Any]:  # noqa: ANN401
    selector = {"matchLabels": {NAMESPACE: str(namespace)}} if namespace else {}
    return {"namespaceSelector": selector, "podSelector": pods or {}}


def monitoring(ledger: Ledger) -> None:
    """ServiceMonitor, token and alerts."""
    if ledger.get("metrics", "enabled"):
        auth = ledger.mapping("metrics", "auth")
        secret = {"name": auth.get("existingSecret"), "key": auth.get("secretKey")}
        ledger.carry(("metrics",), "spec.monitoring.tokenSecretRef", secret)
    if ledger.get("serviceMonitor", "enabled"):
        _service_monitor(ledger)
    if ledger.get("alerts", "enabled"):
        why = "With alerts on metrics that this relay exports"
        ledger.change(("alerts", "enabled"), "spec.monitoring.prometheusRule.enabled", True, why)


def _service_monitor(ledger: Ledger) -> None:
    field = "spec.monitoring.serviceMonitor"
    ledger.carry(("serviceMonitor", "enabled"), f"{field}.enabled", True)
    for value, name in (("interval", "intervalSeconds"), ("scrapeTimeout", "timeoutSeconds")):
        path = ("serviceMonitor", value)
        if ledger.says(*path):
            seconds = _duration(str(ledger.get(*path)))
            if seconds is None:
                ledger.leave(path, f"{field}.{name} is in whole seconds")
            else:
                ledger.carry(path, f"{field}.{name}", seconds)
    for value in ("labels", "additionalLabels"):
        ledger.copy(("serviceMonitor", value), f"{field}.labels")
    for value, todo in (
        ("relabelings", "Give these labels in the configuration of Prometheus"),
        ("namespaceSelector", "It selects the relay of its own namespace"),
        ("path", "It is always /metrics"),
        ("port", "It is always http"),
    ):
        if ledger.says("serviceMonitor", value):
            ledger.leave(("serviceMonitor", value), todo)


def _duration(text: str) -> int | None:
    parts = re.fullmatch(r"([0-9]+)([smh]?)", text)
    return int(parts[1]) * _SECONDS[parts[2]] if parts else None
