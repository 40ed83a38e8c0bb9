"""Which connections NetworkPolicies let through, as Cyclonus judges them.

Cyclonus is an evaluator of NetworkPolicy of its own; it knows nothing of this operator.
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
    """Something that is no pod."""
    return {"ip": ip}


def verdicts(
    policies: Sequence[Any], connections: Mapping[str, Connection], port_names: Mapping[int, str]
) -> dict[str, bool]:
    """Whether both ends allow each connection; port_names: what pods call their ports."""
    asked = [
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
        input=json.dumps({"policies": policies, "connections": asked}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {
        name: one["ingress"] and one["egress"] for name, one in zip(connections, found, strict=True)
    }


def wrong(
    policies: Sequence[Any],
    allowed: Mapping[str, Connection],
    denied: Mapping[str, Connection],
    port_names: Mapping[int, str],
) -> list[str]:
    """The connections that are not judged as the two tables say."""
    assert not set(allowed) & set(denied)
    found = verdicts(policies, {**allowed, **denied}, port_names)
    return [f"{name}: {found[name]}" for name in found if found[name] != (name in allowed)]
