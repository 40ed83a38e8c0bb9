"""Rates and addresses as pure functions, with a clock that the test moves."""

import pytest

from tokenplace_harness.clock import FakeClock
from tokenplace_relay.rate_limit.client_address import TrustedProxies
from tokenplace_relay.rate_limit.limiter import Limiter
from tokenplace_relay.settings.bounds import PRIVATE
from tokenplace_relay.settings.rate import Rate, parse, rate_error
from tokenplace_relay.settings.setting import is_network


def rate(text: str) -> Rate:
    found = parse(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "amount", "seconds", "shown"),
    [
        ("60/hour", 60, 3600, "60 per 1 hour"),
        ("1000/day", 1000, 86400, "1000 per 1 day"),
        ("5 per 2 minutes", 5, 120, "5 per 2 minute"),
        ("10/30seconds", 10, 30, "10 per 30 second"),
        (" 7 Per Second ", 7, 1, "7 per 1 second"),
    ],
)
def test_form_of_a_rate(text: str, amount: int, seconds: int, shown: str) -> None:
    assert parse(text) == Rate(amount, seconds, shown)


def test_off_is_no_limit() -> None:
    assert parse("off") is None


@pytest.mark.parametrize("text", ["60", "hour", "-1/hour", "1/fortnight", "0/hour", "5/0 hours"])
def test_other_forms_are_refused_with_the_rule(text: str) -> None:
    assert "must" in str(rate_error(text))


def test_window_admits_its_limit_and_reports_the_exact_remaining_time() -> None:
    clock = FakeClock()
    limiter, charge = Limiter(clock, 10), [("a", rate("3/minute"))]
    assert [limiter.take(charge) for _ in range(3)] == [None] * 3
    refusal = limiter.take(charge)
    assert refusal is not None
    assert (refusal.rate.amount, refusal.retry_after) == (3, 60)
    clock.now += 59.5
    refusal = limiter.take(charge)
    assert refusal is not None
    assert refusal.retry_after == 1
    clock.now += 0.5
    assert limiter.take(charge) is None


def test_window_begins_with_the_first_event() -> None:
    clock = FakeClock()
    limiter, charge = Limiter(clock, 10), [("a", rate("1/minute"))]
    clock.now += 42
    limiter.take(charge)
    clock.now += 59
    assert limiter.take(charge) is not None
    clock.now += 1
    assert limiter.take(charge) is None


def test_all_buckets_are_charged_or_none() -> None:
    limiter = Limiter(FakeClock(), 10)
    narrow, wide = ("a", rate("1/hour")), ("b", rate("2/hour"))
    assert limiter.take([narrow, wide]) is None
    for _ in range(5):
        refusal = limiter.take([narrow, wide])
        assert refusal is not None
        assert refusal.rate.amount == 1
    assert limiter.take([wide]) is None, "the refused ones did not count here"
    assert limiter.take([wide]) is not None


def test_what_is_given_back_was_not_counted() -> None:
    limiter, charge = Limiter(FakeClock(), 10), [("a", rate("1/hour"))]
    for _ in range(5):
        assert limiter.take(charge) is None
        limiter.give_back(charge)
    limiter.give_back(charge)
    assert limiter.take(charge) is None
    assert limiter.take(charge) is not None


def test_two_rates_of_one_bucket_are_counted_apart() -> None:
    clock = FakeClock()
    limiter = Limiter(clock, 10)
    charges = [("a", rate("2/minute")), ("a", rate("3/day"))]
    assert [limiter.take(charges) for _ in range(2)] == [None, None]
    clock.now += 60
    assert limiter.take(charges) is None
    clock.now += 60
    refusal = limiter.take(charges)
    assert refusal is not None
    assert refusal.rate.seconds == 86400
    assert refusal.retry_after == 86400 - 120


def test_buckets_are_bounded_and_the_oldest_goes() -> None:
    limiter, once = Limiter(FakeClock(), 16), rate("1/hour")
    for number in range(1000):
        assert limiter.take([(f"address {number}", once)]) is None
    assert len(limiter) == 16
    assert limiter.take([("address 999", once)]) is not None
    assert limiter.take([("address 0", once)]) is None


def test_windows_that_ended_are_evicted() -> None:
    clock = FakeClock()
    limiter = Limiter(clock, 100)
    for number in range(10):
        limiter.take([(str(number), rate("1/minute"))])
    limiter.take([("long", rate("1/day"))])
    clock.now += 60
    limiter.evict()
    assert len(limiter) == 1


def test_windows_that_are_over_make_room_before_live_ones() -> None:
    """Windows of an hour come after those of a day, and all of them have ended."""
    clock = FakeClock()
    limiter, hour, day = Limiter(clock, 4), rate("9/hour"), rate("1/day")
    for name in ("a", "b"):
        assert limiter.take([(name, day), (name, hour)]) is None
    clock.now += 7200
    assert limiter.take([("c", hour), ("c", day)]) is None
    assert [limiter.take([(name, day)]) is None for name in ("a", "b", "c")] == [False] * 3
    clock.now += 3600
    limiter.evict()
    assert len(limiter) == 3


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.7", [], "198.51.100.7"),
        ("198.51.100.7", ["203.0.113.1"], "198.51.100.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1, 10.0.0.2"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1,10.0.0.2 , 192.168.1.1"], "203.0.113.1"),
        ("10.0.0.1", ["192.168.1.9, 10.0.0.2"], "192.168.1.9"),
        ("10.0.0.1", ["203.0.113.1, garbage"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1:4711"], "203.0.113.1"),
        ("10.0.0.1", ['"[2001:db8::7]:4711"'], "2001:db8::/64"),
        ("10.0.0.1", ["2001:db8:0:1:ffff::7"], "2001:db8:0:1::/64"),
        ("10.0.0.1", ["::ffff:203.0.113.1"], "203.0.113.1"),
        ("::ffff:10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("fe80::1%eth0", ["203.0.113.1"], "fe80::/64"),
        ("::1", ["203.0.113.1"], "203.0.113.1"),
        (None, ["203.0.113.1"], "unknown"),
        ("", [], "unknown"),
    ],
)
def test_client_behind_private_proxies(peer: str | None, forwarded: list[str], client: str) -> None:
    assert TrustedProxies(PRIVATE).client_address(peer, forwarded) == client


@pytest.mark.parametrize("networks", [(), ("none",)])
def test_no_proxy_is_trusted(networks: tuple[str, ...]) -> None:
    assert TrustedProxies(networks).client_address("127.0.0.1", ["203.0.113.1"]) == "127.0.0.1"


def test_only_named_proxies_are_trusted() -> None:
    proxies = TrustedProxies(("192.0.2.0/24",))
    assert proxies.client_address("192.0.2.9", ["203.0.113.1"]) == "203.0.113.1"
    assert proxies.client_address("10.0.0.1", ["203.0.113.1"]) == "10.0.0.1"


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "ingress", ""])
def test_network_that_is_none_is_refused(text: str) -> None:
    assert is_network(text) == "must be networks such as 10.0.0.0/8, or none"
