"""Load on one relay, from a process of its own.

Usage: python -m tokenplace_harness.bench.load '{"kind": ..., ...}'; the result is JSON on stdout.
"""

import asyncio
import secrets
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from tokenplace_harness.bench import calls
from tokenplace_harness.bench.calls import RELAY, key
from tokenplace_harness.bench.wire import Wire, get, post

# Of its own, so that no node of an earlier load is selected.
MODEL = f"bench-{secrets.token_hex(4)}"
HELD_POLLS = "tokenplace_relay_held_polls"
LOOK_SECONDS = 0.25
NET = secrets.randbelow(255)
NAP_SECONDS = 0.005
"""Seconds between two retrieves, if the relay does not hold them."""


@dataclass
class Place:
    """Where the load goes."""

    host: str
    port: int

    async def wire(self, number: int = 0) -> Wire:
        """A connection; from another loopback address for every 2,000 of them.

        The more ports of an address are taken, by connections of earlier loads too, the longer the
        system looks for one.
        """
        return await Wire.connect(self.host, self.port, f"127.0.{NET}.{1 + number // 2000}")


@dataclass
class Tally:
    """What was measured."""

    trips: list[float] = field(default_factory=list)
    dispatches: list[float] = field(default_factory=list)
    exchanges: int = 0
    failures: int = 0
    sent: dict[str, float] = field(default_factory=dict)
    """Request id -> when it was submitted."""

    def result(self, seconds: float) -> dict[str, Any]:
        """Rates per second, and milliseconds."""
        return {
            "seconds": seconds,
            "trips": len(self.trips),
            "trips_per_second": len(self.trips) / seconds,
            "exchanges_per_second": self.exchanges / seconds,
            "failures": self.failures,
            "trip_ms": spread(self.trips),
            "dispatch_ms": spread(self.dispatches),
        }


class Woken:
    """Polls that came back with work."""

    def __init__(self) -> None:
        self._expected: dict[str, asyncio.Future[float]] = {}

    def expect(self, request_id: str) -> asyncio.Future[float]:
        """When the work will have arrived."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._expected[request_id] = future
        return future

    def note(self, request_id: str) -> None:
        """The work is here."""
        self._expected[request_id].set_result(time.perf_counter())


def spread(values: list[float]) -> dict[str, float]:
    """p50, p99 and the most, in milliseconds."""
    if not values:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    ordered = sorted(values)
    last = len(ordered) - 1
    picked = {"p50": ordered[last // 2], "p99": ordered[round(last * 0.99)], "max": ordered[-1]}
    return {name: round(value * 1000, 3) for name, value in picked.items()}


async def trips(place: Place, *, clients: int, nodes: int, seconds: float) -> dict[str, Any]:
    """Whole round trips by `clients` clients over `nodes` nodes."""
    tally, ends = Tally(), time.perf_counter() + seconds
    keys = [key(f"node-{secrets.token_hex(4)}-{number}") for number in range(nodes)]
    serving, leave = [], []
    for name in keys:
        wire = await place.wire()
        # Each place of a node is a poll of its own.
        credential = await register(wire, name, concurrency=128)
        leave.append((wire, {"server_public_key": name, "control_credential": credential}))
        polls = max(1, -(-clients // nodes))
        serving += [
            asyncio.create_task(serve(await place.wire(), name, credential, tally))
            for _ in range(polls)
        ]
    started = time.perf_counter()
    await asyncio.gather(*(_client(place, number, tally, ends) for number in range(clients)))
    result = tally.result(time.perf_counter() - started)
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    for wire, shown in leave:
        # Else the next load would find the nodes of all before it, as long as their leases last.
        status, answer = await wire.post(f"{RELAY}/servers/unregister", shown)
        assert status == 200, answer
    return result


async def register(wire: Wire, name: str, concurrency: int = 1) -> str:
    """Register a node; its credential."""
    able = {"supported_model_ids": [MODEL], "max_concurrency": concurrency}
    body = {"server_public_key": name, "capabilities": able}
    status, answer = await wire.post(f"{RELAY}/servers/register", body)
    assert status == 200, answer
    return str(answer.get("control_credential", ""))


async def serve(wire: Wire, name: str, credential: str, tally: Tally) -> None:
    """A node's loop: poll, control, answer."""
    poll = post(f"{RELAY}/servers/poll", {"server_public_key": name})
    while True:
        status, raw = await wire.send(poll)
        tally.exchanges += 1
        work = msgspec.json.decode(raw)
        if status != 200 or "client_public_key" not in work:
            continue
        request_id = work["request_id"]
        if (since := tally.sent.pop(request_id, None)) is not None:
            tally.dispatches.append(time.perf_counter() - since)
        await wire.post(f"{RELAY}/servers/control", calls.control(name, request_id, credential))
        client = {"client_public_key": work["client_public_key"], "request_id": request_id}
        await wire.post(f"{RELAY}/responses", calls.response(client))
        tally.exchanges += 2


async def _client(place: Place, number: int, tally: Tally, ends: float) -> None:
    wire, name = await place.wire(), key(f"client-{secrets.token_hex(4)}-{number}")
    select = get(calls.select(MODEL))
    while (started := time.perf_counter()) < ends:
        status, raw = await wire.send(select)
        tally.exchanges += 1
        if status != 200:
            tally.failures += 1
            await asyncio.sleep(NAP_SECONDS)
            continue
        request_id = secrets.token_hex(16)
        names = {"client_public_key": name, "request_id": request_id}
        body = calls.request(names, msgspec.json.decode(raw)["server_public_key"])
        tally.sent[request_id] = time.perf_counter()
        status, _ = await wire.send(post(f"{RELAY}/requests", body))
        tally.exchanges += 1
        if status == 200 and await _read(wire, names, tally):
            tally.trips.append(time.perf_counter() - started)
        else:
            tally.failures += 1


async def _read(wire: Wire, names: dict[str, str], tally: Tally) -> bool:
    """Retrieve until the answer is there; relays that know `Prefer` hold the call."""
    raw = post(f"{RELAY}/responses/retrieve", names, "wait=20")
    while True:
        status, _ = await wire.send(raw)
        tally.exchanges += 1
        if status != 202:
            return status == 200
        await asyncio.sleep(NAP_SECONDS)


async def echoes(place: Place, *, clients: int, nodes: int, seconds: float) -> dict[str, Any]:
    """The same calls, to a server that parses them and does nothing else."""
    client = {"client_public_key": key("client"), "request_id": "r" * 32}
    node = key("node")
    raws = [
        get(calls.select(MODEL)),
        post(f"{RELAY}/requests", calls.request(client, node)),
        post(f"{RELAY}/servers/poll", {"server_public_key": node}),
        post(f"{RELAY}/servers/control", calls.control(node, "r" * 32, calls.CREDENTIAL)),
        post(f"{RELAY}/responses", calls.response(client)),
        post(f"{RELAY}/responses/retrieve", client, "wait=20"),
    ]
    tally, ends = Tally(), time.perf_counter() + seconds

    async def loop() -> None:
        wire = await place.wire()
        while (started := time.perf_counter()) < ends:
            for raw in raws:
                await wire.send(raw)
            tally.exchanges += len(raws)
            tally.trips.append(time.perf_counter() - started)

    started = time.perf_counter()
    # As many connections are busy at a time as there are clients.
    del nodes
    await asyncio.gather(*(loop() for _ in range(clients)))
    return tally.result(time.perf_counter() - started)


async def probes(place: Place, count: int, path: str = "/livez") -> list[float]:
    """Seconds of single calls, one after the other."""
    wire, times = await place.wire(), []
    for _ in range(count):
        started = time.perf_counter()
        await wire.send(get(path))
        times.append(time.perf_counter() - started)
        await asyncio.sleep(NAP_SECONDS)
    wire.close()
    return times


async def held(
    place: Place, *, polls: int, per_node: int, seconds: float, bare: bool
) -> dict[str, Any]:
    """Hold polls; then time /livez, wake-ups, and /livez while all of them end."""
    keys = [key(f"held-{secrets.token_hex(4)}-{n}") for n in range(-(-polls // per_node))]
    wire = await place.wire()
    for name in [] if bare else keys:
        await register(wire, name)
    woken, tasks = Woken(), []
    for number in range(polls):
        # Polled at once: a relay closes connections on which nothing comes.
        one, name = await place.wire(number), keys[number % len(keys)]
        tasks.append(asyncio.create_task(_held(one, name, woken, seconds, bare=bare)))
    await _until_held(place, polls, seconds)
    report("held")
    quiet = await probes(place, 200)
    result: dict[str, Any] = {"polls": polls, "livez_ms": spread(quiet)}
    if not bare:
        result["dispatch_ms"] = spread(await _wake_ups(wire, keys, woken))
    ending = asyncio.create_task(_until(place, lambda: all(task.done() for task in tasks)))
    await asyncio.gather(*tasks)
    result["livez_ms_while_ending"] = spread(await ending)
    return result


async def _until_held(place: Place, polls: int, seconds: float) -> None:
    """Wait until the server reports this number of held polls; raises TimeoutError."""
    wire = await place.wire()
    async with asyncio.timeout(seconds):
        while await _count(wire) < polls:  # noqa: ASYNC110 (another process counts)
            await asyncio.sleep(LOOK_SECONDS)
    wire.close()


async def _count(wire: Wire) -> float:
    _, raw = await wire.send(get("/metrics"))
    families = text_string_to_metric_families(raw.decode())
    return next(one.samples[0].value for one in families if one.name == HELD_POLLS)


async def _held(wire: Wire, name: str, woken: Woken, seconds: float, *, bare: bool) -> None:
    path = f"/hold?seconds={seconds}" if bare else f"{RELAY}/servers/poll"
    status, work = await wire.post(path, {"server_public_key": name})
    assert status == 200, work
    if "request_id" in work:
        woken.note(work["request_id"])
    wire.close()


async def _wake_ups(wire: Wire, keys: list[str], woken: Woken) -> list[float]:
    """From handing a request in to its arrival at a node that waits."""
    times = []
    for number in range(min(200, len(keys))):
        request_id = secrets.token_hex(16)
        # Clients have a bound; each has a few requests.
        names = {"client_public_key": key(f"waker-{number // 32}"), "request_id": request_id}
        body = calls.request(names, keys[number])
        arrived = woken.expect(request_id)
        started = time.perf_counter()
        status, answer = await wire.post(f"{RELAY}/requests", body)
        assert status == 200, answer
        times.append(await arrived - started)
    return times


async def _until(place: Place, done: Callable[[], bool]) -> list[float]:
    times: list[float] = []
    while not done():
        times += await probes(place, 10)
    return times


def report(word: str) -> None:
    """Report the progress to the parent, which then reads the server's memory."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


KINDS: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]] = {
    "trips": trips,
    "echoes": echoes,
    "held": held,
}


def main() -> None:
    """Run what the argument asks for."""
    asked = msgspec.json.decode(sys.argv[1])
    parts = urlsplit(asked.pop("url"))
    place = Place(parts.hostname or "127.0.0.1", parts.port or 80)
    run = KINDS[asked.pop("kind")]
    started, busy = time.perf_counter(), time.process_time()
    result = uvloop.run(run(place, **asked))
    used = (time.process_time() - busy) / (time.perf_counter() - started)
    result["load_busy"] = round(used, 2)
    report(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
