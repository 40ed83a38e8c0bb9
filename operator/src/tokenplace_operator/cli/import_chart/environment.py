"""Environment variables: those that a field of the spec sets become that field."""

from typing import Any

from tokenplace_operator.api.compact import compact
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.relay_settings import (
    LIMITS,
    LOG_LEVEL,
    OPERATOR_TOKEN,
    PUBLIC_URL,
    REGISTRATION_TOKEN,
    REQUIRE_UPSTREAM,
    TIMERS,
)
from tokenplace_operator.cli.import_chart.ledger import Ledger, Path, ValuesError
from tokenplace_operator.cli.redact import is_secret
from tokenplace_operator.desired.environment import METRICS_DISABLED, METRICS_TOKEN

SECRETS = {
    REGISTRATION_TOKEN: "spec.relay.registrationTokenSecretRef",
    OPERATOR_TOKEN: "spec.relay.operatorTokenSecretRef",
    METRICS_TOKEN: "spec.monitoring.tokenSecretRef",
}
TEXTS = {LOG_LEVEL: "spec.relay.logLevel", PUBLIC_URL: "spec.relay.publicUrl"}
NUMBERS = {
    **{one.env: f"spec.relay.timers.{one.field}" for one in TIMERS},
    **{one.env: f"spec.relay.limits.{one.field}" for one in LIMITS},
}
FOLLOWS = {
    "RELAY_HOST": "It is always every address of the pod",
    "RELAY_PORT": "It follows spec.port",
    "RELAY_DRAIN_DELAY_SECONDS": "It follows spec.drain",
    "RELAY_DRAIN_TIMEOUT_SECONDS": "It follows spec.drain",
    "TOKENPLACE_GPU_HOST": "It follows spec.gpu: set host there",
    "TOKENPLACE_GPU_PORT": "It follows spec.gpu: set port there",
    "TOKENPLACE_RELAY_UPSTREAM_URL": "It follows spec.gpu: set host and port there",
    METRICS_DISABLED: "It follows spec.monitoring",
}
DEPLOY_ENV = "TOKENPLACE_DEPLOY_ENV"
PUBLIC_ENVIRONMENTS = {"token.place": "prod", "staging.token.place": "staging"}
REFERENCES = ("secretKeyRef", "configMapKeyRef", "fieldRef")


def environment(ledger: Ledger) -> None:
    """`env` as a map or a list, and `extraEnv`, of which the last of a name wins."""
    if DEPLOY_ENV not in {name for _, name, _ in _all(ledger)}:
        _deploy_environment(ledger)
    found: dict[str, tuple[Path, Object]] = {}
    for path, name, variable in _all(ledger):
        if name in found:
            ledger.change(found[name][0], "", None, f"{path[0]} sets it again, and wins")
        found[name] = (path, variable)
    for name, (path, variable) in found.items():
        if path[0] != "env" or not isinstance(ledger.get("env"), dict) or ledger.says(*path):
            _variable(ledger, path, name, variable)
    ledger.copy(("envFrom",), "spec.podTemplate.envFrom")


def _all(ledger: Ledger) -> list[tuple[Path, str, Object]]:
    found: list[tuple[Path, str, Object]] = []
    for source in ("env", "extraEnv"):
        values = ledger.get(source) or []
        if isinstance(values, dict):
            for name, value in values.items():
                variable = value if isinstance(value, dict) else {"value": value}
                found.append(((source, name), name, {**variable, "name": name}))
            continue
        for one in ledger.objects(source):
            if "name" not in one:
                raise ValuesError(f"{source}: a variable without name")
            found.append(((source, str(one["name"])), str(one["name"]), one))
    return found


def _deploy_environment(ledger: Ledger) -> None:
    """The chart makes a variable of it, and infers it from the host of the public relays."""
    written = ledger.get("deployEnv")
    public = PUBLIC_ENVIRONMENTS.get(str(ledger.get("ingress", "host")))
    if written:
        _keep(ledger, ("deployEnv",), {"name": DEPLOY_ENV, "value": str(written)})
    elif public:
        _keep(ledger, ("deployEnv",), {"name": DEPLOY_ENV, "value": public}, "Inferred from host")


def _variable(ledger: Ledger, path: Path, name: str, variable: Object) -> None:
    reference = variable.get("valueFrom")
    value = _text(variable.get("value", ""))
    if name in FOLLOWS:
        ledger.leave(path, FOLLOWS[name])
    elif name in SECRETS:
        _secret(ledger, path, SECRETS[name], reference)
    elif reference is None and is_secret(name, value):
        todo = "It looks secret: put it into a Secret, and name that in podTemplate.env"
        ledger.leave(path, todo)
    elif name in TEXTS or name in NUMBERS or name == REQUIRE_UPSTREAM:
        _setting(ledger, path, name, None if reference is not None else value)
    elif reference is not None and not any(one in reference for one in REFERENCES):
        ledger.leave(path, f"valueFrom has one of {', '.join(REFERENCES)}")
    else:
        source = {"value": value} if reference is None else {"valueFrom": compact(reference)}
        _keep(ledger, path, {"name": name, **source})


def _keep(ledger: Ledger, path: Path, variable: Object, note: str = "") -> None:
    kept = [*ledger.spec.get("podTemplate", {}).get("env", []), variable]
    ledger.carry(path, "spec.podTemplate.env", kept, note)


def _secret(ledger: Ledger, path: Path, field: str, reference: Any) -> None:  # noqa: ANN401
    named = (reference or {}).get("secretKeyRef")
    if named is None:
        ledger.leave(path, f"Put it into a Secret, and name that in {field}")
    else:
        ledger.carry(path, field, {one: named[one] for one in ("name", "key") if one in named})


def _setting(ledger: Ledger, path: Path, name: str, value: str | None) -> None:
    field = TEXTS.get(name) or NUMBERS.get(name) or "spec.relay.requireUpstreamHealth"
    if value is None:
        ledger.leave(path, f"Only a plain value fits {field}")
    elif name in TEXTS:
        ledger.carry(path, field, value.upper() if name == LOG_LEVEL else value)
    elif name == REQUIRE_UPSTREAM:
        ledger.carry(path, field, value.lower() in {"1", "true", "yes", "on"})
    elif value.isdecimal():
        ledger.carry(path, field, int(value))
    else:
        ledger.leave(path, f"{field} is a whole number")


def _text(value: Any) -> str:  # noqa: ANN401
    return str(value).lower() if isinstance(value, bool) else str(value)
