"""Sees children arrive, from outside: a watch for each kind that notes names and times."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from tokenplace_bench.watches import events_of, open_watch
from tokenplace_operator.api.kinds import Key, Kind, Object
from tokenplace_operator.api.labels import selector_of
from tokenplace_operator.api.owners import parent_key
from tokenplace_operator.kube.client import Kube

NAMES_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
STALL_SECONDS = 180.0


class Arrivals:
    """What exists now in one namespace, and when the last change was seen."""

    def __init__(self) -> None:
        self.uids: dict[Kind, dict[Key, str]] = {}
        self.last = 0.0
        self._changed = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def watch(
        cls, kube: Kube, namespace: str, kinds: Mapping[Kind, int]
    ) -> AsyncIterator["Arrivals"]:
        """Watch until the end of the block; every kind is listed before it begins."""
        arrivals = cls()
        async with kube.new_session() as session, asyncio.TaskGroup() as group:
            following = []
            for kind in kinds:
                items, version = await kube.list(kind, namespace, selector_of(kind))
                for one in items:
                    arrivals.note(kind, "ADDED", one)
                follow = arrivals._follow(session, kube.server, kind, namespace, version)
                following.append(group.create_task(follow))
            yield arrivals
            for task in following:
                task.cancel()

    def note(self, kind: Kind, event: str, obj: Object) -> None:
        """Take in one event of a child; slices that the cluster makes itself are none."""
        if parent_key(obj) is None:
            return
        metadata = obj["metadata"]
        known = self.uids.setdefault(kind, {})
        key = (metadata["namespace"], metadata["name"])
        if event == "DELETED":
            if known.get(key) == metadata["uid"]:
                del known[key]
        elif known.get(key) != metadata["uid"]:
            known[key] = metadata["uid"]
            self.last = time.monotonic()
        self._changed.set()

    async def complete(self, wanted: Mapping[Kind, int]) -> float:
        """Wait until this many of each kind exist; return the time at which the last one came."""
        while any(len(self.uids.get(kind, {})) < count for kind, count in wanted.items()):
            await self._next(str({kind.kind: len(v) for kind, v in self.uids.items()}))
        return self.last

    async def replaced(self, kind: Kind, key: Key, uid: str) -> float:
        """Wait until the object is there with another uid; the time at which it was seen."""
        while self.uids[kind].get(key, uid) == uid:
            await self._next(f"{kind.kind} {key}")
        return self.last

    async def _next(self, so_far: str) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"nothing came for {STALL_SECONDS:g} s: {so_far}") from None

    async def _follow(
        self, session: aiohttp.ClientSession, server: str, kind: Kind, namespace: str, version: str
    ) -> None:
        watch = await open_watch(session, server, kind, namespace, version, accept=NAMES_ONLY)
        async with watch:
            async for event in events_of(watch):
                self.note(kind, event["type"], event["object"])
        raise ConnectionError(f"the watch of {kind.plural} ended")
