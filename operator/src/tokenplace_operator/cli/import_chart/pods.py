"""Values of the Deployment: image, replicas, resources, pod template and termination."""

import re
from typing import Any

from tokenplace_operator.api.compact import compact
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.pods import DRAIN_MARGIN_SECONDS
from tokenplace_operator.cli.import_chart.charts import CONTAINER_SECURITY, POD_SECURITY
from tokenplace_operator.cli.import_chart.value_mapping import ValueMapping
from tokenplace_operator.cli.redact import is_secret

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SIZES = ("cpu", "memory", "ephemeral-storage")
VOLUMES = ("configMap", "secret", "emptyDir", "persistentVolumeClaim")
_APP_LABELS = ("name", "instance", "component", "part-of", "managed-by")
# Labels of the operator are a part of selectors; a copy from Helm would break them.
_OPERATOR_LABELS = {*(f"app.kubernetes.io/{name}" for name in _APP_LABELS), "pod-template-hash"}


def image(mapping: ValueMapping, digest: str) -> None:
    """Map the image. digest: overrides the one in the values."""
    repository = str(mapping.get("image", "repository") or "")
    # A value such as ${REGISTRY}/relay is a template that was never filled in.
    if "$" in repository:
        mapping.leave_out(("image", "repository"), "It holds a placeholder; the default applies")
    else:
        mapping.copy(("image", "repository"), "spec.image.repository")
    _digest(mapping, digest)
    _tag(mapping)
    mapping.copy(("image", "pullPolicy"), "spec.image.pullPolicy")
    if mapping.is_set("imagePullSecrets"):
        secrets = [{"name": item.get("name")} for item in mapping.list_at("imagePullSecrets")]
        mapping.carry_over(("imagePullSecrets",), "spec.image.pullSecrets", secrets)


def _digest(mapping: ValueMapping, override: str) -> None:
    path, field = ("image", "digest"), "spec.image.digest"
    digest = str(mapping.get(*path) or "")
    if override:
        mapping.change(path, field, override, "Set by --digest")
    elif DIGEST.fullmatch(digest.lower()):
        mapping.carry_over(path, field, digest.lower())
    elif digest:
        mapping.leave_out(path, "Not sha256: and 64 hex digits; set spec.image.digest")


def _tag(mapping: ValueMapping) -> None:
    path, field = ("image", "tag"), "spec.image.tag"
    tag = str(mapping.get(*path) or "")
    pinned = "digest" in mapping.spec.get("image", {})
    # Tags such as main-latest are moved with each build.
    if tag.lower().endswith("latest") or not tag:
        if not pinned:
            mapping.leave_out(path, "Not a fixed image; set spec.image.digest, or use --digest")
        elif tag:
            mapping.change(path, "", None, "The digest alone selects the image")
    elif pinned:
        mapping.carry_over(path, field, tag, "The digest takes precedence")
    else:
        mapping.carry_over(path, field, tag, "A tag can be moved; later run kubectl tokenplace pin")


def replicas(mapping: ValueMapping) -> None:
    """Map replicas and strategy. The relay keeps its state in memory, so only one pod may run."""
    if mapping.is_set("replicaCount"):
        count = mapping.get("replicaCount")
        if count in {0, 1}:
            mapping.carry_over(("replicaCount",), "spec.replicas", count)
        else:
            mapping.leave_out(("replicaCount",), "Only one pod can run: its state is in memory")
    if mapping.is_set("autoscaling"):
        if mapping.get("autoscaling", "enabled"):
            mapping.leave_out(("autoscaling",), "Only one pod can run: its state is in memory")
        else:
            mapping.carry_over(("autoscaling",), "", None, "It is off")
    if mapping.is_set("strategy"):
        why = "The operator replaces the pod (Recreate)"
        mapping.change(("strategy",), "", None, why)


def resources(mapping: ValueMapping) -> None:
    """Map the resources in effect when the user set any; else the operator's defaults apply."""
    if not mapping.is_set("resources"):
        note = "The chart's default is 300m, the operator's is 500m"
        mapping.change(("resources", "limits", "cpu"), "spec.resources.limits.cpu", None, note)
        return
    for kind in ("requests", "limits"):
        # An absent map would get the defaults of the CRD; an empty one does not.
        mapping.spec.setdefault("resources", {})[kind] = {}
        for name, amount in mapping.map_at("resources", kind).items():
            path = ("resources", kind, name)
            if name in SIZES:
                mapping.carry_over(path, f"spec.resources.{kind}.{name}", amount)
            else:
                mapping.leave_out(path, "Only cpu, memory and ephemeral-storage can be set")


def security_contexts(mapping: ValueMapping) -> None:
    """Record the security contexts: the operator's are fixed, as strict as the charts' defaults."""
    for name, always in (
        ("podSecurityContext", POD_SECURITY),
        ("securityContext", CONTAINER_SECURITY),
    ):
        if not mapping.is_set(name):
            continue
        # A subset of the charts' defaults weakens nothing, so it needs no action.
        if mapping.map_at(name).items() <= always.items():
            mapping.carry_over((name,), "", None, "The operator sets the same")
        else:
            mapping.leave_out((name,), "Fixed: uid 1000, no capabilities, read-only root")


def service_account(mapping: ValueMapping) -> None:
    """Record the ServiceAccount: the operator creates one without a token for each relay."""
    if mapping.get("serviceAccount", "create"):
        mapping.carry_over(
            ("serviceAccount", "create"), "", None, "The operator creates one, without a token"
        )
    for name in ("name", "annotations"):
        if mapping.is_set("serviceAccount", name):
            mapping.leave_out(
                ("serviceAccount", name), "Pods use the ServiceAccount that the operator creates"
            )


def template(mapping: ValueMapping) -> None:
    """Map labels, annotations, scheduling and the container's port."""
    mapping.copy(("containerPort",), "spec.port")
    for name, value in mapping.map_at("podLabels").items():
        if name in _OPERATOR_LABELS or name.startswith("token.place/"):
            mapping.leave_out(("podLabels", name), "The operator sets this label")
        else:
            _add(mapping, ("podLabels", name), "labels", {name: str(value)})
    for name, value in mapping.map_at("podAnnotations").items():
        if name.startswith("token.place/"):
            mapping.leave_out(
                ("podAnnotations", name), "Keys under token.place/ are reserved for the operator"
            )
        elif is_secret(name, str(value)):
            mapping.leave_out(("podAnnotations", name), "It looks like a secret; set it yourself")
        else:
            _add(mapping, ("podAnnotations", name), "annotations", {name: str(value)})
    for name in ("nodeSelector", "tolerations", "affinity"):
        mapping.copy((name,), f"spec.podTemplate.{name}")
    if mapping.is_set("topologySpreadConstraints"):
        # The CRD has no labelSelector: the operator adds the relay's own.
        kept = ("maxSkew", "topologyKey", "whenUnsatisfiable")
        constraints = [
            {name: constraint[name] for name in kept if name in constraint}
            for constraint in mapping.list_at("topologySpreadConstraints")
        ]
        field = "spec.podTemplate.topologySpreadConstraints"
        why = "They select the relay's own pods"
        mapping.change(("topologySpreadConstraints",), field, constraints, why)


def volumes(mapping: ValueMapping) -> None:
    """Map volumes that the Pod Security Standard "restricted" allows, and their mounts."""
    for kind, value in (("volumes", "extraVolumes"), ("volumeMounts", "extraVolumeMounts")):
        for item in mapping.list_at(value):
            path, name = (value, str(item.get("name"))), str(item.get("name"))
            mapped = {volume["name"] for volume in _template(mapping).get("volumes", [])}
            # Other sources, such as hostPath, break the Pod Security Standard that the operator
            # keeps.
            if kind == "volumes" and not any(source in item for source in VOLUMES):
                mapping.leave_out(path, f"Only these volumes are allowed: {', '.join(VOLUMES)}")
            # A mount without its volume would make the API server reject the whole Deployment.
            elif kind == "volumeMounts" and name not in mapped:
                mapping.leave_out(path, "Its volume is not carried over")
            else:
                items = [*_template(mapping).get(kind, []), compact(item)]
                mapping.carry_over(path, f"spec.podTemplate.{kind}", items)


def termination(mapping: ValueMapping) -> None:
    """Record the probes, which are fixed, and map preStop and grace period to the drain."""
    if mapping.is_set("probes"):
        mapping.leave_out(("probes",), "Fixed: liveness fails after 30 s, readiness after 2 s")
    if not (mapping.is_set("preStop") or mapping.is_set("terminationGracePeriodSeconds")):
        return
    # preStop counts towards the grace period, as the operator's delay does.
    stop = mapping.map_at("preStop")
    delay = _seconds(stop.get("sleepSeconds")) if stop.get("enabled") else 0
    grace = _seconds(mapping.get("terminationGracePeriodSeconds"))
    timeout = max(0, grace - delay - DRAIN_MARGIN_SECONDS)
    for path, field, value in (
        ("preStop", "spec.drain.delaySeconds", delay),
        ("terminationGracePeriodSeconds", "spec.drain.timeoutSeconds", timeout),
    ):
        why = f"Grace period = delay + timeout + {DRAIN_MARGIN_SECONDS} s"
        mapping.change((path,), field, value, why)


def _seconds(value: Any) -> int:  # noqa: ANN401
    return value if isinstance(value, int) else 0


def _template(mapping: ValueMapping) -> Object:
    template: Object = mapping.spec.get("podTemplate", {})
    return template


def _add(mapping: ValueMapping, path: tuple[str, ...], field: str, more: Object) -> None:
    entries = {**_template(mapping).get(field, {}), **more}
    mapping.carry_over(path, f"spec.podTemplate.{field}", entries)
