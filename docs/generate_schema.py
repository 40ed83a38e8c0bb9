#!/usr/bin/env python3
"""Write the schema of the CRD as JSON, by which `kubectl tokenplace` checks files.

Without descriptions and defaults, and of the rules in CEL only those of a text and a pattern.
`make docs` runs it. With --check it writes nothing and fails when the file is not current.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CRD = ROOT / "crds" / "tokenplacerelays.yaml"
FILE = ROOT / "operator" / "src" / "tokenplace_operator" / "cli" / "schema.json"

KEPT = ("type", "required", "enum", "minimum", "maximum", "minLength", "maxLength")
KEPT += ("minItems", "maxItems", "maxProperties", "pattern")
_RULE = re.compile(r"(!?)self\.matches\('((?:[^'\\]|\\.)*)'\)")


def shape(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a schema that can be checked without CEL, as JSON Schema."""
    found = {key: schema[key] for key in KEPT if key in schema}
    if "pattern" in found:
        found["pattern"] = _whole(found["pattern"])
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = "integer or string"
    if "items" in schema:
        found["items"] = shape(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        found["values"] = shape(schema["additionalProperties"])
    if "properties" in schema:
        found["properties"] = {name: shape(one) for name, one in schema["properties"].items()}
    rules = [rule for one in schema.get("x-kubernetes-validations", []) for rule in _rules(one)]
    return {**found, "rules": rules} if rules else found


def _rules(validation: dict[str, Any]) -> list[dict[str, Any]]:
    match = _RULE.fullmatch(validation["rule"])
    if match is None:
        return []
    pattern = _whole(match[2].replace("\\\\", "\\"))
    # The message begins with the field, as the last two parts of its path.
    message = validation["message"].partition(": ")[2]
    return [{"pattern": pattern, "matches": not match[1], "message": message}]


def _whole(pattern: str) -> str:
    """Return the pattern for Python, where $ also matches before a final line break."""
    return re.sub(r"\$\Z", r"\\Z", pattern)


def text() -> str:
    """Return the current text of the file."""
    crd = yaml.safe_load(CRD.read_text())
    (version,) = crd["spec"]["versions"]
    spec = shape(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    return json.dumps(spec, indent=1) + "\n"


def main() -> int:
    """Write or check the file; 1 when it is not current."""
    if "--check" in sys.argv[1:]:
        return int(FILE.read_text() != text())
    FILE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
