"""A controller that reverts each write of the operator: no storm of writes."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pykube
import pytest

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.audit import AuditEvent
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.operator_process import Operators
from tokenplace_cluster.subjects.relays import Relays
from tokenplace_operator.api.kinds import Object

FREE_WRITES = 10
PAUSES = (1, 2, 4)
"""Seconds after the writes that are free, as in docs/conditions.md."""
OURS = {"app.kubernetes.io/part-of": "cleaner"}
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Undoer:
    """Patches what the operator wrote as soon as it is not as it wants; in a thread."""

    api: pykube.HTTPClient
    where: dict[str, str]
    is_wanted: Callable[[Object], bool]
    patch: Object
    subresource: str = ""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Until the end of the block."""
        over = threading.Event()
        undoing = threading.Thread(target=self._undo_until, args=(over,))
        undoing.start()
        try:
            yield
        finally:
            over.set()
            undoing.join()

    def _undo_until(self, over: threading.Event) -> None:
        while not over.wait(LOOK_SECONDS):
            answer = self.api.get(**self.where)
            answer.raise_for_status()
            if self.is_wanted(answer.json()):
                continue
            self.api.patch(
                **{**self.where, "url": self.where["url"] + self.subresource},
                params={"fieldManager": "cleaner"},
                headers={"Content-Type": "application/merge-patch+json"},
                data=json.dumps(self.patch),
            ).raise_for_status()


@dataclass(frozen=True)
class Written:
    """What the operator wrote in a namespace, from the audit log."""

    log: Path
    user: str
    namespace: str

    def to(self, resource: str) -> list[AuditEvent]:
        """It asks first without force, which is refused: that is no write."""
        found = audit.writes(self.log, user=self.user, namespace=self.namespace)
        return [one for one in found if one.resource == resource and one.code < 300]


@pytest.fixture
def written(
    operators: Operators, control_plane: ControlPlane, namespace: str, eventually: Eventually
) -> Written:
    """An operator that leads, and what it writes."""
    login = control_plane.user_kubeconfig(f"operator-{namespace}", ["system:masters"])
    eventually(operators.start(kubeconfig=login).leads)
    return Written(control_plane.audit_log, login.stem, namespace)


def assert_pauses(events: list[AuditEvent]) -> None:
    """The first writes are free, and each pause after them is at least as long as it should be."""
    times = [datetime.fromisoformat(one.timestamp) for one in events]
    waited = [(after - before).total_seconds() for before, after in pairwise(times)]
    kept = zip(waited[FREE_WRITES - 1 :], PAUSES, strict=False)
    assert all(took >= pause for took, pause in kept), waited


@pytest.mark.usefixtures("kubelet")
def test_a_writer_that_reverts_each_write_is_named_and_writes_slow_down(
    *,
    api: pykube.HTTPClient,
    written: Written,
    namespace: str,
    relays: Relays,
    eventually: Eventually,
) -> None:
    relays.apply()
    eventually(lambda: relays.when(Ready="True"))
    cleaner = Undoer(
        api,
        where={"url": "services/relay", "namespace": namespace},
        is_wanted=lambda found: found["metadata"]["labels"].items() >= OURS.items(),
        patch={"metadata": {"labels": OURS}},
    )
    with cleaner.at_work():
        eventually(lambda: relays.when(Ready="ConflictingWrites", Stalled="True"))
        eventually(lambda: len(written.to("services")) >= FREE_WRITES + len(PAUSES))
    ready = relays.conditions()["Ready"]["message"]
    assert "Service relay: .metadata.labels.app.kubernetes.io/part-of is set by cleaner" in ready
    assert_pauses(written.to("services"))
    assert len(relays.events("ConflictingWrites")) == 1
    told = written.to("tokenplacerelays")
    assert len(told) < FREE_WRITES, "the status is not written each time"

    relays.apply(service={"port": 8080})
    eventually(lambda: relays.when(Ready="True"))
    assert relays.read(kind="service")["metadata"]["labels"].items().isdisjoint(OURS.items())


@pytest.mark.usefixtures("kubelet")
def test_status_writes_slow_down_for_a_writer_that_wipes_each_of_them(
    *,
    api: pykube.HTTPClient,
    written: Written,
    namespace: str,
    relays: Relays,
    eventually: Eventually,
) -> None:
    relays.apply()
    eventually(lambda: relays.when(Ready="True"))
    before = len(written.to("tokenplacerelays"))
    wiper = Undoer(
        api,
        where={
            "base": "/apis",
            "version": "token.place/v1alpha1",
            "url": "tokenplacerelays/relay",
            "namespace": namespace,
        },
        is_wanted=lambda found: not found["status"]["conditions"],
        patch={"status": {"conditions": []}},
        subresource="/status",
    )
    with wiper.at_work():
        wanted = before + FREE_WRITES + len(PAUSES)
        eventually(lambda: len(written.to("tokenplacerelays")) >= wanted)
    assert_pauses(written.to("tokenplacerelays")[before:])
    eventually(lambda: relays.when(Ready="True"))
