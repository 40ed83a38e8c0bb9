"""The least that any operator does: it watches each relay and each child, and applies children.

It keeps nothing, repairs nothing, counts nothing, writes no status. Compared with the bare loop
it shows the cost of watch events, and of relays that come during the applies.

Its own process: `python -m tokenplace_bench.least NAMESPACE IN_FLIGHT`. Prints `ready`
when its watches are open, and ends when it reads a line.
"""

import asyncio
import sys

import aiohttp

from tokenplace_bench.relays import children
from tokenplace_bench.watches import events_of, open_watch
from tokenplace_operator.api.kinds import CHILD_KINDS, RELAY, Object
from tokenplace_operator.api.labels import selector_of
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.metrics import Metrics


async def main(namespace: str, limit: int) -> None:
    """Apply the children of each relay that comes to a namespace, `limit` relays at a time."""
    arrived: asyncio.Queue[Object] = asyncio.Queue()
    async with Kube.connect(Metrics()) as kube, kube.new_session() as session:
        watches = []
        for kind in (RELAY, *CHILD_KINDS):
            _, version = await kube.list(kind, namespace, selector_of(kind))
            watches.append(await open_watch(session, kube.server, kind, namespace, version))
        tasks = [asyncio.create_task(_follow(watch, arrived)) for watch in watches]
        tasks += [asyncio.create_task(_work(kube, arrived)) for _ in range(limit)]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(watch: aiohttp.ClientResponse, arrived: asyncio.Queue[Object]) -> None:
    async for event in events_of(watch):
        if event["type"] == "ADDED" and event["object"]["kind"] == RELAY.kind:
            arrived.put_nowait(event["object"])


async def _work(kube: Kube, arrived: asyncio.Queue[Object]) -> None:
    while True:
        for child in children(await arrived.get()):
            await kube.apply(child)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
