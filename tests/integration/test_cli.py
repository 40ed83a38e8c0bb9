"""`kubectl tokenplace` as users run it: kubectl finds the plugin on the PATH and runs it."""

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet, Fate
from tokenplace_cluster.fixtures import Eventually, Kubectl
from tokenplace_cluster.subjects.operator_process import OperatorProcess
from tokenplace_cluster.subjects.relays import DIGEST, REPOSITORY, Relays

GOLDEN = Path(__file__).parents[1] / "unit" / "operator" / "golden"
IMPORTS = Path(__file__).parents[1] / "unit" / "operator" / "imports"
BIN = Path(sys.executable).parent
KIND = {"apiVersion": "token.place/v1alpha1", "kind": "TokenplaceRelay"}
VERBS = ("status", "explain", "diff", "pin", "report", "probe")

Object = dict[str, Any]
Done = subprocess.CompletedProcess[str]


class Plugin(Protocol):
    def __call__(self, *arguments: str, given: str | None = None, **env: str) -> Done: ...


@pytest.fixture
def ready(operator: OperatorProcess, relays: Relays, eventually: Eventually) -> Iterator[str]:
    """A Ready relay that is named by a tag; returns its name."""
    assert operator.popen.poll() is None
    relays.apply(image={"tag": "v1.0.0"})
    eventually(lambda: relays.when(Ready="True"), seconds=60)
    eventually(lambda: relays.read()["status"]["image"]["running"], seconds=60)
    yield "relay"
    assert operator.popen.poll() is None


def read_json(done: Done) -> Any:  # noqa: ANN401 (JSON of any shape)
    assert done.stderr == ""
    return json.loads(done.stdout)


def assert_one_line(done: Done, code: int, text: str) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    assert text in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_status_of_a_ready_relay(
    ready: str, plugin: Plugin, kubelet: FakeKubelet, namespace: str
) -> None:
    digest = kubelet.digest(f"{REPOSITORY}:v1.0.0")
    done = plugin("status", ready)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"relay in namespace {namespace}: Ready")
    assert f"running    {digest}" in done.stdout
    for text in ("! ImagePinned", "Deployment ", "0 restarts", "Last events"):
        assert text in done.stdout
    assert "\x1b" not in done.stdout
    found = read_json(plugin("status", ready, "-o", "json"))
    assert (found["name"], found["ready"]) == (ready, True)
    assert found["image"]["running"] == digest
    assert {one["kind"] for one in found["children"]} >= {"Deployment", "Service", "NetworkPolicy"}
    assert [one["state"] for one in found["pods"]] == ["ready"]
    assert {one["about"] for one in found["events"]} >= {"TokenplaceRelay/relay"}

    table = plugin("status", "-A")
    assert [line.split()[:3] for line in table.stdout.splitlines() if namespace in line] == [
        [namespace, ready, "yes"]
    ]
    listed = read_json(plugin("status", "--output=json"))
    assert [one["name"] for one in listed["relays"]] == [ready]


def test_explain_of_a_crash_names_the_next_command(
    *,
    operator: OperatorProcess,
    plugin: Plugin,
    relays: Relays,
    kubelet: FakeKubelet,
    eventually: Eventually,
    namespace: str,
) -> None:
    assert operator.popen.poll() is None
    kubelet.fates[f"{REPOSITORY}@{DIGEST}"] = Fate.CRASHING
    relays.apply()
    eventually(lambda: relays.when(Ready="ContainerCrashing"), seconds=60)
    done = plugin("explain", "relay")
    assert done.returncode == 1
    assert f"relay in namespace {namespace} is not Ready\n  ContainerCrashing: Pod" in done.stdout
    assert f"kubectl -n {namespace} logs -l app.kubernetes.io/instance=relay" in done.stdout
    found = read_json(plugin("explain", "relay", "-ojson"))
    assert (found["ready"], found["reason"]) == (False, "ContainerCrashing")
    status = plugin("status", "relay")
    assert status.returncode == 1
    assert "problem    ContainerCrashing: " in status.stdout
    relays.patch({"spec": {"paused": True, "service": {"port": 81}}})
    eventually(lambda: relays.when(Ready="Paused"), seconds=60)
    assert read_json(plugin("explain", "relay", "-o=json"))["waitingFor"] == "user"


def test_diff_is_empty_once_the_operator_has_reconciled(
    ready: str, plugin: Plugin, relays: Relays, tmp_path: Path, eventually: Eventually
) -> None:
    same = plugin("diff", ready)
    assert same.returncode == 0, same.stdout + same.stderr
    assert same.stdout.startswith("No difference in ")
    spec = {"image": {"tag": "v1.0.0"}, "gpu": {"mode": "None"}, "service": {"port": 81}}
    file = tmp_path / "relay.yaml"
    file.write_text(yaml.safe_dump({**KIND, "metadata": {"name": ready}, "spec": spec}))
    changed = plugin("diff", "-f", str(file))
    assert changed.returncode == 1, changed.stderr
    assert "--- live/Service/relay\n+++ desired/Service/relay\n" in changed.stdout
    assert "-    port: 80\n+    port: 81\n" in changed.stdout
    assert relays.read("relay", "service")["spec"]["ports"][0]["port"] == 80

    relays.patch({"spec": {"paused": True, "networkPolicy": {"enabled": False}}})
    eventually(lambda: relays.when(Ready="Paused"), seconds=60)
    found = read_json(plugin("diff", ready, "-o", "json"))
    assert found["different"]
    actions = {(one["kind"], one["action"]) for one in found["children"]}
    assert actions == {
        ("ServiceAccount", "none"),
        ("Service", "none"),
        ("Deployment", "none"),
        ("NetworkPolicy", "delete"),
    }


@pytest.mark.usefixtures("no_operator")
def test_diff_without_an_operator_shows_new_children(plugin: Plugin, relays: Relays) -> None:
    unmanaged = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "gpu-server"}}
    relays.write({**unmanaged, "spec": {"ports": [{"port": 80}]}})
    relays.apply(gpu={"mode": "Headless", "addresses": ["192.0.2.7"]})
    done = plugin("diff", "relay")
    assert done.returncode == 1
    blocked = (
        "Service/gpu-server is blocked: the name belongs to another owner (field manager kubectl"
    )
    assert blocked in done.stdout
    assert "+++ desired/Deployment/relay" in done.stdout
    assert relays.all("deployments") == []


def test_render_gives_the_golden_children_without_a_cluster(plugin: Plugin) -> None:
    relay = yaml.safe_load((GOLDEN / "external-name.relay.yaml").read_text())
    addresses = relay.pop("facts")["gpu_addresses"]
    text = yaml.safe_dump({**KIND, **relay})
    flags = [f"--gpu-address={one}" for one in addresses]
    done = plugin("render", *flags, given=text, KUBECONFIG="/nowhere")
    assert done.returncode == 0, done.stderr
    golden = list(yaml.safe_load_all((GOLDEN / "external-name.children.yaml").read_text()))
    assert list(yaml.safe_load_all(done.stdout)) == golden
    assert read_json(plugin("render", *flags, "-ojson", given=text))["items"] == golden


def test_render_without_a_uid_can_be_applied(plugin: Plugin, kubectl: Kubectl) -> None:
    example = GOLDEN.parents[3] / "deploy" / "examples" / "ingress.yaml"
    done = plugin("render", "-f", str(example), "--namespace=")
    objects = list(yaml.safe_load_all(done.stdout))
    assert all("ownerReferences" not in one["metadata"] for one in objects)
    for one in objects:
        del one["metadata"]["namespace"]
    text = yaml.safe_dump_all(objects)
    dry = kubectl("apply", "--server-side", "--dry-run=server", "--filename=-", given=text)
    assert dry.returncode == 0, dry.stderr


def test_render_reports_errors_in_a_file(plugin: Plugin) -> None:
    start = "kind: TokenplaceRelay\napiVersion: token.place/v1alpha1\n"
    for text, message in (
        ("a: [", "standard input is not valid YAML"),
        ("kind: Pod", "contains no TokenplaceRelay"),
        ("{kind: TokenplaceRelay, apiVersion: v1}", "apiVersion is v1"),
        (start, "without metadata.name"),
        (
            f"{start}metadata: {{name: a}}\nspec: {{gpu: {{mode: None}}}}",
            "a: spec.image: set digest (preferred) or tag",
        ),
    ):
        assert_one_line(plugin("render", given=text), 2, message)


def test_pin_sets_the_digest_that_runs(
    ready: str, plugin: Plugin, relays: Relays, kubelet: FakeKubelet, eventually: Eventually
) -> None:
    digest = kubelet.digest(f"{REPOSITORY}:v1.0.0")
    assert_one_line(plugin("pin", ready, given=""), 2, "add --yes or --dry-run")
    dry = read_json(plugin("pin", ready, "--dry-run", "-ojson"))
    assert (dry["digest"], dry["done"]) == (digest, "would be pinned")
    assert "digest" not in relays.read()["spec"]["image"]
    done = plugin("pin", ready, "--yes")
    assert done.returncode == 0, done.stderr
    assert f"{REPOSITORY}:v1.0.0 pinned to {digest}" in done.stdout
    assert relays.read()["spec"]["image"]["digest"] == digest
    eventually(lambda: relays.when(ImagePinned="True", Ready="True"), seconds=60)
    again = plugin("pin", ready)
    assert again.returncode == 0
    assert "already pinned" in again.stdout


def test_pin_needs_a_pod_that_runs(plugin: Plugin, relays: Relays) -> None:
    relays.apply(image={"tag": "v9"})
    assert_one_line(plugin("pin", "relay", "--yes"), 1, f"no pod runs {REPOSITORY}:v9 yet")


def test_report_contains_no_secret_and_reads_none(
    *,
    ready: str,
    plugin: Plugin,
    relays: Relays,
    kubectl: Kubectl,
    control_plane: ControlPlane,
    eventually: Eventually,
    namespace: str,
    tmp_path: Path,
) -> None:
    secret = kubectl("create", "secret", "generic", "mine", "--from-literal=k=in-the-Secret-77")
    assert secret.returncode == 0
    env = [{"name": "API_KEY", "value": "swordfish-99"}]
    template = {"env": env, "annotations": {"note": "annotated-99"}}
    relays.patch({"spec": {"podTemplate": template}})
    eventually(lambda: relays.when(Ready="True"), seconds=60)

    user = f"helper-{namespace}"
    grant_view(kubectl, user)
    config = control_plane.user_kubeconfig(user)
    path = tmp_path / "bundle.tar.gz"
    flags = [f"--file={path}", f"--operator-namespace={namespace}", f"--kubeconfig={config}"]
    done = plugin("report", ready, "-n", namespace, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path} contains\n")
    files = unpacked(path)
    assert {"bundle/relay.yaml", "bundle/events.yaml", "bundle/status.json"} <= files.keys()
    assert "bundle/children/deployment-relay.yaml" in files
    everything = "".join(files.values())
    assert "name: API_KEY" in everything
    for planted in ("swordfish-99", "annotated-99", "in-the-Secret-77"):
        assert planted not in everything
    asked = audit.read(control_plane.audit_log, user=user)
    assert {one.resource for one in asked} >= {"tokenplacerelays", "pods", "events"}
    assert [one for one in asked if one.resource == "secrets" or one.is_write] == []
    listed = read_json(plugin("report", ready, f"--file={path}", "-o", "json"))
    assert set(listed["contents"]) >= {"relay.yaml", "events.yaml"}
    assert listed["unreadable"] == []
    kubectl("delete", "clusterrole", "tokenplace-view")


def grant_view(kubectl: Kubectl, user: str) -> None:
    """Let a user read relays and administer the rest of the namespace."""
    rule = ("--verb=get,list", "--resource=tokenplacerelays.token.place")
    assert kubectl("create", "clusterrole", "tokenplace-view", *rule).returncode == 0
    for role in ("admin", "tokenplace-view"):
        flags = (f"--user={user}", f"--clusterrole={role}")
        bound = kubectl("create", "rolebinding", f"{role}-helper", *flags)
        assert bound.returncode == 0, bound.stderr


def unpacked(path: Path) -> dict[str, str]:
    """The text of each file in an archive, by name."""
    with tarfile.open(path) as archive:
        members = {one.name: archive.extractfile(one) for one in archive.getmembers()}
        return {name: file.read().decode() for name, file in members.items() if file is not None}


def test_probe_needs_a_ready_pod(plugin: Plugin, relays: Relays) -> None:
    relays.apply()
    assert_one_line(plugin("probe", "relay"), 1, "no pod of relay is ready")


def test_a_missing_relay_is_one_line(plugin: Plugin) -> None:
    for verb in VERBS:
        assert_one_line(plugin(verb, "nowhere"), 3, '"nowhere" not found')


def test_a_missing_right_is_one_line(
    plugin: Plugin, control_plane: ControlPlane, namespace: str
) -> None:
    config = control_plane.user_kubeconfig("nobody")
    for verb in VERBS:
        done = plugin(verb, "relay", f"--kubeconfig={config}", f"-n={namespace}")
        assert_one_line(done, 5, 'forbidden: tokenplacerelays.token.place "relay" is forbidden')


def test_without_a_cluster_it_is_one_line(plugin: Plugin, tmp_path: Path) -> None:
    assert_one_line(plugin("status", KUBECONFIG=str(tmp_path / "none")), 4, "no kubeconfig")
    assert_one_line(plugin("status", "--context=gone"), 4, "gone")
    closed = tmp_path / "closed"
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": ""}}
    content = {"clusters": [cluster], "contexts": [context], "current-context": "c"}
    closed.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content}))
    assert_one_line(plugin("status", f"--kubeconfig={closed}"), 4, "the cluster does not answer")


def test_several_kubeconfigs_are_merged_as_by_kubectl(
    plugin: Plugin, control_plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    first = tmp_path / "first"
    context = {"name": "mine", "context": {"cluster": "tokenplace", "user": "user"}}
    content = {"contexts": [context], "current-context": "mine"}
    first.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content}))
    done = plugin("status", "-n", namespace, KUBECONFIG=f"{first}:{control_plane.kubeconfig}")
    assert done.stdout == f"No TokenplaceRelay in namespace {namespace}.\n", done.stderr


def test_wrong_usage_exits_with_2_and_names_the_help(plugin: Plugin) -> None:
    for arguments in (("status", "relay", "-A"), ("diff",), ("status", "--nonsense"), ("probe",)):
        assert_one_line(plugin(*arguments), 2, f"see kubectl tokenplace {arguments[0]} --help")


@pytest.mark.parametrize("path", sorted(IMPORTS.glob("*.import.yaml")), ids=lambda path: path.stem)
def test_the_api_server_accepts_imported_relays(path: Path, relays: Relays, crd: str) -> None:
    assert crd
    golden = yaml.safe_load(path.read_text())
    relay = {**golden["relay"], "metadata": {"name": golden["relay"]["metadata"]["name"]}}
    assert relays.would_take(relay) == (not golden["problems"])


def test_import_prints_the_relay_on_stdout_and_the_outcomes_on_stderr(plugin: Plugin) -> None:
    values = (IMPORTS / "staging.values.yaml").read_text()
    first = plugin("import", "-f", "-", "--release=prod", "--name=relay", given=values)
    assert first.returncode == 0, first.stderr
    assert first.stderr.startswith("values of chart tokenplace\n")
    found = read_json(plugin("import", "--chart=tokenplace", "-ojson", given=values))
    assert (found["chart"], found["complete"], found["problems"]) == ("tokenplace", True, [])
    assert found["relay"]["metadata"] == {"name": "tokenplace"}
    left = plugin("import", given="replicaCount: 3\n")
    assert left.returncode == 1
    assert "to fix: spec.image: set digest (preferred) or tag\n" in left.stderr
    assert_one_line(plugin("import", given="ingress: [1]\n"), 2, "ingress: must be a map")
    assert_one_line(plugin("import", "-f", "/nowhere"), 2, "cannot read /nowhere")
    both = plugin("import", given="{upstream: {}, deployEnv: lab}\n")
    assert_one_line(both, 2, "add --chart")
