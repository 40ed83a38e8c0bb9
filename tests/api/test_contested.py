"""A controller that undoes what the operator writes, each time: no storm, and it is named."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise

import pykube
import pytest

from tokenplace_cluster import audit
from tokenplace_cluster.audit import AuditEvent
from tokenplace_cluster.control_plane import ControlPlane
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.operator_process import Operators
from tokenplace_cluster.relays import Relays

FREE_WRITES = 10
PAUSES = (1, 2, 4)
"""Seconds after the writes that are free, as docs/conditions.md says."""
OURS = {"app.kubernetes.io/part-of": "cleaner"}
LOOK_SECONDS = 0.02


@contextmanager
def cleaner(api: pykube.HTTPClient, namespace: str) -> Iterator[None]:
    """Sets a label of the relay's Service as soon as it is not as it wants, until the end."""
    over = threading.Event()

    def clean() -> None:
        where = {"url": "services/relay", "namespace": namespace}
        while not over.wait(LOOK_SECONDS):
            answer = api.get(**where)
            answer.raise_for_status()
            if answer.json()["metadata"]["labels"].items() >= OURS.items():
                continue
            api.patch(
                **where,
                params={"fieldManager": "cleaner"},
                headers={"Content-Type": "application/merge-patch+json"},
                data=json.dumps({"metadata": {"labels": OURS}}),
            ).raise_for_status()

    cleaning = threading.Thread(target=clean)
    cleaning.start()
    try:
        yield
    finally:
        over.set()
        cleaning.join()


@pytest.mark.usefixtures("kubelet")
def test_whoever_undoes_each_write_is_named_and_answered_ever_more_slowly(
    *,
    api: pykube.HTTPClient,
    operators: Operators,
    control_plane: ControlPlane,
    namespace: str,
    relays: Relays,
    eventually: Eventually,
) -> None:
    login = control_plane.user_kubeconfig(f"operator-{namespace}", ["system:masters"])
    eventually(operators.start(kubeconfig=login).leads)
    relays.apply()
    eventually(lambda: relays.when(Ready="True"))

    def writes(resource: str) -> list[AuditEvent]:
        """Of the operator; it asks first without force, which is refused."""
        log = audit.writes(control_plane.audit_log, user=login.stem, namespace=namespace)
        return [one for one in log if one.resource == resource and one.code < 300]

    with cleaner(api, namespace):
        eventually(lambda: relays.when(Ready="Contested", Stalled="True"))
        wanted = FREE_WRITES + len(PAUSES)
        eventually(lambda: len(writes("services")) >= wanted)
    ready = relays.conditions()["Ready"]["message"]
    assert "Service relay: .metadata.labels.app.kubernetes.io/part-of is set by cleaner" in ready
    times = [datetime.fromisoformat(one.timestamp) for one in writes("services")]
    waited = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert all(
        took >= pause for took, pause in zip(waited[FREE_WRITES - 1 :], PAUSES, strict=False)
    ), waited
    assert len(relays.events("Contested")) == 1
    told = writes("tokenplacerelays")
    assert len(told) < FREE_WRITES, "the status is not written each time"

    relays.apply(service={"port": 8080})
    eventually(lambda: relays.when(Ready="True"))
    assert relays.read(kind="service")["metadata"]["labels"].items().isdisjoint(OURS.items())
