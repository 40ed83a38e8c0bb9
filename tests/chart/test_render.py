"""Objects that the chart renders from values, without a cluster: golden files and rules."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tokenplace_cluster.programs import build
from tokenplace_cluster.programs.helm import CHART, Helm, Object, Render
from tokenplace_operator.monitoring import operator_alerts, operator_dashboard

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name.removesuffix(".values.yaml") for path in GOLDEN.glob("*.values.yaml"))
DIGEST = "sha256:" + "c" * 64

EXCEPTIONS = {
    "container-resource-requests-equal-limits": "other pods may use what idle ones do not",
    "container-cpu-requests-equal-limits": "other pods may use what idle ones do not",
    "container-memory-requests-equal-limits": "other pods may use what idle ones do not",
    "container-ephemeral-storage-request-equals-limit": "other pods may use what idle ones do not",
    "container-image-pull-policy": "released tags are never moved",
    "container-security-context-user-group-id": "the request asks for uid 1000",
    "deployment-replicas": "a standby is useful only with a second cluster node",
}
"""Checks of kube-score that are ignored, and why."""


def one(objects: list[Object], kind: str) -> Object:
    (found,) = [obj for obj in objects if obj["kind"] == kind]
    return found


def kinds(objects: list[Object]) -> list[str]:
    return sorted({obj["kind"] for obj in objects})


def pod_specs(objects: list[Object]) -> Iterator[Object]:
    for obj in objects:
        if obj["kind"] == "Pod":
            yield obj["spec"]
        elif obj["kind"] in {"Deployment", "Job"}:
            yield obj["spec"]["template"]["spec"]


@pytest.mark.parametrize("case", CASES)
def test_rendered_objects_match_the_golden_file(case: str, render: Render) -> None:
    """After an intended change run this with UPDATE_GOLDEN=1, then review the diff."""
    objects = render(yaml.safe_load((GOLDEN / f"{case}.values.yaml").read_text()))
    for obj in objects:
        # They are those of the shipped manifests, as another test checks.
        obj.pop("rules", None)
    expected = GOLDEN / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(yaml.safe_dump_all(objects, sort_keys=False, width=100))
    assert list(yaml.safe_load_all(expected.read_text())) == objects


def test_a_digest_takes_precedence_over_a_tag(render: Render) -> None:
    image = {"repository": "registry.example/relay", "tag": "1.0.0", "digest": DIGEST}
    objects = render({"image": image, "operator": {"image": {"digest": DIGEST}}})
    relay = one(objects, "TokenplaceRelay")["spec"]["image"]
    assert relay["digest"] == DIGEST
    assert "tag" not in relay
    (probe,) = one(objects, "Pod")["spec"]["containers"]
    assert probe["image"] == f"registry.example/relay@{DIGEST}"
    (operator,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert operator["image"] == f"ghcr.io/futuroptimist/tokenplace-operator@{DIGEST}"


def test_without_digest_and_tag_the_image_is_that_of_the_chart_version(render: Render) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert one(render(), "TokenplaceRelay")["spec"]["image"]["tag"] == version


@pytest.mark.parametrize(
    "gpu",
    [
        {"mode": "None"},
        {"mode": "ExternalName", "host": "gpu.example.com", "port": 6000},
        {"mode": "Headless", "addresses": ["192.0.2.7"], "serviceName": "gpu"},
    ],
)
def test_every_gpu_mode_reaches_the_relay(gpu: Object, render: Render) -> None:
    assert one(render({"gpuExternalName": gpu}), "TokenplaceRelay")["spec"]["gpu"] == gpu


def test_the_values_in_the_documents_are_valid(render: Render) -> None:
    page = (ROOT / "docs" / "relay-deploy.md").read_text()
    shown = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    values = [one for one in shown if "apiVersion" not in one]
    assert len(values) > 2
    for one_of_them in values:
        assert render(one_of_them)


def test_the_values_for_traefik_of_k3s_have_the_structure_of_its_chart() -> None:
    page = (ROOT / "docs" / "relay-deploy.md").read_text()
    (text,) = re.findall(r"```yaml\n(apiVersion: helm.cattle.io/v1\n.*?)```", page, re.DOTALL)
    values = yaml.safe_load(yaml.safe_load(text)["spec"]["valuesContent"])
    assert values == {"service": {"spec": {"externalTrafficPolicy": "Local"}}}


def test_a_domain_requests_an_ingress_with_a_certificate(render: Render) -> None:
    ingress = {"domain": "example.com", "tls": {"clusterIssuer": "letsencrypt-dns01"}}
    assert one(render({"ingress": ingress}), "TokenplaceRelay")["spec"]["ingress"] == ingress


@pytest.mark.parametrize(
    ("ingress", "wanted"),
    [
        ({"domain": "example.com"}, "https://relay.example.com"),
        ({"hosts": ["a.example.com"], "tls": {"secretName": "own"}}, "https://a.example.com"),
        ({"domain": "example.com", "tls": {"enabled": False}}, "http://relay.example.com"),
        ({"domain": "example.com", "enabled": False}, "port-forward"),
        ({}, "port-forward"),
    ],
)
def test_the_notes_show_the_url_of_the_relay(ingress: Object, wanted: str, offline: Helm) -> None:
    release = ("install", "tokenplace", str(CHART), "--dry-run=client")
    done = offline(*release, values={"ingress": ingress})
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("\nNOTES:\n")[2]
    assert wanted in notes
    assert ("Point the DNS name" in notes) == ("://" in wanted)


@pytest.mark.parametrize("is_asked_for", [True, False])
@pytest.mark.parametrize("is_reachable", [True, False])
def test_the_notes_warn_of_a_reachable_relay_without_a_registration_token(
    *, is_asked_for: bool, is_reachable: bool, offline: Helm
) -> None:
    token = {"registrationTokenSecretRef": {"name": "nodes"}}
    values: Object = {
        "relay": token if is_asked_for else {},
        "ingress": {"domain": "example.com"} if is_reachable else {},
    }
    done = offline("install", "tokenplace", str(CHART), "--dry-run=client", values=values)
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("\nNOTES:\n")[2]
    warned = "relay.registrationTokenSecretRef" in notes
    assert warned == (is_reachable and not is_asked_for)


def test_monitoring_is_off_by_default(render: Render) -> None:
    assert "ServiceMonitor" not in kinds(render())
    assert "monitoring" not in one(render(), "TokenplaceRelay")["spec"]
    monitored = render(
        {"serviceMonitor": {"enabled": True}, "operator": {"serviceMonitor": {"enabled": True}}}
    )
    relay = one(monitored, "TokenplaceRelay")["spec"]["monitoring"]
    assert relay == {"serviceMonitor": {"enabled": True}}
    monitor, service = one(monitored, "ServiceMonitor"), one(monitored, "Service")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert wanted <= service["metadata"]["labels"].items()
    policy = policies(monitored)["tokenplace-operator"]["spec"]
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": "http"}]


def test_alerts_and_dashboard_of_the_operator_are_generated_from_its_code(render: Render) -> None:
    wanted = {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
    before = kinds(render())
    assert not {"PrometheusRule", "ConfigMap"} & set(before)
    objects = render({"operator": wanted})
    rule, config_map = one(objects, "PrometheusRule"), one(objects, "ConfigMap")
    assert rule["spec"]["groups"] == operator_alerts.groups("relays", "tokenplace-operator")
    assert rule["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert one(objects, "Service")["metadata"]["name"] == "tokenplace-operator", "which is the job"
    (text,) = config_map["data"].values()
    shown = json.loads(text)
    assert shown == operator_dashboard.dashboard(shown["uid"], "relays", "tokenplace-operator")
    assert re.fullmatch("[0-9a-f]{16}", shown["uid"])
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"


def policies(objects: list[Object]) -> dict[str, Object]:
    return {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == "NetworkPolicy"}


def test_the_operator_may_connect_to_dns_the_api_server_and_relays_only(render: Render) -> None:
    policy = policies(render())["tokenplace-operator"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    *known, relays = policy["egress"]
    ports = [port["port"] for rule in known for port in rule["ports"]]
    assert ports == [53, 53, 443, 6443]
    (peer,) = relays["to"]
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "tokenplace-relay"}


def test_the_probe_may_connect_to_its_relay_only(render: Render) -> None:
    objects = render({"networkPolicy": {"extraIngress": [{"from": [{"podSelector": {}}]}]}})
    labels = one(objects, "Pod")["metadata"]["labels"].items()
    rules = one(objects, "TokenplaceRelay")["spec"]["networkPolicy"]["extraIngress"]
    assert rules[0] == {"from": [{"podSelector": {}}]}
    assert rules[1]["from"][0]["podSelector"]["matchLabels"].items() <= labels
    policy = policies(objects)["tokenplace-probe"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels
    assert policy["egress"][1]["ports"] == [{"protocol": "TCP", "port": "http"}]


@pytest.mark.parametrize(
    ("reference", "key"),
    [(None, None), ({"name": "nodes"}, "token"), ({"name": "nodes", "key": "all"}, "all")],
)
def test_the_probe_uses_the_registration_token_of_the_relay(
    reference: Object | None, key: str | None, render: Render
) -> None:
    objects = render({"relay": {"registrationTokenSecretRef": reference}} if reference else {})
    (probe,) = one(objects, "Pod")["spec"]["containers"]
    if reference is None:
        assert "env" not in probe
        return
    assert one(objects, "TokenplaceRelay")["spec"]["relay"]["registrationTokenSecretRef"]
    secret = {"secretKeyRef": {"name": "nodes", "key": key}}
    assert probe["env"] == [{"name": "TOKENPLACE_PROBE_TOKEN", "valueFrom": secret}]


def test_without_a_relay_only_the_operator_is_installed(render: Render) -> None:
    found = kinds(render({"relay": {"create": False}}))
    assert "Deployment" in found
    assert not {"TokenplaceRelay", "Pod"} & set(found)


def test_a_second_relay_needs_no_second_operator(render: Render) -> None:
    found = kinds(render({"operator": {"create": False}}))
    assert found == ["NetworkPolicy", "Pod", "TokenplaceRelay"]


def test_namespaced_mode_grants_nothing_beyond_its_namespaces(render: Render) -> None:
    objects = render({"operator": {"watchNamespaces": ["blue", "green"]}})
    assert not {"ClusterRole", "ClusterRoleBinding"} & set(kinds(objects))
    places = {
        kind: sorted(obj["metadata"]["namespace"] for obj in objects if obj["kind"] == kind)
        for kind in ("Role", "RoleBinding")
    }
    assert places == {kind: ["blue", "green", "relays"] for kind in places}
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert {"--namespace=blue", "--namespace=green"} <= set(container["args"])


def test_the_chart_grants_what_the_manifests_grant(render: Render) -> None:
    for kind, name in (("ClusterRole", "30-cluster-role"), ("Role", "40-role")):
        shipped = yaml.safe_load((ROOT / "deploy" / "operator" / f"{name}.yaml").read_text())
        assert one(render(), kind)["rules"] == shipped["rules"]


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_as_hardened_as_the_relay(case: str, render: Render) -> None:
    objects = render(yaml.safe_load((GOLDEN / f"{case}.values.yaml").read_text()))
    for spec in pod_specs(objects):
        assert spec["securityContext"]["runAsUser"] == 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert {"requests", "limits"} <= container["resources"].keys()


def test_labels_of_users_do_not_break_the_selector(render: Render) -> None:
    labels = {"team": "relay", "app.kubernetes.io/instance": "other"}
    deployment = one(render({"operator": {"podLabels": labels}}), "Deployment")["spec"]
    found = deployment["template"]["metadata"]["labels"]
    assert found["team"] == "relay"
    assert deployment["selector"]["matchLabels"].items() <= found.items()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"replicacount": 1}, "replicacount"),
        ({"environment": "dev"}, "environment"),
        ({"image": {"digset": DIGEST}}, "digset"),
        ({"image": {"digest": "sha256:xyz"}}, "/image/digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"gpuExternalName": {"useHeadless": True}}, "useHeadless"),
        ({"gpuExternalName": {"port": 0}}, "/gpuExternalName/port"),
        ({"gpuExternalName": {"host": "GPU"}}, "/gpuExternalName/host"),
        ({"serviceMonitor": {"enabled": "yes"}}, "/serviceMonitor/enabled"),
        ({"ingress": {"host": "a.example.com"}}, "host"),
        ({"networkPolicy": {"traefik": {}}}, "traefik"),
        ({"operator": {"replicas": -1}}, "/operator/replicas"),
        ({"operator": {"image": {"tag": "a b"}}}, "/operator/image/tag"),
        ({"operator": {"tolerations": [{"effect": "Never"}]}}, "/operator/tolerations/0/effect"),
        ({"operator": {"watchNamespaces": ["A"]}}, "/operator/watchNamespaces/0"),
        ({"operator": {"prometheusRule": {"groups": []}}}, "groups"),
        ({"operator": {"dashboard": {"enabled": 1}}}, "/operator/dashboard/enabled"),
        (
            {"operator": {"networkPolicy": {"dns": {"addresses": ["10.43.0.0/16"]}}}},
            "/operator/networkPolicy/dns/addresses/0",
        ),
        ({"relay": {"createe": True}}, "createe"),
    ],
)
def test_an_unknown_or_invalid_value_is_rejected_with_its_name(
    values: Object, message: str, offline: Helm
) -> None:
    done = offline("template", "tokenplace", str(CHART), values=values)
    assert done.returncode != 0
    assert message in done.stderr


def test_resources_may_be_numbers_or_strings(render: Render) -> None:
    limits = {"cpu": 1, "memory": "256Mi"}
    relay = one(render({"resources": {"limits": limits}}), "TokenplaceRelay")
    assert relay["spec"]["resources"]["limits"] == limits


def test_an_older_kubernetes_is_rejected(offline: Helm) -> None:
    done = offline("template", "tokenplace", str(CHART), "--kube-version=1.30.9")
    assert done.returncode != 0
    assert "1.30.9" in done.stderr


def test_helm_lint_reports_nothing(offline: Helm) -> None:
    done = offline("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("case", CASES)
def test_kube_score_reports_only_the_exceptions(case: str, render: Render) -> None:
    objects = render(yaml.safe_load((GOLDEN / f"{case}.values.yaml").read_text()))
    done = subprocess.run(
        [build.program("kubescore")],
        input=yaml.safe_dump_all(objects),
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line.split("\t") for line in done.stdout.splitlines()]
    # Two of the cases turn the policies off, which the linter reports.
    off = {"pod-networkpolicy"} if case.endswith("-only") else set()
    assert [line for line in found if line[1] not in EXCEPTIONS.keys() | off] == []


def test_generated_files_are_up_to_date() -> None:
    command = [sys.executable, str(CHART.parent / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_schema_has_every_field_of_the_crd() -> None:
    crd = yaml.safe_load((ROOT / "crds" / "tokenplacerelays.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = set(schema["properties"]["spec"]["properties"])
    values = set(json.loads((CHART / "values.schema.json").read_text())["properties"])
    assert fields - {"gpu"} <= values
    assert "gpuExternalName" in values


def test_the_readme_lists_every_value() -> None:
    """As a row of its own, or in the row of its section."""
    rows = re.findall(
        r"^\| `([\w.]+)` \| `.+` \| \S.* \|$", (CHART / "README.md").read_text(), re.MULTILINE
    )
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    names = list(leaves(values))
    assert "operator.resources.limits.cpu" in names
    assert [one for one in names if not any(f"{one}.".startswith(f"{row}.") for row in rows)] == []


def leaves(values: Object, above: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield above + name


def test_the_artifact_hub_annotations_match_the_chart() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    hub = {
        key.removeprefix("artifacthub.io/"): yaml.safe_load(value)
        for key, value in chart["annotations"].items()
    }
    assert (hub["license"], hub["operator"]) == ("MIT", True)
    assert [image["name"] for image in hub["images"]] == ["operator", "relay"]
    assert hub["crds"][0]["kind"] == hub["crdsExamples"][0]["kind"] == "TokenplaceRelay"
    for link in hub["links"]:
        path = link["url"].rpartition("/blob/main/")[2]
        assert (ROOT / path).exists(), path
