"""Values of Service and Ingress."""

from typing import Any

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.cli.import_chart.value_mapping import Path, ValueMapping, ValuesError
from tokenplace_operator.cli.redact import is_secret

PLACEHOLDER = "relay.example.com"
"""The host in the default values of chart tokenplace-relay."""
ISSUERS = {
    "cert-manager.io/cluster-issuer": "clusterIssuer",
    "cert-manager.io/issuer": "issuer",
}


def service(mapping: ValueMapping) -> None:
    """Map type and port. With the relay named like the old Service, its address stays too."""
    if mapping.is_set("service", "type"):
        note = "Allow its clients in spec.networkPolicy.extraIngress"
        mapping.carry_over(
            ("service", "type"), "spec.service.type", mapping.get("service", "type"), note
        )
    mapping.copy(("service", "port"), "spec.service.port")
    if mapping.is_set("service", "targetPort"):
        mapping.change(("service", "targetPort"), "", None, "It is always the port of the pod")


def ingress(mapping: ValueMapping) -> None:
    """Map the Ingress: chart tokenplace has one host and one TLS Secret, the other has lists."""
    hosts = _hosts(mapping)
    enabled = mapping.get("ingress", "enabled") is True
    if not hosts:
        if mapping.is_set("ingress", "enabled") and enabled:
            mapping.leave_out(
                ("ingress", "enabled"), "An Ingress needs a host; set spec.ingress.hosts"
            )
        elif mapping.is_set("ingress", "enabled"):
            mapping.carry_over(
                ("ingress", "enabled"), "", None, "Without a host there is no Ingress"
            )
        return
    mapping.carry_over(("ingress", "enabled"), "spec.ingress.enabled", enabled)
    mapping.carry_over(_path_of_hosts(mapping), "spec.ingress.hosts", hosts)
    class_name = str(mapping.get("ingress", "className") or "")
    # Always set, also when empty: the CRD's default is traefik, the chart's is the cluster's
    # default class.
    mapping.carry_over(("ingress", "className"), "spec.ingress.className", class_name)
    _tls(mapping, hosts)
    _annotations(mapping)
    # Recorded in addition to the copy, because the copied class alone would leave the relay
    # unreachable.
    if class_name not in {"", "traefik"}:
        todo = "Set spec.networkPolicy.ingressController; the default admits Traefik's pods"
        mapping.leave_out(("ingress", "className"), todo)


def _path_of_hosts(mapping: ValueMapping) -> Path:
    return ("ingress", "hosts" if mapping.get("ingress", "hosts") else "host")


def _hosts(mapping: ValueMapping) -> list[str]:
    names = [str(mapping.get("ingress", "host") or "")]
    for entry in mapping.list_at("ingress", "hosts"):
        names.append(str(entry.get("host") or ""))
        paths = entry.get("paths") or [{}]
        if any(path.get("path", "/") != "/" for path in paths):
            why = "All paths of a host go to the relay"
            mapping.change(("ingress", "hosts", "paths"), "", None, why)
    hosts = [name for name in names if name]
    # A placeholder that the user did not set must not become a host of the relay.
    if hosts == [PLACEHOLDER] and not any(
        mapping.is_set("ingress", name) for name in ("host", "hosts")
    ):
        if mapping.get("ingress", "enabled"):
            mapping.leave_out(
                ("ingress", "hosts"), f"{PLACEHOLDER} is a placeholder; set spec.ingress.hosts"
            )
        return []
    return hosts


def _tls(mapping: ValueMapping, hosts: list[str]) -> None:
    tls = mapping.get("ingress", "tls")
    issuer = _issuer(mapping)
    if not _has_tls(tls):
        # Must be explicit: without a tls section the CRD enables TLS with an issuer.
        mapping.carry_over(("ingress", "tls"), "spec.ingress.tls", {"enabled": False})
        if issuer:
            mapping.leave_out(
                ("ingress", "annotations", next(iter(issuer))),
                "TLS is off, so no certificate is issued",
            )
        return
    secret, covered = _first_secret(mapping, tls, hosts)
    # Also when empty: a section without an issuer turns the CRD's default issuer off.
    section: Object = {"secretName": secret} if secret else {}
    for annotation, name in issuer.items():
        section[ISSUERS[annotation]] = name
        path = ("ingress", "annotations", annotation)
        mapping.carry_over(path, f"spec.ingress.tls.{ISSUERS[annotation]}", name)
    mapping.carry_over(("ingress", "tls"), "spec.ingress.tls", section)
    if sorted(covered) != sorted(hosts):
        why = "The certificate covers all hosts of the Ingress"
        mapping.change(("ingress", "tls"), "spec.ingress.hosts", None, why)


def _has_tls(tls: Any) -> bool:  # noqa: ANN401
    if isinstance(tls, dict):
        return tls.get("enabled") is True
    return bool(tls)


def _first_secret(mapping: ValueMapping, tls: Any, hosts: list[str]) -> tuple[str, list[str]]:  # noqa: ANN401
    if isinstance(tls, dict):
        return str(tls.get("secretName") or ""), hosts
    entries = mapping.list_at("ingress", "tls")
    secrets = [str(entry.get("secretName") or "") for entry in entries]
    if len(set(secrets)) > 1:
        todo = "One Secret holds the certificate of all hosts; the first Secret is set"
        mapping.leave_out(("ingress", "tls", "secretName"), todo)
    covered = {str(host) for entry in entries for host in entry.get("hosts") or []}
    return secrets[0], sorted(covered)


def _issuer(mapping: ValueMapping) -> dict[str, str]:
    annotations = mapping.map_at("ingress", "annotations")
    issuers = {name: str(annotations[name]) for name in ISSUERS if annotations.get(name)}
    if len(issuers) > 1:
        raise ValuesError("ingress.annotations: has both issuer and cluster-issuer; keep one")
    return issuers


def _annotations(mapping: ValueMapping) -> None:
    for name, value in mapping.map_at("ingress", "annotations").items():
        path, field = ("ingress", "annotations", name), "spec.ingress.annotations"
        if name in ISSUERS:
            continue
        if name.startswith("token.place/"):
            mapping.leave_out(path, "Keys under token.place/ are reserved for the operator")
        elif is_secret(name, str(value)):
            mapping.leave_out(path, "It looks like a secret; set it yourself")
        else:
            annotations = {**mapping.spec["ingress"].get("annotations", {}), name: str(value)}
            mapping.carry_over(path, field, annotations)
