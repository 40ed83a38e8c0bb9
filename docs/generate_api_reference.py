#!/usr/bin/env python3
"""Write docs/api.md, the reference of TokenplaceRelay, from the CRD.

Usage: python docs/generate_api_reference.py [--check]
With --check nothing is written, and the exit code is 1 when docs/api.md is out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CRD = ROOT / "crds" / "tokenplacerelays.yaml"
REFERENCE = ROOT / "docs" / "api.md"

Schema = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Write or check the reference; the exit code."""
    text = reference(yaml.safe_load(CRD.read_text()))
    if "--check" not in arguments:
        REFERENCE.write_text(text)
        return 0
    if REFERENCE.exists() and REFERENCE.read_text() == text:
        return 0
    print("docs/api.md is out of date: run make docs", file=sys.stderr)
    return 1


def reference(crd: Schema) -> str:
    """The whole page as Markdown."""
    spec = crd["spec"]
    version = spec["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    sections = [
        f"# {spec['names']['kind']}",
        "Generated from `crds/tokenplacerelays.yaml` by `make docs`. Do not edit.",
        schema["description"],
        _head(spec, version),
        "## spec\n\n" + _table(schema["properties"]["spec"]),
        "## Rules between fields\n\n" + _rules(schema),
        "## status\n\n" + _table(schema["properties"]["status"]),
        "## Columns of `kubectl get`\n\n" + _columns(version["additionalPrinterColumns"]),
    ]
    return "\n\n".join(sections) + "\n"


def _head(spec: Schema, version: Schema) -> str:
    names = spec["names"]
    rows = {
        "apiVersion": f"{spec['group']}/{version['name']}",
        "kind": names["kind"],
        "resource": f"{names['plural']} ({', '.join(names['shortNames'])})",
        "categories": ", ".join(names["categories"]),
        "scope": spec["scope"],
        "subresources": ", ".join(version["subresources"]),
    }
    return "\n".join(f"- {key}: `{value}`" for key, value in rows.items())


def _table(schema: Schema) -> str:
    lines = ["| Field | Type | Default | Meaning |", "|---|---|---|---|"]
    for path, field, required in _fields(schema):
        name = f"`{path}`" + (" (required)" if required else "")
        meaning = " ".join([field.get("description", ""), *_limits(field)]).strip()
        cells = [name, _type(field), _default(field), meaning]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _fields(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema, bool]]:
    for name, field in schema.get("properties", {}).items():
        full = f"{path}.{name}" if path else name
        yield full, field, name in schema.get("required", [])
        yield from _fields(field, full)
        yield from _fields(field.get("items", {}), f"{full}[]")


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}s"
    if "additionalProperties" in field:
        return "map of strings"
    return str(field["type"])


def _default(field: Schema) -> str:
    return f"`{json.dumps(field['default'])}`" if "default" in field else ""


def _limits(field: Schema) -> Iterator[str]:
    if "enum" in field:
        yield "One of " + ", ".join(f"`{value}`" for value in field["enum"]) + "."
    if "minimum" in field and "maximum" in field:
        yield f"From {field['minimum']} to {field['maximum']}."
    if "maxItems" in field:
        yield f"At most {field['maxItems']} items."
    if "maxProperties" in field:
        yield f"At most {field['maxProperties']} entries."


def _rules(schema: Schema) -> str:
    messages = dict.fromkeys(_messages(schema))
    return "\n".join(f"- {message}" for message in messages)


def _messages(schema: Schema) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", []):
        yield rule["message"]
    for field in schema.get("properties", {}).values():
        yield from _messages(field)
    if isinstance(schema.get("items"), dict):
        yield from _messages(schema["items"])


def _columns(columns: list[Schema]) -> str:
    lines = ["| Column | From | Meaning |", "|---|---|---|"]
    for column in columns:
        wide = " (only with `-o wide`)" if column.get("priority") else ""
        cells = [column["name"], f"`{column['jsonPath']}`", column["description"] + wide]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
