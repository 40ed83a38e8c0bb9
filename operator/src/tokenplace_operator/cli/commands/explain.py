"""`kubectl tokenplace explain`: why a relay is not Ready, and the next step, in plain words."""

from tokenplace_operator.api.conditions import Type, is_true
from tokenplace_operator.api.kinds import RELAY, Object
from tokenplace_operator.cli.connection import (
    Context,
    Kubeconfig,
    Name,
    Namespace,
    Output,
    Where,
    connected,
)
from tokenplace_operator.cli.details import is_good, summary
from tokenplace_operator.cli.exit_codes import Exit, finish
from tokenplace_operator.cli.next_steps import commands, meaning, step
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

_SUMMARIES = {Type.READY, Type.RECONCILING, Type.STALLED}


def explain(
    *,
    name: Name,
    namespace: Namespace = "",
    output: Output = Format.TEXT,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Say why a relay is not Ready, and what to do next. Exit code 1: not Ready."""
    finish(_explain(Where(context, namespace, kubeconfig), name, output))


async def _explain(where: Where, name: str, output: Format) -> Exit:
    async with connected(where) as cluster:
        relay = await cluster.kube.get(RELAY, cluster.namespace, name)
    found = explanation(relay)
    if output is Format.JSON:
        show_json(found)
    else:
        show(text(found))
    return Exit.YES if found["ready"] else Exit.NO


def explanation(relay: Object) -> Object:
    """The verdict, whose turn it is, what to run next, and what else is worth knowing."""
    head = summary(relay)
    conditions = relay.get("status", {}).get("conditions", [])
    others = [one for one in conditions if one["type"] not in _SUMMARIES and not is_good(one)]
    return {
        **{key: head[key] for key in ("namespace", "name", "ready", "reason", "message")},
        "turn": _turn(head, conditions),
        "meaning": meaning(head["reason"]),
        "step": "" if head["ready"] else step(head["reason"]),
        "next": [] if head["ready"] else commands(head["reason"], head["namespace"], head["name"]),
        "also": [
            {
                **{key: one.get(key, "") for key in ("type", "status", "reason", "message")},
                "step": step(one.get("reason", "")),
            }
            for one in others
            if head["ready"] or one.get("reason") != head["reason"]
        ],
    }


def text(found: Object) -> list[Line]:
    """The explanation as a person reads it."""
    ready = found["ready"]
    title = plain(f"{found['name']} in namespace {found['namespace']} is ", BOLD)
    title.append_text(plain("Ready" if ready else "not Ready", GOOD if ready else BAD))
    lines = [title, plain(f"  {found['reason']}: {found['message']}")]
    if not ready:
        told = (found["meaning"], _TURNS[found["turn"]])
        lines += [plain(f"  {one}") for one in told if one]
    if found["step"]:
        lines += [*heading("Next step"), plain(f"  {found['step']}")]
    if found["next"]:
        lines += [*heading("Look further with"), *(plain(f"  {one}") for one in found["next"])]
    if found["also"]:
        lines += heading("Also")
    for one in found["also"]:
        lines.append(
            plain(f"  {one['type']} is {one['status']}, {one['reason']}: {one['message']}")
        )
    return lines


_TURNS = {
    "you": "It is your turn: nothing changes until you change something.",
    "operator": "It is the operator's turn: it has not looked at the newest spec.",
    "cluster": "The operator waits, and goes on by itself as soon as the cause is gone.",
}


def _turn(head: Object, conditions: list[Object]) -> str:
    if head["ready"]:
        return "nobody"
    # Conditions of an older spec do not say whose turn it is with the new one.
    if head["reason"] == "NotObserved":
        return "operator"
    stalled = is_true(conditions, Type.STALLED)
    return "you" if stalled else "cluster"
