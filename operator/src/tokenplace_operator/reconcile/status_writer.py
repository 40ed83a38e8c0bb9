"""What users get to read: the status of a relay, and an Event when it changes its mind."""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from tokenplace_operator.api.conditions import OWNED_TYPES, Condition, Reason, Type
from tokenplace_operator.api.kinds import RELAY, Object, key_of
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.write_backoff import WriteBackoff
from tokenplace_operator.kube.errors import FieldConflict, KubeError, Unavailable
from tokenplace_operator.logs import get_logger
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.reconcile.events import MAX_REMEMBERED, Recorder

log = get_logger(__name__)

ASK_AGAIN_SECONDS = 600.0
_UNDECLARED = re.compile(r"\.status\.([A-Za-z.]+): field not declared in schema")
_ORDINARY = {Reason.ROLLOUT_IN_PROGRESS, Reason.DEPLOYMENT_NOT_FOUND, Reason.PAUSED}
"""Reasons not to be Ready that are no trouble."""
TOLD = frozenset(
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
"""Reasons of other conditions than Ready that have an Event: mistakes that only the cluster can
tell. What any relay begins with is not among them, nor what comes and goes with its GPU server."""
_TIMES = frozenset({"lastTransitionTime", "lastResolved"})
"""Of a status; they begin anew for whoever wiped it out."""


class StatusApi(Protocol):
    """The call of `Kube` that writing a status needs."""

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status."""
        ...


@dataclass(slots=True)
class StatusWriter:
    """Writes only what differs from what is there."""

    kube: StatusApi
    store: Store
    recorder: Recorder
    clock: Callable[[], float]
    metrics: Metrics
    backoff: WriteBackoff
    _unknown: frozenset[str] = frozenset()
    """Fields that the CRD does not have; asked again from time to time."""
    _ask_at: float = 0.0
    _told: OrderedDict[tuple[str, str], tuple[str, ...]] = field(default_factory=OrderedDict)
    """By uid and type, the version of each relay whose transition was told last, and what to."""

    async def status(self, obj: Object, status: Object) -> float | None:
        """Write the status of a relay; return seconds to wait where somebody undoes it each time.

        The Event goes first: killed between the two, the next process sees the same transition
        again, and an Event that exists already is not written twice.
        """
        before = obj.get("status", {})
        status = self._known(status)
        if _ours(status) == _ours(before):
            return None
        where, content = (RELAY, key_of(obj)), _content(status)
        if self.backoff.is_backing_off(where, content):
            return self.backoff.active([where])[0].seconds
        await self._tell(obj, before, status)
        self.backoff.record(where, content, "the status is changed")
        for contest in self.backoff.active([where]):
            log.warning("somebody undoes the status each time", seconds=round(contest.seconds))
        return None

    async def _tell(self, obj: Object, before: Object, status: Object) -> None:
        await self._transitions(obj, before, status)
        try:
            await self._write(obj, status)
        except Unavailable as error:
            found = _undeclared(error)
            if not found:
                raise
            self._unknown |= found
            self._ask_at = self.clock() + ASK_AGAIN_SECONDS
            log.warning("the CRD is older than this operator", fields=sorted(found))
            status = self._known(status)
            if _ours(status) != _ours(before):
                await self._write(obj, status)

    async def _write(self, obj: Object, status: Object) -> None:
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

    async def conflict(
        self, obj: Object, child: Object, conflicts: tuple[FieldConflict, ...]
    ) -> None:
        """Tell which fields of a child are taken back, and from whom."""
        fields = ", ".join(f"{one.field} of {one.manager}" for one in conflicts)
        name = f"{child['kind']} {child['metadata']['name']}"
        text = f"{name}: took back {fields}. Change the TokenplaceRelay instead."
        await self.recorder.record(obj, Reason.FIELD_CONFLICT, text, warning=True)

    def _known(self, status: Object) -> Object:
        """The status without what the CRD does not have."""
        if self._unknown and self.clock() >= self._ask_at:
            self._unknown = frozenset()
        for path in self._unknown:
            status = _without(status, path.split("."))
        return status

    async def _transitions(self, obj: Object, before: Object, status: Object) -> None:
        """An Event for what has another reason now: what `kubectl describe` should show."""
        known = _conditions(before)
        for kind, one in _conditions(status).items():
            earlier = known.get(kind)
            if earlier is not None and _essence(earlier) == _essence(one):
                continue
            if kind == Type.READY or one["reason"] in TOLD:
                await self._transition(obj, one, status.get("rollback", {}))

    async def _transition(self, obj: Object, condition: Condition, images: Object) -> None:
        if self._is_told(obj, condition):
            return
        reason = Reason(condition["reason"])
        troubled = condition["status"] != "True" and reason not in _ORDINARY
        # The cause of a rollback names a pod, and after a restart perhaps another one.
        about = f"{images['from']} {images['to']}" if reason is Reason.ROLLED_BACK else None
        message = condition["message"]
        await self.recorder.record(obj, reason, message, warning=troubled, identity=about)

    def _is_told(self, obj: Object, condition: Condition) -> bool:
        """Whether the transition was told before, and only its status could not be written."""
        about = obj["metadata"]["uid"], condition["type"]
        told = self._told.pop(about, None)
        self._told[about] = now = (obj["metadata"]["resourceVersion"], *_essence(condition))
        if len(self._told) > MAX_REMEMBERED:
            self._told.popitem(last=False)
        return told == now


def _content(status: Object) -> str:
    """What a status says, whenever that began."""
    return hashlib.sha256(msgspec.json.encode(_timeless(status), order="sorted")).hexdigest()


def _timeless(value: Any) -> Any:  # noqa: ANN401 (JSON of any shape)
    if isinstance(value, dict):
        return {name: _timeless(one) for name, one in value.items() if name not in _TIMES}
    if isinstance(value, list):
        return [_timeless(one) for one in value]
    return value


def _undeclared(error: Unavailable) -> frozenset[str]:
    """The fields of a status that the server refused, for its CRD does not declare them."""
    return frozenset(_UNDECLARED.findall(error.message))


def _without(obj: Object, path: list[str]) -> Object:
    first, *rest = path
    if first not in obj:
        return obj
    if not rest:
        return {name: value for name, value in obj.items() if name != first}
    return {**obj, first: _without(obj[first], rest)}


def _conditions(status: Object) -> dict[str, Condition]:
    """By type, without those that somebody else added to the list."""
    return {one["type"]: one for one in status.get("conditions", []) if one["type"] in OWNED_TYPES}


def _ours(status: Object) -> Object:
    """What we say, in whatever order the server keeps it."""
    return {**status, "conditions": _conditions(status)}


def _essence(condition: Condition) -> tuple[str, str]:
    return condition["status"], condition["reason"]
