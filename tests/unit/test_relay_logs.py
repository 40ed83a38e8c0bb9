"""The relay's log: one JSON object a line, and one write for all lines of a turn of the loop."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tokenplace_relay import logs


class Stream(io.BytesIO):
    """A stream that counts the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def flush(self) -> None:
        self.writes += 1

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


class Closed(Stream):
    """A stream that nobody reads any more."""

    def flush(self) -> None:
        super().flush()
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """Give libraries back the handlers they had."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_names_time_level_component_event_and_fields() -> None:
    stream = Stream()
    logs.configure("INFO", stream)
    logs.get("relay.test").warning("something", count=3, name="x")
    (line,) = stream.lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "warning", "logger": "relay.test", "message": "something", "count": 3, "name": "x",
    }  # fmt: skip


def test_lower_levels_are_left_out() -> None:
    stream = Stream()
    logs.configure("WARNING", stream)
    log = logs.get("relay.test")
    log.debug("a")
    log.info("b")
    log.error("c")
    assert [line["message"] for line in stream.lines()] == ["c"]


async def test_lines_of_one_turn_leave_in_one_write() -> None:
    stream = Stream()
    logs.configure("INFO", stream)
    log = logs.get("relay.test")
    for number in range(5):
        log.info("said", number=number)
    assert stream.writes == 0
    await asyncio.sleep(0)
    assert stream.writes == 1
    assert [line["number"] for line in stream.lines()] == [0, 1, 2, 3, 4]


async def test_a_thread_beside_the_loop_writes_at_once() -> None:
    stream = Stream()
    logs.configure("INFO", stream)
    await asyncio.to_thread(logs.get("relay.test").info, "from a thread")
    assert [line["message"] for line in stream.lines()] == ["from a thread"]


async def test_what_waits_at_the_end_can_be_written_at_once() -> None:
    stream = Stream()
    logs.configure("INFO", stream)
    logs.get("relay.test").info("last words")
    logs.flush()
    assert [line["message"] for line in stream.lines()] == ["last words"]


async def test_the_request_is_named_in_its_own_task_only() -> None:
    stream = Stream()
    logs.configure("INFO", stream)
    log = logs.get("relay.test")

    async def serve(request_id: str) -> None:
        logs.REQUEST_ID.set(request_id)
        await asyncio.sleep(0)
        log.info("served")

    await asyncio.gather(serve("one"), serve("two"))
    log.info("between")
    logs.flush()
    assert [line.get("request_id") for line in stream.lines()] == ["one", "two", None]


def test_a_closed_stream_harms_nobody() -> None:
    stream = Closed()
    logs.configure("INFO", stream)
    logs.get("relay.test").info("to nobody")
    assert stream.writes == 1


def test_libraries_are_heard_without_their_words() -> None:
    stream = Stream()
    logs.configure("INFO", stream)
    try:
        int("Hush7")
    except ValueError:
        logging.getLogger("some.library").exception("it said %s", "Hush7")
    (line,) = stream.lines()
    assert (line["logger"], line["level"], line["error"]) == ("some.library", "error", "ValueError")
    assert b"Hush7" not in stream.getvalue()


@pytest.mark.parametrize(
    ("number", "name"), [(1, "debug"), (25, "info"), (35, "warning"), (70, "critical")]
)
def test_levels_of_a_library_of_its_own_are_heard_too(number: int, name: str) -> None:
    stream = Stream()
    logs.configure("DEBUG", stream)
    logging.getLogger().setLevel(1)
    logging.getLogger("some.library").log(number, "said")
    (line,) = stream.lines()
    assert line["level"] == name
