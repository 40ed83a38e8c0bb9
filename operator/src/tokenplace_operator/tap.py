"""Events of a watch, taken from its lines before kopf makes tasks of them.

For each event kopf starts a task, and looks for handlers, memories and throttles of the object: a
quarter of the operator's CPU while relays are made. So the lines are read here. In their place
kopf gets a bookmark, from which it knows how far the watch is and where to take it up again.
Lists, connections and their ends remain with kopf.
"""

from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, cast

import aiohttp
import msgspec

from tokenplace_operator.kinds import Kind, Object
from tokenplace_operator.logs import get_logger
from tokenplace_operator.outlast import BEGIN_AGAIN

log = get_logger(__name__)

Take = Callable[[Kind, str | None, Object], None]
"""Gets the kind, the type of the event (None: listed) and the object."""

BOOKMARK = "BOOKMARK"
_KNOWN = frozenset({"ADDED", "MODIFIED", "DELETED", BOOKMARK})


class _Event(msgspec.Struct):
    type: str
    object: Object


_decode = msgspec.json.Decoder(_Event).decode


class Tap:
    """Middleware of a session that watches: `take` gets what the watches of these kinds tell."""

    def __init__(self, kinds: Collection[Kind], take: Take) -> None:
        self._kinds = kinds
        self._take = take

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Let the answer to a watch tell bookmarks only."""
        response = await handler(request)
        if request.url.query.get("watch") == "true" and response.status == 200:
            kind = self._kind_at(request.url.path)
            events = _Bookmarks(response.content, lambda *event: self._take(kind, *event))
            response.content = cast("aiohttp.StreamReader", events)
        return response

    def _kind_at(self, path: str) -> Kind:
        """The kind whose objects a path lists, of one namespace or of all."""
        root, _, plural = path.rpartition("/")
        collection = f"{root.partition('/namespaces/')[0]}/{plural}"
        return next(kind for kind in self._kinds if collection.endswith(kind.path(None)))


class _Bookmarks:
    """The content of a watch, in whole lines; events are taken, and bookmarks stand for them."""

    def __init__(self, content: aiohttp.StreamReader, take: Callable[[str, Object], None]) -> None:
        self._content = content
        self._take = take

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever closes a stream)
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """For each chunk of events how far it went, and after that whatever else was told."""
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
                    self._take(event.type, event.object)
            yield _bookmark(version) + others


def _event(line: bytes) -> _Event | None:
    try:
        return _decode(line)
    except msgspec.DecodeError as error:
        log.warning("a watch told what is no event", error=str(error))
        return None


def _bookmark(version: str | None) -> bytes:
    if version is None:
        return b""
    event = {"type": BOOKMARK, "object": {"metadata": {"resourceVersion": version}}}
    return msgspec.json.encode(event) + b"\n"
