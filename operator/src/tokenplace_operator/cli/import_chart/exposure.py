"""Values of Service and Ingress: how clients and compute nodes reach the relay."""

from typing import Any

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.cli.import_chart.ledger import Ledger, Path, ValuesError
from tokenplace_operator.cli.redact import is_secret

PLACEHOLDER = "relay.example.com"
"""The host that the older chart comes with."""
ISSUERS = {
    "cert-manager.io/cluster-issuer": "clusterIssuer",
    "cert-manager.io/issuer": "issuer",
}


def service(ledger: Ledger) -> None:
    """Its name stays, and with it the address, when the relay has the name of the old Service."""
    if ledger.says("service", "type"):
        note = "Name who may come in: spec.networkPolicy.extraIngress"
        ledger.carry(("service", "type"), "spec.service.type", ledger.get("service", "type"), note)
    ledger.copy(("service", "port"), "spec.service.port")
    if ledger.says("service", "targetPort"):
        ledger.change(("service", "targetPort"), "", None, "It is always the port of the pods")


def ingress(ledger: Ledger) -> None:
    """Both charts' shapes: `host` with one `tls`, or lists of both."""
    hosts = _hosts(ledger)
    enabled = ledger.get("ingress", "enabled") is True
    if not hosts:
        if ledger.says("ingress", "enabled") and enabled:
            ledger.leave(("ingress", "enabled"), "Without a host there is no Ingress")
        elif ledger.says("ingress", "enabled"):
            ledger.carry(("ingress", "enabled"), "", None, "Without a host there is none")
        return
    ledger.carry(("ingress", "enabled"), "spec.ingress.enabled", enabled)
    ledger.carry(_path_of_hosts(ledger), "spec.ingress.hosts", hosts)
    class_name = str(ledger.get("ingress", "className") or "")
    ledger.carry(("ingress", "className"), "spec.ingress.className", class_name)
    _tls(ledger, hosts)
    _annotations(ledger)
    if class_name not in {"", "traefik"}:
        todo = "The policy lets Traefik's pods in; name yours in networkPolicy.ingressController"
        ledger.leave(("ingress", "className"), todo)


def _path_of_hosts(ledger: Ledger) -> Path:
    return ("ingress", "hosts" if ledger.get("ingress", "hosts") else "host")


def _hosts(ledger: Ledger) -> list[str]:
    found = [str(ledger.get("ingress", "host") or "")]
    for one in ledger.objects("ingress", "hosts"):
        found.append(str(one.get("host") or ""))
        paths = one.get("paths") or [{}]
        if any(path.get("path", "/") != "/" for path in paths):
            why = "Every path of a host leads to the relay"
            ledger.change(("ingress", "hosts", "paths"), "", None, why)
    hosts = [one for one in found if one]
    if hosts == [PLACEHOLDER] and not any(ledger.says("ingress", one) for one in ("host", "hosts")):
        if ledger.get("ingress", "enabled"):
            ledger.leave(("ingress", "hosts"), f"{PLACEHOLDER} is a placeholder; set ingress.hosts")
        return []
    return hosts


def _tls(ledger: Ledger, hosts: list[str]) -> None:
    tls = ledger.get("ingress", "tls")
    issuer = _issuer(ledger)
    if not _has_tls(tls):
        ledger.carry(("ingress", "tls"), "spec.ingress.tls", {"enabled": False})
        if issuer:
            ledger.leave(("ingress", "annotations", next(iter(issuer))), "There is no TLS")
        return
    secret, covered = _first_secret(ledger, tls, hosts)
    section: Object = {"secretName": secret} if secret else {}
    for annotation, name in issuer.items():
        section[ISSUERS[annotation]] = name
        path = ("ingress", "annotations", annotation)
        ledger.carry(path, f"spec.ingress.tls.{ISSUERS[annotation]}", name)
    ledger.carry(("ingress", "tls"), "spec.ingress.tls", section)
    if sorted(covered) != sorted(hosts):
        why = "The certificate is for every host of the Ingress"
        ledger.change(("ingress", "tls"), "spec.ingress.hosts", None, why)


def _has_tls(tls: Any) -> bool:  # noqa: ANN401
    if isinstance(tls, dict):
        return tls.get("enabled") is True
    return bool(tls)


def _first_secret(ledger: Ledger, tls: Any, hosts: list[str]) -> tuple[str, list[str]]:  # noqa: ANN401
    if isinstance(tls, dict):
        return str(tls.get("secretName") or ""), hosts
    entries = ledger.objects("ingress", "tls")
    secrets = [str(one.get("secretName") or "") for one in entries]
    if len(set(secrets)) > 1:
        todo = "One Secret holds the certificate of all hosts; the first one is named"
        ledger.leave(("ingress", "tls", "secretName"), todo)
    covered = {str(host) for one in entries for host in one.get("hosts") or []}
    return secrets[0], sorted(covered)


def _issuer(ledger: Ledger) -> dict[str, str]:
    annotations = ledger.mapping("ingress", "annotations")
    found = {name: str(annotations[name]) for name in ISSUERS if annotations.get(name)}
    if len(found) > 1:
        raise ValuesError("ingress.annotations: names an issuer and a cluster-issuer; keep one")
    return found


def _annotations(ledger: Ledger) -> None:
    for name, value in ledger.mapping("ingress", "annotations").items():
        path, field = ("ingress", "annotations", name), "spec.ingress.annotations"
        if name in ISSUERS:
            continue
        if name.startswith("token.place/"):
            ledger.leave(path, "Keys under token.place/ are the operator's")
        elif is_secret(name, str(value)):
            ledger.leave(path, "It looks secret; set it by hand")
        else:
            both = {**ledger.spec["ingress"].get("annotations", {}), name: str(value)}
            ledger.carry(path, field, both)
