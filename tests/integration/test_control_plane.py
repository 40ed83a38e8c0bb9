"""The control plane of the tests is a real one: it refuses, records, restarts and goes away."""

import itertools
import json
import socket
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.control_plane import (
    KUBECTL,
    ControlPlane,
    DirectoryInUseError,
)
from tokenplace_cluster.fixtures import Eventually, Kubectl
from tokenplace_cluster.node.cleanup import Identity, clean

DRIVER = textwrap.dedent("""
    import signal, sys
    from dataclasses import asdict
    from json import dumps
    from pathlib import Path
    from tokenplace_cluster.control_plane.control_plane import ControlPlane

    with ControlPlane.start(Path(sys.argv[1])) as plane:
        print(dumps([asdict(one) for one in plane.record.processes]), flush=True)
        signal.pause()
""")


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """The directory of a control plane of the test's own."""
    return tmp_path / "second"


def test_server_certificate_verifies(control_plane: ControlPlane) -> None:
    url = urlsplit(control_plane.url)
    trust = ssl.create_default_context(cafile=str(control_plane.client_ca))
    for name in (control_plane.address, "kubernetes.default.svc", "10.96.0.1"):
        with (
            socket.create_connection((url.hostname, url.port), timeout=5) as plain,
            trust.wrap_socket(plain, server_hostname=name) as secured,
        ):
            assert secured.version() == "TLSv1.3"


def test_server_certificate_is_refused_for_another_name(control_plane: ControlPlane) -> None:
    url = urlsplit(control_plane.url)
    trust = ssl.create_default_context(cafile=str(control_plane.client_ca))
    with (
        socket.create_connection((url.hostname, url.port), timeout=5) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        trust.wrap_socket(plain, server_hostname="token.place")


def test_version_is_that_of_the_release(control_plane: ControlPlane) -> None:
    version = json.loads(control_plane.kubectl("get", "--raw=/version"))
    assert (version["gitVersion"], version["minor"]) == ("v1.35.4", "35")


def test_service_account_may_do_what_a_role_grants_and_nothing_else(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str
) -> None:
    kubectl("create", "serviceaccount", "reader").check_returncode()
    config = control_plane.service_account_kubeconfig(namespace, "reader")
    list_pods = [KUBECTL, f"--kubeconfig={config}", f"--namespace={namespace}", "get", "pods"]

    before = subprocess.run(list_pods, capture_output=True, text=True, check=False)
    assert f'User "system:serviceaccount:{namespace}:reader" cannot list' in before.stderr

    kubectl("create", "role", "reader", "--verb=list", "--resource=pods").check_returncode()
    grant = f"--serviceaccount={namespace}:reader"
    kubectl("create", "rolebinding", "reader", "--role=reader", grant).check_returncode()
    after = subprocess.run(list_pods, capture_output=True, text=True, check=False)
    assert after.returncode == 0, after.stderr


def test_audit_log_holds_a_write_and_no_read_among_writes(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str, eventually: Eventually
) -> None:
    kubectl("create", "configmap", "noted").check_returncode()
    kubectl("get", "configmap", "noted").check_returncode()

    def verbs(events: list[audit.AuditEvent]) -> set[tuple[str, str, int]]:
        return {(one.verb, one.resource, one.code) for one in events if one.name == "noted"}

    log = control_plane.audit_log
    created, got = ("create", "configmaps", 201), ("get", "configmaps", 200)
    eventually(lambda: {created, got} <= verbs(audit.read(log, user="admin", namespace=namespace)))
    assert verbs(audit.writes(log, user="admin", namespace=namespace)) == {created}


def test_audit_log_distinguishes_a_missing_permission_from_a_quota(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str, eventually: Eventually
) -> None:
    kubectl("create", "quota", "full", "--hard=configmaps=0").check_returncode()
    # Until the quota is known, one is still let in.
    names = (f"much-{number}" for number in itertools.count())
    eventually(lambda: "quota" in kubectl("create", "configmap", next(names)).stderr)
    assert kubectl("create", "configmap", "nobodys", "--as=nobody").returncode != 0

    def refused() -> list[bool]:
        found = audit.read(control_plane.audit_log, namespace=namespace)
        return [one.forbidden for one in found if one.code == 403 and one.verb == "create"]

    # The last one asked without a right; each before it met the quota.
    eventually(lambda: bool(refused()) and refused()[-1])
    assert len(refused()) > 1
    assert not any(refused()[:-1])


def test_garbage_collector_takes_the_children(
    kubectl: Kubectl, eventually: Eventually, control_plane: ControlPlane, namespace: str
) -> None:
    kubectl("create", "configmap", "owner").check_returncode()
    owner = kubectl("get", "configmap", "owner", "--output=jsonpath={.metadata.uid}").stdout
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner}
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "child", "namespace": namespace, "ownerReferences": [reference]},
    }
    control_plane.kubectl("create", "--filename=-", given=json.dumps(child))

    kubectl("delete", "configmap", "owner").check_returncode()

    eventually(lambda: "NotFound" in kubectl("get", "configmap", "child").stderr)


def test_directory_of_a_running_control_plane_is_refused(control_plane: ControlPlane) -> None:
    with (
        pytest.raises(DirectoryInUseError, match="already runs here"),
        ControlPlane.start(control_plane.directory),
    ):
        pass
    assert control_plane.kubectl("get", "--raw=/readyz") == "ok"


def test_second_control_plane_shares_nothing_and_keeps_its_data(
    control_plane: ControlPlane, second: Path
) -> None:
    with ControlPlane.start(second) as other:
        assert other.url != control_plane.url
        other.kubectl("create", "namespace", "only-in-the-second")
        assert "only-in-the-second" not in control_plane.kubectl("get", "namespaces")

        other.stop_apiserver(kill=True)
        other.start_apiserver()
        assert "only-in-the-second" in other.kubectl("get", "namespaces")
        processes = list(other.record.processes)
    assert not [one for one in processes if one.alive()]


def test_killed_driver_leaves_no_process_and_its_directory_starts_again(
    second: Path, eventually: Eventually
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(second)], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        processes = [Identity(**one) for one in json.loads(driver.stdout.readline())]
        alive = [one.alive() for one in processes]
        driver.kill()
    assert alive == [True] * 4

    eventually(lambda: not any(one.alive() for one in processes))
    assert len(clean(second)) == 1
    assert clean(second) == []
    with ControlPlane.start(second) as again:
        assert "default" in again.kubectl("get", "namespaces")
