"""Compute nodes for the page's tests, in a thread of their own: honest, slow, dying, hostile."""

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp

from tokenplace_relay.peers.compute_node import ComputeNode
from tokenplace_relay.peers.connection import Json, RelayConnection, RelayError
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.constants import PROTOCOL, VERSION
from tokenplace_relay.protocol.envelope import Identity, Inner, Sealed

MODEL = "qwen3-8b-instruct"
T = TypeVar("T")
Behaviour = Callable[["Job"], Awaitable[None]]


@dataclass(slots=True)
class Job:
    """One request that a node has claimed, opened."""

    worker: "Worker"
    work: Json
    inner: Inner

    @property
    def messages(self) -> list[Inner]:
        """What the client asks, with the turns before it."""
        found: list[Inner] = self.inner["api_v1_request"]["messages"]
        return found

    @property
    def request_id(self) -> str:
        """The id of the request."""
        return str(self.work["request_id"])

    async def answer(self, text: str, **more: object) -> None:
        """Answer in the proper way."""
        await self.respond({"message": {"role": "assistant", "content": text}, **more})

    async def respond(self, response: Inner, **changed: str) -> None:
        """Seal a response; `changed` header fields are wrong on purpose, inside."""
        client = str(self.work["client_public_key"])
        inner = {**_header(self.request_id, client), **changed, "api_v1_response": response}
        await self.post(await asyncio.to_thread(envelope.seal, inner, client, "pkcs1v15"))

    async def post(self, sealed: Sealed) -> None:
        """Submit any sealed answer."""
        body = {**self._outside(), "chat_history": sealed.ciphertext}
        body.update(cipherkey=sealed.cipherkey, iv=sealed.iv)
        await self.worker.relay.post("responses", body)

    async def progress(self, sequence: int, phase: str, **counts: int) -> None:
        """Seal progress and hand it in."""
        names = (
            "total_prompt_tokens", "cached_prompt_tokens", "processed_prompt_tokens",
            "generated_tokens", "elapsed_ms",
        )  # fmt: skip
        given = {"schema_version": 1, "sequence": sequence, "phase": phase}
        given.update({name: counts.get(name, 0) for name in names})
        client = str(self.work["client_public_key"])
        inner = {**_header(self.request_id, client), "api_v1_progress": given}
        sealed = await asyncio.to_thread(envelope.seal, inner, client, "pkcs1v15")
        proof = {
            "server_public_key": self.worker.node.identity.public,
            "control_credential": self.worker.node.credential,
        }
        texts = {"ciphertext": sealed.ciphertext, "cipherkey": sealed.cipherkey, "iv": sealed.iv}
        await self.worker.relay.post("progress", {**self._outside(), **proof, **texts})

    async def until_taken_back(self) -> None:
        """Ask again and again whether the client still wants it, until it does not."""
        while await self.worker.node.control(self.work) == "active":  # noqa: ASYNC110 (a poll)
            await asyncio.sleep(0.1)

    def _outside(self) -> Json:
        return _header(self.request_id, str(self.work["client_public_key"]))


@dataclass(slots=True)
class Worker:
    """A compute node that polls, and handles each request by its behaviour."""

    node: ComputeNode
    relay: RelayConnection
    behave: Behaviour
    jobs: list[Job] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    """Ids of requests that it learned were taken back."""
    faults: list[Exception] = field(default_factory=list)
    """What its behaviour stumbled over; refusals of the relay are part of life."""
    _nodes: "Nodes | None" = None
    _task: "asyncio.Task[None] | None" = None

    @property
    def fingerprint(self) -> str:
        """As the page shows it."""
        return hashlib.sha256(self.node.identity.public.encode()).hexdigest()

    async def work(self) -> None:
        """Register, poll and behave, also over restarts of the relay, until cancelled."""
        while True:
            try:
                if (work := await self.node.poll()) is not None:
                    await self._do(work)
            except RelayError as error:
                if error.status != 404:
                    await asyncio.sleep(0.2)
                with contextlib.suppress(RelayError, aiohttp.ClientError):
                    await self.node.register()
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.2)

    async def _do(self, work: Json) -> None:
        sealed = Sealed(work["chat_history"], work["cipherkey"], work["iv"])
        inner = await asyncio.to_thread(self.node.identity.open, sealed)
        envelope.check(inner, work["request_id"], work["client_public_key"])
        job = Job(self, work, inner)
        self.jobs.append(job)
        try:
            await self.behave(job)
        except (RelayError, aiohttp.ClientError):
            pass
        except Exception as error:  # noqa: BLE001 (told at the end, see Nodes.clear)
            self.faults.append(error)

    def leave(self) -> None:
        """Stop and unregister, as a closed node does."""
        self.die()
        assert self._nodes is not None
        self._nodes.run(self.node.unregister())

    def die(self) -> None:
        """Stop without a word, as a node does whose power fails."""
        assert self._nodes is not None
        assert self._task is not None
        self._nodes.run(_cancel(self._task))


class Nodes:
    """A thread with an event loop in which nodes work."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._session = self.run(_open_session())
        self._workers: list[Worker] = []

    def run(self, coroutine: Coroutine[None, None, T], seconds: float = 30) -> T:
        """Run a coroutine among the nodes and return what it returns."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(seconds)

    def add(
        self,
        url: str,
        behave: Behaviour,
        models: tuple[str, ...] = (MODEL,),
        able: Json | None = None,
    ) -> Worker:
        """Register a node; returns when the relay knows it. `able` overrides capabilities."""
        relay = RelayConnection(self._session, url)
        node = _Able(relay, Identity.create(), models, able=able or {})
        worker = Worker(node, relay, behave, _nodes=self)
        self.run(node.register())
        worker._task = self.run(_start(worker))
        self._workers.append(worker)
        return worker

    def clear(self) -> None:
        """Stop all nodes, unregister those that are registered, and raise their errors."""
        faults = [fault for worker in self._workers for fault in worker.faults]
        for worker in self._workers:
            with contextlib.suppress(RelayError, aiohttp.ClientError, TimeoutError):
                worker.leave()
        self._workers.clear()
        assert faults == []

    def close(self) -> None:
        """End the thread."""
        self.clear()
        self.run(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@dataclass
class _Able(ComputeNode):
    able: Json = field(default_factory=dict)

    @property
    def capabilities(self) -> Json:
        return {**super().capabilities, **self.able}


@contextmanager
def thread_of_nodes() -> Iterator[Nodes]:
    """Nodes for a whole run."""
    nodes = Nodes()
    try:
        yield nodes
    finally:
        nodes.close()


def _header(request_id: str, client: str) -> Json:
    return {
        "protocol": PROTOCOL,
        "version": VERSION,
        "request_id": request_id,
        "client_public_key": client,
    }


async def _open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))


async def _start(worker: Worker) -> "asyncio.Task[None]":
    return asyncio.create_task(worker.work())


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
