"""Watch events of the cluster, by kopf; the only module that imports it.

kopf lists, watches and reconnects; what is told goes past it (see `tap`), so its handlers have
nothing to do. Nothing of kopf that writes is used: no finalizer, no annotation, no peering, no
posted Event.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from tokenplace_operator.api.conditions import is_unobserved
from tokenplace_operator.api.kinds import CHILD_KINDS, RELAY, Kind, Object, key_of
from tokenplace_operator.api.labels import selector_of
from tokenplace_operator.api.names import OPERATOR
from tokenplace_operator.cache.kopf_discovery import DiscoveryGuard
from tokenplace_operator.cache.kopf_events import EventInterceptor, OnEvent
from tokenplace_operator.cache.kopf_faults import tolerate_faults
from tokenplace_operator.cache.store import DELETED, Store, relays_of
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.runtime.workqueue import WorkQueue

WATCHED = (RELAY, *CHILD_KINDS)

# Less than the default silence, so that a missing right fails loudly and is no silent watch.
ERROR_BACKOFFS = (0.5, 1, 2, 3) + (5,) * 9


class NullDiffBase(kopf.DiffBaseStorage):
    """Remembers nothing of an object: no annotation, and no copy of each body either."""

    def build(self, **_: Any) -> kopf.BodyEssence:  # noqa: ANN401 (kopf's own signature)
        """Return nothing worth comparing."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:  # noqa: ANN401
        """Return nothing remembered."""
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401
        """Remember nothing."""


class NullProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers, for there is none to keep."""

    def fetch(self, **_: Any) -> None:  # noqa: ANN401
        """Return nothing remembered."""

    def store(self, **_: Any) -> None:  # noqa: ANN401
        """Remember nothing."""

    def purge(self, **_: Any) -> None:  # noqa: ANN401
        """Forget nothing."""

    def touch(self, **_: Any) -> None:  # noqa: ANN401
        """Write nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return it as it is."""
        return essence


class EventHandler:
    """Where events go in: the store first, and if they were news to it, the queue."""

    def __init__(self, store: Store, queue: WorkQueue, metrics: Metrics) -> None:
        self._store = store
        self._queue = queue
        self._metrics = metrics

    def handle(self, kind: Kind, event_type: str | None, obj: Object) -> None:
        """Observe one event of one kind; type None: listed at the start of a watch."""
        self._metrics.watch_events.labels(kind.kind, event_type or "LISTED").inc()
        obj = {**obj, "apiVersion": kind.api_version, "kind": kind.kind}
        stored = self._store.get(kind, key_of(obj))
        if not self._store.observe(event_type, obj):
            return
        # Of a child, also the relay that it was taken from.
        for key in relays_of(kind, (obj,) if stored is None else (obj, stored)):
            self._queue.add(key, urgent=_is_urgent(kind, event_type, obj))


def _is_urgent(kind: Kind, event_type: str | None, obj: Object) -> bool:
    """What a user waits for: a spec that nobody has acted on, or a child that is gone."""
    return is_unobserved(obj) if kind == RELAY else event_type == DELETED


def configure(settings: kopf.OperatorSettings, silence_seconds: float) -> None:
    """Make kopf an event source and nothing more."""
    settings.posting.enabled = False
    settings.scanning.disabled = True  # The kinds are fixed and must exist at the start.
    # A watch that failed for good can leave kopf hanging in its own exit; this ends the process.
    settings.process.ultimate_exiting_timeout = 20
    # A page is held as text and as objects before it is cut down.
    settings.watching.chunk_size = 50
    settings.watching.server_timeout = 300
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = silence_seconds
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = ERROR_BACKOFFS
    settings.persistence.diffbase_storage = NullDiffBase()
    settings.persistence.progress_storage = NullProgress()
    # kopf strips its own marker from every object it watches, even one that another kopf
    # operator has put there. So ours must be a marker that nobody uses.
    settings.persistence.finalizer = "token.place/unused"
    for kind in CHILD_KINDS:
        where = kind.group, kind.version, kind.plural
        settings.watching.label_selectors[where] = selector_of(kind)


def register(
    registry: kopf.OperatorRegistry, connection: Callable[[], Kube], take: OnEvent
) -> None:
    """Let kopf list and watch as we are logged in, and `take` get all that it is told."""
    _login(registry, connection, take)
    for kind in WATCHED:
        kopf.on.event(
            group=kind.group,
            version=kind.version,
            plural=kind.plural,
            id=kind.plural,
            registry=registry,
        )(_nothing)


async def _nothing(**_: Any) -> None:  # noqa: ANN401 (whatever kopf passes)
    """Let kopf watch the kind; it is never called, for kopf gets to see no object."""


def _login(registry: kopf.OperatorRegistry, connection: Callable[[], Kube], take: OnEvent) -> None:
    """Log kopf in as we are, with a session of its own, which it closes."""
    tap, scan = EventInterceptor(WATCHED, take), DiscoveryGuard(WATCHED)

    async def handle(**_: Any) -> kopf.AiohttpSession:  # noqa: ANN401
        kube = connection()
        session = kube.new_session(tap, scan, tolerate_faults)
        return kopf.AiohttpSession(server=kube.server, aiohttp_session=session)

    kopf.on.login(registry=registry)(handle)


def end_with_the_first(registry: kopf.OperatorRegistry) -> None:
    """End all watches when one has failed for good.

    kopf leaves the others to its last sweep, where one that is just connecting can lose its
    cancellation: then kopf never ends.
    """

    async def handle(**_: Any) -> None:  # noqa: ANN401
        for task in asyncio.all_tasks():
            if task.get_name().startswith("watcher for "):
                task.cancel()

    kopf.on.cleanup(registry=registry)(handle)


async def watch(
    kube: Kube,
    handler: EventHandler,
    namespaces: Sequence[str],
    *,
    stop: asyncio.Event,
    ready: asyncio.Event,
    silence_seconds: float,
) -> None:
    """Watch all kinds until `stop`; ends with an error when a watch cannot be kept up.

    silence_seconds: a watch that says nothing for so long is taken up anew, where it was.
    kopf takes over SIGTERM and SIGINT when it starts; `ready` is set after that.
    """
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    configure(settings, silence_seconds)
    end_with_the_first(registry)
    register(registry, lambda: kube, handler.handle)
    await kopf.operator(
        registry=registry,
        settings=settings,
        # Else kopf asks for the name of the user, and a pod's user has none.
        identity=OPERATOR,  # type: ignore[arg-type]  # its type is not exported
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
        ready_flag=ready,
    )
