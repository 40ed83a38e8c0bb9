"""What `kubectl tokenplace` reads from a cluster, and the files and processes that it leaves."""

import asyncio
import os
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tokenplace_operator.api.kinds import Kind
from tokenplace_operator.api.spec.relay import parse
from tokenplace_operator.cli import snapshot
from tokenplace_operator.cli.commands import diff, probe, report
from tokenplace_operator.cli.connection import uses_in_cluster_config
from tokenplace_operator.cli.exit_codes import CliError
from tokenplace_operator.cli.options import Target
from tokenplace_operator.cli.snapshot import Snapshot
from tokenplace_operator.kube.errors import Forbidden, NotFound

Object = dict[str, Any]

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
RELAY: Object = {
    "metadata": {"name": "relay", "namespace": "shop", "uid": "u"},
    "spec": {"image": {"tag": "v1"}, "gpu": {"mode": "None"}},
}
QUOTA_MESSAGE = 'deployments.apps "relay" is forbidden: exceeded quota: small, requested: count=1'
RBAC_MESSAGE = (
    'services "relay" is forbidden: User "bob" cannot patch resource "services" in API group "" '
    'in the namespace "shop"'
)


@pytest.fixture
def in_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A pod without any kubeconfig; returns its home."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


def test_a_pod_uses_its_own_cluster_only_when_nothing_names_another(
    in_pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert uses_in_cluster_config(Target(namespace="shop"))
    assert not uses_in_cluster_config(Target(context="prod"))
    assert not uses_in_cluster_config(Target(kubeconfig="/file"))
    with monkeypatch.context() as patch:
        patch.setenv("KUBECONFIG", "/file")
        assert not uses_in_cluster_config(Target())
    (in_pod / ".kube").mkdir()
    (in_pod / ".kube" / "config").touch()
    assert not uses_in_cluster_config(Target())


def test_outside_of_a_pod_there_is_no_in_cluster_config(
    in_pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_pod.exists()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert not uses_in_cluster_config(Target())


@pytest.mark.parametrize(
    ("kind", "name", "is_about"),
    [
        ("ReplicaSet", "relay-7d9c6b5f84", True),
        ("ReplicaSet", "relay-two-7d9c6b5f84", False),
        ("ReplicaSet", "relay-two", False),
        ("ReplicaSet", "relay", False),
        ("Pod", "relay-7d9c6b5f84", False),
    ],
)
def test_events_of_replica_sets_belong_to_their_relay_only(
    kind: str, name: str, *, is_about: bool
) -> None:
    event = {"involvedObject": {"kind": kind, "name": name, "uid": "other"}}
    assert snapshot._is_about(event, [RELAY], "relay") is is_about


class Server:
    """An API server without objects that rejects writes of some kinds."""

    def __init__(self, rejections: dict[str, Forbidden]) -> None:
        self.rejections = rejections

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        raise NotFound(404, "NotFound", f'{kind.plural} "{namespace}/{name}" not found')

    async def apply(self, obj: Object, *, force: bool, dry_run: bool) -> Object:
        assert force
        assert dry_run
        if obj["kind"] in self.rejections:
            raise self.rejections[obj["kind"]]
        return obj


async def actions(rejections: dict[str, Forbidden]) -> dict[str, str]:
    changes = await diff.compare(Server(rejections), parse(RELAY), Snapshot(RELAY))  # type: ignore[arg-type]
    return {one.kind: one.action for one in changes}


async def test_a_child_that_a_quota_rejects_hides_no_other() -> None:
    assert await actions({"Deployment": Forbidden(403, "Forbidden", QUOTA_MESSAGE)}) == {
        "ServiceAccount": "create",
        "Service": "create",
        "Deployment": "rejected",
        "NetworkPolicy": "create",
    }


async def test_a_missing_right_is_reported_for_its_child() -> None:
    found = await actions({"Service": Forbidden(403, "Forbidden", RBAC_MESSAGE)})
    assert (found["Service"], found["Deployment"]) == ("forbidden", "create")


async def test_rejected_credentials_end_the_command() -> None:
    with pytest.raises(Forbidden):
        await actions({"Service": Forbidden(401, "Unauthorized", "")})


def test_others_cannot_read_a_report_that_replaces_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    path.write_text("old")
    path.chmod(0o644)
    with path.open() as opened:
        report.write(path, {"a.txt": "text"}, NOW)
        assert opened.read() == "old"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["bundle/a.txt"]
    assert [one.name for one in tmp_path.iterdir()] == ["bundle.tar.gz"]


def test_a_report_can_be_written_to_a_device() -> None:
    report.write(Path("/dev/null"), {"a.txt": "text"}, NOW)
    assert not Path("/dev/null").is_file()


def test_a_report_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        report.write(tmp_path / "taken", {"a.txt": "text"}, NOW)
    assert [one.name for one in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("output", ["", "null", "1", "{}", '{"passed": true}', "Traceback"])
def test_unreadable_probe_output_is_one_line(output: str) -> None:
    with pytest.raises(CliError, match="the probe did not run"):
        probe.read(probe.ProcessResult(0, output, ""))


async def test_ctrl_c_ends_the_probe_process(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    os.mkfifo(pid)
    program = ["sh", "-c", f"echo $$ > {pid}; exec sleep 60"]
    task = asyncio.create_task(probe._run(program, 60))
    number = int(await asyncio.to_thread(pid.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
