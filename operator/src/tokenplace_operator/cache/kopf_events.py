"""The event interceptor: takes list pages and watch events before kopf schedules tasks for them.

For each object kopf starts a task with handlers, memory and throttle, which took a third of the
operator's CPU during the creation of relays. So objects are taken out of the responses here. kopf
gets empty pages instead of a list, and bookmarks instead of events, from which it knows where to
resume a watch. Connections and their ends stay with kopf.

kopf reads pages by `ClientResponse.json()`, which calls `content.read()`, and watches by
`content.iter_chunked()`: both are replaced. tests/unit/operator/test_kopf_internals.py checks that.
"""

from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, cast

import aiohttp
import msgspec

from tokenplace_operator.api.kinds import Kind, Object
from tokenplace_operator.cache.kopf_faults import RESTART_EVENT
from tokenplace_operator.logs import get_logger

log = get_logger(__name__)

OnEvent = Callable[[Kind, str | None, Object], None]
"""Called with the kind, the type of the event (None: listed) and the object."""

BOOKMARK = "BOOKMARK"
_EVENT_TYPES = frozenset({"ADDED", "MODIFIED", "DELETED", BOOKMARK})


class _Event(msgspec.Struct):
    type: str
    object: Object


_decode = msgspec.json.Decoder(_Event).decode
_VERSION = ("resourceVersion",)
_IDENTITY = ("namespace", "name", "resourceVersion")
"""The fields that the metadata of a page or a bookmark, and of an object, must have."""


class EventInterceptor:
    """Middleware of kopf's session: `on_event` gets each object of these kinds."""

    def __init__(self, kinds: Collection[Kind], on_event: OnEvent) -> None:
        self._kinds = kinds
        self._on_event = on_event

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Replace the content of a list or a watch by one that has only versions."""
        response = await handler(request)
        kind = self._kind_at(request.url.path)
        if kind is None or response.status != 200:
            return response
        watches = request.url.query.get("watch") == "true"
        content = (_Watched if watches else _Page)(response.content, kind, self._on_event)
        # aiohttp has no hook for the content of a response, so its attribute is replaced.
        response.content = cast("aiohttp.StreamReader", content)
        return response

    def _kind_at(self, path: str) -> Kind | None:
        """The kind whose objects a path lists, of one namespace or of all."""
        root, _, plural = path.rpartition("/")
        collection = f"{root.partition('/namespaces/')[0]}/{plural}"
        matches = (kind for kind in self._kinds if collection.endswith(kind.path(None)))
        return next(matches, None)


class _Content:
    """The content of a response, and the receiver of its objects."""

    def __init__(self, content: aiohttp.StreamReader, kind: Kind, on_event: OnEvent) -> None:
        self._content = content
        self._kind = kind
        self._on_event = on_event

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (for what closes a stream)
        return getattr(self._content, name)


class _Page(_Content):
    """A page of a list; kopf gets its version and the token of the next page."""

    async def read(self) -> bytes:
        """Take the objects; ClientPayloadError when it is no list, which makes kopf list again."""
        try:
            page = msgspec.json.decode(await self._content.read(), type=Object)
        except msgspec.DecodeError as error:
            raise aiohttp.ClientPayloadError(f"{self._kind.plural}: {error}") from None
        items = page.get("items")
        if not (_has_metadata(page, _VERSION) and isinstance(items, list)):
            raise aiohttp.ClientPayloadError(f"{self._kind.plural}: no list")
        if not all(_has_metadata(obj, _IDENTITY) for obj in items):
            raise aiohttp.ClientPayloadError(f"{self._kind.plural}: a list of what is no object")
        # Only a page that is valid as a whole is taken: kopf lists again after the error above.
        for obj in items:
            self._on_event(self._kind, None, obj)
        # kopf still needs the metadata: the token of the next page, and the version to watch from.
        return msgspec.json.encode({**page, "items": []})


class _Watched(_Content):
    """Events in whole lines; kopf gets a bookmark for those of a chunk."""

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """For each chunk the version of its last event, and then all lines of other types."""
        async for lines in self._content.iter_chunked(size):
            version, others = None, b""
            for line in lines.splitlines(keepends=True):
                event = _event(line)
                # Events before the invalid line are in the store; the list that kopf repeats has
                # the rest.
                if event is None:
                    yield _bookmark(version) + RESTART_EVENT
                    return
                # Above all ERROR, after which kopf must end the watch.
                if event.type not in _EVENT_TYPES:
                    others += line
                    continue
                version = event.object["metadata"]["resourceVersion"]
                if event.type != BOOKMARK:
                    self._on_event(self._kind, event.type, event.object)
            # Last, so that an object is in the store before kopf counts its version as received: a
            # watch that breaks in between gets the object again.
            yield _bookmark(version) + others


def _event(line: bytes) -> _Event | None:
    """The event of a line; None, and a warning, when it is none."""
    try:
        event = _decode(line)
    except msgspec.DecodeError as error:
        log.warning("a watch sent an invalid event", error=str(error))
        return None
    needed = _VERSION if event.type == BOOKMARK else _IDENTITY
    if event.type in _EVENT_TYPES and not _has_metadata(event.object, needed):
        log.warning("a watch sent an object without a name or version", type=event.type)
        return None
    return event


def _has_metadata(obj: object, names: tuple[str, ...]) -> bool:
    """Whether it is an object whose metadata has these texts."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    return isinstance(metadata, dict) and all(isinstance(metadata.get(n), str) for n in names)


def _bookmark(version: str | None) -> bytes:
    if version is None:
        return b""
    event = {"type": BOOKMARK, "object": {"metadata": {"resourceVersion": version}}}
    return msgspec.json.encode(event) + b"\n"
