#!/usr/bin/env python3
"""Generates the parts of the chart that come from the CRD, from the roles in deploy/operator, from
the values, and from the operator's alerts and dashboard.

Usage: python deploy/charts/generate.py [--check]
With --check it writes nothing and exits with 1 when a file is out of date.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from tokenplace_operator.monitoring import operator_alerts, operator_dashboard

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "charts" / "tokenplace-relay"
CRD = ROOT / "crds" / "tokenplacerelays.yaml"
HASH = "token.place/schema-hash"
MATCHES = re.compile(r"self\.matches\('([^']*)'\)")
KEPT = (
    "description", "type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "minProperties", "maxProperties", "required",
)  # fmt: skip

Schema = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Write or check every generated file; returns the exit code."""
    stale = []
    for path, text in files().items():
        if not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(ROOT)))
            if "--check" not in arguments:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    if stale and "--check" in arguments:
        print(f"out of date: {', '.join(stale)}: run make docs", file=sys.stderr)
        return 1
    return 0


def files() -> dict[Path, str]:
    """Path and text of every generated file."""
    crd = yaml.safe_load(CRD.read_text())
    version = crd["spec"]["versions"][0]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema = values_schema(spec)
    return {
        CHART / "crds" / CRD.name: crd_with_hash(),
        CHART / "files" / "operator-rules.yaml": rules("30-cluster-role.yaml"),
        CHART / "files" / "lease-rules.yaml": rules("40-role.yaml"),
        CHART / "files" / "operator-alerts.yaml": alerts(),
        CHART / "files" / "operator-dashboard.json": dashboard(),
        CHART / "files" / "spec-fields.txt": "\n".join(plain_fields(spec)) + "\n",
        CHART / "values.schema.json": json.dumps(schema, indent=1) + "\n",
        CHART / "README.md": readme(),
    }


def plain_fields(spec: Schema) -> list[str]:
    """Fields of the spec that are values under the same name and with the same schema."""
    return sorted(spec["properties"].keys() - {"image", "gpu", "relay"})


def crd_with_hash() -> str:
    """The CRD with a hash of itself, by which an upgrade sees whether the CRD has changed."""
    text = CRD.read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    name = "  name: tokenplacerelays.token.place\n"
    return text.replace(name, f"{name}  annotations:\n    {HASH}: {digest}\n", 1)


def rules(name: str) -> str:
    """The rules of a role in deploy/operator: chart and manifests grant the same rights."""
    path = ROOT / "deploy" / "operator" / name
    granted = yaml.safe_load(path.read_text())["rules"]
    head = f"# Generated from deploy/operator/{name} by `make docs`. Do not edit.\n"
    return head + yaml.safe_dump(granted, sort_keys=False)


def alerts() -> str:
    """The operator's alerts, with placeholders for its namespace and metrics Service."""
    head = "# Generated from monitoring/operator_alerts.py by `make docs`. Do not edit.\n"
    groups = operator_alerts.groups("$NAMESPACE", "$JOB")
    text = yaml.safe_dump(groups, sort_keys=False, width=1000)
    # Quoted, because a namespace may be named 1.
    return head + text.replace(": $NAMESPACE\n", ": '$NAMESPACE'\n")


def dashboard() -> str:
    """The operator's dashboard, with the same placeholders and one for its UID in Grafana."""
    return json.dumps(operator_dashboard.dashboard("$UID", "$NAMESPACE", "$JOB"), indent=1) + "\n"


def values_schema(spec: Schema) -> Schema:
    """JSON schema of the values: fields of the spec under the chart's names, and other values."""
    fields = {name: convert(field) for name, field in spec["properties"].items()}
    for field in fields.values():
        # The chart omits empty sections, so no field inside them is required.
        field.pop("required", None)
    fields["gpuExternalName"] = fields.pop("gpu")
    monitoring = fields.get("monitoring", {"properties": {}})["properties"]
    if "serviceMonitor" in monitoring:
        fields["serviceMonitor"] = monitoring.pop("serviceMonitor")
    relay = fields.get("relay", {"type": "object", "properties": {}, "additionalProperties": False})
    relay["properties"] |= {
        "create": {"type": "boolean"},
        "name": {
            "type": "string",
            "maxLength": 63,
            "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$",
        },
    }
    fields["relay"] = relay
    own = yaml.safe_load((CHART.parent / "operator.schema.yaml").read_text())
    fields |= {name: closed(copied(part, spec)) for name, part in own.items()}
    for image in (fields["image"], fields["operator"]["properties"]["image"]):
        image["properties"]["tag"] = or_empty(image["properties"]["tag"])
        image["properties"]["digest"] = or_empty(image["properties"]["digest"])
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of tokenplace-relay",
        "type": "object",
        "additionalProperties": False,
        # Helm passes `global` to every chart.
        "properties": {"global": {"type": "object"}, **dict(sorted(fields.items()))},
    }


def convert(field: Schema) -> Schema:
    """A structural schema of the CRD as a strict JSON schema."""
    schema = {key: field[key] for key in KEPT if key in field}
    if field.get("x-kubernetes-int-or-string"):
        schema["type"] = ["integer", "string"]
    patterns = [
        {"pattern": match.group(1).replace("\\\\", "\\")}
        for rule in field.get("x-kubernetes-validations", [])
        if (match := MATCHES.fullmatch(rule["rule"]))
    ]
    if patterns:
        schema["allOf"] = patterns
    if "items" in field:
        schema["items"] = convert(field["items"])
    if "properties" in field:
        schema["properties"] = {name: convert(one) for name, one in field["properties"].items()}
        schema["additionalProperties"] = False
    elif isinstance(field.get("additionalProperties"), dict):
        schema["additionalProperties"] = convert(field["additionalProperties"])
    return schema


def copied(part: Schema, spec: Schema) -> Schema:
    """A hand-written schema with the parts that `$crd` copies from the CRD."""
    if "$crd" in part:
        field = spec
        for name in part["$crd"].split("."):
            field = field["properties"][name]
        return convert(field)
    schema = dict(part)
    if "properties" in part:
        schema["properties"] = {name: copied(one, spec) for name, one in part["properties"].items()}
    return schema


def closed(part: Schema) -> Schema:
    """A schema in which every object rejects unknown keys."""
    if "properties" in part:
        part = {
            **part,
            "properties": {name: closed(one) for name, one in part["properties"].items()},
        }
        part["additionalProperties"] = False
    return part


def or_empty(field: Schema) -> Schema:
    """A field that may also be the empty string, which means not set."""
    return {"description": field["description"], "anyOf": [{"const": ""}, field]}


def readme() -> str:
    """The chart's README: README.head.md, and a table of the values with their comments."""
    head = (CHART.parent / "README.head.md").read_text()
    lines = ["| Value | Default | What it does |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {text} |" for name, default, text in value_rows()]
    return head + "\n".join(lines) + "\n"


def value_rows() -> list[tuple[str, str, str]]:
    """Dotted name, default and comment of every value with a comment; sections count as values."""
    text = (CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    rows: list[tuple[str, str, str]] = []
    path: list[str] = []
    comment = ""
    for line in text.splitlines():
        if match := re.fullmatch(r" *# -- (.*)", line):
            comment = match.group(1)
        elif key := re.match(r"( *)([A-Za-z]+):", line):
            depth = len(key.group(1)) // 2
            path = [*path[:depth], key.group(2)]
            default = defaults
            for name in path:
                default = default[name]
            if comment:
                rows.append((".".join(path), f"`{json.dumps(default)}`", comment))
            comment = ""
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
