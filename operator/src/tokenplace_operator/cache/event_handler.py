"""Passes watch events to the store and, when they changed it, relay keys to the queue."""

from typing import Protocol

from tokenplace_operator.api.conditions import is_unobserved
from tokenplace_operator.api.kinds import RELAY, Key, Kind, Object, key_of
from tokenplace_operator.api.owners import relays_of
from tokenplace_operator.cache.store import DELETED, Store
from tokenplace_operator.metrics import Metrics


class Queue(Protocol):
    """The verb of the work queue that events use."""

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Queue a key."""
        ...


class EventHandler:
    """Handles the events of all watched kinds."""

    def __init__(self, store: Store, queue: Queue, metrics: Metrics) -> None:
        self._store = store
        self._queue = queue
        self._metrics = metrics

    def handle(self, kind: Kind, event_type: str | None, obj: Object) -> None:
        """Handle one event; event_type None: listed at the start of a watch."""
        self._metrics.watch_events.labels(kind.kind, event_type or "LISTED").inc()
        # The API server leaves these two fields out of the items of a list.
        obj = {**obj, "apiVersion": kind.api_version, "kind": kind.kind}
        stored = self._store.get(kind, key_of(obj))
        # The event of our own write: its answer has put this version into the store already.
        if not self._store.observe(event_type, obj):
            return
        # A child may have changed its owner: then both relays are concerned.
        for key in relays_of(kind, (obj,) if stored is None else (obj, stored)):
            self._queue.add(key, urgent=_is_urgent(kind, event_type, obj))


def _is_urgent(kind: Kind, event_type: str | None, obj: Object) -> bool:
    """Whether a user waits for it: a spec that was not reconciled yet, or a deleted child."""
    return is_unobserved(obj) if kind == RELAY else event_type == DELETED
