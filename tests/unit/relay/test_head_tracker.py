"""The tracker knows whether a head is open, however the bytes are cut."""

from dataclasses import dataclass

import pytest

from tokenplace_relay.server.head_tracker import HeadTracker


@dataclass
class Body:
    """Stands for aiohttp's StreamReader."""

    total_bytes: int = 0
    is_complete: bool = True

    def is_eof(self) -> bool:
        return self.is_complete


@dataclass
class Message:
    """Stands for aiohttp's RawRequestMessage."""

    chunked: bool = False


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n"
PLAIN = (Message(), Body())


def test_complete_requests() -> None:
    tracker = HeadTracker()
    assert not tracker.feed(GET, [PLAIN])
    assert not tracker.feed(POST + b"body" + GET, [(Message(), Body(4)), PLAIN])


@pytest.mark.parametrize("cut", range(1, len(GET)))
def test_head_in_two_parts(cut: int) -> None:
    tracker = HeadTracker()
    assert tracker.feed(GET[:cut], [])
    assert not tracker.feed(GET[cut:], [PLAIN])
    assert tracker.feed(b"G", [])


@pytest.mark.parametrize("before", [GET, POST + b"\r\n\r\n"])
def test_incomplete_head_after_a_request(before: bytes) -> None:
    body = Body(4 if before != GET else 0)
    assert HeadTracker().feed(before + b"GET / HTTP/1.1\r\n", [(Message(), body)])


def test_incomplete_head_after_a_body_in_parts() -> None:
    tracker, body = HeadTracker(), Body(1, is_complete=False)
    assert not tracker.feed(POST + b"b", [(Message(), body)])
    body.total_bytes = 2
    assert not tracker.feed(b"o", [])
    body.total_bytes, body.is_complete = 4, True
    assert tracker.feed(b"dyG", [])


def test_body_in_parts() -> None:
    tracker, body = HeadTracker(), Body(0, is_complete=False)
    assert not tracker.feed(POST, [(Message(), body)])
    body.total_bytes, body.is_complete = 4, True
    assert not tracker.feed(b"body", [])


@pytest.mark.parametrize(("last", "is_in_head"), [(b"0\r\n\r\n", False), (b"0\r\n\r\nG", True)])
def test_after_a_chunked_body(last: bytes, is_in_head: bool) -> None:
    tracker, body = HeadTracker(), Body(4, is_complete=False)
    assert not tracker.feed(POST + b"4\r\nbody\r\n", [(Message(chunked=True), body)])
    body.is_complete = True
    assert tracker.feed(last, []) is is_in_head


def test_empty_lines_do_not_begin_a_head() -> None:
    tracker = HeadTracker()
    assert not tracker.feed(POST + b"body\r\n", [(Message(), Body(4))])
    assert not tracker.feed(b"\r\n", [])
