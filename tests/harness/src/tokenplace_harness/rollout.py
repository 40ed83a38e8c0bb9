"""Peers that run while their relay is replaced: all accepted requests must be answered and read.

Nothing that was accepted is tried a second time, since `server.py` hands an answer in once.
"""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tokenplace_relay.peers.client import Client
from tokenplace_relay.peers.compute_node import ComputeNode
from tokenplace_relay.peers.connection import RelayConnection, RelayError
from tokenplace_relay.protocol.envelope import Identity
from tokenplace_relay.state.selection import DEFAULT_MODEL

ASKED: Final = [{"role": "user", "content": "are you there?"}]
ANSWER_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.05
_FAILURES: Final = (RelayError, aiohttp.ClientError, TimeoutError)


@dataclass(slots=True)
class Tally:
    """What peers saw. Times are of the monotonic clock, in seconds."""

    accepted: list[float] = field(default_factory=list)
    """When each request was accepted."""
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    """What became of accepted requests that brought no answer."""
    refused: Counter[str] = field(default_factory=Counter)
    """Why others were not accepted."""

    def accepted_between(self, start: float, end: float) -> int:
        """How many were accepted in a span of time."""
        return sum(start <= one < end for one in self.accepted)


class _Fixed(AbstractResolver):
    """Finds every name at one address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """The one address."""
        found = ResolveResult(
            hostname=host, host=self._address, port=port, family=family, proto=0, flags=0
        )
        return [found]

    async def close(self) -> None:
        """Hold nothing."""


@asynccontextmanager
async def session_at(address: str, authority: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that finds all names at an address, and trusts one certificate authority."""
    trusted = ssl.create_default_context(cafile=str(authority))
    connector = aiohttp.TCPConnector(resolver=_Fixed(address), ssl=trusted)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


@asynccontextmanager
async def peers_at_work(
    connection: RelayConnection, *, nodes: int, clients: int
) -> AsyncIterator[Tally]:
    """Peers that ask and answer within the block; at its end the last answers are read."""
    tally, stop = Tally(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        identities = [await asyncio.to_thread(Identity.create) for _ in range(nodes + clients)]
        serving = [group.create_task(_serve(connection, one)) for one in identities[:nodes]]
        asking = [
            group.create_task(_ask(Client(connection, one), tally, stop))
            for one in identities[nodes:]
        ]
        try:
            yield tally
        finally:
            stop.set()
            await asyncio.wait(asking)
            for one in serving:
                one.cancel()


async def _ask(client: Client, tally: Tally, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            node = (await client.select(DEFAULT_MODEL))["server_public_key"]
            request_id = await client.send(node, DEFAULT_MODEL, ASKED)
        except _FAILURES as error:
            tally.refused[_reason(error)] += 1
        else:
            tally.accepted.append(time.monotonic())
            await _read(client, request_id, tally)
        await asyncio.sleep(PAUSE_SECONDS)


async def _read(client: Client, request_id: str, tally: Tally) -> None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await client.wait_for_answer(request_id)
    except _FAILURES as error:
        tally.lost.append(_reason(error))
    else:
        tally.answered += 1


async def _serve(connection: RelayConnection, identity: Identity) -> None:
    """Register and answer; after any failure register again, as every compute node does."""
    while True:
        node = ComputeNode(connection, identity, (DEFAULT_MODEL,))
        try:
            await node.register()
            while True:
                work = await node.poll()
                if work is None:
                    await asyncio.sleep(PAUSE_SECONDS)
                else:
                    await node.respond(work)
        except _FAILURES:
            await asyncio.sleep(PAUSE_SECONDS)


def _reason(error: Exception) -> str:
    if isinstance(error, RelayError):
        return f"{error.status} {error.code or error.message}"
    return type(error).__name__
