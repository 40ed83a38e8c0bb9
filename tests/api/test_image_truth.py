"""Which image runs, and what becomes of a rollout that does not get on."""

import pytest

from tokenplace_cluster.fake_kubelet import FakeKubelet
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.operator_process import OperatorProcess, Operators
from tokenplace_cluster.relays import REPOSITORY, Relays

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


@pytest.fixture
def operator(operators: Operators, kubelet: FakeKubelet, eventually: Eventually) -> OperatorProcess:
    del kubelet
    started = operators.start()
    eventually(started.leads, seconds=60)
    return started


@pytest.mark.usefixtures("operator")
def test_the_status_names_the_digest_that_the_pods_run(
    kubelet: FakeKubelet, relays: Relays, eventually: Eventually
) -> None:
    tag = f"{REPOSITORY}:v1.0.0"
    kubelet.digests[tag] = A
    relays.apply(image={"tag": "v1.0.0"})
    image = eventually(lambda: relays.when(Ready="True"))["status"]["image"]
    assert (image["desired"], image["running"]) == (tag, A)
    pinned = relays.conditions()["ImagePinned"]
    assert pinned["status"] == "False"
    assert f"set spec.image.digest to {A}" in pinned["message"]
