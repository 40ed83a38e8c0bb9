"""The text of the CRD. tests/integration tests it with a real API server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
FIELDS = Path(__file__).parent / "golden" / "v1alpha1.fields.txt"
Schema = dict[str, Any]


@cache
def schema() -> Schema:
    crd = yaml.safe_load((ROOT / "crds" / "tokenplacerelays.yaml").read_text())
    found: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return found


def fields(field: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, field
    for name, inner in field.get("properties", {}).items():
        yield from fields(inner, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if part in field:
            yield from fields(field[part], f"{path}[]")


def everything() -> list[tuple[str, Schema]]:
    return [*fields(schema()["spec"], "spec"), *fields(schema()["status"], "status")]


def test_no_field_is_removed_renamed_or_given_another_type() -> None:
    """What docs/support.md promises. UPDATE_GOLDEN=1 adds new fields to the list."""
    known = set(FIELDS.read_text().splitlines())
    found = {f"{path} {field.get('type', 'any')}" for path, field in everything()}
    if os.environ.get("UPDATE_GOLDEN"):
        known |= found
        FIELDS.write_text("\n".join(sorted(known)) + "\n")
    assert known - found == set()
    assert found - known == set(), "new: UPDATE_GOLDEN=1 adds them"


def test_every_field_has_a_description() -> None:
    named = [(path, field) for path, field in everything() if not path.endswith("[]")]
    assert [path for path, field in named if not field.get("description")] == []


def test_every_field_of_the_spec_is_bounded() -> None:
    limits = {
        "string": ("maxLength", "enum", "format"),
        "array": ("maxItems",),
        "integer": ("maximum",),
    }
    unbounded = [
        path
        for path, field in fields(schema()["spec"], "spec")
        if (wanted := limits.get(field.get("type", ""))) and not set(wanted) & set(field)
    ]
    assert unbounded == []


def test_every_rule_message_starts_with_a_field() -> None:
    rules = [
        rule for _, field in everything() for rule in field.get("x-kubernetes-validations", [])
    ]
    assert len(rules) > 50
    assert [rule for rule in rules if ": " not in rule["message"]] == []


def test_the_reference_is_up_to_date() -> None:
    generator = ROOT / "docs" / "generate_api_reference.py"
    checked = subprocess.run(
        [sys.executable, generator, "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
