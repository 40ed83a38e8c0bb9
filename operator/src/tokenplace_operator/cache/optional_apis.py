"""Tracks which optional APIs the cluster serves, and the child resources in them.

Their CRDs may be absent, appear and vanish while the operator runs, which kopf cannot follow: the
watch of a deleted CRD ends the program. So these APIs are polled instead of watched. Any logged-in
user may ask which resources an API group has, so no right on CRDs is needed.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from tokenplace_operator.api.kinds import (
    OPTIONAL_CHILD_KINDS,
    OPTIONAL_KINDS,
    RELAY,
    Key,
    Kind,
    key_of,
)
from tokenplace_operator.cache.store import Lister, Store
from tokenplace_operator.kube.errors import Forbidden, NotFound, Unavailable
from tokenplace_operator.logs import get_logger

log = get_logger(__name__)


class ApiLister(Lister, Protocol):
    """The calls of `Kube` that find optional APIs and list their objects."""

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server serves a kind now."""
        ...


class OptionalApis:
    """Keeps `present` and the store's optional kinds up to date.

    namespaces: the watched ones; empty: all.
    enqueue: called with each relay that a change concerns.
    """

    def __init__(
        self,
        api: ApiLister,
        store: Store,
        namespaces: Sequence[str] = (),
        enqueue: Callable[[Key], object] = lambda _: None,
    ) -> None:
        self._api = api
        self._store = store
        self._namespaces = namespaces
        self._enqueue = enqueue
        self._refreshing = asyncio.Lock()
        self.present: frozenset[Kind] = frozenset()
        """The optional kinds that were served at the last refresh."""

    async def refresh(self) -> None:
        """Read which kinds are served and list them; raises KubeError.

        Concurrent callers share the refresh in progress.
        """
        # A deleted CRD fails the writes of many relays at once: one refresh is enough for all.
        if self._refreshing.locked():
            async with self._refreshing:
                return
        async with self._refreshing:
            await self._refresh()

    async def _refresh(self) -> None:
        served = frozenset([kind for kind in OPTIONAL_KINDS if await self._api.serves(kind)])
        # With its CRD the API server deletes all objects of a kind, and no event reports that.
        for kind in self.present - served:
            self._store.drop(kind)
        usable = frozenset([kind for kind in sorted(served, key=_name) if await self._list(kind)])
        added, removed = usable - self.present, self.present - usable
        self.present = usable
        if added or removed:
            log.info("optional APIs changed", added=_names(added), removed=_names(removed))
            # Any relay may desire a child of that kind, or wait for a certificate of it.
            for relay in self._store.all(RELAY):
                self._enqueue(key_of(relay))

    async def _list(self, kind: Kind) -> bool:
        """List the child resources of a kind; return whether the kind can be used.

        A new CRD is served before its storage is ready: then a list fails.
        """
        if kind not in OPTIONAL_CHILD_KINDS:
            return True
        # A kind without any child is listed once: only the operator creates its children.
        if kind in self.present and not self._store.all(kind):
            return True
        try:
            changed = await self._store.relist(self._api, kind, self._namespaces)
        except Forbidden as error:
            log.warning("cannot list an optional API", kind=kind.kind, message=error.message)
            # The API exists all the same: a relay that needs it then reports the missing right.
            return True
        except (NotFound, Unavailable) as error:
            log.info("an optional API is not ready", kind=kind.kind, code=error.code)
            # An outage of the API server must not count as a removed API.
            return kind in self.present and not isinstance(error, NotFound)
        for key in sorted(changed):
            self._enqueue(key)
        return True


def _name(kind: Kind) -> str:
    return kind.kind


def _names(kinds: frozenset[Kind]) -> list[str]:
    return sorted(map(_name, kinds))
