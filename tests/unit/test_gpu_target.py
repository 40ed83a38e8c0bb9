"""The addresses behind a host name: kept through failures, and for a while after DNS drops them."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenplace_operator.gpu_target import (
    GRACE_SECONDS,
    MAX_ADDRESSES,
    REFRESH_SECONDS,
    RETIRING_SECONDS,
    Resolver,
    system_lookup,
)
from tokenplace_operator.metrics import Metrics

A, B, C = "192.0.2.1", "192.0.2.2", "2001:db8::3"
HOST = "gpu.example.com"


class Dns:
    """Answers what the test says, and fails with what it says."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
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
            await self.resolver.resolve(HOST)
            self.now = min(end, self.now + REFRESH_SECONDS)
        found = await self.resolver.resolve(HOST)
        return found.addresses, found.retiring


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


async def test_a_failure_of_any_length_closes_nothing_and_is_told() -> None:
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
    assert (await dns.resolver.resolve(HOST, (A,))).addresses == (A, B)
    assert await dns.after(GRACE_SECONDS - REFRESH_SECONDS, B) == ((A, B), (A,))
    assert await dns.after(2 * REFRESH_SECONDS, B) == ((B,), ())


async def test_a_restart_while_dns_fails_keeps_what_worked() -> None:
    dns = Dns()
    dns.failure = OSError(-2, "Name or service not known")
    found = await dns.resolver.resolve(HOST, (A, C))
    assert (found.addresses, found.error) == ((A, C), "Name or service not known")


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
    monkeypatch.setattr("tokenplace_operator.gpu_target.TIMEOUT_SECONDS", 0.01)

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
    loop = asyncio.get_running_loop()

    async def getaddrinfo(host: str, _: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(2, 1, 6, "", (A, 0)), (10, 1, 6, "", (C, 0, 0, 0))]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    assert await system_lookup(HOST) == [A, C]
    assert asked == [f"{HOST}."]
