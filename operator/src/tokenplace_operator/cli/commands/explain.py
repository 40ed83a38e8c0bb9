"""`kubectl tokenplace explain`: why a relay is not Ready, and what to do about it."""

from tokenplace_operator.api.conditions import Type, is_true
from tokenplace_operator.api.kinds import RELAY, Object
from tokenplace_operator.cli.connection import connected
from tokenplace_operator.cli.details import is_good, summary
from tokenplace_operator.cli.exit_codes import Exit
from tokenplace_operator.cli.next_steps import commands, meaning, step
from tokenplace_operator.cli.options import RelayName, Target, cluster_command
from tokenplace_operator.cli.output import (
    BAD,
    BOLD,
    GOOD,
    Format,
    Line,
    heading,
    plain,
    show,
    show_json,
)

_SUMMARY_TYPES = {Type.READY, Type.RECONCILING, Type.STALLED}
_WAITING_FOR = {
    "user": "Your action is required: the operator cannot continue on its own.",
    "operator": "The operator has not observed the current spec. Check that it runs.",
    "cluster": "The operator continues on its own when the cause is gone.",
}


@cluster_command
async def explain(target: Target, output: Format, *, name: RelayName) -> Exit:
    """Explain why a relay is not Ready and what to do next. Exit code 1: not Ready."""
    async with connected(target) as cluster:
        relay = await cluster.kube.get(RELAY, cluster.namespace, name)
    explained = explanation(relay)
    if output is Format.JSON:
        show_json(explained)
    else:
        show(text(explained))
    return Exit.OK if explained["ready"] else Exit.NO


def explanation(relay: Object) -> Object:
    """Why a relay is not Ready, who has to act, which commands to run, and other problems.

    waitingFor: user, operator, cluster, or none for a Ready relay.
    """
    head = summary(relay)
    conditions = relay.get("status", {}).get("conditions", [])
    problems = [
        condition
        for condition in conditions
        if condition["type"] not in _SUMMARY_TYPES and not is_good(condition)
    ]
    return {
        **{key: head[key] for key in ("namespace", "name", "ready", "reason", "message")},
        "waitingFor": _waiting_for(head, conditions),
        "meaning": meaning(head["reason"]),
        "step": "" if head["ready"] else step(head["reason"]),
        "next": [] if head["ready"] else commands(head["reason"], head["namespace"], head["name"]),
        "also": [
            {
                **{key: problem.get(key, "") for key in ("type", "status", "reason", "message")},
                "step": step(problem.get("reason", "")),
            }
            for problem in problems
            # A condition with the reason of Ready is the same problem; listing it twice misleads.
            if head["ready"] or problem.get("reason") != head["reason"]
        ],
    }


def text(explained: Object) -> list[Line]:
    """An explanation for people."""
    ready = explained["ready"]
    title = plain(f"{explained['name']} in namespace {explained['namespace']} is ", BOLD)
    title.append_text(plain("Ready" if ready else "not Ready", GOOD if ready else BAD))
    lines = [title, plain(f"  {explained['reason']}: {explained['message']}")]
    if not ready:
        details = (explained["meaning"], _WAITING_FOR[explained["waitingFor"]])
        lines += [plain(f"  {detail}") for detail in details if detail]
    if explained["step"]:
        lines += [*heading("Next step"), plain(f"  {explained['step']}")]
    if explained["next"]:
        commands_to_run = [plain(f"  {command}") for command in explained["next"]]
        lines += [*heading("Commands to run"), *commands_to_run]
    if explained["also"]:
        lines += heading("Other conditions")
    for condition in explained["also"]:
        lines.append(plain("  {type} is {status}, {reason}: {message}".format_map(condition)))
    return lines


def _waiting_for(head: Object, conditions: list[Object]) -> str:
    if head["ready"]:
        return "none"
    # Conditions of an older generation do not describe the current spec.
    if head["reason"] == "NotObserved":
        return "operator"
    return "user" if is_true(conditions, Type.STALLED) else "cluster"
