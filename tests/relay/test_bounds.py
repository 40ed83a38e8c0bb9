"""Past each bound a clear refusal, with Retry-After, and nothing that was accepted is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tokenplace_harness.inside import CLIENT, OTHER_CLIENT, RELAY, Answer, inside
from tokenplace_harness.wait import eventually
from tokenplace_relay.server.body import ReceiveBudget
from tokenplace_relay.server.response import ApiError
from tokenplace_relay.state.machine import StateMachine

MIB = 1024 * 1024


def is_refused(answer: Answer, status: int, code: str | int) -> None:
    assert answer.status == status
    assert answer.error["code"] == code
    if status in {429, 503}:
        assert int(answer.headers["Retry-After"]) > 0


async def test_nodes() -> None:
    async with inside(max_nodes=2) as relay:
        for number in range(2):
            await relay.register(f"node-{number}")
        is_refused(await relay.register("node-2"), 503, "too_many_nodes")
        assert (await relay.register("node-0")).status == 200, "renewal needs no room"
        await relay.unregister("node-0")
        assert (await relay.register("node-2")).status == 200


async def test_requests_of_a_client() -> None:
    async with inside(max_client_requests=2) as relay:
        await relay.register()
        for name in ("r1", "r2"):
            await relay.submit(name)
        is_refused(await relay.submit("r3"), 429, "too_many_requests")
        assert (await relay.submit("r1")).status == 200, "a repeat needs no room"
        assert (await relay.submit("r3", client=OTHER_CLIENT)).status == 200
        await relay.poll()
        await relay.respond("r1")
        is_refused(await relay.submit("r3"), 429, "too_many_requests")
        await relay.retrieve("r1")
        assert (await relay.submit("r3")).status == 200, "what was read needs no room"


async def test_queue_of_a_node() -> None:
    async with inside(max_queue_depth=2) as relay:
        await relay.register()
        await relay.register("other")
        for name in ("r1", "r2"):
            await relay.submit(name)
        is_refused(await relay.submit("r3"), 503, "queue_full")
        assert (await relay.submit("r3", "other")).status == 200
        assert (await relay.call("GET", f"{RELAY}/servers/next")).body["server_public_key"] == (
            "other"
        )
        assert [(await relay.poll()).body["request_id"] for _ in range(2)] == ["r1", "r2"]


async def test_requests_in_all() -> None:
    async with inside(max_requests=3) as relay:
        await relay.register()
        for number in range(3):
            await relay.submit(client=f"client-{number}")
        is_refused(await relay.submit(client="client-3"), 503, "relay_full")
        await relay.cancel(client="client-0")
        assert (await relay.submit(client="client-3")).status == 200
        names = [(await relay.poll()).body["client_public_key"] for _ in range(3)]
        assert names == ["client-1", "client-2", "client-3"]


async def test_bytes_of_requests() -> None:
    async with inside(max_request_bytes=3 * MIB) as relay:
        await relay.register()
        big = "x" * (2 * MIB)
        assert (await relay.submit("r1", ciphertext=big)).status == 200
        other = {"client": OTHER_CLIENT}
        is_refused(await relay.submit("r2", ciphertext=big, **other), 503, "relay_full")
        assert (await relay.submit("r3", **other)).status == 200, "a small one still fits"
        assert (await relay.poll()).body["ciphertext"] == big
        await relay.respond("r1")
        await relay.retrieve()
        assert (await relay.submit("r4", ciphertext=big)).status == 200


async def test_a_client_has_a_share_of_the_bytes_and_a_single_request_of_any_size() -> None:
    async with inside(max_request_bytes=4 * MIB) as relay:
        await relay.register()
        assert (await relay.submit("r1", ciphertext="x" * (2 * MIB))).status == 200
        is_refused(await relay.submit("r2"), 429, "too_many_requests")
        assert (await relay.submit("r3", client=OTHER_CLIENT)).status == 200
        await relay.poll()
        await relay.respond("r1", ciphertext="x" * (MIB // 2))
        assert (await relay.submit("r2")).status == 200
        is_refused(await relay.submit("r4", ciphertext="x" * (MIB // 2)), 429, "too_many_requests")


async def test_bytes_of_answers_close_the_door_early() -> None:
    """Half of the room is for answers to what was accepted before."""
    async with inside(max_answer_bytes=4 * MIB) as relay:
        await relay.register()
        big = "x" * (3 * MIB // 2)
        for name in ("r1", "r2", "r3"):
            await relay.submit(name)
            await relay.poll()
        for name in ("r1", "r2"):
            assert (await relay.respond(name, ciphertext=big)).status == 200
        is_refused(await relay.submit("r4"), 503, "relay_full")
        is_refused(await relay.respond("r3", ciphertext=big), 503, "relay_full")
        assert (await relay.respond("r3")).status == 200, "the same answer, smaller"
        for name in ("r1", "r2", "r3"):
            assert (await relay.retrieve(name)).status == 200
        assert (await relay.submit("r4")).status == 200


async def test_replays_are_let_go_for_newer_ones() -> None:
    async with inside(max_replays=2) as relay:
        await relay.register()
        for name in ("r1", "r2", "r3"):
            await relay.submit(name)
            await relay.poll()
            await relay.respond(name)
            assert (await relay.retrieve(name)).status == 200
        assert [(await relay.retrieve(f"r{n}")).status for n in (1, 2, 3)] == [404, 200, 200]
        is_refused(await relay.respond("r1"), 410, "completed")
        is_refused(await relay.submit("r1"), 410, "completed")


async def test_bytes_of_replays() -> None:
    """What was read is let go for what is read after it, the oldest first."""
    async with inside(max_replay_bytes=5000) as relay:
        await relay.register()
        for name in ("r1", "r2"):
            await relay.submit(name)
            await relay.poll()
            await relay.respond(name, ciphertext="x" * 3000)
            assert (await relay.retrieve(name)).status == 200
        assert [(await relay.retrieve(name)).status for name in ("r1", "r2")] == [404, 200]
        assert (await relay.state.totals()).replay_bytes <= 5000


async def test_outcomes_are_let_go_for_newer_ones() -> None:
    async with inside(max_outcomes=3) as relay:
        await relay.register()
        for number in range(6):
            await relay.submit(f"r{number}")
            await relay.poll()
            await relay.cancel(f"r{number}")
        seen = [(await relay.retrieve(f"r{number}")).status for number in range(6)]
        assert seen == [404, 404, 404, 410, 410, 410]
        assert (await relay.counts())["tombstones"] == 3


async def test_nothing_stays_of_clients_that_never_come_back() -> None:
    async with inside(public_rate="off") as relay:
        await relay.register()
        for number in range(60):
            await relay.submit(client=f"client-{number}")
            if number % 3:
                await relay.poll()
            if number % 3 == 2:
                await relay.respond(client=f"client-{number}")
        for _ in range(20):
            await relay.advance(60)
        seen, totals = await relay.state.inspect(), await relay.state.totals()
        assert not seen.requests
        assert not seen.pending_by_client
        assert not seen.nodes
        assert (totals.request_bytes, totals.answer_bytes, totals.progress_bytes) == (0, 0, 0)
        assert seen.expiring == 0


async def test_held_polls_of_a_node_and_in_all() -> None:
    async with inside(real_time=True, poll_wait=20.0, max_node_polls=2, max_held_polls=3) as relay:
        await relay.register()
        await relay.register("other")
        polls = [asyncio.create_task(relay.poll()) for _ in range(2)]
        await eventually(lambda: relay.state.held_polls == 2)
        is_refused(await relay.poll(), 503, "too_many_polls")
        polls.append(asyncio.create_task(relay.poll("other")))
        await eventually(lambda: relay.state.held_polls == 3)
        is_refused(await relay.poll("other"), 503, "too_many_polls")
        await relay.submit()
        await relay.submit("r2", "other")
        await eventually(lambda: relay.state.held_polls == 1)
        relay.context.refusing = True
        await relay.state.release()
        answers = [(await poll).body for poll in polls]
        assert sorted(body.get("request_id", "") for body in answers) == ["", "r1", "r2"]


async def test_bodies_being_received() -> None:
    """Large ones wait their turn; small ones are always let in."""
    async with inside(real_time=True, max_reading_bytes=2 * MIB) as relay:
        await relay.register()
        release = asyncio.Event()

        async def large() -> Answer:
            async def content() -> AsyncIterator[bytes]:
                yield b'{"pad": "' + b"x" * (3 * MIB // 2)
                await release.wait()
                yield b'"}'

            async with relay.http.post(
                f"{relay.url}{RELAY}/requests",
                data=content(),
                headers={"Content-Type": "application/json"},
            ) as response:
                return Answer(response.status, await response.json(), response.headers)

        first = asyncio.create_task(large())
        await eventually(lambda: relay.context.reading.held > MIB)
        is_refused(await large(), 503, "relay_full")
        assert (await relay.submit()).status == 200
        release.set()
        assert (await first).status == 400
        assert relay.context.reading.held == 0


@pytest.mark.parametrize("over", [0, 1])
async def test_lengths_of_ids_and_keys(over: int) -> None:
    async with inside(max_id_length=64, max_key_length=80) as relay:
        expected = 413 if over else 200
        assert (await relay.register("k" * (80 + over))).status == expected
        await relay.register()
        assert (await relay.submit("x" * (64 + over))).status == expected
        assert (await relay.submit(cancel_token="x" * (64 + over))).status == expected
        assert (await relay.submit("r2", client="c" * (80 + over))).status == expected


async def test_polls_that_began_together_do_not_end_together() -> None:
    """A thousand answers in one turn of the loop would delay all other callers."""
    async with inside(real_time=True, poll_wait=1.0) as relay:
        await relay.register()
        loop = asyncio.get_running_loop()

        async def timed() -> float:
            await relay.poll()
            return loop.time()

        ends = await asyncio.gather(*(timed() for _ in range(40)))
        assert max(ends) - min(ends) > 0.03
        assert (await relay.retrieve()).status == 404


async def test_held_call_of_a_removed_node_ends_at_once() -> None:
    async with inside(real_time=True, poll_wait=20.0) as relay:
        await relay.register()
        poll = asyncio.create_task(relay.poll())
        await eventually(lambda: relay.state.held_polls == 1)
        await relay.unregister()
        answer = await poll
        assert answer.error["message"] == "Server with the specified public key not found"


async def test_node_that_polls_is_alive_as_long_as_it_polls() -> None:
    async with inside(real_time=True, poll_wait=20.0, node_lease=1) as relay:
        await relay.register()
        poll = asyncio.create_task(relay.poll())
        await eventually(lambda: relay.state.held_polls == 1)
        await asyncio.sleep(1.2)
        await relay.state.sweep()
        assert (await relay.counts())["nodes"] == 1
        assert (await relay.submit()).status == 200
        assert (await poll).body["client_public_key"] == CLIENT
        assert (await relay.node()).polls == 0


async def test_housekeeping_outlives_a_run_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = 0

    def fail(_: StateMachine) -> None:
        nonlocal runs
        runs += 1
        raise RuntimeError

    monkeypatch.setattr(StateMachine, "sweep", fail)
    async with inside(housekeeping_interval=0.001):
        await eventually(lambda: runs > 2)


async def test_texts_weigh_what_they_take() -> None:
    """One wide character makes all of its text wide."""
    async with inside(max_request_bytes=3 * MIB) as relay:
        await relay.register()
        assert (await relay.submit("r1", ciphertext="x" * MIB)).status == 200
        assert (await relay.state.totals()).request_bytes < 1.1 * MIB
        wide = "x" * MIB + "\U0001f511"
        refused = await relay.submit("r2", client=OTHER_CLIENT, ciphertext=wide)
        is_refused(refused, 503, "relay_full")


def test_small_bodies_have_as_much_room_again_and_no_more() -> None:
    reading = ReceiveBudget(limit=100, small=10)
    reading.add(100, 100)
    with pytest.raises(ApiError):
        reading.add(11, 11)
    for _ in range(8):
        reading.add(10, 10)
    with pytest.raises(ApiError) as refused:
        reading.add(10, 10)
    assert (refused.value.status, refused.value.retry_after) == (503, 5)
