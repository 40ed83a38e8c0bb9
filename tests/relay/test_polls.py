"""Held calls that end together end a few at a time, so that others are answered in between."""

import asyncio
from collections import Counter

import pytest

from tokenplace_relay.state.waiters import AT_A_TIME, PollWaiters

HELD = 500


class Turns:
    """Counts the turns of the event loop."""

    def __init__(self) -> None:
        self.number = 0
        self._loop = asyncio.get_running_loop()
        self._next()

    def _next(self) -> None:
        self.number += 1
        self._handle = self._loop.call_soon(self._next)

    def stop(self) -> None:
        self._handle.cancel()


async def ended_by_turn(
    polls: PollWaiters, seconds: float, *, release: bool
) -> list[tuple[bool, int]]:
    """How each of many held calls ended, and in which turn."""
    turns, ended = Turns(), []

    async def hold(number: int) -> None:
        was_woken = await polls.wait(f"node-{number % 10}", seconds)
        ended.append((was_woken, turns.number))

    tasks = [asyncio.create_task(hold(number)) for number in range(HELD)]
    await asyncio.sleep(0)
    assert polls.held == HELD
    if release:
        polls.release()
    await asyncio.gather(*tasks)
    turns.stop()
    assert polls.held == 0
    return ended


async def test_calls_whose_time_is_over_in_one_instant_end_a_few_in_a_turn() -> None:
    ended = await ended_by_turn(PollWaiters(), 0.01, release=False)
    assert {was_woken for was_woken, _ in ended} == {False}
    assert max(Counter(turn for _, turn in ended).values()) <= AT_A_TIME


async def test_a_release_lets_a_few_go_in_a_turn() -> None:
    ended = await ended_by_turn(PollWaiters(), 60, release=True)
    assert {was_woken for was_woken, _ in ended} == {True}
    assert max(Counter(turn for _, turn in ended).values()) <= AT_A_TIME


async def test_work_comes_immediately_to_a_call_that_is_about_to_end() -> None:
    polls = PollWaiters()
    first = asyncio.create_task(polls.wait("node", 0))
    others = [asyncio.create_task(polls.wait("other", 60)) for _ in range(AT_A_TIME)]
    await asyncio.sleep(0)
    polls.wake_one("node")
    assert await first is True
    polls.release()
    assert await asyncio.gather(*others) == [True] * AT_A_TIME


async def test_what_woke_a_call_that_left_wakes_the_next_one() -> None:
    polls = PollWaiters()
    first, second = (asyncio.create_task(polls.wait("node", 60)) for _ in range(2))
    await asyncio.sleep(0)
    polls.wake_one("node")
    first.cancel()
    assert await second is True
    with pytest.raises(asyncio.CancelledError):
        await first
    assert polls.held == 0
