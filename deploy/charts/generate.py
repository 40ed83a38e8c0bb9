#!/usr/bin/env python3
"""Writes the parts of the chart that follow from the CRD, the shipped roles, the values and the
operator's own alerts.

Usage: python deploy/charts/generate.py [--check]
With --check nothing is written, and the exit code is 1 when a file is out of date.
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
    """Write or check every generated file; the exit code."""
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
    """Every generated file with its text."""
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
    """Fields of the kind that the values have under the same name and in the same shape."""
    return sorted(spec["properties"].keys() - {"image", "gpu", "relay"})


def crd_with_hash() -> str:
    """The CRD as it is, with a hash of it that tells an upgrade whether there is anything to do."""
    text = CRD.read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    name = "  name: tokenplacerelays.token.place\n"
    return text.replace(name, f"{name}  annotations:\n    {HASH}: {digest}\n", 1)


def rules(name: str) -> str:
    """The rules of a shipped role: the chart grants what the manifests grant."""
    path = ROOT / "deploy" / "operator" / name
    granted = yaml.safe_load(path.read_text())["rules"]
    head = f"# Generated from deploy/operator/{name} by `make docs`. Do not edit.\n"
    return head + yaml.safe_dump(granted, sort_keys=False)


def alerts() -> str:
    """The alerts on the operator; the chart puts in its namespace and its metrics Service."""
    head = "# Generated from monitoring/operator_alerts.py by `make docs`. Do not edit.\n"
    groups = operator_alerts.groups("$NAMESPACE", "$JOB")
    text = yaml.safe_dump(groups, sort_keys=False, width=1000)
    # A namespace may be named 1, which is still a text.
    return head + text.replace(": $NAMESPACE\n", ": '$NAMESPACE'\n")


def dashboard() -> str:
    """The operator's dashboard, with the same gaps and one for its identity in Grafana."""
    return json.dumps(operator_dashboard.dashboard("$UID", "$NAMESPACE", "$JOB"), indent=1) + "\n"


def values_schema(spec: Schema) -> Schema:
    """JSON schema of the values: the fields of the kind under the chart's names, and the rest."""
    fields = {name: convert(field) for name, field in spec["properties"].items()}
    for field in fields.values():
        # A section that is empty in values.yaml is left out of the resource.
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
        # Helm hands `global` to every chart.
        "properties": {"global": {"type": "object"}, **dict(sorted(fields.items()))},
    }


def convert(field: Schema) -> Schema:
    """A structural schema of the kind as a strict JSON schema."""
    made = {key: field[key] for key in KEPT if key in field}
    if field.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    patterns = [
        {"pattern": found.group(1).replace("\\\\", "\\")}
        for rule in field.get("x-kubernetes-validations", [])
        if (found := MATCHES.fullmatch(rule["rule"]))
    ]
    if patterns:
        made["allOf"] = patterns
    if "items" in field:
        made["items"] = convert(field["items"])
    if "properties" in field:
        made["properties"] = {name: convert(one) for name, one in field["properties"].items()}
        made["additionalProperties"] = False
    elif isinstance(field.get("additionalProperties"), dict):
        made["additionalProperties"] = convert(field["additionalProperties"])
    return made


def copied(part: Schema, spec: Schema) -> Schema:
    """A hand-written schema with the parts that it takes from the kind."""
    if "$crd" in part:
        found = spec
        for name in part["$crd"].split("."):
            found = found["properties"][name]
        return convert(found)
    made = dict(part)
    if "properties" in part:
        made["properties"] = {name: copied(one, spec) for name, one in part["properties"].items()}
    return made


def closed(part: Schema) -> Schema:
    """A schema in which no object takes a key that it does not name."""
    if "properties" in part:
        part = {
            **part,
            "properties": {name: closed(one) for name, one in part["properties"].items()},
        }
        part["additionalProperties"] = False
    return part


def or_empty(field: Schema) -> Schema:
    """A field for which the empty string means: not set."""
    return {"description": field["description"], "anyOf": [{"const": ""}, field]}


def readme() -> str:
    """The chart's README: its head, and a table of the values with their comments."""
    head = (CHART.parent / "README.head.md").read_text()
    lines = ["| Value | Default | What it does |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {text} |" for name, default, text in value_rows()]
    return head + "\n".join(lines) + "\n"


def value_rows() -> list[tuple[str, str, str]]:
    """Dotted name, default and comment of every value that has one; it stands for all below."""
    text = (CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    rows: list[tuple[str, str, str]] = []
    path: list[str] = []
    comment = ""
    for line in text.splitlines():
        if said := re.fullmatch(r" *# -- (.*)", line):
            comment = said.group(1)
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
