"""Checks and texts that several conditions share: resources not applied, CRDs not installed."""

from tokenplace_operator.api.kinds import Kind
from tokenplace_operator.children.plan import Plan


def is_not_applied(plan: Plan, *kinds: Kind) -> bool:
    """Whether a child resource of these kinds has changes that were not written."""
    names = {kind.kind for kind in kinds}
    # A deferred child is in write backoff, and a waiting one comes after an object that is still
    # being deleted. Both are not written yet.
    pending = {obj["kind"] for obj in (*plan.apply, *plan.waiting, *plan.deferred)}
    return not names.isdisjoint(pending | {child.kind for child in plan.blocked})


def is_not_pruned(plan: Plan, kind: Kind) -> bool:
    """Whether a child resource of this kind is to be deleted and still exists."""
    return any(obj["kind"] == kind.kind for obj in plan.prune)


def missing_crds(project: str, *kinds: Kind) -> str:
    """Return the text for optional kinds whose CRDs are not installed."""
    names = " and ".join(kind.kind for kind in kinds)
    return (
        f"The cluster does not serve {names}. Install the CRDs of {project}; the operator checks "
        "once a minute. The relay is not affected."
    )
