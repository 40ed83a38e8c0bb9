"""Fields of a child that another writer set: reported by name and owner, then overwritten."""

from functools import partial

from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.operator_process import OperatorProcess
from tokenplace_cluster.subjects.relays import DIGEST, REPOSITORY, Relays

APPLIES = "tokenplace_operator_apply_total"


def test_a_field_of_another_manager_is_reported_once_and_overwritten(
    cluster_operator: OperatorProcess,
    kubelet: FakeKubelet,
    relays: Relays,
    eventually: Eventually,
) -> None:
    del kubelet
    relays.apply()
    eventually(lambda: relays.when(Ready="True"))
    before = cluster_operator.metric(APPLIES, kind="Deployment", result="conflict")
    container = {"name": "relay", "image": "example.com/theirs:v1"}
    change = {"spec": {"template": {"spec": {"containers": [container]}}}}
    for count in (1, 2):
        relays.patch(change, "relay", "deployment", "--type=strategic", "--field-manager=somebody")
        eventually(lambda: deployed_image(relays) == f"{REPOSITORY}@{DIGEST}")
        (event,) = eventually(lambda: relays.events("FieldConflict"))
        wanted = '.spec.template.spec.containers[name="relay"].image, set by somebody'
        assert event["message"] == (
            f"Deployment relay: the operator reset {wanted}. Change the TokenplaceRelay instead."
        )
        eventually(partial(counts, relays, count))
        after = cluster_operator.metric(APPLIES, kind="Deployment", result="conflict")
        assert after == before + count
    managers = relays.managers("relay", "deployment", "f:image")
    assert managers == {"tokenplace-operator"}


def test_what_is_not_ours_is_left_to_its_owner(
    cluster_operator: OperatorProcess,
    kubelet: FakeKubelet,
    relays: Relays,
    eventually: Eventually,
) -> None:
    del kubelet
    relays.apply()
    eventually(lambda: relays.when(Ready="True"))
    before = cluster_operator.reconciles()
    theirs = {"metadata": {"annotations": {"example.com/note": "theirs"}}}
    relays.patch(theirs, "relay", "service", "--field-manager=somebody")
    eventually(lambda: cluster_operator.reconciles() > before)
    relays.apply(service={"port": 8080})
    eventually(lambda: relays.read(kind="service")["spec"]["ports"][0]["port"] == 8080)
    assert relays.read(kind="service")["metadata"]["annotations"]["example.com/note"] == "theirs"
    assert relays.events("FieldConflict") == []


def counts(relays: Relays, times: int) -> bool:
    (event,) = relays.events("FieldConflict")
    return bool(event["count"] == times)


def deployed_image(relays: Relays) -> str:
    template = relays.read(kind="deployment")["spec"]["template"]
    return str(template["spec"]["containers"][0]["image"])
