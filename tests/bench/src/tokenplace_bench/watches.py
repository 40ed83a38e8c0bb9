"""A watch that is read from outside the operator, line by line."""

import json
from collections.abc import AsyncIterator

import aiohttp

from tokenplace_operator.api.kinds import Kind, Object
from tokenplace_operator.api.labels import selector_of


async def open_watch(
    session: aiohttp.ClientSession,
    server: str,
    kind: Kind,
    namespace: str,
    version: str,
    *,
    accept: str = "application/json",
) -> aiohttp.ClientResponse:
    """Watch what concerns us of a kind in a namespace, from a version on."""
    query = {
        "watch": "1",
        "resourceVersion": version,
        "labelSelector": selector_of(kind),
        "timeoutSeconds": "7200",
    }
    response = await session.get(
        server + kind.path(namespace),
        params=query,
        headers={"Accept": accept},
        timeout=aiohttp.ClientTimeout(total=None),
    )
    response.raise_for_status()
    return response


async def events_of(watch: aiohttp.ClientResponse) -> AsyncIterator[Object]:
    """Its events as they come, until it ends."""
    async for line in watch.content:
        yield json.loads(line)
