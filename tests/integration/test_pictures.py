"""The pictures of a terminal in the documents show what the program prints today."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet, Fate
from tokenplace_cluster.documents import picture
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.relays import DIGEST, REPOSITORY, Relays

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"

Show = Callable[..., str]


@pytest.fixture
def show(plugin: Callable[..., subprocess.CompletedProcess[str]], namespace: str) -> Show:
    """Run a command in colours; compare its picture, or draw it again when PICTURES is set.

    until: the heading before which the picture ends. No node is here: pods are on none.
    """

    def run(name: str, *arguments: str, until: str = "") -> str:
        done = plugin(*arguments, FORCE_COLOR="1")
        assert done.stderr == ""
        command = " ".join(("kubectl tokenplace", *arguments))
        printed = done.stdout.replace(namespace, "default")
        if until:
            assert f"{until}\x1b[0m\n" in printed, "a heading"
            printed = printed[: printed.index(f"{until}\x1b")] + "\x1b[0m…\n"
        file = PICTURES / f"terminal-{name}.svg"
        if os.environ.get("PICTURES"):
            file.write_text(picture.draw(command, printed))
        drawn = picture.shown(file.read_text())
        assert drawn == picture.typed(command, printed), "draw it anew by `make pictures`"
        return printed

    return run


@pytest.mark.usefixtures("operator")
def test_pictures_of_a_crash_and_of_a_ready_relay(
    show: Show, relays: Relays, kubelet: FakeKubelet, eventually: Eventually
) -> None:
    image = f"{REPOSITORY}@{DIGEST}"
    kubelet.fates[image] = Fate.CRASHING
    relays.apply(ingress={"domain": "example.com", "tls": {"enabled": False}})
    eventually(lambda: relays.when(Ready="ContainerCrashing"), seconds=60)
    assert "ContainerCrashing" in show("explain", "explain", "relay")
    kubelet.fates[image] = Fate.READY
    eventually(lambda: relays.when(Ready="True"), seconds=60)
    eventually(lambda: relays.read()["status"]["image"].get("running"), seconds=60)
    assert "Ready" in show("status", "status", "relay", until="Pods")
