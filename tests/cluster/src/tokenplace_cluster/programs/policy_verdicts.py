"""Evaluates which connections NetworkPolicies allow, with Cyclonus.

Cyclonus is an independent evaluator of NetworkPolicies; it shares no code with the operator.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from tokenplace_cluster.programs.build import program

Peer = dict[str, Any]
Connection = tuple[Peer, Peer, int, str]
"""Source, destination, port of the destination, and protocol."""

_NAMES = {"name": "app.kubernetes.io/name", "instance": "app.kubernetes.io/instance"}


def pod(namespace: str, ip: str = "10.244.0.9", /, **labels: str) -> Peer:
    """A pod; the labels `name` and `instance` stand for the well-known ones."""
    return {
        "ip": ip,
        "namespace": namespace,
        "namespaceLabels": {"kubernetes.io/metadata.name": namespace},
        "podLabels": {_NAMES.get(key, key): value for key, value in labels.items()},
    }


def outside(ip: str) -> Peer:
    """A peer outside the cluster."""
    return {"ip": ip}


def verdicts(
    policies: Sequence[Any], connections: Mapping[str, Connection], port_names: Mapping[int, str]
) -> dict[str, bool]:
    """Return for each connection whether both ends allow it; port_names: number -> name."""
    queries = [
        {
            "source": source,
            "destination": target,
            "port": port,
            "portName": port_names.get(port, ""),
            "protocol": protocol,
        }
        for source, target, port, protocol in connections.values()
    ]
    done = subprocess.run(
        [program("policy")],
        input=json.dumps({"policies": policies, "connections": queries}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    return {
        name: answer["ingress"] and answer["egress"]
        for name, answer in zip(connections, answers, strict=True)
    }


def wrong(
    policies: Sequence[Any],
    allowed: Mapping[str, Connection],
    denied: Mapping[str, Connection],
    port_names: Mapping[int, str],
) -> list[str]:
    """The connections whose verdict differs from the two tables."""
    assert not set(allowed) & set(denied)
    results = verdicts(policies, {**allowed, **denied}, port_names)
    return [f"{name}: {result}" for name, result in results.items() if result != (name in allowed)]
