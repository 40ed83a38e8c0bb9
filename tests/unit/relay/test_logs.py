"""The relay's log: one JSON object a line, and one write for all lines of a few milliseconds."""

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import structlog

from tokenplace_harness.wait import eventually
from tokenplace_relay.telemetry import logs


class Pipe:
    """A real pipe, as a container has one, with a reader that reads when it is asked."""

    def __init__(self) -> None:
        self._source, self.target = os.pipe()
        os.set_blocking(self._source, False)

    def read(self) -> bytes:
        """What has come."""
        found = b""
        with suppress(BlockingIOError):
            while part := os.read(self._source, 65536):
                found += part
        return found

    def lines(self) -> list[dict[str, Any]]:
        """The same, line by line."""
        return [json.loads(line) for line in self.read().splitlines()]

    def leave(self) -> None:
        """Read no more."""
        os.close(self._source)

    def close(self) -> None:
        with suppress(OSError):
            self.leave()
        os.close(self.target)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    found = Pipe()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Give libraries and the operator back the logging they had."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_names_time_level_component_event_and_fields(pipe: Pipe) -> None:
    logs.configure("INFO", pipe.target)
    logs.get("relay.test").warning("something", count=3, name="x")
    (line,) = pipe.lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "warning", "logger": "relay.test", "message": "something", "count": 3, "name": "x",
    }  # fmt: skip


def test_lower_levels_are_left_out(pipe: Pipe) -> None:
    logs.configure("WARNING", pipe.target)
    log = logs.get("relay.test")
    log.debug("a")
    log.info("b")
    log.error("c")
    assert [line["message"] for line in pipe.lines()] == ["c"]


async def test_lines_of_a_moment_leave_in_one_write(pipe: Pipe) -> None:
    logs.configure("INFO", pipe.target)
    log = logs.get("relay.test")
    for number in range(5):
        log.info("said", number=number)
    assert pipe.read() == b""
    found: list[dict[str, Any]] = []

    def have_come() -> bool:
        nonlocal found
        found = pipe.lines()
        return bool(found)

    await eventually(have_come)
    assert [line["number"] for line in found] == [0, 1, 2, 3, 4]


def test_what_a_loop_that_has_ended_did_not_write_is_written_with_the_next_line(
    pipe: Pipe,
) -> None:
    logs.configure("INFO", pipe.target)
    log = logs.get("relay.test")

    async def end() -> None:
        log.info("at the end")

    asyncio.run(end())
    log.info("after it")
    assert [line["message"] for line in pipe.lines()] == ["at the end", "after it"]


async def test_a_thread_outside_the_loop_writes_immediately(pipe: Pipe) -> None:
    logs.configure("INFO", pipe.target)
    await asyncio.to_thread(logs.get("relay.test").info, "from a thread")
    assert [line["message"] for line in pipe.lines()] == ["from a thread"]


async def test_what_waits_at_the_end_can_be_written_at_once(pipe: Pipe) -> None:
    logs.configure("INFO", pipe.target)
    logs.get("relay.test").info("last words")
    logs.flush()
    assert [line["message"] for line in pipe.lines()] == ["last words"]


async def test_the_request_is_named_in_its_own_task_only(pipe: Pipe) -> None:
    logs.configure("INFO", pipe.target)
    log = logs.get("relay.test")

    async def serve(request_id: str) -> None:
        logs.REQUEST_ID.set(request_id)
        await asyncio.sleep(0)
        log.info("served")

    await asyncio.gather(serve("one"), serve("two"))
    log.info("between")
    logs.flush()
    assert [line.get("request_id") for line in pipe.lines()] == ["one", "two", None]


async def test_no_call_waits_for_a_slow_reader(pipe: Pipe) -> None:
    logs.configure("INFO", pipe.target)
    log, sent = logs.get("relay.test"), 0
    while 400 * sent < logs.MAX_BUFFERED_BYTES:
        log.info("said", number=sent, text="x" * 150)
        await asyncio.sleep(0)
        sent += 1
    content = b""

    def has_begun() -> bool:
        nonlocal content
        content += pipe.read()
        return bool(content)

    await eventually(has_begun)
    assert content.count(b"\n") < sent, "a pipe holds 64 KiB"

    def is_whole() -> bool:
        nonlocal content
        content += pipe.read()
        return content.count(b"\n") == sent

    await eventually(is_whole)
    assert [json.loads(line)["number"] for line in content.splitlines()] == list(range(sent))


async def test_what_is_too_much_is_dropped_and_counted(pipe: Pipe) -> None:
    logs.configure("INFO", pipe.target)
    log, sent, text = logs.get("relay.test"), 40, "x" * (logs.MAX_BUFFERED_BYTES // 20)
    for _ in range(sent):
        log.info("said", text=text)
        await asyncio.sleep(0)
    content = b""

    def is_told() -> bool:
        nonlocal content
        content += pipe.read()
        return b"lines dropped" in content

    await eventually(is_told)
    *said, told = [json.loads(line) for line in content.splitlines()]
    assert told["level"] == "warning"
    assert told["count"] == sent - len(said) > 0


def test_a_reader_that_is_gone_has_no_effect(pipe: Pipe) -> None:
    logs.configure("INFO", pipe.target)
    pipe.leave()
    logs.get("relay.test").info("to nobody")
    logs.flush()


def test_libraries_are_logged_without_their_texts(pipe: Pipe) -> None:
    logs.configure("INFO", pipe.target)
    try:
        int("Hush7")
    except ValueError:
        logging.getLogger("some.library").exception("it said %s", "Hush7")
    content = pipe.read()
    line = json.loads(content)
    assert (line["logger"], line["level"], line["error"]) == ("some.library", "error", "ValueError")
    assert b"Hush7" not in content


@pytest.mark.parametrize(
    ("number", "name"), [(1, "debug"), (25, "info"), (35, "warning"), (70, "critical")]
)
def test_levels_of_a_library_of_its_own_are_logged_too(pipe: Pipe, number: int, name: str) -> None:
    logs.configure("DEBUG", pipe.target)
    logging.getLogger().setLevel(1)
    logging.getLogger("some.library").log(number, "said")
    (line,) = pipe.lines()
    assert line["level"] == name
