"""Install, upgrade, rollback and uninstall of a release, with real Helm on a real API server."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from tokenplace_cluster.control_plane.control_plane import KUBECTL, ControlPlane, KubectlError
from tokenplace_cluster.control_plane.local_jobs import local_jobs
from tokenplace_cluster.documents import commands
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.programs.helm import CHART, Helm, Object, Render, helm_for
from tokenplace_cluster.subjects.operator_process import OperatorProcess

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name.removesuffix(".values.yaml") for path in GOLDEN.glob("*.values.yaml"))
CRD = "tokenplacerelays.token.place"
RELEASE = "tokenplace"
DIGEST = "sha256:" + "c" * 64


class Run(Protocol):
    """Run Helm in the test's namespace; it must succeed."""

    def __call__(self, verb: str, *arguments: str, values: Object | None = None) -> str: ...


@pytest.fixture
def place(plane: ControlPlane) -> Iterator[str]:
    """A namespace with the Pod Security Standard "restricted", on a cluster without our CRD."""
    forget(plane)
    name = f"chart-{os.urandom(4).hex()}"
    plane.kubectl("create", "namespace", name)
    level = "pod-security.kubernetes.io/enforce=restricted"
    plane.kubectl("label", "namespace", name, level)
    yield name
    # The CRD stays: the next test, if there is one, deletes it.
    plane.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def forget(plane: ControlPlane) -> None:
    # Relays go first: else the API server deletes them for the CRD, in steps of 5 s to a minute.
    with suppress(KubectlError):  # Perhaps there is no CRD.
        plane.kubectl("delete", "tokenplacerelays", "--all", "--all-namespaces", "--timeout=60s")
    plane.kubectl("delete", "crd", CRD, "--ignore-not-found", "--timeout=110s")


@pytest.fixture
def run(helm: Helm, place: str) -> Run:
    def run(verb: str, *arguments: str, values: Object | None = None) -> str:
        done = helm(verb, RELEASE, *arguments, f"--namespace={place}", values=values)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    return run


def read(plane: ControlPlane, place: str, kind: str, name: str) -> Object:
    found: Object = json.loads(plane.kubectl("get", kind, name, f"-n={place}", "--output=json"))
    return found


def every(plane: ControlPlane, place: str, kinds: str) -> list[Object]:
    text = plane.kubectl("get", kinds, f"-n={place}", "--output=json", "--ignore-not-found")
    found: list[Object] = json.loads(text)["items"] if text else []
    return found


def crd(plane: ControlPlane) -> Object:
    found: Object = read(plane, "default", "crd", CRD)
    return found


def age(plane: ControlPlane) -> None:
    """Make the CRD in the cluster an older one: without one field, and without the hash."""
    old = yaml.safe_load((CHART / "crds" / f"{CRD.partition('.')[0]}.yaml").read_text())
    del old["metadata"]["annotations"]
    spec = old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["paused"]
    arguments = ("apply", "--server-side", "--force-conflicts", "--field-manager=helm")
    plane.kubectl(*arguments, "--filename=-", given=json.dumps(old))


def knows_paused(plane: ControlPlane) -> bool:
    schema = crd(plane)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return "paused" in schema["properties"]["spec"]["properties"]


def stranger(plane: ControlPlane, place: str) -> None:
    """Create a relay that does not belong to the release."""
    relay = {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "metadata": {"name": "stranger", "namespace": place},
        "spec": {"image": {"digest": DIGEST}, "gpu": {"mode": "None"}},
    }
    plane.kubectl("apply", "--filename=-", given=json.dumps(relay))


def test_one_step_installs_the_crd_the_operator_and_a_relay(
    plane: ControlPlane, place: str, run: Run
) -> None:
    said = run("install", str(CHART), values={"ingress": {"domain": "example.com"}})
    assert "kubectl wait" in said
    assert "helm test tokenplace" in said
    assert "https://relay.example.com" in said
    assert read(plane, place, "tokenplacerelays", RELEASE)["spec"]["ingress"]["domain"]
    assert read(plane, place, "deployments", "tokenplace-operator")
    assert every(plane, place, "jobs") == []


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_accepts_every_object(
    case: str, plane: ControlPlane, place: str, render: Render
) -> None:
    plane.kubectl("apply", "--server-side", f"--filename={CHART / 'crds'}")
    plane.wait_established(CRD)
    objects = render(yaml.safe_load((GOLDEN / f"{case}.values.yaml").read_text()))
    assert objects
    for obj in objects:
        if obj["metadata"].get("namespace"):
            obj["metadata"]["namespace"] = place
    strict = ("apply", "--server-side", "--dry-run=server", "--validate=strict")
    plane.kubectl(*strict, "--filename=-", given=yaml.safe_dump_all(objects))
    for obj in objects:
        if obj["kind"] == "Deployment":
            template = obj["spec"]["template"]
            template["spec"].pop("priorityClassName", None)
            template["spec"].pop("serviceAccountName")
            template["metadata"]["name"] = "pod"
            pod = {"apiVersion": "v1", "kind": "Pod", **template}
            plane.kubectl(
                "create", "--dry-run=server", f"--namespace={place}", "--filename=-",
                given=json.dumps(pod),
            )  # fmt: skip


def test_the_api_server_accepts_the_examples_on_artifact_hub(
    plane: ControlPlane, place: str
) -> None:
    plane.kubectl("apply", "--server-side", f"--filename={CHART / 'crds'}")
    plane.wait_established(CRD)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    examples = yaml.safe_load(chart["annotations"]["artifacthub.io/crdsExamples"])
    assert examples
    for one in examples:
        strict = ("create", "--dry-run=server", "--validate=strict", f"--namespace={place}")
        plane.kubectl(*strict, "--filename=-", given=json.dumps(one))


@pytest.fixture(params=["everywhere", "one namespace"])
def operator(
    request: pytest.FixtureRequest, plane: ControlPlane, place: str, run: Run, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """An operator with the rights that the chart grants for its namespaces."""
    watched = [place] if request.param == "one namespace" else []
    run("install", str(CHART), values={"operator": {"watchNamespaces": watched}})
    account = plane.service_account_kubeconfig(place, "tokenplace-operator")
    deployment = read(plane, place, "deployments", "tokenplace-operator")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    verb, *flags = [one.replace("$(POD_NAMESPACE)", place) for one in container["args"]]
    assert verb == "run"
    # The last of two port options applies; 0 is any free port.
    started = OperatorProcess(tmp_path / "log", account, *flags, "--metrics-port=0")
    yield started
    assert started.end() == 0


def test_the_operator_works_with_what_the_chart_grants(
    operator: OperatorProcess, plane: ControlPlane, place: str, eventually: Eventually
) -> None:
    def children() -> bool:
        found = every(plane, place, "deployments,services,networkpolicies")
        names = {(one["kind"], one["metadata"]["name"]) for one in found}
        return names >= {(kind, RELEASE) for kind in ("Deployment", "Service", "NetworkPolicy")}

    eventually(children, seconds=60)
    eventually(lambda: "status" in read(plane, place, "tokenplacerelays", RELEASE), seconds=60)
    assert operator.leads()


@pytest.mark.usefixtures("place")
def test_the_command_of_the_readme_installs(plane: ControlPlane, helm: Helm) -> None:
    """A dry run on the server; tests/e2e/test_documents.py installs the chart for real."""
    plane.kubectl("apply", "--server-side", f"--filename={CHART / 'crds'}")
    plane.wait_established(CRD)
    for page in ("README.head.md", "tokenplace-relay/README.md"):
        (block,) = commands.of(f"deploy/charts/{page}")
        install, _ = block.commands
        chart = "oci://ghcr.io/futuroptimist/charts/tokenplace-relay"
        done = helm(*shlex.split(install.replace(chart, str(CHART)))[1:], "--dry-run=server")
        assert done.returncode == 0, done.stderr
        assert "kind: TokenplaceRelay\n" in done.stdout


@pytest.fixture
def dns_service(plane: ControlPlane) -> Iterator[list[str]]:
    """The addresses of a DNS Service such as every cluster has."""
    meta = {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    spec = {"selector": {"k8s-app": "kube-dns"}, "ports": [{"port": 53, "protocol": "UDP"}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    plane.kubectl("apply", "--filename=-", given=json.dumps(service))
    yield read(plane, "kube-system", "services", "kube-dns")["spec"]["clusterIPs"]
    plane.kubectl("delete", "service", "kube-dns", "--namespace=kube-system")


def test_the_policies_allow_the_addresses_of_the_dns_service(
    plane: ControlPlane, place: str, run: Run, dns_service: list[str]
) -> None:
    run("install", str(CHART))
    policy = read(plane, place, "networkpolicies", "tokenplace-operator")["spec"]
    dns = policy["egress"][0]
    assert {port["port"] for port in dns["ports"]} == {53}
    blocks = {peer["ipBlock"]["cidr"] for peer in dns["to"] if "ipBlock" in peer}
    assert dns_service
    assert blocks == {"169.254.20.10/32", *(f"{address}/32" for address in dns_service)}


@pytest.fixture
def tenant(plane: ControlPlane, place: str, tmp_path: Path) -> Helm:
    """Helm as a user with all rights in one namespace and none elsewhere."""
    plane.kubectl("apply", "--server-side", f"--filename={CHART / 'crds'}")
    plane.wait_established(CRD)
    every_right = ("--verb=*", "--resource=*.*")
    plane.kubectl("create", "role", "tenant", f"--namespace={place}", *every_right)
    bound = ("--role=tenant", "--user=tenant")
    plane.kubectl("create", "rolebinding", "tenant", f"--namespace={place}", *bound)
    return helm_for(tmp_path, plane.user_kubeconfig("tenant"))


@pytest.mark.usefixtures("dns_service")
def test_a_second_relay_needs_rights_in_its_namespace_only(
    tenant: Helm, plane: ControlPlane, place: str
) -> None:
    arguments = (RELEASE, str(CHART), f"--namespace={place}", "--skip-crds")
    for verb in ("install", "upgrade"):
        age(plane)
        done = tenant(verb, *arguments, values={"operator": {"create": False}})
        assert done.returncode == 0, done.stderr
    assert every(plane, place, "jobs") == []
    assert read(plane, place, "tokenplacerelays", RELEASE)


def test_values_replace_lookups_for_a_user_without_cluster_rights(tenant: Helm, place: str) -> None:
    arguments = ("install", RELEASE, str(CHART), f"--namespace={place}", "--skip-crds")
    values: Object = {"operator": {"watchNamespaces": [place]}}
    done = tenant(*arguments, values=values)
    assert 'cannot list resource "services"' in done.stderr
    values["operator"]["networkPolicy"] = {"dns": {"addresses": ["169.254.20.10"]}}
    done = tenant(*arguments, values=values)
    assert 'cannot get resource "customresourcedefinitions"' in done.stderr
    values["crdUpgrade"] = {"enabled": False}
    done = tenant(*arguments, values=values)
    assert done.returncode == 0, done.stderr


def test_an_upgrade_changes_the_relay_and_runs_no_job_when_the_crd_is_current(
    plane: ControlPlane, place: str, run: Run
) -> None:
    run("install", str(CHART))
    before = crd(plane)["metadata"]["resourceVersion"]
    run("upgrade", str(CHART), "--timeout=30s", values={"image": {"digest": DIGEST}})
    assert read(plane, place, "tokenplacerelays", RELEASE)["spec"]["image"]["digest"] == DIGEST
    assert crd(plane)["metadata"]["resourceVersion"] == before


def test_an_upgrade_updates_an_older_crd_first(
    plane: ControlPlane, place: str, run: Run, tmp_path: Path
) -> None:
    run("install", str(CHART))
    stranger(plane, place)
    age(plane)
    assert not knows_paused(plane)
    with local_jobs(plane, place, tmp_path) as played:
        # The new field is used by the very upgrade that brings it.
        run("upgrade", str(CHART), "--timeout=120s", values={"paused": True})
    assert len(played) == 1
    assert knows_paused(plane)
    assert read(plane, place, "tokenplacerelays", RELEASE)["spec"]["paused"] is True
    assert read(plane, place, "tokenplacerelays", "stranger")["spec"]["image"]["digest"] == DIGEST
    left = every(plane, place, "jobs,configmaps,serviceaccounts,clusterroles")
    assert [one for one in left if "crd-upgrade" in one["metadata"]["name"]] == []


def test_a_rollback_restores_the_relay_and_keeps_the_crd(
    plane: ControlPlane, place: str, run: Run
) -> None:
    run("install", str(CHART), values={"image": {"tag": "1.0.0"}})
    run("upgrade", str(CHART), values={"image": {"digest": DIGEST}})
    before = crd(plane)["metadata"]["resourceVersion"]
    run("rollback", "1")
    image = read(plane, place, "tokenplacerelays", RELEASE)["spec"]["image"]
    assert image["tag"] == "1.0.0"
    assert "digest" not in image
    assert crd(plane)["metadata"]["resourceVersion"] == before


def test_an_uninstall_keeps_the_crd_and_other_relays(
    plane: ControlPlane, place: str, run: Run
) -> None:
    run("install", str(CHART))
    stranger(plane, place)
    # No operator runs here, so the uninstall must not depend on one.
    run("uninstall", "--wait", "--timeout=60s")
    relays = every(plane, place, "tokenplacerelays")
    assert [one["metadata"]["name"] for one in relays] == ["stranger"]
    left = every(plane, place, "all,networkpolicies,roles,rolebindings,poddisruptionbudgets")
    assert [
        one["metadata"]["name"]
        for one in left
        if one["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "Helm"
    ] == []
    roles = every(plane, place, "clusterroles,clusterrolebindings")
    assert [one for one in roles if one["metadata"]["name"].startswith(place)] == []


def test_a_later_install_finds_the_crd_and_other_relays(
    plane: ControlPlane, place: str, run: Run
) -> None:
    run("install", str(CHART))
    stranger(plane, place)
    run("uninstall", "--wait", "--timeout=60s")
    age(plane)
    run("install", str(CHART), values={"paused": True})
    assert knows_paused(plane)
    relays = every(plane, place, "tokenplacerelays")
    assert sorted(one["metadata"]["name"] for one in relays) == ["stranger", RELEASE]


def test_the_last_commands_of_the_documents_remove_everything(
    plane: ControlPlane, place: str, run: Run, tmp_path: Path
) -> None:
    run("install", str(CHART))
    stranger(plane, place)
    run("uninstall", "--wait", "--timeout=60s")
    (tmp_path / "kubectl").symlink_to(KUBECTL)
    page = (Path(__file__).parents[2] / "docs" / "upgrade.md").read_text()
    (block,) = re.findall(r"^```bash\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        ["bash", "-euc", block.replace("namespace tokenplace\n", f"namespace {place}\n")],
        cwd=tmp_path,
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "KUBECONFIG": str(plane.kubeconfig),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(KubectlError, match="NotFound"):
        crd(plane)


def test_namespaced_mode_creates_no_cluster_role(plane: ControlPlane, place: str, run: Run) -> None:
    run("install", str(CHART), values={"operator": {"watchNamespaces": [place]}})
    account = f"--as=system:serviceaccount:{place}:tokenplace-operator"
    asked = ("auth", "can-i", "list", "tokenplacerelays.token.place", account)
    assert plane.kubectl(*asked, f"--namespace={place}").strip() == "yes"
    with pytest.raises(KubectlError):
        plane.kubectl(*asked, "--namespace=default")


def test_a_value_that_only_the_api_server_can_validate_is_rejected_with_its_rule(
    helm: Helm, place: str
) -> None:
    values = {"gpuExternalName": {"mode": "ExternalName"}}
    done = helm("install", RELEASE, str(CHART), f"--namespace={place}", values=values)
    assert done.returncode != 0
    assert "gpu.host: required in mode ExternalName" in done.stderr
