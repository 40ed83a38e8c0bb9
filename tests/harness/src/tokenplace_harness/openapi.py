"""The OpenAPI document: its routes, and whether an answer is what it promises."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "openapi.yaml"
METHODS = ("get", "post", "put", "patch", "delete")


class Contract:
    """The document, with references resolved where they are needed."""

    def __init__(self, path: Path = DOCUMENT) -> None:
        self.document: dict[str, Any] = yaml.safe_load(path.read_text())
        self._validators: dict[str, jsonschema_rs.Draft202012Validator] = {}

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Method in capitals, path, and the operation."""
        for path, item in self.document["paths"].items():
            for method, operation in self.resolved(item).items():
                if method in METHODS:
                    yield method.upper(), path, operation

    def resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        """A node of the document, or what it refers to."""
        reference = node.get("$ref")
        if reference is None:
            return node
        found: Any = self.document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        return self.resolved(found)

    def problems(
        self, method: str, path: str, status: int, content_type: str, body: object
    ) -> list[str]:
        """What an answer has that the document does not promise; an empty list is good."""
        operation = self.resolved(self.document["paths"][path])[method.lower()]
        responses = operation["responses"]
        response = responses.get(str(status), responses.get("default"))
        if response is None:
            return [f"{method} {path} does not document {status}"]
        content = self.resolved(response).get("content", {})
        if content_type not in content:
            return [f"{method} {path} {status} does not document {content_type}"]
        validator = self._validator(content[content_type]["schema"])
        return [error.message for error in validator.iter_errors(body)]

    def objections(self, path: str, body: object) -> list[str]:
        """What the document has against the JSON body of a POST; an empty list is good."""
        content = self.resolved(self.document["paths"][path])["post"]["requestBody"]["content"]
        validator = self._validator(content["application/json"]["schema"])
        return [error.message for error in validator.iter_errors(body)]

    def _validator(self, schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
        key = repr(schema)
        if key not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole)
        return self._validators[key]
