"""Steps and problems of a handover, from objects as the API server returns them."""

import copy
from typing import Any

import pytest

from tokenplace_operator.api.spec.relay import parse
from tokenplace_operator.cli.commands.adopt import text
from tokenplace_operator.cli.handover.plan import HandoverPlan, plan_handover
from tokenplace_operator.cli.handover.release import Release, is_of_upstream_chart, release_name

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


def release(selector: Object | None = None) -> Release:
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
    return Release(
        name="prod",
        conflicting=(
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


def planned(live: Release, **spec: object) -> HandoverPlan:
    relay = copy.deepcopy(RELAY)
    relay["spec"] |= spec
    return plan_handover(parse(relay), live)


def kinds(objects: tuple[Object, ...]) -> list[str]:
    return [one["kind"] for one in objects]


def test_objects_with_traffic_come_last_and_old_pods_stay_in_their_replica_set() -> None:
    plan = planned(release())
    assert plan.problems == ()
    assert kinds(plan.autoscalers) == ["HorizontalPodAutoscaler"]
    assert kinds(plan.orphaning) == ["Deployment"]
    assert kinds(plan.adopted) == ["NetworkPolicy", "Service", "Ingress"]
    assert kinds(plan.retired) == ["ReplicaSet"]
    assert kinds(plan.unused) == ["PodDisruptionBudget"]
    assert (plan.service, plan.relabeled) == (None, ())
    assert plan.old_pods == {"tokenplace-abc-x"}


def test_pods_with_the_labels_of_new_ones_are_pinned_and_orphaned() -> None:
    plan = planned(release(ALIKE))
    assert plan.problems == ()
    assert plan.service is not None
    assert (plan.service["kind"], plan.template_hash) == ("Service", "abc")
    assert kinds(plan.orphaning) == ["Deployment", "ReplicaSet"]
    assert kinds(plan.relabeled) == ["Pod"]
    assert kinds(plan.retired) == ["Pod"]


def test_an_interrupted_handover_continues_after_any_step() -> None:
    full = release()
    let_go = Release(
        name="prod",
        conflicting=tuple(one for one in full.conflicting if one["kind"] != "Deployment"),
        others=full.others,
        replica_sets=tuple(owned(one, None) for one in copy.deepcopy(full.replica_sets)),
        pods=full.pods,
    )
    assert kinds(planned(let_go).orphaning) == []
    assert kinds(planned(let_go).retired) == ["ReplicaSet"]
    given = Release(name="prod", replica_sets=let_go.replica_sets, pods=full.pods)
    assert (kinds(planned(given).adopted), kinds(planned(given).retired)) == ([], ["ReplicaSet"])
    assert planned(Release()).is_empty
    assert not planned(given).is_empty


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"paused": True}, "spec.paused is true: the operator would create no pods"),
        ({"replicas": 0}, "spec.replicas is 0: no new pod would serve"),
        ({"service": {"port": 81}}, "spec.service.port: Service tokenplace serves port 80"),
        (
            {"service": {"type": "LoadBalancer"}},
            "spec.service.type: Service tokenplace has type ClusterIP",
        ),
        (
            {"ingress": {"hosts": ["a.example"], "tls": {"secretName": "relay-tls"}}},
            "spec.ingress.hosts: Ingress tokenplace also serves token.example",
        ),
        (
            {"ingress": {"hosts": ["token.example"], "tls": {"secretName": "other"}}},
            "spec.ingress.tls: Ingress tokenplace uses another TLS Secret",
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
def test_whatever_would_lose_requests_is_a_problem(spec: Object, problem: str) -> None:
    assert planned(release(), **spec).problems == (problem,)


def test_a_relay_without_ingress_is_a_problem() -> None:
    assert len(planned(release(), ingress={}).problems) == 3


def test_objects_of_another_owner_are_a_problem() -> None:
    live = release()
    live.conflicting[0]["metadata"]["labels"] = {}
    (problem,) = planned(live).problems
    assert problem.startswith("NetworkPolicy tokenplace is not of upstream's charts: ")
    live = release()
    live.conflicting[0]["metadata"]["annotations"] = {"meta.helm.sh/release-name": "other"}
    assert planned(live).problems == ("the names belong to several Helm releases: other, prod",)


def test_pods_that_do_not_serve_are_a_problem() -> None:
    live = release()
    live.conflicting[2]["status"]["availableReplicas"] = 0
    (problem,) = planned(live).problems
    assert problem == "Deployment tokenplace is not rolled out: wait until its pods are ready"


def test_pods_of_several_rollouts_cannot_be_pinned() -> None:
    live = release(ALIKE)
    other = copy.deepcopy(live.pods[0])
    other["metadata"]["labels"][HASH] = "def"
    several = Release(live.relay_uid, "prod", live.conflicting, live.others, live.replica_sets,
                    (*live.pods, other))  # fmt: skip
    assert planned(several).problems == (
        "Service tokenplace routes to pods of several rollouts, or to none",
    )


def test_objects_of_upstream_charts_are_recognized_by_labels() -> None:
    ours = obj("Service", "a", "v1")
    assert is_of_upstream_chart(ours)
    assert release_name(ours) == "prod"
    for label, value in (
        ("helm.sh/chart", "tokenplace-operator-1.0.0"),
        ("helm.sh/chart", "redis-1.0.0"),
        ("app.kubernetes.io/managed-by", "tokenplace-operator"),
    ):
        other = obj("Service", "a", "v1")
        other["metadata"]["labels"][label] = value
        assert not is_of_upstream_chart(other)


def test_the_plan_lists_its_steps_in_order() -> None:
    live = release(ALIKE)
    relay = parse(RELAY)
    lines = [line.plain for line in text(relay, live, plan_handover(relay, live))]
    assert lines == [
        "tokenplace in namespace relays, from Helm release prod:",
        "  1. delete HorizontalPodAutoscaler tokenplace, which would scale the new pods",
        "  2. pin Service tokenplace to the old pod; its selector matches new pods too",
        "  3. delete Deployment tokenplace, but keep its pods running",
        "  4. delete ReplicaSet tokenplace-abc, but keep its pods running",
        "  5. change a label of Pod tokenplace-abc-x, "
        "so that the new Deployment does not select it",
        "  6. apply the relay, and wait until its new pods are ready",
        "  7. hand NetworkPolicy tokenplace over to the operator",
        "  8. hand Service tokenplace over to the operator",
        "  9. hand Ingress tokenplace over to the operator",
        "  10. wait until the Service routes to new pods only and the relay is Ready",
        "  11. delete Pod tokenplace-abc-x, after the drain",
        "  12. delete PodDisruptionBudget tokenplace-pdb, which is no longer used",
        "afterwards remove Helm's record, never helm uninstall: "
        "kubectl -n relays delete secret -l owner=helm,name=prod",
    ]
    assert [line.plain for line in text(relay, Release(), HandoverPlan())] == [
        "tokenplace in namespace relays: no object of upstream's charts uses its names"
    ]
