"""The state in this process's memory: an adapter over the synchronous, pure state machine.

Its methods are coroutines that finish without suspending, except while a call is held.
"""

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.capabilities import Capabilities
from tokenplace_relay.state.digests import Key, request_key
from tokenplace_relay.state.errors import Full
from tokenplace_relay.state.machine import StateMachine
from tokenplace_relay.state.results import (
    Answer,
    Cancellation,
    Choice,
    Control,
    Envelope,
    Health,
    Inspection,
    NodeEntry,
    Owed,
    Pending,
    Proof,
    Stage,
    Totals,
    Work,
)
from tokenplace_relay.state.waiters import PollWaiters, RetrieveWaiters

_LATE_SECONDS: Final = 0.1
"""A wait for an answer ends this long after the deadline, when the request has surely expired."""
_LIST_SECONDS: Final = 1.0
"""Every open page asks for the list of nodes once a second; all of them share one."""


class MemoryState:
    """All relay state in this process; it is lost when the process ends."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self._config = config
        self._polls = PollWaiters()
        self._retrieves = RetrieveWaiters()
        self._machine = StateMachine(
            config, clock, self._polls.wake_one, self._retrieves.wake_all_of
        )
        self._is_released = False
        self._list: tuple[NodeEntry, ...] = ()
        self._listed_keys: set[str] = set()
        self._listed_at = -_LIST_SECONDS

    # Compute nodes

    async def register(
        self, key: str, capabilities: Capabilities, proof: Proof, credential: bytes
    ) -> bool:
        """See State."""
        return self._machine.register(key, capabilities, proof, credential)

    async def unregister(self, key: str, credential: bytes) -> bool:
        """See State."""
        return self._machine.unregister(key, credential)

    async def expel(self, key: str) -> bool:
        """See State."""
        return self._machine.expel(key)

    async def next_work(
        self, key: str, capabilities: Capabilities | None, proof: Proof, hold: float
    ) -> Work | None:
        """See State."""
        machine, polls, config = self._machine, self._polls, self._config
        # Checks the proof, and notes the call, before anything is claimed.
        machine.touch(key, capabilities, proof)
        work = machine.claim(key)
        if work is not None:
            return work
        # Only a poll that would be held counts against the bounds; existing work is given at once.
        if polls.held >= config.max_held_polls or polls.count(key) >= config.max_node_polls:
            raise Full(503, "too_many_polls", "Too many held polls")
        ends = machine.now() + hold
        # Another poll of the node may have claimed the work first. Then this one waits again for
        # the rest of its time.
        while work is None and not self._is_released and (left := ends - machine.now()) > 0:
            node = machine.open_poll(key)
            try:
                await polls.wait(key, left)
            finally:
                # By record and not by key, because the node may have been removed while the poll
                # was held.
                machine.close_poll(node)
            # Raises UnknownNode for a node that was removed in the meantime: the 404 makes it
            # register.
            machine.touch(key)
            work = machine.claim(key)
        return work

    async def unclaim(self, work: Work) -> None:
        """See State."""
        self._machine.unclaim(work)

    async def control(
        self, key: str, request_id: str, credential: bytes, *, acknowledge: bool
    ) -> Control:
        """See State."""
        return self._machine.control(key, request_id, credential, acknowledge=acknowledge)

    async def owns(self, key: str, request_id: str, credential: bytes) -> bool:
        """See State."""
        return self._machine.owns(key, request_id, credential)

    async def progress(
        self,
        key: str,
        client: Key,
        request_id: str,
        *,
        credential: bytes,
        progress: Envelope,
        size: int,
    ) -> bool:
        """See State."""
        return self._machine.progress(
            key,
            client,
            request_id,
            credential=credential,
            progress=_read_only(progress),
            size=size,
        )

    async def answer(
        self, client: Key, request_id: str, envelope: Envelope, size: int, proof: Proof
    ) -> bool:
        """See State."""
        return self._machine.answer(client, request_id, _read_only(envelope), size, proof)

    # Clients

    async def select(self, model: str, tier: str) -> Choice:
        """See State."""
        return self._machine.select(model, tier)

    async def submit(
        self,
        client: Key,
        request_id: str,
        node: str,
        envelope: Envelope,
        *,
        size: int,
        cancel_token: bytes,
        reader: bytes,
    ) -> float:
        """See State."""
        return self._machine.submit(
            client,
            request_id,
            node,
            _read_only(envelope),
            size=size,
            cancel_token=cancel_token,
            reader=reader,
        )

    async def cancel(
        self, client: Key, request_id: str, cancel_token: bytes, stage: Stage, reason: str
    ) -> Cancellation:
        """See State."""
        return self._machine.cancel(client, request_id, cancel_token, stage, reason)

    async def retrieve(
        self, client: Key, request_id: str, reader: bytes, *, hold: float, room: int | None
    ) -> Answer | Pending:
        """See State."""
        machine = self._machine
        result = machine.retrieve(client, request_id, reader, room)
        # Beyond the bounds a call is answered at once. Its answer has no Preference-Applied, and so
        # the client keeps its own pace.
        may_hold = hold > 0 and self._may_hold(request_key(client, request_id))
        ends = machine.now() + hold if may_hold else 0.0
        while may_hold and isinstance(result, Pending) and result.progress is None:
            # The deadline ends the wait too, and the next retrieve then expires the request.
            left = min(ends - machine.now(), result.remaining)
            if left <= 0 or self._is_released:
                break
            await self._retrieves.wait(request_key(client, request_id), left)
            result = machine.retrieve(client, request_id, reader, room)
        if isinstance(result, Pending):
            return Pending(result.remaining, result.progress, may_hold) if may_hold else result
        return Answer(result, may_hold)

    async def retrieve_any(self, client: Key, *, room: int | None) -> Envelope:
        """See State."""
        return self._machine.retrieve_any(client, room)

    async def await_answer(self, client: Key, request_id: str, reader: bytes) -> Envelope:
        """See State."""
        while isinstance(result := self._machine.retrieve(client, request_id, reader), Pending):
            key = request_key(client, request_id)
            await self._retrieves.wait(key, result.remaining + _LATE_SECONDS)
        return result

    async def acknowledge(self, client: Key, request_id: str, reader: bytes) -> None:
        """See State."""
        self._machine.acknowledge(client, request_id, reader)

    # Snapshots

    async def node_list(self) -> tuple[NodeEntry, ...]:
        """See State."""
        now, nodes = self._machine.now(), self._machine.nodes
        # Load and age may be a second old, but a new or removed node is shown at once.
        if now - self._listed_at >= _LIST_SECONDS or self._listed_keys != nodes.keys():
            self._list = self._machine.node_list()
            self._listed_keys, self._listed_at = set(nodes), now
        return self._list

    async def totals(self) -> Totals:
        """See State."""
        return self._machine.totals()

    async def inspect(self) -> Inspection:
        """See State."""
        return replace(self._machine.inspect(), text=self._machine.text())

    @property
    def held_polls(self) -> int:
        """See State."""
        return self._polls.held

    @property
    def held_retrieves(self) -> int:
        """See State."""
        return self._retrieves.held

    # Lifecycle

    async def open(self) -> None:
        """See State; memory needs no connection."""

    async def close(self) -> None:
        """See State; memory needs no connection."""

    async def sweep(self) -> None:
        """See State."""
        self._machine.sweep()

    async def release(self) -> None:
        """See State."""
        # Set before calls are woken: each of them checks it and is not held a second time.
        self._is_released = True
        self._polls.release()
        self._retrieves.release()

    async def owed(self) -> Owed:
        """See State."""
        return Owed(self._machine.pending, self._polls.held + self._retrieves.held)

    async def health(self) -> Health:
        """See State; memory is always reachable."""
        return Health(is_reachable=True)

    def _may_hold(self, request: Key) -> bool:
        config, retrieves = self._config, self._retrieves
        return (
            not self._is_released
            and retrieves.held < config.max_held_retrieves
            and retrieves.count(request) < config.max_client_retrieves
        )


def _read_only(envelope: Envelope) -> Envelope:
    """A view that no reader can change; the caller hands over its dict and keeps no reference."""
    return MappingProxyType(envelope)
