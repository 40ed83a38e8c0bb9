"""Compute nodes that serve a relay for as long as a test runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from tokenplace_relay.peers.compute_node import Answer, ComputeNode, echo
from tokenplace_relay.peers.connection import RelayConnection, RelayError
from tokenplace_relay.protocol.envelope import Identity, Inner
from tokenplace_relay.state.selection import DEFAULT_MODEL


class FixedNode(ComputeNode):
    """A compute node that answers everything with the same `api_v1_response`."""

    fixed: Inner

    def reply(self, asked: Inner) -> Inner:
        """The fixed one."""
        del asked
        return self.fixed


@asynccontextmanager
async def serving_node(
    url: str,
    answer: Answer = echo,
    *,
    models: tuple[str, ...] = (DEFAULT_MODEL,),
    token: str = "",
) -> AsyncIterator[ComputeNode]:
    """A registered compute node that polls and answers in the background."""
    identity = await asyncio.to_thread(Identity.create)
    async with aiohttp.ClientSession() as session:
        node = ComputeNode(RelayConnection(session, url, token), identity, models, answer)
        async with _serving(node):
            yield node


@asynccontextmanager
async def answering(url: str, fixed: Inner) -> AsyncIterator[None]:
    """A registered compute node that gives every client the same answer."""
    identity = await asyncio.to_thread(Identity.create)
    async with aiohttp.ClientSession() as session:
        node = FixedNode(RelayConnection(session, url), identity, (DEFAULT_MODEL,))
        node.fixed = fixed
        async with _serving(node):
            yield


@asynccontextmanager
async def _serving(node: ComputeNode) -> AsyncIterator[None]:
    await node.register()
    task = asyncio.create_task(_serve(node))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(RelayError, aiohttp.ClientError):
            await node.unregister()


async def _serve(node: ComputeNode) -> None:
    while True:
        try:
            await node.serve_one()
        except RelayError as error:
            # The request was cancelled meanwhile.
            if error.status != 410:
                raise
