"""What lists and watches tell, taken before kopf makes tasks of it.

For each object kopf starts a task, and looks for its handlers, memory and throttle: a third of the
operator's CPU while relays are made. So what is told is taken here. kopf gets empty pages in place
of a list, and in place of events bookmarks, from which it knows how far a watch is and where to
take it up again. Connections and their ends remain with kopf.
"""

from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, cast

import aiohttp
import msgspec

from tokenplace_operator.api.kinds import Kind, Object
from tokenplace_operator.cache.kopf_faults import BEGIN_AGAIN
from tokenplace_operator.logs import get_logger

log = get_logger(__name__)

OnEvent = Callable[[Kind, str | None, Object], None]
"""Gets the kind, the type of the event (None: listed) and the object."""

BOOKMARK = "BOOKMARK"
_KNOWN = frozenset({"ADDED", "MODIFIED", "DELETED", BOOKMARK})


class _Event(msgspec.Struct):
    type: str
    object: Object


_decode = msgspec.json.Decoder(_Event).decode
_VERSION = ("resourceVersion",)
_IDENTITY = ("namespace", "name", "resourceVersion")
"""What the metadata of a page or a bookmark, and those of an object, must say."""


class EventInterceptor:
    """Middleware of kopf's session: `take` gets what is told of these kinds."""

    def __init__(self, kinds: Collection[Kind], take: OnEvent) -> None:
        self._kinds = kinds
        self._take = take

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Let the answer to a list or a watch say only how far it goes."""
        response = await handler(request)
        kind = self._kind_at(request.url.path)
        if kind is None or response.status != 200:
            return response
        watches = request.url.query.get("watch") == "true"
        told = (_Watched if watches else _Page)(response.content, kind, self._take)
        response.content = cast("aiohttp.StreamReader", told)
        return response

    def _kind_at(self, path: str) -> Kind | None:
        """The kind whose objects a path lists, of one namespace or of all."""
        root, _, plural = path.rpartition("/")
        collection = f"{root.partition('/namespaces/')[0]}/{plural}"
        found = (kind for kind in self._kinds if collection.endswith(kind.path(None)))
        return next(found, None)


class _Told:
    """The content of an answer, and where its objects go."""

    def __init__(self, content: aiohttp.StreamReader, kind: Kind, take: OnEvent) -> None:
        self._content = content
        self._kind = kind
        self._take = take

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever closes a stream)
        return getattr(self._content, name)


class _Page(_Told):
    """A page of a list; it goes on empty, with its version and the token of the next page."""

    async def read(self) -> bytes:
        """Take its objects; ClientPayloadError where it is no list, for then kopf begins again."""
        try:
            page = msgspec.json.decode(await self._content.read(), type=Object)
        except msgspec.DecodeError as error:
            raise aiohttp.ClientPayloadError(f"{self._kind.plural}: {error}") from None
        items = page.get("items")
        if not (_says(page, _VERSION) and isinstance(items, list)):
            raise aiohttp.ClientPayloadError(f"{self._kind.plural}: no list")
        if not all(_says(obj, _IDENTITY) for obj in items):
            raise aiohttp.ClientPayloadError(f"{self._kind.plural}: a list of what is no object")
        for obj in items:
            self._take(self._kind, None, obj)
        return msgspec.json.encode({**page, "items": []})


class _Watched(_Told):
    """Events in whole lines; a bookmark stands for those of a chunk."""

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """For each chunk how far it went, and after that whatever else was told."""
        async for lines in self._content.iter_chunked(size):
            version, others = None, b""
            for line in lines.splitlines(keepends=True):
                event = _event(line)
                if event is None:
                    yield _bookmark(version) + BEGIN_AGAIN
                    return
                if event.type not in _KNOWN:
                    others += line
                    continue
                version = event.object["metadata"]["resourceVersion"]
                if event.type != BOOKMARK:
                    self._take(self._kind, event.type, event.object)
            yield _bookmark(version) + others


def _event(line: bytes) -> _Event | None:
    """The event of a line; None, and a warning, when it is none."""
    try:
        event = _decode(line)
    except msgspec.DecodeError as error:
        log.warning("a watch told what is no event", error=str(error))
        return None
    needed = _VERSION if event.type == BOOKMARK else _IDENTITY
    if event.type in _KNOWN and not _says(event.object, needed):
        log.warning("a watch told of an object without a name or version", type=event.type)
        return None
    return event


def _says(obj: object, names: tuple[str, ...]) -> bool:
    """Whether it is an object whose metadata have these texts."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    return isinstance(metadata, dict) and all(isinstance(metadata.get(n), str) for n in names)


def _bookmark(version: str | None) -> bytes:
    if version is None:
        return b""
    event = {"type": BOOKMARK, "object": {"metadata": {"resourceVersion": version}}}
    return msgspec.json.encode(event) + b"\n"
