"""Meaning and next step of each condition reason, from docs/conditions.md, and commands to run."""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from tokenplace_operator.api.conditions import Reason
from tokenplace_operator.api.names import OPERATOR
from tokenplace_operator.cli.options import OPERATOR_NAMESPACE

Steps = Callable[[str, str], list[str]]
"""Builds commands from the namespace and the name of a relay."""


@cache
def _reasons() -> dict[str, dict[str, str]]:
    # Generated from docs/conditions.md and shipped in the package, which has no docs folder.
    text = files("tokenplace_operator.cli").joinpath("reasons.json").read_text()
    reasons: dict[str, dict[str, str]] = json.loads(text)
    return reasons


def meaning(reason: str) -> str:
    """The meaning of a reason; empty for an unknown reason, of a newer operator."""
    return _reasons().get(reason, {}).get("meaning", "")


def step(reason: str) -> str:
    """The next step for a reason; empty for an unknown reason."""
    return _reasons().get(reason, {}).get("step", "")


def commands(reason: str, namespace: str, name: str) -> list[str]:
    """Commands to run for a reason; general commands when the reason has none of its own."""
    return _STEPS.get(reason, _relay)(namespace, name)


def _relay(namespace: str, name: str) -> list[str]:
    return [f"kubectl -n {namespace} describe tpr {name}"]


def _spec(namespace: str, name: str) -> list[str]:
    return [f"kubectl -n {namespace} edit tpr {name}", "kubectl explain tpr.spec --recursive"]


def _unpause(namespace: str, name: str) -> list[str]:
    patch = '\'{"spec":{"paused":false}}\''
    return [
        f"kubectl tokenplace diff {name} -n {namespace}",
        f"kubectl -n {namespace} patch tpr {name} --type=merge -p {patch}",
    ]


def _pods(namespace: str, name: str) -> list[str]:
    return [f"kubectl -n {namespace} describe pods -l app.kubernetes.io/instance={name}"]


def _logs(namespace: str, name: str) -> list[str]:
    return [
        f"kubectl -n {namespace} logs -l app.kubernetes.io/instance={name} --previous --tail=50",
        *_pods(namespace, name),
    ]


def _nodes(namespace: str, name: str) -> list[str]:
    return [*_pods(namespace, name), "kubectl describe nodes"]


def _quota(namespace: str, name: str) -> list[str]:
    return [
        f"kubectl -n {namespace} describe resourcequotas,limitranges",
        f"kubectl -n {namespace} get events --sort-by=.lastTimestamp",
        *_relay(namespace, name),
    ]


def _children(namespace: str, name: str) -> list[str]:
    return [f"kubectl tokenplace diff {name} -n {namespace}", *_relay(namespace, name)]


def _operator(namespace: str, name: str) -> list[str]:
    return [
        f"kubectl -n {OPERATOR_NAMESPACE} get pods",
        f"kubectl -n {OPERATOR_NAMESPACE} logs deployment/{OPERATOR} --tail=50",
        *_relay(namespace, name),
    ]


_STEPS: dict[str, Steps] = {
    "NotObserved": _operator,
    Reason.INVALID_SPEC: _spec,
    Reason.RESOURCE_NAME_CONFLICT: _children,
    Reason.APPLY_REJECTED: _quota,
    Reason.CONFLICTING_WRITES: _children,
    Reason.PAUSED: _unpause,
    Reason.DEPLOYMENT_NOT_FOUND: _children,
    Reason.ROLLOUT_IN_PROGRESS: _pods,
    Reason.ROLLOUT_DEADLINE_EXCEEDED: _logs,
    Reason.IMAGE_PULL_FAILED: _pods,
    Reason.CONTAINER_CRASHING: _logs,
    Reason.CONTAINER_CONFIG_ERROR: _pods,
    Reason.POD_UNSCHEDULABLE: _nodes,
    Reason.POD_CREATION_FAILED: _quota,
    Reason.PROBE_FAILED: _logs,
    Reason.ROLLED_BACK: _logs,
}
