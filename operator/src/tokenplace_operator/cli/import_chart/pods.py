"""Values of the Deployment: how many pods, what they run, where, and how they end."""

import re
from typing import Any

from tokenplace_operator.api.compact import compact
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.pods import DRAIN_MARGIN_SECONDS
from tokenplace_operator.cli.import_chart.charts import CONTAINER_SECURITY, POD_SECURITY
from tokenplace_operator.cli.import_chart.ledger import Ledger
from tokenplace_operator.cli.redact import is_secret

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SIZES = ("cpu", "memory", "ephemeral-storage")
VOLUMES = ("configMap", "secret", "emptyDir", "persistentVolumeClaim")
_PARTS = ("name", "instance", "component", "part-of", "managed-by")
_OURS = {*(f"app.kubernetes.io/{one}" for one in _PARTS), "pod-template-hash"}


def image(ledger: Ledger, digest: str) -> None:
    """A digest given by hand wins over those of the values."""
    repository = str(ledger.get("image", "repository") or "")
    if "$" in repository:
        ledger.leave(("image", "repository"), "It holds a placeholder; the default is used instead")
    else:
        ledger.copy(("image", "repository"), "spec.image.repository")
    _digest(ledger, digest)
    _tag(ledger)
    ledger.copy(("image", "pullPolicy"), "spec.image.pullPolicy")
    if ledger.says("imagePullSecrets"):
        secrets = [{"name": one.get("name")} for one in ledger.objects("imagePullSecrets")]
        ledger.carry(("imagePullSecrets",), "spec.image.pullSecrets", secrets)


def _digest(ledger: Ledger, by_hand: str) -> None:
    path, field = ("image", "digest"), "spec.image.digest"
    written = str(ledger.get(*path) or "")
    if by_hand:
        ledger.change(path, field, by_hand, "Set by --digest")
    elif DIGEST.fullmatch(written.lower()):
        ledger.carry(path, field, written.lower())
    elif written:
        ledger.leave(path, "It is not sha256: and 64 hex digits; set spec.image.digest")


def _tag(ledger: Ledger) -> None:
    path, field = ("image", "tag"), "spec.image.tag"
    tag = str(ledger.get(*path) or "")
    pinned = "digest" in ledger.spec.get("image", {})
    if tag.lower().endswith("latest") or not tag:
        if not pinned:
            ledger.leave(path, "No fixed image is named; set spec.image.digest, or use --digest")
        elif tag:
            ledger.change(path, "", None, "The digest alone says what runs")
    elif pinned:
        ledger.carry(path, field, tag, "The digest wins over it")
    else:
        ledger.carry(path, field, tag, "A tag can be moved; later: kubectl tokenplace pin")


def scale(ledger: Ledger) -> None:
    """One pod: with state in memory a second one would know other compute nodes."""
    if ledger.says("replicaCount"):
        count = ledger.get("replicaCount")
        if count in {0, 1}:
            ledger.carry(("replicaCount",), "spec.replicas", count)
        else:
            ledger.leave(("replicaCount",), "One pod runs: each has a memory of its own")
    if ledger.says("autoscaling"):
        if ledger.get("autoscaling", "enabled"):
            ledger.leave(("autoscaling",), "One pod runs: each has a memory of its own")
        else:
            ledger.carry(("autoscaling",), "", None, "It was off")
    if ledger.says("strategy"):
        why = "The operator replaces the pod (Recreate)"
        ledger.change(("strategy",), "", None, why)


def resources(ledger: Ledger) -> None:
    """What the person wrote, with the chart's defaults beside it; else the operator's defaults."""
    if not ledger.says("resources"):
        note = "The chart's default of 300m becomes the operator's of 500m"
        ledger.change(("resources", "limits", "cpu"), "spec.resources.limits.cpu", None, note)
        return
    for kind in ("requests", "limits"):
        # Said to be empty, or the API server adds its default.
        ledger.spec.setdefault("resources", {})[kind] = {}
        for name, amount in ledger.mapping("resources", kind).items():
            if name in SIZES:
                ledger.carry(("resources", kind, name), f"spec.resources.{kind}.{name}", amount)
            else:
                ledger.leave(("resources", kind, name), "The relay needs cpu, memory and disk only")


def hardening(ledger: Ledger) -> None:
    """The operator sets both contexts itself, as strict as the charts' defaults."""
    for name, always in (
        ("podSecurityContext", POD_SECURITY),
        ("securityContext", CONTAINER_SECURITY),
    ):
        if not ledger.says(name):
            continue
        if ledger.mapping(name).items() <= always.items():
            ledger.carry((name,), "", None, "The operator always sets it")
        else:
            ledger.leave((name,), "Hardening is fixed: uid 1000, no rights, a read-only root")


def account(ledger: Ledger) -> None:
    """The relay does not talk to the API server, so its account is its own and has no token."""
    if ledger.get("serviceAccount", "create"):
        ledger.carry(("serviceAccount", "create"), "", None, "The operator makes one, no token")
    for name in ("name", "annotations"):
        if ledger.says("serviceAccount", name):
            ledger.leave(("serviceAccount", name), "Pods run as the relay's own ServiceAccount")


def template(ledger: Ledger) -> None:
    """What is passed on to the pods as it stands."""
    ledger.copy(("containerPort",), "spec.port")
    for name, value in ledger.mapping("podLabels").items():
        if name in _OURS or name.startswith("token.place/"):
            ledger.leave(("podLabels", name), "The operator sets this label")
        else:
            _add(ledger, ("podLabels", name), "labels", {name: str(value)})
    for name, value in ledger.mapping("podAnnotations").items():
        if name.startswith("token.place/"):
            ledger.leave(("podAnnotations", name), "Keys under token.place/ are the operator's")
        elif is_secret(name, str(value)):
            ledger.leave(("podAnnotations", name), "It looks secret; set it by hand")
        else:
            _add(ledger, ("podAnnotations", name), "annotations", {name: str(value)})
    for name in ("nodeSelector", "tolerations", "affinity"):
        ledger.copy((name,), f"spec.podTemplate.{name}")
    if ledger.says("topologySpreadConstraints"):
        kept = ("maxSkew", "topologyKey", "whenUnsatisfiable")
        found = ledger.objects("topologySpreadConstraints")
        constraints = [{name: one[name] for name in kept if name in one} for one in found]
        field = "spec.podTemplate.topologySpreadConstraints"
        ledger.change(("topologySpreadConstraints",), field, constraints, "Of the relay's own pods")


def volumes(ledger: Ledger) -> None:
    """Volumes of the kinds that the restricted Pod Security Standard allows, and their mounts."""
    for kind, value in (("volumes", "extraVolumes"), ("volumeMounts", "extraVolumeMounts")):
        for one in ledger.objects(value):
            path, name = (value, str(one.get("name"))), str(one.get("name"))
            known = {volume["name"] for volume in _template(ledger).get("volumes", [])}
            if kind == "volumes" and not any(source in one for source in VOLUMES):
                ledger.leave(path, f"Only these volumes are allowed: {', '.join(VOLUMES)}")
            elif kind == "volumeMounts" and name not in known:
                ledger.leave(path, "Its volume is not carried over")
            else:
                items = [*_template(ledger).get(kind, []), compact(one)]
                ledger.carry(path, f"spec.podTemplate.{kind}", items)


def ending(ledger: Ledger) -> None:
    """Probes are the operator's; the grace period follows from the drain."""
    if ledger.says("probes"):
        ledger.leave(("probes",), "The operator's own: dead after 30 s, unready after 2 s")
    if not (ledger.says("preStop") or ledger.says("terminationGracePeriodSeconds")):
        return
    stop = ledger.mapping("preStop")
    delay = _seconds(stop.get("sleepSeconds")) if stop.get("enabled") else 0
    grace = _seconds(ledger.get("terminationGracePeriodSeconds"))
    timeout = max(0, grace - delay - DRAIN_MARGIN_SECONDS)
    for path, field, value in (
        ("preStop", "spec.drain.delaySeconds", delay),
        ("terminationGracePeriodSeconds", "spec.drain.timeoutSeconds", timeout),
    ):
        why = f"Grace period = delay + timeout + {DRAIN_MARGIN_SECONDS} s"
        ledger.change((path,), field, value, why)


def _seconds(value: Any) -> int:  # noqa: ANN401
    return value if isinstance(value, int) else 0


def _template(ledger: Ledger) -> Object:
    found: Object = ledger.spec.get("podTemplate", {})
    return found


def _add(ledger: Ledger, path: tuple[str, ...], field: str, more: Object) -> None:
    both = {**_template(ledger).get(field, {}), **more}
    ledger.carry(path, f"spec.podTemplate.{field}", both)
