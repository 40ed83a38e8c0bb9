"""Simulates the kubelet on a control plane without nodes: writes the status of pods.

For states that a real node reaches slowly or never. Tests in tests/e2e use real pods.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import pykube

LOOP_SECONDS: Final = 0.1

Object = dict[str, Any]


class Fate(StrEnum):
    """The state that a pod reaches."""

    READY = "ready"
    UNPULLABLE = "unpullable"
    CRASHING = "crashing"
    UNREADY = "unready"
    """It runs, but its readiness probe fails."""
    MISCONFIGURED = "misconfigured"
    """It names a Secret that does not exist."""
    PENDING = "pending"


class FakeKubelet:
    """Gives each pod of a namespace the state that is set for its image."""

    def __init__(self, api: pykube.HTTPClient, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._stop = threading.Event()
        self.fates: dict[str, Fate] = {}
        """State by image reference; READY by default."""
        self.digests: dict[str, str] = {}
        """Digest by image reference with a tag; by default a hash of the reference."""

    @classmethod
    @contextmanager
    def play(cls, api: pykube.HTTPClient, namespace: str) -> Iterator["FakeKubelet"]:
        """Simulate until the end of the block."""
        kubelet = cls(api, namespace)
        thread = threading.Thread(target=kubelet._run, name="fake-kubelet", daemon=True)
        thread.start()
        try:
            yield kubelet
        finally:
            kubelet._stop.set()
            thread.join(10)

    def digest(self, image: str) -> str:
        """The digest that pods of an image report in their status."""
        if "@" in image:
            return image.partition("@")[2]
        made = f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
        return self.digests.get(image, made)

    def _run(self) -> None:
        while not self._stop.wait(LOOP_SECONDS):
            # The API server restarts, or the pod is gone: the next round tries again.
            with contextlib.suppress(pykube.exceptions.KubernetesError, OSError):
                for pod in pykube.Pod.objects(self._api, namespace=self._namespace):
                    self._decide(pod)

    def _decide(self, pod: pykube.Pod) -> None:
        image = pod.obj["spec"]["containers"][0]["image"]
        fate = self.fates.get(image, Fate.READY)
        marker = f"{fate}/{self.digest(image)}"
        if fate is Fate.PENDING or "deletionTimestamp" in pod.obj["metadata"]:
            return
        # The scheduler finds no node, and may write its condition after ours.
        unscheduled = any(
            condition["type"] == "PodScheduled" and condition["status"] == "False"
            for condition in pod.obj["status"].get("conditions", [])
        )
        if unscheduled or pod.obj["status"].get("message") != marker:
            patch = {"status": {**_status(pod.obj, fate, self.digest(image)), "message": marker}}
            pod.patch(patch, subresource="status")


def _status(pod: Object, fate: Fate, digest: str) -> Object:
    container = pod["spec"]["containers"][0]
    ready = fate is Fate.READY
    runs = fate in {Fate.READY, Fate.UNREADY}
    pulled = fate is not Fate.UNPULLABLE
    repository = container["image"].partition("@")[0].rpartition(":")[0]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    state = {"running": {"startedAt": now}} if runs else {"waiting": _waiting(fate, container)}
    status = {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"{repository}@{digest}" if pulled else "",
        "ready": ready,
        "started": runs,
        "restartCount": 3 if fate is Fate.CRASHING else 0,
        "state": state,
        "lastState": {},
    }
    if fate is Fate.CRASHING:
        ended = {"exitCode": 1, "reason": "Error", "startedAt": now, "finishedAt": now}
        status["lastState"] = {"terminated": ended}
    conditions = [
        {"type": kind, "status": str(value), "lastTransitionTime": now}
        for kind, value in (
            ("PodScheduled", True),
            ("Initialized", True),
            ("ContainersReady", ready),
            ("Ready", ready),
        )
    ]
    phase = "Running" if runs else "Pending"
    return {"phase": phase, "containerStatuses": [status], "conditions": conditions}


def _waiting(fate: Fate, container: Object) -> Object:
    if fate is Fate.UNPULLABLE:
        return {
            "reason": "ImagePullBackOff",
            "message": f'Back-off pulling image "{container["image"]}": not found',
        }
    if fate is Fate.CRASHING:
        text = "back-off 10s restarting failed container"
        return {"reason": "CrashLoopBackOff", "message": text}
    return {"reason": "CreateContainerConfigError", "message": 'secret "missing" not found'}
