"""Whether a connection stands within a head, however its bytes are cut."""

from dataclasses import dataclass

import pytest

from tokenplace_relay.server.head_tracker import Heads


@dataclass
class Body:
    """As aiohttp tells of it."""

    total_bytes: int = 0
    whole: bool = True

    def is_eof(self) -> bool:
        return self.whole


@dataclass
class Message:
    """As aiohttp tells of it."""

    chunked: bool = False


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n"
PLAIN = (Message(), Body())


def test_whole_requests() -> None:
    heads = Heads()
    assert not heads.step(GET, [PLAIN])
    assert not heads.step(POST + b"body" + GET, [(Message(), Body(4)), PLAIN])


@pytest.mark.parametrize("cut", range(1, len(GET)))
def test_head_in_two_parts(cut: int) -> None:
    heads = Heads()
    assert heads.step(GET[:cut], [])
    assert not heads.step(GET[cut:], [PLAIN])
    assert heads.step(b"G", [])


@pytest.mark.parametrize("before", [GET, POST + b"\r\n\r\n"])
def test_half_a_head_behind_a_request(before: bytes) -> None:
    body = Body(4 if before != GET else 0)
    assert Heads().step(before + b"GET / HTTP/1.1\r\n", [(Message(), body)])


def test_half_a_head_behind_a_body_in_parts() -> None:
    heads, body = Heads(), Body(1, whole=False)
    assert not heads.step(POST + b"b", [(Message(), body)])
    body.total_bytes = 2
    assert not heads.step(b"o", [])
    body.total_bytes, body.whole = 4, True
    assert heads.step(b"dyG", [])


def test_body_in_parts_to_its_end() -> None:
    heads, body = Heads(), Body(0, whole=False)
    assert not heads.step(POST, [(Message(), body)])
    body.total_bytes, body.whole = 4, True
    assert not heads.step(b"body", [])


@pytest.mark.parametrize(("last", "is_within"), [(b"0\r\n\r\n", False), (b"0\r\n\r\nG", True)])
def test_behind_a_body_in_chunks(last: bytes, is_within: bool) -> None:
    heads, body = Heads(), Body(4, whole=False)
    assert not heads.step(POST + b"4\r\nbody\r\n", [(Message(chunked=True), body)])
    body.whole = True
    assert heads.step(last, []) is is_within


def test_empty_lines_are_no_head() -> None:
    heads = Heads()
    assert not heads.step(POST + b"body\r\n", [(Message(), Body(4))])
    assert not heads.step(b"\r\n", [])
