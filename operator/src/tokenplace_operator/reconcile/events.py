"""Events on a TokenplaceRelay: few, deduplicated, and never a reason for a reconcile to fail."""

import contextlib
import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from tokenplace_operator.api.conditions import MESSAGE_LIMIT, Reason, text_time
from tokenplace_operator.api.kinds import EVENT, Kind, Object
from tokenplace_operator.api.names import OPERATOR
from tokenplace_operator.bounded import BoundedDict
from tokenplace_operator.kube.errors import Conflict, KubeError, NotFound
from tokenplace_operator.logs import get_logger

log = get_logger(__name__)


class EventWriter(Protocol):
    """The calls of `Kube` that write Events."""

    async def create(self, obj: Object) -> Object:
        """Create an object."""
        ...

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Merge into an object."""
        ...


class Recorder:
    """Writes core/v1 Events; an Event with the same reason and message counts up the first."""

    def __init__(self, kube: EventWriter, now: Callable[[], datetime]) -> None:
        self._kube = kube
        self._now = now
        self._counts: BoundedDict[str, int] = BoundedDict()

    async def record(
        self,
        about: Object,
        reason: Reason,
        message: str,
        *,
        warning: bool,
        identity: str | None = None,
    ) -> None:
        """Record an Event about an object; an error is only logged.

        identity: the text by which a repetition is recognised; None: the message.
        """
        message = message[:MESSAGE_LIMIT]
        name = _name(about, reason, message if identity is None else identity)
        try:
            count = await self._write(about, name, reason, message, warning=warning)
        except KubeError as error:
            log.warning("event not recorded", event_reason=str(reason), code=error.code)
            return
        self._counts[name] = count

    async def _write(
        self, about: Object, name: str, reason: Reason, message: str, *, warning: bool
    ) -> int:
        """Count up an existing Event, or create it; return its count."""
        namespace, now = about["metadata"]["namespace"], text_time(self._now())
        count = self._counts.get(name, 0)
        if count:
            patch = {"count": count + 1, "lastTimestamp": now}
            # The API server deletes Events after an hour.
            with contextlib.suppress(NotFound):
                await self._kube.patch(EVENT, namespace, name, patch)
                return count + 1
        try:
            await self._kube.create(_event(about, name, reason, message, now, warning=warning))
        except Conflict:  # An earlier process has created it.
            # Its count is known only from this answer; the next repetition counts up from there.
            event = await self._kube.patch(EVENT, namespace, name, {"lastTimestamp": now})
            return int(event.get("count") or 1)
        return 1


def _event(
    about: Object, name: str, reason: Reason, message: str, now: str, *, warning: bool
) -> Object:
    namespace = about["metadata"]["namespace"]
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": about["metadata"]["name"],
            "namespace": namespace,
            "uid": about["metadata"]["uid"],
        },
        "type": "Warning" if warning else "Normal",
        "reason": str(reason),
        "message": message,
        "source": {"component": OPERATOR},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _name(about: Object, reason: Reason, message: str) -> str:
    """A name that is the same for the same text about the same object, also after a restart."""
    identity = "\0".join([about["metadata"]["uid"], reason, message])
    # Short enough for an object's name; 64 bits are plenty for the Events of one relay.
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return f"{about['metadata']['name']}.{digest}"
