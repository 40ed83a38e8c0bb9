"""Responses of one turn are sent together and in order, and a close loses none."""

import asyncio
from collections.abc import Iterable

from tokenplace_relay.server.unsent import UnsentBytes
from tokenplace_relay.server.write_batching import BatchedTransport, WriteBatcher


class Wire(asyncio.Transport):
    """Records what is written to the socket."""

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


async def batched() -> tuple[Wire, BatchedTransport]:
    wire = Wire()
    return wire, BatchedTransport(
        wire, WriteBatcher(asyncio.get_running_loop(), UnsentBytes(1000, 10))
    )


async def test_writes_of_one_turn_are_sent_at_its_end_in_order() -> None:
    batcher = WriteBatcher(asyncio.get_running_loop(), UnsentBytes(1000, 10))
    wires = [Wire(), Wire()]
    first, second = (BatchedTransport(wire, batcher) for wire in wires)
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


async def test_close_flushes_and_abort_does_not() -> None:
    wire, transport = await batched()
    transport.write(b"last words")
    transport.close()
    assert wire.seen == [b"last words", "close"]
    wire, transport = await batched()
    transport.write(b"lost")
    transport.abort()
    await asyncio.sleep(0)
    assert wire.seen == ["abort"]


async def test_write_eof_flushes_first() -> None:
    wire, transport = await batched()
    transport.write(b"all")
    transport.write_eof()
    await asyncio.sleep(0)
    assert wire.seen == [b"all", "eof"]


async def test_nothing_is_sent_on_a_closing_connection() -> None:
    wire, transport = await batched()
    transport.write(b"too late")
    wire.closing = True
    await asyncio.sleep(0)
    assert wire.seen == []


async def test_unsent_bytes_are_summed_over_connections() -> None:
    unsent = UnsentBytes(1000, 10)
    batcher = WriteBatcher(asyncio.get_running_loop(), unsent)
    wires = [Wire(), Wire()]
    first, second = (BatchedTransport(wire, batcher) for wire in wires)
    first.write(b"x" * 500)
    second.write(b"y" * 500)
    await asyncio.sleep(0)
    assert (unsent.held, first.sent()) == (200, 400)
    wires[0].left = 30
    assert first.sent() == 470
    assert unsent.held == 130
    second.release()
    assert unsent.held == 30


async def test_slow_reader_is_aborted_past_twice_the_limit() -> None:
    batcher = WriteBatcher(asyncio.get_running_loop(), UnsentBytes(1000, 10))
    wires = [Wire(), Wire()]
    for wire, left in zip(wires, (2100, 200), strict=True):
        wire.left = left
        BatchedTransport(wire, batcher).write(b"x")
        await asyncio.sleep(0)
    assert [wire.closing for wire in wires] == [False, True]
