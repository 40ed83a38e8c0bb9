"""Values of environment variables; a variable that a field of the spec sets becomes that field."""

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
from tokenplace_operator.cli.import_chart.value_mapping import Path, ValueMapping, ValuesError
from tokenplace_operator.cli.redact import is_secret
from tokenplace_operator.desired.environment import METRICS_DISABLED, METRICS_TOKEN

SECRET_FIELDS = {
    REGISTRATION_TOKEN: "spec.relay.registrationTokenSecretRef",
    OPERATOR_TOKEN: "spec.relay.operatorTokenSecretRef",
    METRICS_TOKEN: "spec.monitoring.tokenSecretRef",
}
STRINGS = {LOG_LEVEL: "spec.relay.logLevel", PUBLIC_URL: "spec.relay.publicUrl"}
NUMBERS = {
    **{timer.env: f"spec.relay.timers.{timer.field}" for timer in TIMERS},
    **{limit.env: f"spec.relay.limits.{limit.field}" for limit in LIMITS},
}
DERIVED = {
    "RELAY_HOST": "The relay always listens on all addresses",
    "RELAY_PORT": "Derived from spec.port",
    "RELAY_DRAIN_DELAY_SECONDS": "Derived from spec.drain",
    "RELAY_DRAIN_TIMEOUT_SECONDS": "Derived from spec.drain",
    "TOKENPLACE_GPU_HOST": "Derived from spec.gpu: set host there",
    "TOKENPLACE_GPU_PORT": "Derived from spec.gpu: set port there",
    "TOKENPLACE_RELAY_UPSTREAM_URL": "Derived from spec.gpu: set host and port there",
    METRICS_DISABLED: "Derived from spec.monitoring",
}
DEPLOY_ENV = "TOKENPLACE_DEPLOY_ENV"
PUBLIC_ENVIRONMENTS = {"token.place": "prod", "staging.token.place": "staging"}
REFERENCES = ("secretKeyRef", "configMapKeyRef", "fieldRef")


def environment(mapping: ValueMapping) -> None:
    """Map `env`, a map or a list, and `extraEnv`; of two variables with a name the last applies."""
    if DEPLOY_ENV not in {name for _, name, _ in _all(mapping)}:
        _deploy_environment(mapping)
    effective: dict[str, tuple[Path, Object]] = {}
    for path, name, variable in _all(mapping):
        if name in effective:
            mapping.change(effective[name][0], "", None, f"Overridden by {path[0]}")
        effective[name] = (path, variable)
    for name, (path, variable) in effective.items():
        # Entries of a map that equal the chart's defaults are not the user's.
        if path[0] != "env" or not isinstance(mapping.get("env"), dict) or mapping.is_set(*path):
            _variable(mapping, path, name, variable)
    mapping.copy(("envFrom",), "spec.podTemplate.envFrom")


def _all(mapping: ValueMapping) -> list[tuple[Path, str, Object]]:
    """Path, name and variable of each entry of `env` and `extraEnv`; ValuesError without a name."""
    variables: list[tuple[Path, str, Object]] = []
    for source in ("env", "extraEnv"):
        values = mapping.get(source) or []
        if isinstance(values, dict):
            for name, value in values.items():
                variable = value if isinstance(value, dict) else {"value": value}
                variables.append(((source, name), name, {**variable, "name": name}))
            continue
        for variable in mapping.list_at(source):
            if "name" not in variable:
                raise ValuesError(f"{source}: a variable without name")
            name = str(variable["name"])
            variables.append(((source, name), name, variable))
    return variables


def _deploy_environment(mapping: ValueMapping) -> None:
    # The chart sets the variable from `deployEnv`, or from the host of a public relay.
    deploy_env = mapping.get("deployEnv")
    public = PUBLIC_ENVIRONMENTS.get(str(mapping.get("ingress", "host")))
    if deploy_env:
        _keep(mapping, ("deployEnv",), {"name": DEPLOY_ENV, "value": str(deploy_env)})
    elif public:
        _keep(mapping, ("deployEnv",), {"name": DEPLOY_ENV, "value": public}, "Inferred from host")


def _variable(mapping: ValueMapping, path: Path, name: str, variable: Object) -> None:
    reference = variable.get("valueFrom")
    value = _text(variable.get("value", ""))
    if name in DERIVED:
        mapping.leave_out(path, DERIVED[name])
    elif name in SECRET_FIELDS:
        _secret(mapping, path, SECRET_FIELDS[name], reference)
    # A secret in plain values must not be copied into a spec, which many users can read.
    elif reference is None and is_secret(name, value):
        todo = "It looks like a secret: create a Secret, and refer to it in spec.podTemplate.env"
        mapping.leave_out(path, todo)
    elif name in STRINGS or name in NUMBERS or name == REQUIRE_UPSTREAM:
        _setting(mapping, path, name, None if reference is not None else value)
    elif reference is not None and not any(kind in reference for kind in REFERENCES):
        mapping.leave_out(path, f"valueFrom must have one of {', '.join(REFERENCES)}")
    else:
        source = {"value": value} if reference is None else {"valueFrom": compact(reference)}
        _keep(mapping, path, {"name": name, **source})


def _keep(mapping: ValueMapping, path: Path, variable: Object, note: str = "") -> None:
    variables = [*mapping.spec.get("podTemplate", {}).get("env", []), variable]
    mapping.carry_over(path, "spec.podTemplate.env", variables, note)


def _secret(mapping: ValueMapping, path: Path, field: str, reference: Any) -> None:  # noqa: ANN401
    # A plain value of a token is not copied, even though a field for it exists.
    secret_key = (reference or {}).get("secretKeyRef")
    if secret_key is None:
        mapping.leave_out(path, f"Create a Secret, and refer to it in {field}")
    else:
        mapping.carry_over(
            path, field, {part: secret_key[part] for part in ("name", "key") if part in secret_key}
        )


def _setting(mapping: ValueMapping, path: Path, name: str, value: str | None) -> None:
    field = STRINGS.get(name) or NUMBERS.get(name) or "spec.relay.requireUpstreamHealth"
    if value is None:
        mapping.leave_out(path, f"{field} takes a plain value only")
    elif name in STRINGS:
        # The chart takes the level in any case; the CRD only in upper case.
        mapping.carry_over(path, field, value.upper() if name == LOG_LEVEL else value)
    elif name == REQUIRE_UPSTREAM:
        # The spellings that the relay accepts as true.
        mapping.carry_over(path, field, value.lower() in {"1", "true", "yes", "on"})
    elif value.isdecimal():
        mapping.carry_over(path, field, int(value))
    else:
        mapping.leave_out(path, f"{field} takes a whole number")


def _text(value: Any) -> str:  # noqa: ANN401
    # Python writes True, Helm writes true.
    return str(value).lower() if isinstance(value, bool) else str(value)
