"""Rules that hold for the child resources of every relay."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.desired.build import build
from tokenplace_operator.desired.child import APPLIED_HASH, applied_hash
from tokenplace_operator.desired.network_policy import gpu_blocks
from tokenplace_operator.observe.facts import Facts

Object = dict[str, Any]


def relay(**spec: object) -> Relay:
    metadata = {"name": "relay", "namespace": "default", "uid": "u", "generation": 1}
    given_spec = {"image": {"tag": "v1"}, "gpu": {"mode": "None"}, **spec}
    return parse({"metadata": metadata, "spec": given_spec})


def kinds(children: list[Object]) -> list[str]:
    return [child["kind"] for child in children]


def one(kind: str, **spec: object) -> Object:
    return next(child for child in build(relay(**spec), Facts()) if child["kind"] == kind)


def listens_on(*nameservers: str) -> str:
    children = build(relay(), Facts(nameservers=nameservers))
    pods = next(child for child in children if child["kind"] == "Deployment")["spec"]["template"]
    env = pods["spec"]["containers"][0]["env"]
    return str(next(variable["value"] for variable in env if variable["name"] == "RELAY_HOST"))


def pod(**spec: object) -> Object:
    template: Object = one("Deployment", **spec)["spec"]["template"]
    return template


def environment(**spec: object) -> dict[str, str]:
    container = pod(**spec)["spec"]["containers"][0]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_every_child_is_owned_labelled_and_carries_its_hash() -> None:
    gpu = {"mode": "Headless", "addresses": ["192.0.2.1", "2001:db8::1"]}
    for child in build(relay(gpu=gpu, ingress={"domain": "example.com"}), Facts()):
        metadata = child["metadata"]
        owner = metadata["ownerReferences"][0]
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (
            "u",
            True,
            False,
        )
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "tokenplace-operator"
        assert metadata["annotations"][APPLIED_HASH] == applied_hash(child)


def test_the_relay_listens_on_the_address_family_of_its_probes() -> None:
    """`::` is both families for our relay, and IPv6 alone for older ones."""
    assert listens_on() == listens_on("10.96.0.10") == listens_on("10.96.0.10", "fd00::a")
    assert listens_on("10.96.0.10") == "0.0.0.0"
    assert listens_on("fd00::a") == listens_on("fd00::a", "fd00::b") == "::"


def test_disabled_children_are_not_built() -> None:
    assert kinds(build(relay(networkPolicy={"enabled": False}), Facts())) == [
        "ServiceAccount",
        "Service",
        "Deployment",
    ]


def test_the_hash_changes_only_for_the_affected_child() -> None:
    before, after = (build(relay(port=port), Facts()) for port in (5010, 5011))
    changed = [a["kind"] for b, a in zip(before, after, strict=True) if a != b]
    assert changed == ["NetworkPolicy", "Deployment"]


def test_equal_quantities_give_the_same_hash() -> None:
    one_way = one("Deployment", resources={"limits": {"memory": "1024Mi", "cpu": 1}})
    other_way = one("Deployment", resources={"limits": {"memory": "1Gi", "cpu": "1000m"}})
    assert one_way == other_way


def test_gpu_variables_exist_only_for_an_external_name() -> None:
    external = environment(gpu={"host": "gpu.example.com", "port": 6000, "serviceName": "big"})
    assert external["TOKENPLACE_GPU_HOST"] == "gpu.example.com"
    assert external["TOKENPLACE_GPU_PORT"] == "6000"
    assert external["TOKENPLACE_RELAY_UPSTREAM_URL"] == "http://big:6000"
    headless = environment(gpu={"mode": "Headless", "addresses": ["192.0.2.1"]})
    assert headless["TOKENPLACE_RELAY_UPSTREAM_URL"] == "http://gpu-server:5015"
    assert not [name for name in headless if name.startswith("TOKENPLACE_GPU")]
    assert not [name for name in environment() if "GPU" in name or "UPSTREAM" in name]


def test_port_is_the_same_everywhere() -> None:
    container = pod(port=6010)["spec"]["containers"][0]
    policy = one("NetworkPolicy", port=6010)["spec"]
    assert container["ports"] == [{"name": "http", "containerPort": 6010, "protocol": "TCP"}]
    assert environment(port=6010)["RELAY_PORT"] == "6010"
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 6010}]


def test_an_unready_pod_stays_reachable_unless_its_upstream_must_be_healthy() -> None:
    assert one("Service")["spec"]["publishNotReadyAddresses"]
    strict = {"gpu": {"host": "gpu.example.com"}, "relay": {"requireUpstreamHealth": True}}
    services = [child for child in build(relay(**strict), Facts()) if child["kind"] == "Service"]
    assert not any("publishNotReadyAddresses" in child["spec"] for child in services)


def test_user_annotations_take_precedence() -> None:
    name = "traefik.ingress.kubernetes.io/service.nativelb"
    annotations = one("Service", service={"annotations": {name: "false"}})["metadata"][
        "annotations"
    ]
    assert annotations[name] == "false"


def test_grace_period_is_longer_than_the_drain() -> None:
    spec = pod(drain={"delaySeconds": 7, "timeoutSeconds": 90})["spec"]
    assert spec["terminationGracePeriodSeconds"] == 102


def test_users_labels_never_replace_the_selector() -> None:
    added = {"labels": {"app.kubernetes.io/instance": "other", "team": "a"}}
    labels = pod(podTemplate=added)["metadata"]["labels"]
    assert labels["app.kubernetes.io/instance"] == "relay"
    assert labels["team"] == "a"


def test_tls_hosts_equal_rule_hosts() -> None:
    spec = one("Ingress", ingress={"hosts": ["b.example.com", "a.example.com"]})["spec"]
    hosts = [rule["host"] for rule in spec["rules"]]
    assert spec["tls"] == [{"hosts": hosts, "secretName": "relay-tls"}]


def test_a_certificate_of_the_user_has_no_issuer() -> None:
    ingress = one("Ingress", ingress={"domain": "example.com", "tls": {"secretName": "mine"}})
    assert set(ingress["metadata"]["annotations"]) == {APPLIED_HASH}


def test_no_gpu_address_means_no_gpu_egress() -> None:
    spec = one("NetworkPolicy", gpu={"host": "gpu.example.com"})["spec"]
    assert [rule["ports"][0]["port"] for rule in spec["egress"]] == [53]


@given(st.lists(st.ip_addresses().map(str)))
def test_gpu_blocks_are_single_addresses_in_a_stable_order(addresses: list[str]) -> None:
    external = relay(gpu={"host": "gpu.example.com"})
    blocks = gpu_blocks(external, Facts(tuple(addresses)))
    assert blocks == gpu_blocks(external, Facts(tuple(reversed(addresses))))
    assert {block.rsplit("/")[0] for block in blocks} == set(addresses)
    assert all(block.endswith("/128" if ":" in block else "/32") for block in blocks)
