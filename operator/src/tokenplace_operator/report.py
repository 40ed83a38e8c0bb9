"""What users get to read: the status of a relay, and an Event when Ready changes its mind."""

from dataclasses import dataclass
from typing import Protocol

from tokenplace_operator.conditions import Condition, Reason, Type
from tokenplace_operator.events import Recorder
from tokenplace_operator.kinds import RELAY, Object
from tokenplace_operator.kube import FieldConflict
from tokenplace_operator.store import Store

_ORDINARY = {Reason.ROLLOUT_PENDING, Reason.DEPLOYMENT_MISSING, Reason.PAUSED}
"""Reasons not to be Ready that are no trouble."""


class StatusWriter(Protocol):
    """The call of `Kube` that writing a status needs."""

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status."""
        ...


@dataclass(frozen=True, slots=True)
class Reporter:
    """Writes only what differs from what is there."""

    kube: StatusWriter
    store: Store
    recorder: Recorder

    async def status(self, obj: Object, status: Object) -> None:
        """Write the status of a relay.

        The Event goes first: killed between the two, the next process sees the same transition
        again, and an Event that exists already is not written twice.
        """
        before = obj.get("status", {})
        if status == before:
            return
        await self._transition(obj, before, status)
        metadata = {name: obj["metadata"][name] for name in ("name", "namespace")}
        update = {
            "apiVersion": RELAY.api_version,
            "kind": RELAY.kind,
            "metadata": metadata,
            "status": status,
        }
        self.store.put(await self.kube.apply_status(update))

    async def conflict(
        self, obj: Object, child: Object, conflicts: tuple[FieldConflict, ...]
    ) -> None:
        """Tell which fields of a child are taken back, and from whom."""
        fields = ", ".join(f"{one.field} of {one.manager}" for one in conflicts)
        name = f"{child['kind']} {child['metadata']['name']}"
        text = f"{name}: took back {fields}. Change the TokenplaceRelay instead."
        await self.recorder.record(obj, Reason.FIELD_CONFLICT, text, warning=True)

    async def _transition(self, obj: Object, before: Object, status: Object) -> None:
        """One Event when Ready gets another reason: what `kubectl describe` should show."""
        ready, known = _ready(status), _ready(before)
        if ready is None or (known and _essence(known) == _essence(ready)):
            return
        reason = Reason(ready["reason"])
        troubled = ready["status"] != "True" and reason not in _ORDINARY
        # The cause of a rollback names a pod, and after a restart perhaps another one.
        images = status.get("rollback", {})
        about = f"{images['from']} {images['to']}" if reason is Reason.ROLLED_BACK else None
        await self.recorder.record(obj, reason, ready["message"], warning=troubled, identity=about)


def _ready(status: Object) -> Condition | None:
    found: list[Condition] = status.get("conditions", [])
    return next((one for one in found if one["type"] == Type.READY), None)


def _essence(condition: Condition) -> tuple[str, str]:
    return condition["status"], condition["reason"]
