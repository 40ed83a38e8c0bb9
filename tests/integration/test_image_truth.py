"""Which image runs, and what becomes of a rollout that does not get on."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest

from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet, Fate
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.relays import REPOSITORY, Relays
from tokenplace_operator.api.kinds import Kind, Object
from tokenplace_operator.cache.store import Store
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.wiring import reconciler

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
DEADLINE = {"deadlineSeconds": 10}
OVERDUE_SECONDS = 60


@pytest.mark.usefixtures("operator")
def test_the_status_names_the_digest_that_the_pods_run(
    kubelet: FakeKubelet, relays: Relays, eventually: Eventually
) -> None:
    tag = f"{REPOSITORY}:v1.0.0"
    kubelet.digests[tag] = A
    relays.apply(image={"tag": "v1.0.0"})
    image = eventually(lambda: relays.when(Ready="True"))["status"]["image"]
    assert image == {
        "desired": tag,
        "running": A,
        "lastReady": f"{REPOSITORY}@{A}",
        "short": "v1.0.0",
    }
    pinned = relays.conditions()["ImagePinned"]
    assert pinned["status"] == "False"
    assert f"set spec.image.digest to {A}" in pinned["message"]
    relays.apply(image={"digest": A})
    eventually(lambda: relays.when(Ready="True", ImagePinned="True"))


@pytest.mark.usefixtures("operator")
def test_a_rollout_past_its_deadline_reports_the_reason_of_its_pods(
    kubelet: FakeKubelet, relays: Relays, eventually: Eventually
) -> None:
    fates = {
        "pull": (Fate.UNPULLABLE, "ImagePullFailed", "ImagePullBackOff: Back-off pulling image"),
        "crash": (Fate.CRASHING, "ContainerCrashing", "exits soon after its start (Error, exit"),
        "probe": (Fate.UNREADY, "RolloutInProgress", "its readiness probe (GET /healthz) fails"),
        "config": (Fate.MISCONFIGURED, "ContainerConfigError", 'secret "missing" not found'),
    }
    for number, (name, (fate, _, _)) in enumerate(fates.items()):
        digest = f"sha256:{number:064}"
        kubelet.fates[f"{REPOSITORY}@{digest}"] = fate
        relays.apply(name, image={"digest": digest}, rollback=DEADLINE)
    for name, (_, reason, _) in fates.items():
        # Within the deadline it is reported, and no action is requested.
        eventually(partial(relays.when, name, Ready=reason, Stalled="False"))
    for name, (_, _, text) in fates.items():
        reason = "RolloutDeadlineExceeded"
        relay = eventually(
            partial(relays.when, name, Ready=reason, Stalled="True", Reconciling="False"),
            seconds=OVERDUE_SECONDS,
        )
        message = next(
            one["message"] for one in relay["status"]["conditions"] if one["type"] == "Ready"
        )
        assert "was not ready within 10 s." in message
        assert text in message
        assert "running" not in relay["status"]["image"] or name == "probe"


@pytest.mark.usefixtures("operator")
def test_the_last_ready_digest_comes_back_and_a_new_image_ends_that(
    kubelet: FakeKubelet, relays: Relays, eventually: Eventually
) -> None:
    good, bad, new = (f"{REPOSITORY}@{digest}" for digest in (A, B, C))
    kubelet.fates[bad] = Fate.CRASHING
    enabled = {**DEADLINE, "enabled": True}
    relays.apply(image={"digest": A}, rollback=enabled)
    eventually(lambda: relays.when(Ready="True"))
    relays.apply(image={"digest": B}, rollback=enabled)
    relay = eventually(
        lambda: relays.when(Ready="RolledBack", Stalled="True", Available="True"),
        seconds=OVERDUE_SECONDS,
    )
    assert relay["spec"]["image"]["digest"] == B
    found = relay["status"]["rollback"]
    assert (found["from"], found["to"]) == (bad, good)
    assert "exits soon after its start" in found["cause"]
    assert deployed_image(relays) == good
    assert relay["status"]["image"]["running"] == A
    (event,) = relays.events("RolledBack")
    assert (event["type"], event["count"]) == ("Warning", 1)
    assert f"{bad} did not become ready; pods run {good}" in event["message"]
    relays.apply(image={"digest": C}, rollback=enabled)
    relay = eventually(lambda: relays.when(Ready="True"))
    assert "rollback" not in relay["status"]
    assert deployed_image(relays) == new
    assert relay["status"]["image"]["lastReady"] == new


@pytest.mark.usefixtures("operator")
def test_a_rollback_is_only_tried_where_an_image_may_help(
    kubelet: FakeKubelet, relays: Relays, eventually: Eventually
) -> None:
    bad, worse = f"{REPOSITORY}@{B}", f"{REPOSITORY}@{C}"
    kubelet.fates |= {bad: Fate.CRASHING, worse: Fate.MISCONFIGURED}
    enabled = {**DEADLINE, "enabled": True}
    relays.apply("never-ready", image={"digest": B}, rollback=enabled)
    for name in ("configured", "off"):
        relays.apply(name, image={"digest": A}, rollback=enabled)
    for name in ("configured", "off"):
        eventually(partial(relays.when, name, Ready="True"))
    relays.apply("configured", image={"digest": C}, rollback=enabled)
    relays.apply("off", image={"digest": B}, rollback=DEADLINE)
    for name in ("never-ready", "configured", "off"):
        relay = eventually(
            partial(relays.when, name, Ready="RolloutDeadlineExceeded"),
            seconds=OVERDUE_SECONDS,
        )
        assert "rollback" not in relay["status"]


class DiedError(Exception):
    """The process ends here."""


class Mortal:
    """The API server, for a process that ends with its nth write: before it or after it."""

    def __init__(self, kube: Kube, writes: int, *, after: bool) -> None:
        self._kube = kube
        self._left = writes
        self._after = after

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return await self._kube.get(kind, namespace, name)

    async def serves(self, kind: Kind) -> bool:
        return await self._kube.serves(kind)

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = ""
    ) -> tuple[list[Object], str]:
        return await self._kube.list(kind, namespace, label_selector)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        self._die(after=False)
        await self._kube.delete(kind, namespace, name, uid=uid)
        self._die(after=True)

    async def apply(self, obj: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        self._die(after=False)
        done = await self._kube.apply(obj, force=force, dry_run=dry_run)
        self._die(after=True)
        return done

    async def apply_new(self, obj: Object) -> Object:
        self._die(after=False)
        done = await self._kube.apply_new(obj)
        self._die(after=True)
        return done

    async def hand_over(self, obj: Object) -> Object:
        return await self._kube.hand_over(obj)

    async def apply_status(self, obj: Object) -> Object:
        self._die(after=False)
        done = await self._kube.apply_status(obj)
        self._die(after=True)
        return done

    async def create(self, obj: Object) -> Object:
        self._die(after=False)
        done = await self._kube.create(obj)
        self._die(after=True)
        return done

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        self._die(after=False)
        done = await self._kube.patch(kind, namespace, name, patch)
        self._die(after=True)
        return done

    def _die(self, *, after: bool) -> None:
        if after is not self._after:
            return
        self._left -= 1
        if self._left <= 0:
            raise DiedError


async def test_a_rollback_survives_the_end_of_the_process_at_any_write(
    control_plane: ControlPlane,
    namespace: str,
    kubelet: FakeKubelet,
    relays: Relays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good, bad = (f"{REPOSITORY}@{digest}" for digest in (A, B))
    kubelet.fates[bad] = Fate.UNPULLABLE
    enabled = {**DEADLINE, "enabled": True}
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    metrics = Metrics()
    deaths = 0
    # Lives of one, two and three writes, each ended just before and just after its last one.
    lives = itertools.cycle(itertools.product((1, 2, 3), (False, True)))

    async def until(wanted: str) -> None:
        nonlocal deaths
        async with Kube.connect(metrics) as kube:
            for writes, after in within(OVERDUE_SECONDS, lives):
                mortal = Mortal(kube, writes, after=after)
                store = Store(metrics)
                await store.resync(kube, (namespace,))
                try:
                    await reconciler(mortal, store, metrics)((namespace, "relay"))
                except DiedError:
                    deaths += 1
                ready = relays.conditions().get("Ready", {})
                if ready.get("reason") == wanted and deployed_image(relays) == good:
                    return
        pytest.fail(f"never {wanted}")

    relays.apply(image={"digest": A}, rollback=enabled)
    await until("Available")
    relays.apply(image={"digest": B}, rollback=enabled)
    await until("RolledBack")
    assert deaths >= 5
    assert len(relays.events("RolledBack")) == 1
    assert relays.read()["spec"]["image"]["digest"] == B
    found = relays.read()["status"]["rollback"]
    assert (found["from"], found["to"]) == (bad, good)


def within(seconds: float, endless: Iterator[tuple[int, bool]]) -> Iterator[tuple[int, bool]]:
    started = now()
    return itertools.takewhile(lambda _: (now() - started).total_seconds() < seconds, endless)


def now() -> datetime:
    return datetime.now(UTC)


def deployed_image(relays: Relays) -> str:
    template = relays.read(kind="deployment")["spec"]["template"]
    return str(template["spec"]["containers"][0]["image"])
