"""Which children are not as the spec wants them, whatever keeps them from it."""

from tokenplace_operator.api.kinds import Kind
from tokenplace_operator.children.plan import Plan


def is_held_back(plan: Plan, *kinds: Kind) -> bool:
    """Whether a child of these kinds should have been written, and was not."""
    names = {kind.kind for kind in kinds}
    wanted = {obj["kind"] for obj in (*plan.apply, *plan.waiting, *plan.deferred)}
    return not names.isdisjoint(wanted | {one.kind for one in plan.blocked})


def lives_on(plan: Plan, kind: Kind) -> bool:
    """Whether a child of this kind should have been deleted, and was not."""
    return any(obj["kind"] == kind.kind for obj in plan.prune)
