"""The sections for scaling, gateways, monitoring and settings: what is taken, what is refused."""

from typing import Any

import pykube
import pytest

from tokenplace_cluster.control_plane.objects import Objects
from tokenplace_cluster.subjects.relays import DIGEST

pytestmark = pytest.mark.usefixtures("crd")

Spec = dict[str, Any]
ROUTE: Spec = {"parentRefs": [{"name": "public"}]}


def relay(**spec: object) -> Spec:
    return {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "metadata": {"name": "relay"},
        "spec": {"image": {"digest": DIGEST}, "gpu": {"mode": "None"}, **spec},
    }


def scaled(**fields: object) -> Spec:
    return {"autoscaling": {"maxReplicas": 1, "cpu": 60, **fields}}


def monitor(**fields: object) -> Spec:
    return {"monitoring": {"serviceMonitor": fields}}


def settings(**fields: object) -> Spec:
    return {"relay": fields}


GOOD: dict[str, Spec] = {
    "an autoscaler of one": scaled(),
    "an autoscaler by memory": {"autoscaling": {"maxReplicas": 1, "memory": 80}},
    "a budget of the user's own": {"disruptionBudget": {"mode": "None"}},
    "a gateway beside an Ingress": {"ingress": {"domain": "example.com"}, "gateway": ROUTE},
    "a gateway with its own hosts": {"gateway": {**ROUTE, "hosts": ["relay.example.com"]}},
    "a listener": {
        "gateway": {
            "parentRefs": [{"name": "a", "namespace": "b", "sectionName": "https", "port": 443}],
            "hosts": ["a.b"],
        }
    },
    "all monitoring": {
        "monitoring": {
            "serviceMonitor": {"enabled": True, "intervalSeconds": 60, "labels": {"team": "a"}},
            "prometheusRule": {"enabled": True},
            "dashboard": {"enabled": True, "labels": {}},
            "tokenSecretRef": {"name": "metrics"},
        }
    },
    "another Prometheus": {
        "networkPolicy": {"monitoring": {"podSelector": {"matchLabels": {"app": "vmagent"}}}}
    },
    "all tokens": settings(
        registrationTokenSecretRef={"name": "tokens", "key": "nodes"},
        operatorTokenSecretRef={"name": "tokens", "key": "people"},
    ),
    "a public URL": settings(publicUrl="https://token.place:8443/relay"),
    "timers and limits": settings(timers={"pollWaitSeconds": 0}, limits={"nodes": 5}),
    "upstream health of a host": {
        "gpu": {"host": "gpu.example.com"},
        **settings(requireUpstreamHealth=True),
    },
}

BAD: dict[str, tuple[Spec, str]] = {
    "no maximum": ({"autoscaling": {"cpu": 60}}, "spec.autoscaling.maxReplicas: Required value"),
    "min over max": (
        scaled(minReplicas=2),
        "autoscaling.minReplicas: must not be greater than max",
    ),
    "a minimum of none": (scaled(minReplicas=0), "spec.autoscaling.minReplicas"),
    "two over memory": (
        scaled(maxReplicas=2),
        "autoscaling.maxReplicas: must not be greater than 1 while state.mode is Memory",
    ),
    "nothing to scale by": (
        {"autoscaling": {"maxReplicas": 1}},
        "autoscaling: set cpu, memory or both",
    ),
    "a percentage beyond": (scaled(cpu=1001), "spec.autoscaling.cpu"),
    "no request to compare with": (
        {**scaled(), "resources": {"requests": {"memory": "64Mi"}}},
        "autoscaling.cpu: needs resources.requests.cpu",
    ),
    "no request of memory": (
        {**scaled(memory=80), "resources": {"requests": {"cpu": "50m"}}},
        "autoscaling.memory: needs resources.requests.memory",
    ),
    "a budget in numbers": ({"disruptionBudget": {"mode": "1"}}, "spec.disruptionBudget.mode"),
    "a gateway for no host": (
        {"gateway": ROUTE},
        "gateway.hosts: required without ingress.domain and ingress.hosts",
    ),
    "hosts for no gateway": ({"gateway": {"hosts": ["a.b"]}}, "gateway.hosts: needs parentRefs"),
    "an address as host": (
        {"gateway": {**ROUTE, "hosts": ["192.0.2.1"]}},
        "gateway.hosts: must be a DNS name, not an IP address",
    ),
    "a gateway without a name": (
        {"gateway": {"parentRefs": [{"namespace": "a"}]}},
        "spec.gateway.parentRefs[0].name: Required value",
    ),
    "a scrape that outlasts its interval": (
        monitor(enabled=True, intervalSeconds=10, timeoutSeconds=11),
        "serviceMonitor.timeoutSeconds: must not be greater than intervalSeconds",
    ),
    "a label of ours": (
        monitor(labels={"app.kubernetes.io/managed-by": "me"}),
        "serviceMonitor.labels: keys under token.place/ and app.kubernetes.io/ belong",
    ),
    "no label key": (
        {"monitoring": {"dashboard": {"labels": {"a b": "c"}}}},
        "dashboard.labels: a key is a name of at most 63",
    ),
    "no label value": (
        {"monitoring": {"prometheusRule": {"labels": {"a": "b c"}}}},
        "spec.monitoring.prometheusRule.labels.a",
    ),
    "a token in the clear": (
        {"monitoring": {"tokenSecretRef": {"name": "a", "value": "secret"}}},
        'unknown field "spec.monitoring.tokenSecretRef.value"',
    ),
    "a token of no Secret": (
        settings(registrationTokenSecretRef={"key": "a"}),
        "spec.relay.registrationTokenSecretRef.name: Required value",
    ),
    "a level of its own": (settings(logLevel="LOUD"), "spec.relay.logLevel"),
    "no URL": (settings(publicUrl="token.place"), "relay.publicUrl: must be an http or https URL"),
    "another scheme": (settings(publicUrl="ftp://a.b"), "relay.publicUrl: must be an http or"),
    "a URL with a query": (
        settings(publicUrl="https://a.b?c=d"),
        "relay.publicUrl: must be an http",
    ),
    "upstream health of nothing": (
        settings(requireUpstreamHealth=True),
        "relay.requireUpstreamHealth: not allowed in gpu.mode None",
    ),
    "a poll of hours": (
        settings(timers={"pollWaitSeconds": 3600}),
        "spec.relay.timers.pollWaitSeconds",
    ),
    "envelopes too small": (
        settings(limits={"envelopeBytes": 1}),
        "spec.relay.limits.envelopeBytes",
    ),
    "envelopes larger than all requests": (
        settings(limits={"envelopeBytes": 8388608, "queuedBytes": 4194304}),
        "relay.limits.envelopeBytes: must not be greater than queuedBytes or answerBytes",
    ),
    "an unknown timer": (settings(timers={"nap": 1}), 'unknown field "spec.relay.timers.nap"'),
    "a variable of spec.relay": (
        {"podTemplate": {"env": [{"name": "TOKENPLACE_LOG_LEVEL", "value": "DEBUG"}]}},
        "podTemplate.env: this variable is set by spec.relay or spec.monitoring",
    ),
}


@pytest.fixture(scope="module")
def objects(api: pykube.HTTPClient) -> Objects:
    """Of the namespace default: nothing is stored."""
    return Objects(api, "default")


@pytest.mark.parametrize("case", GOOD)
def test_good_is_taken(objects: Objects, case: str) -> None:
    assert objects.refusal(relay(**GOOD[case])) == ""


@pytest.mark.parametrize("case", BAD)
def test_bad_is_refused_with_field_and_rule(objects: Objects, case: str) -> None:
    spec, message = BAD[case]
    assert message in objects.refusal(relay(**spec))


def test_defaults_are_seen_by_the_user(objects: Objects) -> None:
    spec = objects.dry_run(relay(autoscaling={"maxReplicas": 1, "cpu": 9}))["spec"]
    assert spec["autoscaling"] == {"minReplicas": 1, "maxReplicas": 1, "cpu": 9}
    assert spec["disruptionBudget"] == {"mode": "Automatic"}
    assert spec["gateway"] == {}
    assert spec["monitoring"]["serviceMonitor"] == {
        "enabled": False,
        "intervalSeconds": 30,
        "timeoutSeconds": 10,
        "labels": {"release": "kube-prometheus-stack"},
    }
    assert spec["monitoring"]["dashboard"]["labels"] == {"grafana_dashboard": "1"}
    assert spec["relay"]["logLevel"] == "INFO"
    assert spec["relay"]["timers"]["requestDeadlineSeconds"] == 480
    prometheus = {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}
    assert spec["networkPolicy"]["monitoring"]["podSelector"] == prometheus
