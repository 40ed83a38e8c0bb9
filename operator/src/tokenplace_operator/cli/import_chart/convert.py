"""From Helm values of upstream's charts to a TokenplaceRelay, as a pure function."""

from dataclasses import dataclass

from tokenplace_operator.api.kinds import RELAY, Object
from tokenplace_operator.api.spec.reader import SpecError
from tokenplace_operator.api.spec.relay import parse
from tokenplace_operator.cli.import_chart import exposure, pods, surroundings, variables
from tokenplace_operator.cli.import_chart.charts import (
    DEFAULTS,
    Chart,
    Source,
    detected,
    object_name,
)
from tokenplace_operator.cli.import_chart.ledger import Entry, Ledger, Outcome, ValuesError

__all__ = ["Chart", "Entry", "Import", "Outcome", "Source", "ValuesError", "convert", "detected"]

ORDER = (
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
class Import:
    """The relay, what became of each value, and what a person must still put right in it."""

    relay: Object
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to a person."""
        return not self.problems and all(one.outcome is not Outcome.LEFT for one in self.entries)


def convert(
    source: Source, *, release: str = "", name: str = "", namespace: str = "", digest: str = ""
) -> Import:
    """The relay of a release; ValuesError for values that no chart could render.

    release: of Helm, which names the objects; name: of the relay, when it shall have another one.
    digest: of the image, instead of what the values say.
    """
    ledger = Ledger(source.given, DEFAULTS[source.chart])
    pods.image(ledger, digest)
    pods.scale(ledger)
    pods.resources(ledger)
    surroundings.gpu(ledger, source.chart)
    exposure.service(ledger)
    exposure.ingress(ledger)
    surroundings.policy(ledger, source.chart)
    surroundings.monitoring(ledger)
    pods.ending(ledger)
    pods.hardening(ledger)
    pods.account(ledger)
    pods.template(ledger)
    pods.volumes(ledger)
    variables.environment(ledger)
    named = name or object_name(source, release)
    for override in ("nameOverride", "fullnameOverride"):
        if ledger.says(override):
            ledger.carry((override,), "metadata.name", None)
    ledger.leave_the_rest("This chart has no such value; see whether the relay needs it")
    relay = _relay(ledger.spec, named, namespace)
    return Import(relay, tuple(ledger.entries), _problems(relay))


def _relay(spec: Object, name: str, namespace: str) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    ordered = {section: spec[section] for section in ORDER if section in spec}
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
