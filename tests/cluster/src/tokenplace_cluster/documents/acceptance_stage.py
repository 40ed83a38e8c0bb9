"""The cluster of the acceptance tests, with Traefik, Prometheus and the chart installed."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.control_plane.certificates import Authority
from tokenplace_cluster.control_plane.control_plane import KubectlError
from tokenplace_cluster.programs import build, images
from tokenplace_cluster.programs.helm import CHART, Helm, Object, helm_for

MANIFESTS: Final = Path(__file__).parents[5] / "tests" / "acceptance"
NAME: Final = "tokenplace"
"""Of the release, the relay, and their namespace."""
DOMAIN: Final = "acceptance.test"
HOST: Final = f"relay.{DOMAIN}"
MONITORING: Final = "monitoring"
_CERTIFICATE: Final = "relay-certificate"
_OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator"
_NO_LIMITS: Final = (
    "API_RATE_LIMIT",
    "API_DAILY_QUOTA",
    "API_RELAY_CONTROL_PLANE_RATE_LIMIT",
    "API_RELAY_CONTROL_PLANE_IP_RATE_LIMIT",
)
"""Limits that are off: all peers of a test share one address, and send faster than people."""


@dataclass(slots=True)
class Stage:
    """The running cluster and the Helm release that the tests change."""

    cluster: Cluster
    helm: Helm
    authority: Authority
    """Signs the relay's certificate, in place of Let's Encrypt."""
    digests: tuple[str, str]
    """The digests of the relay's image, and of one that differs only in a label."""
    values: Object
    """The values of the release since its last upgrade."""

    @classmethod
    @contextmanager
    def start(cls, folder: Path) -> Iterator[Self]:
        """Install everything and wait until the relay is Ready; remove all of it at the end."""
        with Cluster.start() as cluster:
            address = cluster.registry.address
            operator = images.push(images.build("operator"), address)
            relay, other = (
                images.push(images.build("relay", revision=one), address)
                for one in ("first", "second")
            )
            _install_prometheus_operator(cluster)
            _install_traefik(cluster)
            stage = cls(
                cluster,
                helm_for(folder / "helm", cluster.kubeconfig),
                Authority.create(folder / "authority"),
                (relay.partition("@")[2], other.partition("@")[2]),
                _values(relay, operator),
            )
            stage._install()
            yield stage

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl as the administrator in the namespace of the release.

        Raises AssertionError, so that `eventually` can repeat the call.
        """
        plane = self.cluster.control_plane
        try:
            return plane.kubectl(f"--namespace={NAME}", *arguments, given=given).strip()
        except KubectlError as error:
            raise AssertionError(str(error)) from error

    def read(self, kind: str, name: str = NAME) -> Object:
        """Read an object of the release's namespace."""
        obj: Object = json.loads(self.kubectl("get", kind, name, "--output=json"))
        return obj

    def pod(self) -> Object:
        """The one pod of the relay that is not being deleted."""
        query = ("get", "pods", "--selector=app.kubernetes.io/name=tokenplace-relay")
        pods = json.loads(self.kubectl(*query, "--output=json"))["items"]
        (pod,) = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return dict(pod)

    def in_pod(self, code: str) -> str:
        """Run Python code in the relay's container; return what it prints."""
        return self.kubectl("exec", self.pod()["metadata"]["name"], "--", "python3", "-c", code)

    def upgrade(self, **changes: object) -> None:
        """Change some values, and wait until the relay is Ready."""
        self.change(**changes)
        self.wait_until_ready()

    def change(self, **changes: object) -> None:
        """Change some values with `helm upgrade`; return when the objects are written."""
        self.values = {**self.values, **changes}
        self._helm("upgrade")

    def wait_until_ready(self) -> None:
        """Wait until the relay is Ready with its present spec."""
        generation = self.read("tpr")["metadata"]["generation"]
        observed = f"--for=jsonpath={{.status.observedGeneration}}={generation}"
        for condition in (observed, "--for=condition=Ready"):
            self.kubectl("wait", condition, f"tpr/{NAME}", "--timeout=110s")

    @property
    def traefik(self) -> str:
        """The address of Traefik's Service."""
        query = ("get", "service", "traefik", "--namespace=traefik")
        return self.kubectl(*query, "--output=jsonpath={.spec.clusterIP}")

    def ask_prometheus(self, path: str) -> Any:  # noqa: ANN401 (JSON)
        """Query Prometheus' HTTP API and return the data; raises AssertionError on no answer."""
        query = ("get", "service", "prometheus", f"--namespace={MONITORING}")
        address = self.kubectl(*query, "--output=jsonpath={.spec.clusterIP}")
        url = f"http://{address}:9090/api/v1/{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError as error:
            raise AssertionError(f"Prometheus does not answer: {error}") from error

    def _install(self) -> None:
        pair = self.authority.issue("relay", HOST, names=[HOST])
        self.kubectl("create", "namespace", NAME)
        level = "pod-security.kubernetes.io/enforce=restricted"
        self.kubectl("label", "namespace", NAME, level)
        files = (f"--cert={pair.certificate}", f"--key={pair.key}")
        self.kubectl("create", "secret", "tls", _CERTIFICATE, *files)
        self._helm("install")
        self.wait_until_ready()

    def _helm(self, command: str) -> None:
        where = (NAME, str(CHART), f"--namespace={NAME}", "--timeout=120s")
        done = self.helm(command, *where, values=self.values)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)


def _values(relay: str, operator: str) -> Object:
    pinned = [
        dict(zip(("repository", "digest"), one.split("@"), strict=True))
        for one in (relay, operator)
    ]
    return {
        "image": pinned[0],
        "operator": {"image": pinned[1]},
        "ingress": {
            "domain": DOMAIN,
            "className": "traefik",
            "tls": {"secretName": _CERTIFICATE},
        },
        "serviceMonitor": {"enabled": True, "intervalSeconds": 2, "timeoutSeconds": 2},
        "monitoring": {"prometheusRule": {"enabled": True}},
        # On a busy machine, the kubelet and the test need seconds to see the failed readiness.
        "drain": {"delaySeconds": 8},
        "podTemplate": {"env": [{"name": one, "value": "off"} for one in _NO_LIMITS]},
    }


def _push(cluster: Cluster, name: str, entrypoint: str) -> str:
    """Push an image that holds a program of another project; return its reference by digest."""
    binary = build.program(name).read_bytes()
    return cluster.registry.push_binary(name, binary, entrypoint=entrypoint)


def _install_traefik(cluster: Cluster) -> None:
    text = (MANIFESTS / "traefik.yaml").read_text()
    image = _push(cluster, "traefik", "/traefik")
    kubectl = cluster.control_plane.kubectl
    kubectl("apply", "--filename=-", given=text.replace("IMAGE", image))
    rollout = ("rollout", "status", "deployment/traefik", "--timeout=110s")
    kubectl("--namespace=traefik", *rollout)


def _install_prometheus_operator(cluster: Cluster) -> None:
    """Install prometheus-operator from its own manifests, and a Prometheus for it to run."""
    kubectl = cluster.control_plane.kubectl
    example = build.module_folder(_OPERATOR) / "example"
    kubectl("create", "namespace", MONITORING)
    kubectl("apply", "--server-side", f"--filename={example / 'prometheus-operator-crd'}")
    for name in ("prometheuses", "servicemonitors", "prometheusrules"):
        cluster.control_plane.wait_established(f"{name}.monitoring.coreos.com")
    built = {
        "quay.io/prometheus-operator/prometheus-operator:v0.85.0": _push(
            cluster, "prometheus-operator", "/bin/operator"
        ),
        "quay.io/prometheus-operator/prometheus-config-reloader:v0.85.0": _push(
            cluster, "prometheus-config-reloader", "/bin/prometheus-config-reloader"
        ),
        "namespace: default": f"namespace: {MONITORING}",
        # With a small CPU limit, a program takes minutes to start on a busy machine.
        "--kubelet-service=kube-system/kubelet": "--config-reloader-cpu-limit=0",
        "cpu: 200m": "cpu: 2",
        "IMAGE": _push(cluster, "prometheus", "/bin/prometheus"),
    }
    parts = ("cluster-role", "cluster-role-binding", "service-account")
    rbac = [example / "rbac" / "prometheus" / f"prometheus-{part}.yaml" for part in parts]
    names = [f"prometheus-operator-{part}.yaml" for part in (*parts, "deployment")]
    rbac += [example / "rbac" / "prometheus-operator" / name for name in names]
    for path in (*rbac, MANIFESTS / "prometheus.yaml"):
        text = path.read_text()
        for theirs, ours in built.items():
            text = text.replace(theirs, ours)
        kubectl(f"--namespace={MONITORING}", "apply", "--filename=-", given=text)
