"""`::` is every address of both families, and a peer is the same over either."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tokenplace_harness.process import RelayProcess, relay_process
from tokenplace_relay.server.listen import listen_everywhere

LOCAL = {"IPv4": "127.0.0.1", "IPv6": "[::1]"}


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with relay_process("--host", "::", "--public-rate", "2/hour") as process:
        yield process


def ask(relay: RelayProcess, family: str, path: str, client: str = "") -> int:
    """The status of a response; client: the address in X-Forwarded-For."""
    url = f"http://{LOCAL[family]}:{relay.url.rpartition(':')[2]}{path}"
    headers = {"X-Forwarded-For": client} if client else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as got:
            return int(got.status)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code


@needs_ipv6
@pytest.mark.parametrize("family", LOCAL)
def test_both_families_are_served(relay: RelayProcess, family: str) -> None:
    assert ask(relay, family, "/livez") == 200


@needs_ipv6
def test_a_proxy_is_trusted_over_either_family_and_its_client_is_one(relay: RelayProcess) -> None:
    models = "/api/v1/models"
    one, two = "203.0.113.1", "203.0.113.2"
    asked = [ask(relay, family, models, one) for family in ("IPv4", "IPv6", "IPv4", "IPv6")]
    assert asked == [200, 200, 429, 429]
    assert [ask(relay, family, models, two) for family in LOCAL] == [200, 200]


@needs_ipv6
def test_a_peer_of_its_own_name_is_counted_by_its_ipv4_address(relay: RelayProcess) -> None:
    models = "/api/v1/models"
    assert [ask(relay, "IPv4", models) for _ in range(2)] == [200, 200]
    assert ask(relay, "IPv4", models, "127.0.0.1") == 429
    assert ask(relay, "IPv4", models, "::ffff:127.0.0.1") == 429
    assert ask(relay, "IPv6", models) == 200


def test_without_ipv6_it_is_every_address_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen_everywhere(0) as listener:
        assert listener.family == socket.AF_INET
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=30):
            pass


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with listen_everywhere(0) as listener:
        port = listener.getsockname()[1]
        with (
            pytest.raises(AssertionError, match=f"cannot listen on :::{port}: Address already"),
            relay_process("--host", "::", "--port", str(port)),
        ):
            pass
