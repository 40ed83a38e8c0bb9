"""Writes the status of a relay, and an Event for each transition that users should notice."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from tokenplace_operator.api.conditions import OWNED_TYPES, Condition, Reason, Type
from tokenplace_operator.api.kinds import RELAY, Object, key_of
from tokenplace_operator.bounded import BoundedDict
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.write_backoff import WriteBackoff
from tokenplace_operator.kube.errors import FieldConflict, KubeError, Unavailable
from tokenplace_operator.logs import get_logger
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.reconcile.events import Recorder

log = get_logger(__name__)

UNDECLARED_SECONDS = 600.0
"""Fields that the CRD lacks are left out for this time, then tried again."""
_UNDECLARED = re.compile(r"\.status\.([A-Za-z.]+): field not declared in schema")
_EXPECTED = {Reason.ROLLOUT_IN_PROGRESS, Reason.DEPLOYMENT_NOT_FOUND, Reason.PAUSED}
"""Reasons not to be Ready that need no attention: their Events are of type Normal."""
EVENT_REASONS = frozenset(
    {
        Reason.GPU_HOST_UNRESOLVED,
        Reason.TOO_MANY_GPU_ADDRESSES,
        Reason.TLS_SECRET_NOT_FOUND,
        Reason.CERTIFICATE_EXPIRED,
        Reason.TLS_SECRET_INVALID,
        Reason.CERTIFICATE_HOST_MISMATCH,
        Reason.ROUTE_REJECTED,
    }
)
"""Reasons of other conditions than Ready that get an Event: mistakes that only the cluster can
reveal. Reasons that every new relay passes through, or that follow its GPU server, are left out."""
_TIMES = frozenset({"lastTransitionTime", "lastResolved"})
"""Times of a status; they restart when another writer deletes the status."""


class StatusApi(Protocol):
    """The call of `Kube` that writes a status."""

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status."""
        ...


@dataclass(slots=True)
class StatusWriter:
    """Writes a status only when it differs from the stored one."""

    kube: StatusApi
    store: Store
    recorder: Recorder
    clock: Callable[[], float]
    metrics: Metrics
    backoff: WriteBackoff
    _undeclared: frozenset[str] = frozenset()
    """Fields that the CRD does not declare; tried again from time to time."""
    _retry_undeclared_at: float = 0.0
    _transitions: BoundedDict[tuple[str, str], tuple[str, ...]] = field(default_factory=BoundedDict)
    """By uid and type, the last transition that got an Event: version, status and reason."""

    async def write(self, obj: Object, status: Object) -> float | None:
        """Write the status of a relay; return the seconds of its write backoff, if it is in one.

        The Event comes first: killed between the two, the next process repeats the transition,
        and an Event that exists already is not written twice.
        """
        before = obj.get("status", {})
        status = self._declared(status)
        # Idle means no write: an equal apply costs the API server as much as a real one.
        if _own(status) == _own(before):
            return None
        target, content = (RELAY, key_of(obj)), _content_hash(status)
        if self.backoff.is_backing_off(target, content):
            return self.backoff.active([target])[0].seconds
        await self._record_transitions(obj, before, status)
        await self._apply(obj, before, status)
        self.backoff.record(target, content, "the status is changed")
        for revert in self.backoff.active([target]):
            log.warning("status is being reverted by another writer", seconds=round(revert.seconds))
        return None

    async def report_conflict(
        self, obj: Object, child: Object, conflicts: tuple[FieldConflict, ...]
    ) -> None:
        """Record an Event with the fields that the operator resets, and their managers."""
        fields = "; ".join(f"{conflict.field}, set by {conflict.manager}" for conflict in conflicts)
        name = f"{child['kind']} {child['metadata']['name']}"
        text = f"{name}: the operator reset {fields}. Change the TokenplaceRelay instead."
        await self.recorder.record(obj, Reason.FIELD_CONFLICT, text, warning=True)

    async def _apply(self, obj: Object, before: Object, status: Object) -> None:
        """Write the status, without the fields that the CRD turns out not to declare."""
        try:
            await self._apply_status(obj, status)
        # For a field that the CRD does not declare, the API server answers an apply with 500.
        except Unavailable as error:
            undeclared = _undeclared_fields(error)
            if not undeclared:
                raise
            self._undeclared |= undeclared
            self._retry_undeclared_at = self.clock() + UNDECLARED_SECONDS
            log.warning("the CRD is older than this operator", fields=sorted(undeclared))
            status = self._declared(status)
            # The undeclared fields may have been the only change.
            if _own(status) != _own(before):
                await self._apply_status(obj, status)

    async def _apply_status(self, obj: Object, status: Object) -> None:
        metadata = {name: obj["metadata"][name] for name in ("name", "namespace")}
        update = {
            "apiVersion": RELAY.api_version,
            "kind": RELAY.kind,
            "metadata": metadata,
            "status": status,
        }
        try:
            written = await self.kube.apply_status(update)
        except KubeError:
            self.metrics.status_writes.labels("error").inc()
            raise
        self.metrics.status_writes.labels("applied").inc()
        self.store.put(written)

    def _declared(self, status: Object) -> Object:
        """The status without the fields that the CRD does not declare."""
        if self._undeclared and self.clock() >= self._retry_undeclared_at:
            # The CRD may have been upgraded since; no event reports that.
            self._undeclared = frozenset()
        for path in self._undeclared:
            status = _without(status, path.split("."))
        return status

    async def _record_transitions(self, obj: Object, before: Object, status: Object) -> None:
        """Record an Event for each condition with a new reason that `kubectl describe` shows."""
        earlier = _conditions(before)
        for kind, condition in _conditions(status).items():
            if kind in earlier and _state(earlier[kind]) == _state(condition):
                continue
            if kind == Type.READY or condition["reason"] in EVENT_REASONS:
                await self._record_transition(obj, condition, status.get("rollback", {}))

    async def _record_transition(self, obj: Object, condition: Condition, images: Object) -> None:
        target = obj["metadata"]["uid"], condition["type"]
        transition = (obj["metadata"]["resourceVersion"], *_state(condition))
        # The same version again: the Event was recorded, and only the status was not written.
        if self._transitions.get(target) == transition:
            return
        self._transitions[target] = transition
        reason = Reason(condition["reason"])
        warning = condition["status"] != "True" and reason not in _EXPECTED
        # The cause of a rollback names a pod, and after a restart perhaps another one.
        identity = f"{images['from']} {images['to']}" if reason is Reason.ROLLED_BACK else None
        message = condition["message"]
        await self.recorder.record(obj, reason, message, warning=warning, identity=identity)


def _content_hash(status: Object) -> str:
    """A hash of a status without its times."""
    return hashlib.sha256(msgspec.json.encode(_timeless(status), order="sorted")).hexdigest()


def _timeless(value: Any) -> Any:  # noqa: ANN401 (JSON of any shape)
    if isinstance(value, dict):
        return {name: _timeless(item) for name, item in value.items() if name not in _TIMES}
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return value


def _undeclared_fields(error: Unavailable) -> frozenset[str]:
    """The fields of a status that the server rejected because its CRD does not declare them."""
    return frozenset(_UNDECLARED.findall(error.message))


def _without(obj: Object, path: list[str]) -> Object:
    first, *rest = path
    if first not in obj:
        return obj
    if not rest:
        return {name: value for name, value in obj.items() if name != first}
    return {**obj, first: _without(obj[first], rest)}


def _conditions(status: Object) -> dict[str, Condition]:
    """The conditions of this API by type; other writers may add further ones to the list."""
    conditions = status.get("conditions", [])
    return {item["type"]: item for item in conditions if item["type"] in OWNED_TYPES}


def _own(status: Object) -> Object:
    """The fields of a status that the operator writes, independent of the server's order."""
    return {**status, "conditions": _conditions(status)}


def _state(condition: Condition) -> tuple[str, str]:
    return condition["status"], condition["reason"]
