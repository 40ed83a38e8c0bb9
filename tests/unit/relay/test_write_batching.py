"""Answers of one turn leave together, in order, and none is lost to a close."""

import asyncio
from collections.abc import Iterable

from tokenplace_relay.server.unsent import UnsentBytes
from tokenplace_relay.server.write_batching import Cork, Corked


class Wire(asyncio.Transport):
    """Notes what reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes | str] = []
        self.closing = False
        self.left = 100

    def writelines(self, list_of_data: Iterable[bytes]) -> None:  # type: ignore[override]
        self.seen.append(b"".join(list_of_data))

    def close(self) -> None:
        self.closing = True
        self.seen.append("close")

    def abort(self) -> None:
        self.closing = True
        self.seen.append("abort")

    def write_eof(self) -> None:
        self.seen.append("eof")

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.left


async def corked() -> tuple[Wire, Corked]:
    wire = Wire()
    return wire, Corked(wire, Cork(asyncio.get_running_loop(), UnsentBytes(1000, 10)))


async def test_what_is_written_in_one_turn_leaves_at_its_end_in_order() -> None:
    cork = Cork(asyncio.get_running_loop(), UnsentBytes(1000, 10))
    wires = [Wire(), Wire()]
    first, second = (Corked(wire, cork) for wire in wires)
    first.write(b"a")
    second.write(b"x")
    first.writelines([b"b", b"c"])
    assert [wire.seen for wire in wires] == [[], []]
    assert first.get_write_buffer_size() == 103
    await asyncio.sleep(0)
    assert [wire.seen for wire in wires] == [[b"abc"], [b"x"]]
    first.write(b"d")
    await asyncio.sleep(0)
    assert wires[0].seen == [b"abc", b"d"]


async def test_a_close_sends_first_and_an_abort_does_not() -> None:
    wire, transport = await corked()
    transport.write(b"last words")
    transport.close()
    assert wire.seen == [b"last words", "close"]
    wire, transport = await corked()
    transport.write(b"lost")
    transport.abort()
    await asyncio.sleep(0)
    assert wire.seen == ["abort"]


async def test_the_end_of_sending_comes_after_what_was_sent() -> None:
    wire, transport = await corked()
    transport.write(b"all")
    transport.write_eof()
    await asyncio.sleep(0)
    assert wire.seen == [b"all", "eof"]


async def test_nothing_is_written_to_a_connection_that_the_peer_closed() -> None:
    wire, transport = await corked()
    transport.write(b"too late")
    wire.closing = True
    await asyncio.sleep(0)
    assert wire.seen == []


async def test_what_the_system_did_not_take_counts_for_all_connections() -> None:
    unsent = UnsentBytes(1000, 10)
    cork = Cork(asyncio.get_running_loop(), unsent)
    wires = [Wire(), Wire()]
    first, second = (Corked(wire, cork) for wire in wires)
    first.write(b"x" * 500)
    second.write(b"y" * 500)
    await asyncio.sleep(0)
    assert (unsent.held, first.gone()) == (200, 400)
    wires[0].left = 30
    assert first.gone() == 470
    assert unsent.held == 130
    second.forget()
    assert unsent.held == 30


async def test_who_does_not_read_past_twice_the_bound_is_cut_off() -> None:
    cork = Cork(asyncio.get_running_loop(), UnsentBytes(1000, 10))
    wires = [Wire(), Wire()]
    for wire, left in zip(wires, (2100, 200), strict=True):
        wire.left = left
        Corked(wire, cork).write(b"x")
        await asyncio.sleep(0)
    assert [wire.closing for wire in wires] == [False, True]
