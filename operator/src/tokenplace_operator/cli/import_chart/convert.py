"""Conversion of Helm values of upstream's charts to a TokenplaceRelay."""

from dataclasses import dataclass

from tokenplace_operator.api.kinds import RELAY, Object
from tokenplace_operator.api.spec.reader import SpecError
from tokenplace_operator.api.spec.relay import parse
from tokenplace_operator.cli.import_chart import exposure, pods
from tokenplace_operator.cli.import_chart.charts import DEFAULTS, Source, object_name
from tokenplace_operator.cli.import_chart.environment import environment
from tokenplace_operator.cli.import_chart.gpu import gpu
from tokenplace_operator.cli.import_chart.monitoring import monitoring
from tokenplace_operator.cli.import_chart.network_policy import network_policy
from tokenplace_operator.cli.import_chart.value_mapping import Entry, Outcome, ValueMapping

# The order of docs/api.md, for people who read the printed YAML.
SECTION_ORDER = (
    "image",
    "replicas",
    "port",
    "resources",
    "gpu",
    "service",
    "ingress",
    "networkPolicy",
    "monitoring",
    "drain",
    "relay",
    "podTemplate",
)


@dataclass(frozen=True, slots=True)
class Conversion:
    """The relay, the outcome of each value, and the rules that the relay's spec still breaks."""

    relay: Object
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether the relay is valid and every value was carried over or changed."""
        outcomes = {entry.outcome for entry in self.entries}
        return not self.problems and Outcome.NOT_CARRIED not in outcomes


def convert(
    source: Source, *, release: str = "", name: str = "", namespace: str = "", digest: str = ""
) -> Conversion:
    """Convert the values of a release; ValuesError for values that no chart could render.

    release: the Helm release, from which its objects get their names. name: of the relay; default:
    the name of those objects. digest: of the image, instead of the one in the values.
    """
    mapping = ValueMapping(source.given, DEFAULTS[source.chart])
    pods.image(mapping, digest)
    pods.replicas(mapping)
    pods.resources(mapping)
    gpu(mapping, source.chart)
    exposure.service(mapping)
    exposure.ingress(mapping)
    network_policy(mapping, source.chart)
    monitoring(mapping)
    pods.termination(mapping)
    pods.security_contexts(mapping)
    pods.service_account(mapping)
    pods.template(mapping)
    pods.volumes(mapping)
    environment(mapping)
    for override in ("nameOverride", "fullnameOverride"):
        if mapping.is_set(override):
            mapping.carry_over((override,), "metadata.name", None)
    # Last, because it records every value that no function above has handled.
    mapping.leave_out_the_rest("The chart has no such value; check whether the relay needs it")
    relay = _relay(mapping.spec, name or object_name(source, release), namespace)
    return Conversion(relay, tuple(mapping.entries), _problems(relay))


def _relay(spec: Object, name: str, namespace: str) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    ordered = {section: spec[section] for section in SECTION_ORDER if section in spec}
    return {
        "apiVersion": RELAY.api_version,
        "kind": RELAY.kind,
        "metadata": metadata,
        "spec": ordered,
    }


def _problems(relay: Object) -> tuple[str, ...]:
    try:
        parse(relay)
    except SpecError as error:
        return error.problems
    return ()
