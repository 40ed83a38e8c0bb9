"""The seam of the state: its results are frozen, and no live object leaves it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import FrozenInstanceError, fields, is_dataclass
from enum import Enum
from types import MappingProxyType

import pytest

from tokenplace_harness.clock import FakeClock
from tokenplace_harness.inside import NODE, Inside, inside
from tokenplace_harness.wait import eventually
from tokenplace_relay.api import errors
from tokenplace_relay.facade import errors as facade_errors
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.capabilities import Capabilities
from tokenplace_relay.state.digests import digest
from tokenplace_relay.state.errors import (
    Finished,
    Full,
    NotActive,
    StateError,
    StateUnreachable,
    TooLarge,
    UnknownNode,
    UnknownRequest,
    WrongProof,
)
from tokenplace_relay.state.interface import State
from tokenplace_relay.state.memory import MemoryState
from tokenplace_relay.state.results import NO_PROOF, Health, Stage

SECRET = digest("secret")
ABLE = Capabilities(models=("m",))
PLAIN = (type(None), bool, int, float, str, bytes, Enum)


def state() -> State:
    return MemoryState(Config(poll_wait=0.0), FakeClock())


@pytest.fixture
async def relay() -> AsyncIterator[State]:
    """A state with a node that serves one request, which has reported progress."""
    made = state()
    await made.open()
    await made.register("node", ABLE, NO_PROOF, SECRET)
    await submit(made, "r1")
    await made.next_work("node", None, NO_PROOF, 0)
    await made.progress(
        "node", b"client", "r1", credential=SECRET, progress={"sequence": 1}, size=1
    )
    yield made
    await made.close()


async def submit(relay: State, request_id: str) -> float:
    envelope = {"ciphertext": "sealed"}
    return await relay.submit(
        b"client", request_id, "node", envelope, size=1, cancel_token=SECRET, reader=b""
    )


async def answered(relay: State) -> None:
    assert await relay.answer(b"client", "r1", {"ciphertext": "sealed"}, 1, NO_PROOF)


async def retrieved(relay: State) -> object:
    await answered(relay)
    return await relay.retrieve(b"client", "r1", b"", hold=0, room=None)


async def retrieved_any(relay: State) -> object:
    await answered(relay)
    return await relay.retrieve_any(b"client", room=None)


async def awaited(relay: State) -> object:
    await answered(relay)
    return await relay.await_answer(b"client", "r1", b"")


async def handed_out(relay: State) -> object:
    await submit(relay, "r2")
    return await relay.next_work("node", None, NO_PROOF, 0)


async def cancelled(relay: State) -> object:
    await submit(relay, "r2")
    return await relay.cancel(b"client", "r2", SECRET, Stage.CANCELLED, "cancelled")


CALLS: dict[str, Callable[[State], Awaitable[object]]] = {
    "register": lambda relay: relay.register("other", ABLE, NO_PROOF, SECRET),
    "unregister": lambda relay: relay.unregister("node", SECRET),
    "expel": lambda relay: relay.expel("node"),
    "next_work": handed_out,
    "control": lambda relay: relay.control("node", "r1", SECRET, acknowledge=False),
    "owns": lambda relay: relay.owns("node", "r1", SECRET),
    "select": lambda relay: relay.select("m", "8k-fast"),
    "submit": lambda relay: submit(relay, "r2"),
    "cancel": cancelled,
    "pending": lambda relay: relay.retrieve(b"client", "r1", b"", hold=0, room=None),
    "retrieve": retrieved,
    "retrieve_any": retrieved_any,
    "await_answer": awaited,
    "node_list": lambda relay: relay.node_list(),
    "totals": lambda relay: relay.totals(),
    "inspect": lambda relay: relay.inspect(),
    "owed": lambda relay: relay.owed(),
    "health": lambda relay: relay.health(),
}


def check_frozen(value: object) -> None:
    """Fail for anything that a handler could change."""
    if isinstance(value, PLAIN):
        return
    if isinstance(value, tuple):
        for part in value:
            check_frozen(part)
    elif isinstance(value, Mapping):
        assert isinstance(value, MappingProxyType), type(value)
        for key, part in value.items():
            check_frozen(key)
            check_frozen(part)
    else:
        assert is_dataclass(value)
        for spec in fields(value):
            check_frozen(getattr(value, spec.name))
            with pytest.raises((FrozenInstanceError, TypeError)):
                setattr(value, spec.name, None)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_results_are_frozen(relay: State, call: Callable[[State], Awaitable[object]]) -> None:
    result = await call(relay)
    assert result is not None
    check_frozen(result)


async def test_snapshots_do_not_follow_the_state(relay: State) -> None:
    before = [await relay.totals(), await relay.node_list(), await relay.inspect()]
    seen = repr(before)
    await answered(relay)
    await relay.expel("node")
    await relay.sweep()
    assert repr(before) == seen
    assert await relay.node_list() == ()


async def test_calls_of_memory_finish_without_suspending(relay: State) -> None:
    """A handler of the memory backend pays for no extra turn of the event loop."""
    coroutine = relay.select("m", "8k-fast")
    with pytest.raises(StopIteration):
        coroutine.send(None)


ROWS = [
    Full(503, "relay_full", "full"), Finished(Stage.EXPIRED, "provider_timeout"), UnknownNode(),
    UnknownRequest(), WrongProof(), TooLarge(), StateUnreachable(),
]  # fmt: skip


@pytest.mark.parametrize("error", ROWS, ids=lambda error: type(error).__name__)
def test_every_refusal_has_an_answer_in_every_call(error: StateError) -> None:
    for call in errors.Call:
        assert errors.answer(error, call).status >= 400


def test_all_refusals_are_in_the_table() -> None:
    listed = {type(row) for row in ROWS} | {NotActive}
    assert set(StateError.__subclasses__()) == listed
    assert errors.answer(NotActive(), errors.Call.PROGRESS).status == 410


def test_an_unreachable_backend_is_a_short_503() -> None:
    response = errors.answer(StateUnreachable()).response()
    assert (response.status, response.headers["Retry-After"]) == (503, "2")
    assert errors.answer(StateUnreachable()).body["error"]["code"] == "state_backend_unavailable"
    assert facade_errors.answer(StateUnreachable()).status == 503


async def gone(*_: object, **__: object) -> None:
    raise StateUnreachable


async def calls(relay: Inside) -> list[int]:
    """The statuses of every call that needs the state."""
    return [
        (await relay.register()).status, (await relay.submit()).status, (await relay.poll()).status,
        (await relay.control()).status, (await relay.progress()).status,
        (await relay.respond()).status, (await relay.retrieve()).status,
        (await relay.retrieve(None)).status, (await relay.cancel()).status,
        (await relay.unregister()).status,
        (await relay.call("GET", "/api/v1/relay/servers/next")).status,
        (await relay.call("GET", "/relay/diagnostics")).status,
        (await relay.call("GET", "/metrics")).status,
        (await relay.call("GET", "/healthz")).status,
    ]  # fmt: skip


async def test_peers_learn_that_the_backend_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside() as relay:
        await relay.register()
        for name in ("register", "submit", "next_work", "control", "owns", "progress", "answer",
                     "retrieve", "retrieve_any", "cancel", "unregister", "select", "node_list",
                     "totals"):  # fmt: skip
            monkeypatch.setattr(relay.state, name, gone)
        assert set(await calls(relay)) == {503}


async def test_readiness_is_red_while_the_backend_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside() as relay:
        monkeypatch.setattr(relay.state, "health", lambda: asyncio.sleep(0, Health(False)))
        answer = await relay.call("GET", "/healthz")
        assert (answer.status, answer.body["details"]) == (503, {"state": "unreachable"})


async def test_an_undo_runs_to_its_end_though_its_call_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The poller hangs up; its work goes back although the backend takes a while."""
    async with inside(real_time=True, poll_wait=20.0) as relay:
        await relay.register()
        unclaim, slow = relay.state.unclaim, asyncio.Event()

        async def wait_and_unclaim(work: object) -> None:
            await slow.wait()
            await unclaim(work)  # type: ignore[arg-type] # passed on as it came

        monkeypatch.setattr(relay.state, "unclaim", wait_and_unclaim)
        monkeypatch.setattr("tokenplace_relay.api.delivery._has_hung_up", lambda _request: True)
        poll = asyncio.create_task(relay.poll(NODE))
        await eventually(lambda: relay.state.held_polls == 1)
        await relay.submit()
        await eventually(lambda: len(relay.context.undoing) == 1)
        poll.cancel()
        slow.set()
        await eventually(lambda: not relay.context.undoing)
        assert (await relay.counts())["queued"] == 1
