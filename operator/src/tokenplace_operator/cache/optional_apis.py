"""Which optional APIs the cluster has now, and what there is of our children in them.

Their kinds may be absent, appear and vanish while we run, which kopf cannot follow: a watch of a
kind that is gone ends it. So they are looked for, and listed, every half minute; every logged-in
user may ask which kinds there are, so no right on CRDs is needed.
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


class Server(Lister, Protocol):
    """The calls of `Kube` that looking needs."""

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows a kind now."""
        ...


class OptionalApis:
    """Keeps `present` and the store's optional kinds up to date; `enqueue` gets who is concerned.

    namespaces: only these; empty: all.
    """

    def __init__(
        self,
        api: Server,
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
        """The optional kinds that were served at the last look."""

    async def refresh(self) -> None:
        """Look once; whoever comes while somebody looks only waits. Raises KubeError."""
        if self._refreshing.locked():
            async with self._refreshing:
                return
        async with self._refreshing:
            await self._refresh()

    async def _refresh(self) -> None:
        served = frozenset([kind for kind in OPTIONAL_KINDS if await self._api.serves(kind)])
        for kind in self.present - served:
            self._store.drop(kind)
        found = frozenset([kind for kind in sorted(served, key=_name) if await self._usable(kind)])
        appeared, vanished = found - self.present, self.present - found
        self.present = found
        if appeared or vanished:
            log.info("optional kinds changed", appeared=_names(appeared), vanished=_names(vanished))
            for relay in self._store.all(RELAY):
                self._enqueue(key_of(relay))

    async def _usable(self, kind: Kind) -> bool:
        """List what there is of a kind; False while it is served but its storage is not there yet.

        What nobody uses is listed once and not for ever.
        """
        if kind not in OPTIONAL_CHILD_KINDS:
            return True
        if kind in self.present and not self._store.all(kind):
            return True
        try:
            concerned = await self._store.relist(self._api, kind, self._namespaces)
        except Forbidden as error:
            log.warning("an optional kind cannot be listed", kind=kind.kind, message=error.message)
            return True
        except (NotFound, Unavailable) as error:
            log.info("an optional kind is not ready", kind=kind.kind, code=error.code)
            return kind in self.present and not isinstance(error, NotFound)
        for key in sorted(concerned):
            self._enqueue(key)
        return True


def _name(kind: Kind) -> str:
    return kind.kind


def _names(kinds: frozenset[Kind]) -> list[str]:
    return sorted(map(_name, kinds))
