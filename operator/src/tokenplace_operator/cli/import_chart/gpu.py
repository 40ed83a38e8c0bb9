"""Values of the GPU server."""

from tokenplace_operator.api.addresses import parse as parse_address
from tokenplace_operator.cli.import_chart.charts import Chart
from tokenplace_operator.cli.import_chart.value_mapping import Path, ValueMapping

PLACEHOLDER = "gpu.example.com"
"""The host in the default values of chart tokenplace-relay."""
SERVICE = "gpu-server"


def gpu(mapping: ValueMapping, chart: Chart) -> None:
    """Map the GPU server; only chart tokenplace-relay routes to one."""
    if chart is not Chart.TOKENPLACE_RELAY:
        # Must be explicit: the CRD's default is ExternalName, which needs a host.
        mapping.spec["gpu"] = {"mode": "None"}
        return
    section = ("gpuExternalName",)
    headless = mapping.map_at(*section, "headless")
    if mapping.get(*section, "useHeadless") or headless.get("enabled"):
        addresses = [str(address) for address in headless.get("addresses", [])]
        _headless(mapping, (*section, "headless"), addresses)
    else:
        _host(mapping, (*section, "host"), str(mapping.get(*section, "host") or ""))
    if mapping.is_set(*section, "useHeadless"):
        mapping.carry_over((*section, "useHeadless"), "spec.gpu.mode", None)
    if mapping.spec["gpu"]["mode"] != "None":
        mapping.copy((*section, "port"), "spec.gpu.port")
    _upstream_url(mapping)


def _headless(mapping: ValueMapping, path: Path, addresses: list[str]) -> None:
    if addresses:
        mapping.carry_over(path, "spec.gpu", {"mode": "Headless", "addresses": addresses})
    else:
        mapping.change(path, "spec.gpu", {"mode": "None"}, "It has no addresses to route to")


def _host(mapping: ValueMapping, path: Path, host: str) -> None:
    if not host or (host == PLACEHOLDER and not mapping.is_set(*path)):
        why = f"{PLACEHOLDER} is a placeholder; the relay gets no GPU server"
        mapping.change(path, "spec.gpu", {"mode": "None"}, why)
    # An ExternalName must be a DNS name; with an address, the Service would not resolve.
    elif parse_address(host) is not None:
        section = {"mode": "Headless", "addresses": [host]}
        mapping.change(path, "spec.gpu", section, "An address needs mode Headless")
    else:
        mapping.carry_over(path, "spec.gpu", {"mode": "ExternalName", "host": host.lower()})


def _upstream_url(mapping: ValueMapping) -> None:
    # The operator derives the URL from Service and port; the chart takes it as a value.
    if not mapping.is_set("upstream", "url"):
        return
    path, port = ("upstream", "url"), mapping.get("gpuExternalName", "port")
    if mapping.get(*path) == f"http://{SERVICE}:{port}":
        mapping.carry_over(path, "", None, "Derived from spec.gpu")
    else:
        todo = f"The relay uses http://{SERVICE} and spec.gpu.port: set host and port in spec.gpu"
        mapping.leave_out(path, todo)
