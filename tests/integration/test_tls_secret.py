"""A certificate of the user's own on the real API server: the right to its Secret is the switch."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenplace_cluster.control_plane.certificates import Authority
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects import shipped
from tokenplace_cluster.subjects.operator_process import IMPATIENT, OperatorProcess
from tokenplace_cluster.subjects.relays import Relays

StartOperator = Callable[..., OperatorProcess]

OWN = {"domain": "example.com", "tls": {"secretName": "mine"}}


@pytest.mark.timeout(300)
def test_a_named_secret_is_read_once_the_permission_exists(
    *,
    control_plane: ControlPlane,
    start_operator: StartOperator,
    relays: Relays,
    namespace: str,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    here = f"--namespace={namespace}"
    operator = start_operator(before=IMPATIENT)
    relays.apply(ingress=OWN)
    eventually(lambda: relays.when(CertificateReady="CertificateUnreadable"), seconds=60)
    operator.end(signal.SIGTERM)

    rights = ("--verb=get", "--resource=secrets", "--resource-name=mine", here)
    control_plane.kubectl("create", "role", "mine", *rights)
    bind = ("--role=mine", f"--user={shipped.USER}", here)
    control_plane.kubectl("create", "rolebinding", "mine", *bind)
    start_operator(before=IMPATIENT)
    eventually(lambda: relays.when(CertificateReady="TLSSecretNotFound"), seconds=60)
    told = relays.conditions()["CertificateReady"]["message"]
    assert "kubectl create secret tls mine" in told

    pair = Authority.create(tmp_path).issue("own", "own", names=["relay.example.com"])
    files = (f"--cert={pair.certificate}", f"--key={pair.key}")
    control_plane.kubectl("create", "secret", "tls", "mine", *files, here)
    eventually(lambda: relays.when(CertificateReady="CertificateValid"), seconds=60)
    assert re.search(r"[0-9]+ days? left", relays.conditions()["CertificateReady"]["message"])
    (event,) = relays.events("TLSSecretNotFound")
    assert (event["type"], event["count"], event["message"]) == ("Warning", 1, told)
