"""The kind on the real API server: what it takes, what it fills in, and how it refuses."""

import json
from pathlib import Path
from typing import Any

import pykube
import pytest
import yaml

from tokenplace_cluster.control_plane.objects import Objects
from tokenplace_cluster.fixtures import Kubectl

pytestmark = pytest.mark.usefixtures("crd")

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "a" * 64
IMAGE = {"digest": DIGEST}
POLL = {"mode": "None"}


Spec = dict[str, Any]


def relay(name: str = "relay", **spec: object) -> Spec:
    return {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "metadata": {"name": name},
        "spec": {"image": IMAGE, "gpu": POLL, **spec},
    }


def headless(*addresses: str, **gpu: object) -> Spec:
    return {"gpu": {"mode": "Headless", "addresses": list(addresses), **gpu}}


def external(host: str, **gpu: object) -> Spec:
    return {"gpu": {"host": host, **gpu}}


def tls(**fields: object) -> Spec:
    return {"ingress": {"domain": "example.com", "tls": fields}}


def egress(**peer: object) -> Spec:
    return {"networkPolicy": {"extraEgress": [{"to": [peer]}]}}


def added(**fields: object) -> Spec:
    return {"podTemplate": fields}


def from_ports(*ports: Spec) -> Spec:
    peers: list[Spec] = [{"podSelector": {}}]
    return {"networkPolicy": {"extraIngress": [{"from": peers, "ports": list(ports)}]}}


GOOD: dict[str, Spec] = {
    "only what is required": {},
    "a tag": {"image": {"tag": "v1.2.3"}},
    "tag and digest": {"image": {"tag": "v1.2.3", "digest": DIGEST}},
    "a registry with a port": {"image": {"repository": "localhost:5000/a/b-c", "tag": "v1"}},
    "stopped": {"replicas": 0},
    "an external name": external("gpu.example.com"),
    "addresses of both families": headless("192.0.2.1", "2001:db8::1"),
    "a domain": {"ingress": {"domain": "example.com"}},
    "hosts": {"ingress": {"hosts": ["token.place", "www.token.place"]}},
    "hosts kept but off": {"ingress": {"enabled": False, "hosts": ["token.place"]}},
    "an issuer": tls(issuer="own"),
    "an own certificate": tls(secretName="mine"),
    "no TLS": tls(enabled=False),
    "resources by number": {"resources": {"requests": {"cpu": 1}, "limits": {"cpu": "1000m"}}},
    "no limits": {"resources": {"limits": {}}},
    "a block": egress(ipBlock={"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}),
    "a block of IPv6": egress(ipBlock={"cidr": "2001:db8::/32"}),
    "a world of sources": {
        "networkPolicy": {"extraIngress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}
    },
    "named and ranged ports": from_ports({"port": "http"}, {"port": 7000, "endPort": 7100}),
    "everything of the golden file": yaml.safe_load(
        (ROOT / "tests/unit/operator/golden/everything.relay.yaml").read_text()
    )["spec"],
}

BAD: dict[str, tuple[Spec, str]] = {
    "no image": ({"image": {}}, "image: set digest (preferred) or tag"),
    "a short digest": (
        {"image": {"digest": "sha256:abc"}},
        "image.digest: must be sha256: and 64 lower-case hex digits",
    ),
    "a digest in capitals": (
        {"image": {"digest": "sha256:" + "A" * 64}},
        "image.digest: must be sha256: and 64 lower-case hex digits",
    ),
    "latest": ({"image": {"tag": "latest"}}, "image.tag: latest is not a fixed image"),
    "ends in latest": ({"image": {"tag": "main-Latest"}}, "image.tag: latest is not a fixed image"),
    "latest beside a digest": (
        {"image": {"tag": "latest", "digest": DIGEST}},
        "image.tag: latest is not a fixed image",
    ),
    "an impossible tag": ({"image": {"tag": "-v1"}}, "image.tag: must have only letters"),
    "an unfilled repository": (
        {"image": {"repository": "ghcr.io/${OWNER}/relay", "tag": "v1"}},
        "image.repository: must be host[:port]/path",
    ),
    "a repository with a tag": (
        {"image": {"repository": "ghcr.io/a/relay:v1", "tag": "v1"}},
        "image.repository: must be host[:port]/path",
    ),
    "a policy of its own": ({"image": {**IMAGE, "pullPolicy": "Sometimes"}}, "pullPolicy"),
    "two over memory": (
        {"replicas": 2},
        "replicas: must not be greater than 1 while state.mode is Memory",
    ),
    "less than none": ({"replicas": -1}, "spec.replicas"),
    "another store": ({"state": {"mode": "Disk"}}, "spec.state.mode"),
    "a privileged port": ({"port": 80}, "spec.port"),
    "a port beyond": ({"port": 65536}, "spec.port"),
    "more requested than allowed": (
        {"resources": {"requests": {"memory": "1Gi"}}},
        "resources.requests.memory: must not be greater than resources.limits.memory",
    ),
    "no quantity": ({"resources": {"limits": {"cpu": "a lot"}}}, "spec.resources.limits.cpu"),
    "no host": ({"gpu": {}}, "gpu.host: required in mode ExternalName"),
    "a host in headless": (
        headless("192.0.2.1", host="gpu.example.com"),
        "gpu.host: not allowed in this mode; only ExternalName has a host",
    ),
    "a host in none": (
        {"gpu": {"mode": "None", "host": "gpu.example.com"}},
        "gpu.host: not allowed in this mode; only ExternalName has a host",
    ),
    "addresses in external name": (
        external("gpu.example.com", addresses=["192.0.2.1"]),
        "gpu.addresses: not allowed in this mode; only Headless has addresses",
    ),
    "no addresses": ({"gpu": {"mode": "Headless"}}, "gpu.addresses: required in mode Headless"),
    "an empty list of addresses": (headless(), "spec.gpu.addresses"),
    "an IPv4 address as host": (external("192.0.2.1"), "gpu.host: must be a DNS name, not an IP"),
    "a short IPv4 address": (external("127.1"), "gpu.host: must be a DNS name, not an IP"),
    "an IPv6 address as host": (external("2001:db8::1"), "gpu.host: must be a DNS name"),
    "a URL as host": (external("http://gpu.example.com"), "gpu.host: must be a DNS name"),
    "the pod itself as host": (
        external("localhost"),
        "gpu.host: must not be localhost, which is the relay pod",
    ),
    "a port of zero": (external("gpu.example.com", port=0), "spec.gpu.port"),
    "no address": (headless("gpu.example.com"), "gpu.addresses: must be IPv4 or IPv6 addresses"),
    "an address with a length": (headless("192.0.2.0/24"), "gpu.addresses: must be IPv4 or IPv6"),
    "loopback": (headless("127.0.0.1"), "gpu.addresses: loopback, link-local"),
    "loopback of IPv6": (headless("::1"), "gpu.addresses: loopback, link-local"),
    "link-local": (headless("169.254.1.1"), "gpu.addresses: loopback, link-local"),
    "unspecified": (headless("0.0.0.0"), "gpu.addresses: loopback, link-local"),
    "an address twice": (headless("192.0.2.1", "192.0.2.1"), "spec.gpu.addresses[1]: Duplicate"),
    "a bad Service name": (
        external("gpu.example.com", serviceName="1gpu"),
        "gpu.serviceName: must have only lower-case letters",
    ),
    "the relay's own Service name": (
        external("gpu.example.com", serviceName="relay"),
        "gpu.serviceName: must differ from metadata.name",
    ),
    "a Service outside": ({"service": {"type": "ExternalName"}}, "spec.service.type"),
    "an own annotation": (
        {"service": {"annotations": {"token.place/applied-hash": "0"}}},
        "service.annotations: keys under token.place/ belong to the operator",
    ),
    "an Ingress without a host": (
        {"ingress": {"enabled": True}},
        "ingress.enabled: true needs domain or hosts",
    ),
    "a URL as domain": (
        {"ingress": {"domain": "https://example.com"}},
        "ingress.domain: must be a DNS name",
    ),
    "an address as Ingress host": (
        {"ingress": {"hosts": ["192.0.2.1"]}},
        "ingress.hosts: must be a DNS name, not an IP address",
    ),
    "an issuer by annotation": (
        {"ingress": {"annotations": {"cert-manager.io/issuer": "x"}}},
        "ingress.annotations: set the issuer with ingress.tls.clusterIssuer",
    ),
    "both issuers": (
        tls(issuer="a", clusterIssuer="b"),
        "ingress.tls: set issuer or clusterIssuer, not both",
    ),
    "a TLS-less issuer": (
        tls(enabled=False, issuer="a"),
        "ingress.tls: an issuer needs enabled: true",
    ),
    "no certificate": (
        tls(enabled=True),
        "ingress.tls: set clusterIssuer, issuer, or the secretName",
    ),
    "no block": (egress(ipBlock={"cidr": "192.0.2.1"}), "extraEgress: cidr must be an IPv4 or"),
    "a mask beyond": (egress(ipBlock={"cidr": "192.0.2.0/33"}), "extraEgress: cidr must be an"),
    "bits beyond the mask": (
        egress(ipBlock={"cidr": "1.2.3.4/8"}),
        "extraEgress: cidr has bits set beyond its prefix length",
    ),
    "all destinations": (
        egress(ipBlock={"cidr": "0.0.0.0/0"}),
        "extraEgress: a cidr that matches every address would disable the policy",
    ),
    "an exception elsewhere": (
        egress(ipBlock={"cidr": "192.0.2.0/24", "except": ["198.51.100.0/25"]}),
        "extraEgress: each except must be a smaller block inside",
    ),
    "an exception of everything": (
        egress(ipBlock={"cidr": "192.0.2.0/24", "except": ["192.0.2.0/24"]}),
        "extraEgress: each except must be a smaller block inside",
    ),
    "block and selector": (
        egress(ipBlock={"cidr": "192.0.2.0/24"}, podSelector={}),
        "extraEgress: set either ipBlock or selectors",
    ),
    "an empty peer": (egress(), "extraEgress: set either ipBlock or selectors"),
    "no peers": ({"networkPolicy": {"extraEgress": [{}]}}, "extraEgress[0].to: Required value"),
    "a policy port beyond": (from_ports({"port": 70000}), "port: must be from 1 to 65535"),
    "a number as a port's name": (from_ports({"port": "8080"}), "port: a name must have only"),
    "a key of two words": (
        egress(podSelector={"matchExpressions": [{"key": "a b", "operator": "Exists"}]}),
        "podSelector.matchExpressions[0].key",
    ),
    "a class in capitals": ({"ingress": {"className": "Traefik"}}, "spec.ingress.className"),
    "a range backwards": (from_ports({"port": 7000, "endPort": 6000}), "endPort: needs a numeric"),
    "a selector without values": (
        egress(podSelector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
        "matchExpressions.values: required for In and NotIn",
    ),
    "a drain of days": ({"drain": {"timeoutSeconds": 86400}}, "spec.drain.timeoutSeconds"),
    "a selector label": (
        added(labels={"app.kubernetes.io/instance": "x"}),
        "podTemplate.labels: app.kubernetes.io/name, instance,",
    ),
    "a label of ours": (added(labels={"token.place/x": "y"}), "podTemplate.labels: keys under"),
    "no label key": (added(labels={"a b": "c"}), "podTemplate.labels: a key is a name of at most"),
    "no annotation key": (
        {"service": {"annotations": {"a/b/c": "d"}}},
        "service.annotations: a key is a name of at most 63",
    ),
    "a negative amount": (
        {"resources": {"requests": {"cpu": -1}}},
        "quantity: must not be negative",
    ),
    "no label value": (added(labels={"a": "b c"}), "spec.podTemplate.labels.a"),
    "our variable": (
        added(env=[{"name": "RELAY_PORT", "value": "6000"}]),
        "podTemplate.env: RELAY_HOST, RELAY_PORT,",
    ),
    "a variable twice": (
        added(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
        "spec.podTemplate.env[1]: Duplicate value",
    ),
    "a variable from two places": (
        added(env=[{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]),
        "podTemplate.env: set value or valueFrom, not both",
    ),
    "a variable from nowhere": (
        added(env=[{"name": "A", "valueFrom": {}}]),
        "podTemplate.env: set exactly one of",
    ),
    "an empty envFrom": (added(envFrom=[{}]), "podTemplate.envFrom: set configMapRef or secretRef"),
    "our volume": (
        added(volumes=[{"name": "tmp", "emptyDir": {}}]),
        "podTemplate.volumes: tmp belongs to the operator",
    ),
    "a volume of nothing": (
        added(volumes=[{"name": "a"}]),
        "podTemplate.volumes: set exactly one of configMap, secret",
    ),
    "a host path": (
        added(volumes=[{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]),
        'unknown field "spec.podTemplate.volumes[0].hostPath"',
    ),
    "a mount of no volume": (
        added(volumeMounts=[{"name": "a", "mountPath": "/a"}]),
        "podTemplate.volumeMounts: each name must be one of podTemplate.volumes",
    ),
    "a mount over /tmp": (
        added(
            volumes=[{"name": "a", "emptyDir": {}}],
            volumeMounts=[{"name": "a", "mountPath": "/tmp"}],
        ),
        "podTemplate.volumeMounts: /tmp belongs to the operator",
    ),
    "a mount by climbing": (
        added(
            volumes=[{"name": "a", "emptyDir": {}}],
            volumeMounts=[{"name": "a", "mountPath": "/a/../tmp"}],
        ),
        "podTemplate.volumeMounts: mountPath must be absolute, without ..",
    ),
    "a toleration of nothing": (added(tolerations=[{}]), "tolerations: without key the operator"),
    "an unknown field": ({"replicacount": 1}, 'unknown field "spec.replicacount"'),
    "an unknown field below": ({"gpu": {**POLL, "hots": "x"}}, 'unknown field "spec.gpu.hots"'),
}


@pytest.fixture(scope="module")
def objects(api: pykube.HTTPClient) -> Objects:
    """Of the namespace default: nothing is stored."""
    return Objects(api, "default")


@pytest.mark.parametrize("case", GOOD)
def test_good_is_taken(objects: Objects, case: str) -> None:
    assert objects.refusal(relay(**GOOD[case])) == ""


@pytest.mark.parametrize("case", BAD)
def test_bad_is_refused_with_field_and_rule(objects: Objects, case: str) -> None:
    spec, message = BAD[case]
    assert message in objects.refusal(relay(**spec))


@pytest.mark.parametrize("name", ["a" * 64, "relay.one", "1relay"])
def test_names_that_children_cannot_carry_are_refused(objects: Objects, name: str) -> None:
    assert "metadata.name: must have at most 63 lower-case letters" in objects.refusal(relay(name))


def test_the_longest_name_is_taken(objects: Objects) -> None:
    assert objects.refusal(relay("a" * 63)) == ""


@pytest.mark.parametrize("example", sorted((ROOT / "deploy" / "examples").glob("*.yaml")), ids=str)
def test_examples_are_taken(objects: Objects, example: Path) -> None:
    assert objects.refusal(yaml.safe_load(example.read_text())) == ""


def test_kubectl_shows_a_refusal_as_the_server_words_it(kubectl: Kubectl) -> None:
    """The other tests ask the API server itself, which is many times faster."""
    spec, message = BAD["latest"]
    strict = ("create", "--dry-run=server", "--validate=strict", "--filename=-")
    done = kubectl(*strict, given=json.dumps(relay(**spec)))
    assert done.returncode != 0
    assert message in done.stderr
