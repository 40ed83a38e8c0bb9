"""Runs Jobs without a node: each pod's command as a local process with its ServiceAccount."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.subjects.operator_process import PROGRAM

POLL_SECONDS = 0.2
STOP_SECONDS = 60

Object = dict[str, Any]


@contextmanager
def local_jobs(plane: ControlPlane, namespace: str, folder: Path) -> Iterator[list[str]]:
    """Run the pods of Jobs until the end of the block; yields the uids of those that ran."""
    done: list[str] = []
    stop = threading.Event()

    def play() -> None:
        while not stop.wait(POLL_SECONDS):
            text = plane.kubectl("get", "pods", f"--namespace={namespace}", "--output=json")
            for pod in json.loads(text)["items"]:
                if "job-name" in pod["metadata"]["labels"] and pod["metadata"]["uid"] not in done:
                    done.append(pod["metadata"]["uid"])
                    _finish(plane, namespace, pod, folder)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join(STOP_SECONDS)


def _finish(plane: ControlPlane, namespace: str, pod: Object, folder: Path) -> None:
    (container,) = pod["spec"]["containers"]
    (mounted,) = [one["configMap"] for one in pod["spec"]["volumes"] if "configMap" in one]
    where = (f"--namespace={namespace}", "--output=json")
    data = json.loads(plane.kubectl("get", "configmap", mounted["name"], *where))["data"]
    (folder / "crd.json").write_text(data["crd.json"])
    arguments = [one.replace("/crd/", f"{folder}/") for one in container["args"]]
    account = plane.service_account_kubeconfig(namespace, pod["spec"]["serviceAccountName"])
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "KUBECONFIG": str(account)},
        capture_output=True,
        text=True,
        check=False,
    )
    phase = "Succeeded" if ended.returncode == 0 else "Failed"
    status = {"status": {"phase": phase, "message": ended.stderr[-500:]}}
    plane.kubectl(
        "patch", "pod", pod["metadata"]["name"], f"--namespace={namespace}",
        "--subresource=status", "--type=merge", f"--patch={json.dumps(status)}",
    )  # fmt: skip
