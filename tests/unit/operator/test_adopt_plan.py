"""What a handover would do, and what forbids it, from objects as the API server returns them."""

import copy
from typing import Any

import pytest

from tokenplace_operator.api.spec.relay import parse
from tokenplace_operator.cli.commands.adopt import text
from tokenplace_operator.cli.handover.plan import HandoverPlan, plan
from tokenplace_operator.cli.handover.release import ReleaseObjects, is_upstreams, release_of

Object = dict[str, Any]

HASH = "pod-template-hash"
RELAY: Object = {
    "metadata": {"name": "tokenplace", "namespace": "relays", "uid": "u"},
    "spec": {
        "image": {"tag": "v1"},
        "gpu": {"mode": "None"},
        "ingress": {"hosts": ["token.example"], "tls": {"secretName": "relay-tls"}},
    },
}


def obj(kind: str, name: str, api: str = "apps/v1", **body: object) -> Object:
    metadata = {
        "name": name,
        "namespace": "relays",
        "uid": f"uid of {kind} {name}",
        "labels": {
            "app.kubernetes.io/managed-by": "Helm",
            "app.kubernetes.io/instance": "prod",
            "helm.sh/chart": "tokenplace-0.1.4",
        },
        "annotations": {"meta.helm.sh/release-name": "prod"},
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


OLD = {"app.kubernetes.io/name": "tokenplace", "app.kubernetes.io/instance": "prod"}
ALIKE = {
    "app.kubernetes.io/name": "tokenplace-relay",
    "app.kubernetes.io/instance": "tokenplace",
}


def owned(child: Object, owner: Object | None, labels: Object | None = None) -> Object:
    child["metadata"]["labels"] = {HASH: "abc", **(labels or {})}
    if owner is not None:
        reference = {"kind": owner["kind"], "uid": owner["metadata"]["uid"], "controller": True}
        child["metadata"]["ownerReferences"] = [reference]
    return child


def release(selector: Object | None = None) -> ReleaseObjects:
    """All that the older chart makes, settled."""
    selector = OLD if selector is None else selector
    done = {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1, "replicas": 1}
    deployment = obj("Deployment", "tokenplace", spec={"replicas": 1}, status=done)
    deployment["metadata"]["generation"] = 1
    rule = {"host": "token.example"}
    replica_set = owned(
        obj("ReplicaSet", "tokenplace-abc", spec={"selector": {"matchLabels": {**selector}}}),
        deployment,
    )
    return ReleaseObjects(
        release="prod",
        taken=(
            obj("NetworkPolicy", "tokenplace", "networking.k8s.io/v1"),
            obj(
                "Service",
                "tokenplace",
                "v1",
                spec={"type": "ClusterIP", "ports": [{"port": 80}], "selector": selector},
            ),
            deployment,
            obj(
                "Ingress",
                "tokenplace",
                "networking.k8s.io/v1",
                spec={
                    "rules": [rule],
                    "ingressClassName": "traefik",
                    "tls": [{"secretName": "relay-tls"}],
                },
            ),
        ),
        others=(
            obj("PodDisruptionBudget", "tokenplace-pdb", "policy/v1"),
            obj("HorizontalPodAutoscaler", "tokenplace", "autoscaling/v2"),
        ),
        replica_sets=(replica_set,),
        pods=(owned(obj("Pod", "tokenplace-abc-x", "v1"), replica_set, selector),),
    )


def planned(found: ReleaseObjects, **spec: object) -> HandoverPlan:
    relay = copy.deepcopy(RELAY)
    relay["spec"] |= spec
    return plan(parse(relay), found)


def kinds(objects: tuple[Object, ...]) -> list[str]:
    return [one["kind"] for one in objects]


def test_traffic_is_given_last_and_the_old_pods_live_in_their_set() -> None:
    todo = planned(release())
    assert todo.problems == ()
    assert kinds(todo.scalers) == ["HorizontalPodAutoscaler"]
    assert kinds(todo.let_go) == ["Deployment"]
    assert kinds(todo.give) == ["NetworkPolicy", "Service", "Ingress"]
    assert kinds(todo.old) == ["ReplicaSet"]
    assert kinds(todo.leftovers) == ["PodDisruptionBudget"]
    assert (todo.pinned, todo.aside) == (None, ())
    assert todo.old_pods == {"tokenplace-abc-x"}


def test_pods_that_look_like_the_new_ones_are_pinned_and_taken_out_of_their_set() -> None:
    todo = planned(release(ALIKE))
    assert todo.problems == ()
    assert todo.pinned is not None
    assert (todo.pinned["kind"], todo.pin) == ("Service", "abc")
    assert kinds(todo.let_go) == ["Deployment", "ReplicaSet"]
    assert kinds(todo.aside) == ["Pod"]
    assert kinds(todo.old) == ["Pod"]


def test_cut_off_after_any_step_it_goes_on() -> None:
    full = release()
    let_go = ReleaseObjects(
        release="prod",
        taken=tuple(one for one in full.taken if one["kind"] != "Deployment"),
        others=full.others,
        replica_sets=tuple(owned(one, None) for one in copy.deepcopy(full.replica_sets)),
        pods=full.pods,
    )
    assert kinds(planned(let_go).let_go) == []
    assert kinds(planned(let_go).old) == ["ReplicaSet"]
    given = ReleaseObjects(release="prod", replica_sets=let_go.replica_sets, pods=full.pods)
    assert (kinds(planned(given).give), kinds(planned(given).old)) == ([], ["ReplicaSet"])
    assert planned(ReleaseObjects()).is_empty
    assert not planned(given).is_empty


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"paused": True}, "spec.paused is true: the operator would make no pods"),
        ({"replicas": 0}, "spec.replicas is 0: no new pod would take over"),
        ({"service": {"port": 81}}, "spec.service.port: Service tokenplace serves port 80"),
        (
            {"service": {"type": "LoadBalancer"}},
            "spec.service.type: Service tokenplace is a ClusterIP",
        ),
        (
            {"ingress": {"hosts": ["a.example"], "tls": {"secretName": "relay-tls"}}},
            "spec.ingress.hosts: Ingress tokenplace serves token.example",
        ),
        (
            {"ingress": {"hosts": ["token.example"], "tls": {"secretName": "other"}}},
            "spec.ingress.tls: Ingress tokenplace has the certificate of other Secrets",
        ),
        (
            {
                "ingress": {
                    "hosts": ["token.example"],
                    "className": "nginx",
                    "tls": {"secretName": "relay-tls"},
                }
            },
            "spec.ingress.className: Ingress tokenplace has another class",
        ),
    ],
)
def test_what_would_refuse_requests_forbids_it(spec: Object, problem: str) -> None:
    assert planned(release(), **spec).problems == (problem,)


def test_a_relay_without_ingress_forbids_it_too() -> None:
    assert len(planned(release(), ingress={}).problems) == 3


def test_objects_of_others_forbid_it() -> None:
    found = release()
    found.taken[0]["metadata"]["labels"] = {}
    (problem,) = planned(found).problems
    assert problem.startswith("NetworkPolicy tokenplace is not of upstream's charts: ")
    found = release()
    found.taken[0]["metadata"]["annotations"] = {"meta.helm.sh/release-name": "other"}
    assert planned(found).problems == ("the names belong to several Helm releases: other, prod",)


def test_pods_that_do_not_serve_forbid_it() -> None:
    found = release()
    found.taken[2]["status"]["availableReplicas"] = 0
    (problem,) = planned(found).problems
    assert problem == "Deployment tokenplace is not settled: wait until its pods are ready"


def test_pods_of_several_rollouts_cannot_be_pinned() -> None:
    found = release(ALIKE)
    other = copy.deepcopy(found.pods[0])
    other["metadata"]["labels"][HASH] = "def"
    several = ReleaseObjects(found.relay_uid, "prod", found.taken, found.others, found.replica_sets,
                    (*found.pods, other))  # fmt: skip
    assert planned(several).problems == (
        "Service tokenplace leads to pods of several rollouts, or to none",
    )


def test_upstreams_objects_are_known_by_their_labels() -> None:
    ours = obj("Service", "a", "v1")
    assert is_upstreams(ours)
    assert release_of(ours) == "prod"
    for label, value in (
        ("helm.sh/chart", "tokenplace-operator-1.0.0"),
        ("helm.sh/chart", "redis-1.0.0"),
        ("app.kubernetes.io/managed-by", "tokenplace-operator"),
    ):
        other = obj("Service", "a", "v1")
        other["metadata"]["labels"][label] = value
        assert not is_upstreams(other)


def test_the_plan_is_read_before_it_is_done() -> None:
    found = release(ALIKE)
    relay = parse(RELAY)
    lines = [line.plain for line in text(relay, found, plan(relay, found))]
    assert lines == [
        "tokenplace in namespace relays, from Helm release prod:",
        "  1. delete HorizontalPodAutoscaler tokenplace, which would scale the new pods",
        "  2. pin Service tokenplace to the old pod, for the new ones look alike",
        "  3. delete Deployment tokenplace, but not what it owns: it serves on",
        "  4. delete ReplicaSet tokenplace-abc, but not what it owns: it serves on",
        "  5. rename the label of Pod tokenplace-abc-x, for the same reason",
        "  6. apply the relay, and wait until its new pods are ready",
        "  7. give NetworkPolicy tokenplace to the operator",
        "  8. give Service tokenplace to the operator",
        "  9. give Ingress tokenplace to the operator",
        "  10. wait until the Service leads to the new pods only, and the relay is Ready",
        "  11. delete Pod tokenplace-abc-x, after a time to drain",
        "  12. delete PodDisruptionBudget tokenplace-pdb, which nobody needs any more",
        "then let Helm forget the release, never uninstall it: "
        "kubectl -n relays delete secret -l owner=helm,name=prod",
    ]
    assert [line.plain for line in text(relay, ReleaseObjects(), HandoverPlan())] == [
        "tokenplace in namespace relays: nothing of upstream's charts has its names"
    ]
