"""The limit: the same children by server-side apply, one loop, the same client, and nothing else.

Its own process: `python -m tokenplace_bench.bare NAMESPACE IN_FLIGHT`. Prints `ready`
when it has read the relays and built their children, and starts when it reads a line.
"""

import asyncio
import sys

from tokenplace_bench.relays import children, in_flight
from tokenplace_operator.api.kinds import RELAY, Object
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.metrics import Metrics


async def main(namespace: str, limit: int) -> None:
    """Apply all children of all relays of a namespace."""
    async with Kube.connect(Metrics()) as kube:
        stored, _ = await kube.list(RELAY, namespace)
        groups = [children(one) for one in stored]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)

        async def apply(group: list[Object]) -> None:
            for child in group:
                await kube.apply(child)

        await in_flight(limit, apply, groups)
        # Its CPU and memory are read before it ends.
        sys.stdout.write("done\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
