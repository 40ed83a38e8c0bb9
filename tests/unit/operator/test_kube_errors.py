"""What a refusal of the API server is taken for."""

import json
from typing import Any

import pytest

from tokenplace_operator.kube.errors import Invalid, error_of

IMMUTABLE = {"reason": "FieldValueInvalid", "message": "Invalid value: field is immutable"}


def refusal(code: int, message: str, *causes: dict[str, Any]) -> Invalid:
    body = {"reason": "Invalid", "message": message, "details": {"causes": list(causes)}}
    error = error_of(code, None, json.dumps(body), None)
    assert isinstance(error, Invalid)
    return error


@pytest.mark.parametrize(
    ("cause", "is_immutable"),
    [
        (IMMUTABLE, True),
        ({"reason": "FieldValueInvalid", "message": "may not change once set"}, True),
        ({"reason": "FieldValueDuplicate", "message": 'Duplicate value: "http"'}, True),
        ({"reason": "FieldValueInvalid", "message": "must be a port"}, False),
        ({"message": "images are immutable: name a digest"}, False),
    ],
)
def test_only_a_rule_of_the_schema_means_that_an_object_cannot_change(
    cause: dict[str, Any], *, is_immutable: bool
) -> None:
    assert refusal(422, "x", cause).is_immutable is is_immutable


def test_a_webhook_may_say_what_it_likes() -> None:
    denied = 'admission webhook "a.example.com" denied the request: immutable'
    assert not refusal(422, denied, IMMUTABLE).is_immutable
    assert not refusal(400, "immutable", IMMUTABLE).is_immutable
