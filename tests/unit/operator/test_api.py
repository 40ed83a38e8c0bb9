"""The dataclasses of the spec match the CRD, and report every problem of an object."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenplace_operator.api.spec.reader import SpecError
from tokenplace_operator.api.spec.relay import Relay, parse

CRD = Path(__file__).parents[3] / "crds" / "tokenplacerelays.yaml"
METADATA = {"name": "relay", "namespace": "default", "uid": "u", "generation": 3}


def relay(**spec: object) -> Relay:
    return parse({"metadata": METADATA, "spec": {"image": {"tag": "v1"}, **spec}})


def with_defaults(schema: dict[str, Any], value: object) -> object:
    """What the API server does: defaults of absent fields, outer objects first."""
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, field in schema.get("properties", {}).items():
        if name not in filled and "default" in field:
            filled[name] = field["default"]
        if name in filled:
            filled[name] = with_defaults(field, filled[name])
    return filled


@pytest.mark.parametrize(
    "spec",
    [
        {"image": {"tag": "v1"}, "gpu": {"mode": "None"}},
        {"image": {"tag": "v1"}, "gpu": {"host": "gpu.example.com"}, "ingress": {"tls": {}}},
        {"image": {"tag": "v1"}, "gpu": {"host": "a.b"}, "resources": {"limits": {}}},
        {"image": {"tag": "v1"}, "gpu": {"host": "a.b"}, "networkPolicy": {"dns": {}}},
    ],
)
def test_defaults_equal_those_of_the_crd(spec: dict[str, Any]) -> None:
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    filled = with_defaults(schema, spec)
    assert filled != spec
    assert parse({"metadata": METADATA, "spec": filled}) == parse(
        {"metadata": METADATA, "spec": spec}
    )


def test_a_digest_takes_precedence_over_a_tag() -> None:
    digest = "sha256:" + "a" * 64
    image = {"repository": "r/x", "tag": "v1", "digest": digest}
    assert relay(image=image, gpu={"mode": "None"}).image.reference == f"r/x@{digest}"


def test_selector_text_is_the_selector_of_scale() -> None:
    text = relay(gpu={"mode": "None"}).selector_text
    assert text == "app.kubernetes.io/instance=relay,app.kubernetes.io/name=tokenplace-relay"


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        ({}, "http://relay.default.svc"),
        ({"service": {"port": 8080}}, "http://relay.default.svc:8080"),
        ({"ingress": {"domain": "example.com"}}, "https://relay.example.com"),
        ({"ingress": {"domain": "example.com", "hosts": ["a.b", "c.d"]}}, "https://a.b"),
        ({"ingress": {"hosts": ["a.b"], "tls": {"enabled": False}}}, "http://a.b"),
        ({"ingress": {"enabled": False, "hosts": ["a.b"]}}, "http://relay.default.svc"),
    ],
)
def test_url(spec: dict[str, Any], url: str) -> None:
    assert relay(gpu={"mode": "None"}, **spec).url == url


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"image": {}}, "spec.image: set digest (preferred) or tag"),
        ({"image": {"tag": "main-Latest"}}, "spec.image.tag: latest"),
        ({"gpu": {}}, "spec.gpu.host: required in mode ExternalName"),
        ({"gpu": {"mode": "Tunnel"}}, "spec.gpu.mode: must be one of ExternalName, Headless, None"),
        ({"gpu": {"mode": "Headless"}}, "spec.gpu.addresses: required in mode Headless"),
        ({"gpu": {"mode": "Headless", "addresses": ["::1"]}}, "'::1' is not an IPv4 or IPv6"),
        ({"gpu": {"mode": "Headless", "addresses": ["x"]}}, "'x' is not an IPv4 or IPv6"),
        ({"gpu": {"mode": "None", "host": "a.b"}}, "spec.gpu.host: required in mode ExternalName"),
        ({"replicas": 2}, "spec.replicas: must not be greater than 1"),
        ({"replicas": True}, "spec.replicas: must be an integer"),
        ({"port": 80}, "spec.port: must be an integer from 1024 to 65535"),
        ({"resources": {"limits": {"cpu": "a lot"}}}, "spec.resources.limits.cpu: 'a lot'"),
        ({"drain": []}, "spec.drain: must be an object"),
        ({"paused": "yes"}, "spec.paused: must be true or false"),
        ({"ingress": {"hosts": "a.b"}}, "spec.ingress.hosts: must be a list of strings"),
        ({"podTemplate": {"env": [1]}}, "spec.podTemplate.env: must be a list of objects"),
        ({"service": {"type": 1}}, "spec.service.type: must be a string"),
    ],
)
def test_problems_name_field_and_rule(spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        relay(**{"gpu": {"mode": "None"}, **spec})
    assert any(problem in found for found in caught.value.problems)


def test_all_problems_are_reported_together() -> None:
    with pytest.raises(SpecError) as caught:
        parse({"metadata": METADATA, "spec": {"replicas": 3}})
    assert len(caught.value.problems) == 3
