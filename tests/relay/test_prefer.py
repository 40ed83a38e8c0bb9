"""`Prefer: wait=N` (RFC 7240) on retrieve holds a call until there is progress or an answer."""

import asyncio

import pytest

from tokenplace_harness.inside import Answer, Inside, Json, inside
from tokenplace_harness.wait import eventually
from tokenplace_relay.api.prefer import preference

LONG = {"Prefer": "wait=20"}


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], 0),
        (["wait=7"], 7),
        (["Wait = 7"], 7),
        (['wait="7"'], 7),
        (["respond-async, wait=7"], 7),
        (["respond-async", "wait=7"], 7),
        (["wait=7; foo=bar"], 7),
        (["wait=7, wait=9"], 7),
        (["wait=0"], 0),
        (["wait=999"], 25),
        (["wait=-1"], 0),
        (["wait=1.5"], 0),
        (["wait=x, wait=3"], 3),
        (["wait"], 0),
        (["waiting=7"], 0),
        (["wait=" + "9" * 50], 0),
    ],
)
def test_preference(values: list[str], seconds: int) -> None:
    assert preference(values, 25.9) == seconds


async def held(relay: Inside, **headers: str) -> asyncio.Task[Answer]:
    """A retrieve that is being held."""
    before = relay.state.held_retrieves
    task = asyncio.create_task(relay.retrieve(**(headers or LONG)))
    await eventually(lambda: relay.state.held_retrieves > before)
    return task


async def at_work(relay: Inside) -> None:
    await relay.register()
    await relay.submit()
    await relay.poll()


async def test_without_the_preference_it_returns_at_once() -> None:
    async with inside(real_time=True) as relay:
        await at_work(relay)
        for headers in ({}, {"Prefer": "respond-async"}, {"Prefer": "wait=0"}):
            answer = await relay.retrieve(**headers)
            assert answer.status == 202
            assert "Preference-Applied" not in answer.headers


async def test_answer_ends_the_hold() -> None:
    async with inside(real_time=True) as relay:
        await at_work(relay)
        task = await held(relay)
        await relay.respond()
        answer = await task
        assert answer.status == 200
        assert answer.body["ciphertext"] == "sealed"
        assert answer.headers["Preference-Applied"] == "wait=20"


async def test_progress_ends_the_hold() -> None:
    async with inside(real_time=True) as relay:
        await at_work(relay)
        task = await held(relay)
        await relay.progress()
        answer = await task
        assert answer.status == 202
        assert answer.body["encrypted_progress"]["ciphertext"] == "sealed"


async def test_cancel_ends_the_hold() -> None:
    async with inside(real_time=True) as relay:
        await at_work(relay)
        task = await held(relay)
        await relay.cancel(reason="requester_gave_up")
        answer = await task
        assert answer.status == 410
        assert answer.error["reason"] == "requester_gave_up"


async def test_loss_of_the_node_ends_the_hold() -> None:
    async with inside(real_time=True) as relay:
        await at_work(relay)
        task = await held(relay)
        await relay.unregister()
        assert (await task).error["reason"] == "server_unregistered"


async def test_deadline_ends_the_hold() -> None:
    async with inside(real_time=True, request_deadline=1.0) as relay:
        await at_work(relay)
        answer = await relay.retrieve(**LONG)
        assert answer.status == 410
        assert answer.error["status"] == "expired"


async def test_time_ends_the_hold() -> None:
    async with inside(real_time=True) as relay:
        await at_work(relay)
        answer = await relay.retrieve(Prefer="wait=1")
        assert answer.status == 202
        assert answer.headers["Preference-Applied"] == "wait=1"
        assert answer.body["request_ttl_seconds"] <= 479


async def test_setting_bounds_the_hold() -> None:
    async with inside(real_time=True, max_prefer_wait=1) as relay:
        await at_work(relay)
        answer = await relay.retrieve(Prefer="wait=3600")
        assert answer.headers["Preference-Applied"] == "wait=1"


async def test_drain_ends_the_hold_and_no_new_one_begins() -> None:
    async with inside(real_time=True) as relay:
        await at_work(relay)
        task = await held(relay)
        relay.context.refusing = True
        await relay.state.release()
        assert (await task).status == 202
        answer = await relay.retrieve(**LONG)
        assert answer.status == 202
        assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("bound", ["max_held_retrieves", "max_client_retrieves"])
async def test_holds_are_bounded_and_the_next_is_answered_at_once(bound: str) -> None:
    settings: Json = {bound: 2}
    async with inside(real_time=True, **settings) as relay:
        await at_work(relay)
        tasks = [await held(relay) for _ in range(2)]
        answer = await relay.retrieve(**LONG)
        assert answer.status == 202
        assert "Preference-Applied" not in answer.headers
        await relay.respond()
        assert [(await task).status for task in tasks] == [200, 200]
        assert relay.state.held_retrieves == 0


async def test_setting_turns_it_off() -> None:
    async with inside(real_time=True, max_prefer_wait=0) as relay:
        await at_work(relay)
        answer = await relay.retrieve(**LONG)
        assert answer.status == 202
        assert "Preference-Applied" not in answer.headers


async def test_what_is_over_is_never_held() -> None:
    async with inside(real_time=True) as relay:
        assert (await relay.retrieve(**LONG)).status == 404
        assert (await relay.retrieve(None, **LONG)).status == 404
        await at_work(relay)
        await relay.respond()
        answer = await relay.retrieve(**LONG)
        assert answer.status == 200


async def test_client_that_hangs_up_leaves_nothing_behind() -> None:
    async with inside(real_time=True) as relay:
        await at_work(relay)
        task = await held(relay)
        task.cancel()
        await eventually(lambda: not relay.state.held_retrieves)
        await relay.respond()
        assert (await relay.retrieve()).status == 200
