"""The relays of the benchmark: five children each, and no pod, because no node could run it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from tokenplace_operator.api.kinds import RELAY, Kind, Object, of
from tokenplace_operator.api.spec.relay import parse
from tokenplace_operator.desired.build import build
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.observe.facts import Facts

DIGEST = f"sha256:{'a' * 64}"
CREATORS = 10
"""TokenplaceRelays that are created at a time."""

T = TypeVar("T")


def relay(namespace: str, number: int) -> Object:
    """One relay. replicas 0: settled as soon as its children exist."""
    name = f"relay-{number}"
    return {
        "apiVersion": RELAY.api_version,
        "kind": RELAY.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 0,
            "image": {"digest": DIGEST},
            "ingress": {"hosts": [f"{name}.example.com"]},
            "gpu": {"mode": "None"},
        },
    }


def children(stored: Object) -> list[Object]:
    """The children that the operator makes of a stored relay."""
    return build(parse(stored), Facts())


def kinds_and_counts(namespace: str) -> dict[Kind, int]:
    """How many children of each kind one relay has."""
    stored = relay(namespace, 0)
    stored["metadata"] |= {"uid": "0", "generation": 1}
    counts: dict[Kind, int] = {}
    for child in children(stored):
        counts[of(child)] = counts.get(of(child), 0) + 1
    return counts


async def create(kube: Kube, namespace: str, count: int) -> list[Object]:
    """Create relays, `CREATORS` at a time; return them as they are stored."""
    wanted = (relay(namespace, number) for number in range(count))
    return await in_flight(CREATORS, kube.create, wanted)


async def in_flight(
    limit: int, work: Callable[[Any], Awaitable[T]], items: Iterable[Any]
) -> list[T]:
    """Do the work for all items, at most `limit` at a time."""
    queue = iter(items)
    results: list[T] = []

    async def worker() -> None:
        for item in queue:  # Shared: each item goes to one worker.
            result = await work(item)
            results.append(result)

    await asyncio.gather(*(worker() for _ in range(limit)))
    return results
