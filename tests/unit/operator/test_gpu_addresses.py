"""The addresses behind a host name: kept through failures, and for a while after DNS drops them."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenplace_operator.metrics import Metrics
from tokenplace_operator.observe.facts import MAX_ADDRESSES
from tokenplace_operator.observe.gpu_addresses import (
    GRACE_SECONDS,
    REFRESH_SECONDS,
    RETIRING_SECONDS,
    Resolution,
    Resolver,
    system_lookup,
)

A, B, C = "192.0.2.1", "192.0.2.2", "2001:db8::3"
HOST = "gpu.example.com"


class Dns:
    """A resolver with the answers and failures of the test, and a relay with its status."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.status: tuple[str, ...] = ()
        self.failure: OSError | None = None
        self.asked = 0
        self.now = 1000.0
        self.metrics = Metrics()
        self.resolver = Resolver(lambda: self.now, self.metrics, self.lookup)

    def count(self, result: str) -> float:
        name = "tokenplace_operator_gpu_host_lookups_total"
        return self.metrics.registry.get_sample_value(name, {"result": result}) or 0.0

    async def lookup(self, host: str) -> list[str]:
        assert host == HOST
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return self.answers

    async def after(self, seconds: float, *answers: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Let time pass minute by minute with these answers, and look once more at its end."""
        self.answers = list(answers)
        end = self.now + seconds
        while self.now < end:
            await self.look()
            self.now = min(end, self.now + REFRESH_SECONDS)
        found = await self.look()
        return found.addresses, found.retiring

    async def look(self) -> Resolution:
        """As a reconcile does, whose status contains the addresses the next time."""
        found = await self.resolver.resolve(HOST, self.status)
        self.status = found.addresses
        return found


async def test_both_families_are_found_and_what_pods_cannot_reach_is_left_out() -> None:
    dns = Dns(A, C, "127.0.0.1", "::1", "169.254.1.1", "224.0.0.1", "0.0.0.0")
    assert (await dns.resolver.resolve(HOST)).addresses == (A, C)


async def test_dns_is_asked_once_a_minute() -> None:
    dns = Dns(A)
    await dns.after(REFRESH_SECONDS - 1, A)
    assert dns.asked == 1
    await dns.after(2, A)
    assert dns.asked == 2


async def test_an_address_that_goes_is_kept_for_its_grace_time_and_not_longer() -> None:
    dns = Dns(A)
    await dns.after(REFRESH_SECONDS, A)
    assert await dns.after(REFRESH_SECONDS, B) == ((A, B), ())
    assert await dns.after(RETIRING_SECONDS, B) == ((A, B), (A,))
    assert await dns.after(GRACE_SECONDS - RETIRING_SECONDS - 1, B) == ((A, B), (A,))
    assert await dns.after(REFRESH_SECONDS, B) == ((B,), ())


async def test_an_address_that_comes_back_stays() -> None:
    dns = Dns(A)
    await dns.after(REFRESH_SECONDS, A)
    assert await dns.after(RETIRING_SECONDS + REFRESH_SECONDS, B) == ((A, B), (A,))
    assert await dns.after(2 * GRACE_SECONDS, A, B) == ((A, B), ())


async def test_a_failure_of_any_length_closes_nothing_and_is_reported() -> None:
    dns = Dns(A)
    await dns.after(REFRESH_SECONDS, A)
    await dns.after(REFRESH_SECONDS, B)
    dns.failure = OSError(-3, "Temporary failure in name resolution")
    assert await dns.after(10 * GRACE_SECONDS) == ((A, B), (A,))
    assert (await dns.resolver.resolve(HOST)).error == "Temporary failure in name resolution"
    failed = dns.count("failed")
    assert failed == 10 * GRACE_SECONDS / REFRESH_SECONDS
    dns.failure = None
    assert await dns.after(REFRESH_SECONDS, B) == ((B,), ())
    assert (await dns.resolver.resolve(HOST)).error == ""
    assert dns.count("failed") == failed
    assert dns.count("answered") + failed == dns.asked


async def test_an_answer_without_any_usable_address_is_a_failure() -> None:
    dns = Dns(A)
    await dns.after(REFRESH_SECONDS, A)
    assert await dns.after(2 * GRACE_SECONDS, "127.0.0.1") == ((A,), ())
    assert "cannot reach" in (await dns.resolver.resolve(HOST)).error


async def test_what_an_earlier_process_knew_is_open_at_once_and_has_its_grace_time() -> None:
    dns = Dns(B)
    dns.status = (A,)
    assert (await dns.look()).addresses == (A, B)
    assert await dns.after(GRACE_SECONDS - REFRESH_SECONDS, B) == ((A, B), (A,))
    assert await dns.after(2 * REFRESH_SECONDS, B) == ((B,), ())


async def test_a_restart_while_dns_fails_keeps_what_worked() -> None:
    dns = Dns()
    dns.failure = OSError(-2, "Name or service not known")
    found = await dns.resolver.resolve(HOST, (A, C))
    assert (found.addresses, found.error) == ((A, C), "Name or service not known")


async def test_each_relay_keeps_its_addresses_whichever_asks_first() -> None:
    dns = Dns()
    dns.failure = OSError(-3, "Temporary failure in name resolution")
    new = await dns.resolver.resolve(HOST)
    old = await dns.resolver.resolve(HOST, (A,))
    assert (new.addresses, old.addresses) == ((), (A,))
    assert dns.asked == 1
    dns.failure, dns.answers, dns.status = None, [B], (A,)
    assert (await dns.after(REFRESH_SECONDS, B))[0] == (A, B)
    assert (await dns.resolver.resolve(HOST)).addresses == (B,)


async def test_dns_that_fails_after_its_first_answer_closes_nothing_of_an_earlier_process() -> None:
    dns = Dns(B)
    dns.status = (A,)
    await dns.look()
    dns.failure = OSError(-2, "Name or service not known")
    assert await dns.after(2 * GRACE_SECONDS) == ((A, B), (A,))


async def test_what_closed_does_not_come_back_with_a_status_that_is_late() -> None:
    dns = Dns(B)
    await dns.after(GRACE_SECONDS, B)
    assert (await dns.resolver.resolve(HOST, (A,))).addresses == (B,)


async def test_who_comes_while_dns_is_asked_waits_for_the_answer() -> None:
    answer = asyncio.Event()
    asked = []

    async def lookup(host: str) -> list[str]:
        asked.append(host)
        await answer.wait()
        return [A]

    resolver = Resolver(lambda: 0.0, Metrics(), lookup)
    first, second, third = (asyncio.create_task(resolver.resolve(HOST, (B,))) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert not second.done()
    answer.set()
    assert [(await one).addresses for one in (second, third)] == [(A, B), (A, B)]
    assert first.cancelled()
    assert asked == [HOST]


async def test_names_that_rotate_settle_down() -> None:
    """Else each minute would write the policy and the status."""
    dns = Dns(A)
    seen = set()
    for _ in range(30):
        for answer in (A, B, C):
            seen.add(await dns.after(REFRESH_SECONDS, answer))
    assert len(seen) <= 3
    assert await dns.after(0, A) == ((A, B, C), ())


async def test_a_dns_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenplace_operator.observe.gpu_addresses.TIMEOUT_SECONDS", 0.01)

    async def silence(_: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    found = await Resolver(lambda: 0.0, Metrics(), silence).resolve(HOST, (A,))
    assert (found.addresses, found.error) == ((A,), "no answer within 0.01 s")


@given(st.sets(st.ip_addresses(v=4).map(str), max_size=300), st.sets(st.just(A)))
async def test_the_number_of_addresses_is_bounded(many: set[str], named: set[str]) -> None:
    dns = Dns(*many)
    await dns.after(0, *many)
    dns.now += REFRESH_SECONDS
    addresses, _ = await dns.after(0, *many, *named)
    assert len(addresses) <= MAX_ADDRESSES
    assert list(addresses) == sorted(set(addresses))


async def test_the_system_is_asked_for_the_whole_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods get gpu.host as a CNAME, which knows no search domains."""
    asked = []

    def getaddrinfo(host: str, _: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(2, 1, 6, "", (A, 0)), (10, 1, 6, "", (C, 0, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert await system_lookup(HOST) == [A, C]
    assert asked == [f"{HOST}."]


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names that start with `dead` get no answer before the end of the test; who was asked."""
    asked: list[str] = []
    over = threading.Event()

    def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        if host.startswith("dead"):
            over.wait(30)
        return [(2, 1, 6, "", (A, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    over.set()


async def test_hosts_without_an_answer_leave_room_for_others(silence: list[str]) -> None:
    resolver = Resolver(lambda: 0.0, Metrics())
    dead = [asyncio.create_task(resolver.resolve(f"dead{n}.example.com")) for n in range(24)]
    await asyncio.sleep(0)
    found = await resolver.resolve("fine.example.com")
    assert (found.addresses, found.error) == ((A,), "")
    assert len(silence) == 25
    for one in dead:
        one.cancel()
    await asyncio.gather(*dead, return_exceptions=True)
