"""Which calls are counted, against which rates, and the error for a caller above them."""

import pytest

from tokenplace_harness.inside import CLIENT, NODE, RELAY, Answer, Inside, Json, inside

FREE = [
    "/", "/livez", "/healthz", "/metrics", "/relay/diagnostics", "/api/v1/meta", "/api/v1/version",
    "/api/v1/health", "/v1/health", f"{RELAY}/server-nodes", f"{RELAY}/servers/next",
    "/next_server", "/nothing",
]  # fmt: skip


def assert_rate_limited(answer: Answer, limit: str, seconds: int) -> None:
    assert answer.status == 429
    assert answer.error == {
        "message": f"Rate limit exceeded: {limit}. Try again in {seconds} seconds.",
        "type": "rate_limit_error",
        "code": "rate_limit_exceeded",
        "param": None,
    }
    assert answer.headers["Retry-After"] == str(seconds)
    assert answer.headers["X-Request-Id"]


async def submit_from(relay: Inside, number: int, **headers: str) -> Answer:
    body = {
        "client_public_key": CLIENT, "server_public_key": NODE, "ciphertext": "a", "cipherkey": "b",
        "iv": "c", "request_id": f"r{number}",
    }  # fmt: skip
    return await relay.post("requests", body, **headers)


async def test_requests_of_one_address() -> None:
    async with inside(public_rate="3/hour", public_quota="5/day") as relay:
        await relay.register()
        for number in range(3):
            assert (await submit_from(relay, number)).status == 200
        relay.clock.now += 10
        answer = await submit_from(relay, 3)
        assert_rate_limited(answer, "3 per 1 hour", 3590)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
        assert relay.context.metrics.rate_limited_requests == 1
        relay.clock.now += 3590
        await relay.register()
        assert [(await submit_from(relay, n)).status for n in (4, 5)] == [200, 200]
        assert_rate_limited(await submit_from(relay, 6), "5 per 1 day", 86400 - 3600)


async def test_client_sees_the_remaining_quota_before_it_is_used_up() -> None:
    async with inside(public_rate="3/hour", public_quota="5/day") as relay:
        await relay.register()
        for number, left in ((0, "r=2;t=3600"), (1, "r=1;t=3590")):
            answer = await submit_from(relay, number)
            assert answer.headers["RateLimit"] == f'"client";{left}'
            assert answer.headers["RateLimit-Policy"] == '"client";q=3;w=3600'
            relay.clock.now += 10


async def test_without_a_rate_limit_there_are_no_headers() -> None:
    async with inside(public_rate="off", public_quota="off") as relay:
        await relay.register()
        assert "RateLimit" not in (await submit_from(relay, 0)).headers


async def test_clients_behind_one_ingress_are_distinguished() -> None:
    async with inside(public_rate="1/hour") as relay:
        await relay.register()
        for number in range(5):
            person = {"X-Forwarded-For": f"1.1.1.1, 203.0.113.{number}"}
            assert (await submit_from(relay, number, **person)).status == 200
            assert (await submit_from(relay, number, **person)).status == 429


async def test_forwarded_is_ignored_from_untrusted_addresses() -> None:
    async with inside(public_rate="1/hour", trusted_proxies=("none",)) as relay:
        await relay.register()
        assert (await submit_from(relay, 1, **{"X-Forwarded-For": "203.0.113.1"})).status == 200
        assert (await submit_from(relay, 2, **{"X-Forwarded-For": "203.0.113.2"})).status == 429


async def test_routes_are_counted_apart_and_both_names_together() -> None:
    async with inside(public_rate="1/hour") as relay:
        assert (await relay.call("GET", "/api/v1/server-providers")).status == 200
        assert (await relay.call("GET", "/api/v1/server-providers")).status == 429
        assert (await relay.call("GET", "/api/v1/community/providers")).status == 200
        assert (await relay.call("POST", "/v1/images/generations", {})).status == 501
        assert (await relay.call("POST", "/api/v1/images/generations", {})).status == 429


@pytest.mark.parametrize("path", FREE)
async def test_never_counted(path: str) -> None:
    async with inside(public_rate="1/hour", node_ip_rate="1/hour") as relay:
        seen = [(await relay.call("GET", path)).status for _ in range(4)]
        assert len(set(seen)) == 1
        assert seen[0] != 429
        assert len(relay.context.rates.limiter) == 0


async def test_waiting_is_never_counted() -> None:
    async with inside(public_rate="1/hour") as relay:
        await relay.register()
        await relay.submit()
        assert {(await relay.retrieve()).status for _ in range(5)} == {202}


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
async def test_preflight_and_wrong_method_are_not_counted(method: str) -> None:
    async with inside(public_rate="1/hour") as relay:
        await relay.register()
        for _ in range(3):
            await relay.call(method, f"{RELAY}/requests")
        assert (await relay.submit()).status == 200


async def test_own_mistakes_are_not_counted_but_guesses_are() -> None:
    async with inside(public_rate="2/hour") as relay:
        await relay.register()
        for _ in range(5):
            assert (await relay.call("POST", f"{RELAY}/requests", {"prompt": "x"})).status == 400
            assert (await relay.submit(key="nobody")).status == 404
        await relay.submit()
        assert (await relay.cancel(token="a")).status == 403
        assert (await relay.cancel(token="b")).status == 403
        assert (await relay.cancel()).status == 429


async def test_wrong_tokens_are_counted_like_missing_ones() -> None:
    async with inside(public_rate="2/hour", server_tokens=("right",)) as relay:
        body = {"server_public_key": NODE}
        for _ in range(2):
            wrong = await relay.post("servers/register", body, **{"X-Relay-Server-Token": "x"})
            assert wrong.status == 401
        assert_rate_limited(await relay.post("servers/register", body), "2 per 1 hour", 3600)
        right = {"X-Relay-Server-Token": "right"}
        for _ in range(3):
            assert (await relay.post("servers/register", body, **right)).status == 200


async def test_operator_guesses_are_counted() -> None:
    async with inside(public_rate="2/hour", operator_token="right") as relay:
        body = {"server_public_key": NODE}
        seen = [(await relay.post("unregister", body)).status for _ in range(3)]
        assert seen == [401, 401, 429]


async def test_nodes_behind_one_address() -> None:
    async with inside(node_ip_rate="3/hour") as relay:
        for number in range(3):
            assert (await relay.register(f"node-{number}")).status == 200
        assert_rate_limited(await relay.register("node-3"), "3 per 1 hour", 3600)
        assert (await relay.poll("node-0")).status == 200, "each route has its own"
        assert (await relay.submit(key="node-0")).status == 200, "clients have theirs"


async def test_node_with_a_right_token_has_its_own_rate() -> None:
    right = {"X-Relay-Server-Token": "right"}
    async with inside(register_rate="2/hour", node_ip_rate="5/hour", server_tokens=("right",)) as (
        relay
    ):
        for _ in range(2):
            assert (await _register(relay, "a", right)).status == 200
        assert_rate_limited(await _register(relay, "a", right), "2 per 1 hour", 3600)
        seen = [(await _register(relay, name, right)).status for name in ("b", "c", "d", "e")]
        assert seen == [200, 200, 200, 429], "a refused call did not use up the address"


async def _register(relay: Inside, key: str, headers: dict[str, str]) -> Answer:
    return await relay.post("servers/register", {"server_public_key": key}, **headers)


async def test_without_tokens_no_caller_can_use_up_the_quota_of_a_node() -> None:
    """Anyone knows a node's public key: only its address and its credential can be counted."""
    async with inside(register_rate="1/hour", poll_rate="1/hour", response_rate="1/hour") as relay:
        assert {(await relay.register()).status for _ in range(3)} == {200}
        assert {(await relay.poll()).status for _ in range(3)} == {200}


@pytest.mark.parametrize("name", ["control_rate", "progress_rate", "unregister_rate"])
async def test_proven_node_is_counted_without_a_token(name: str) -> None:
    call = name.removesuffix("_rate")
    settings: Json = {name: "2/hour"}
    async with inside(**settings) as relay:
        await relay.register()
        await relay.submit()
        await relay.poll()
        wrong = {"control_credential": "guess"}
        for _ in range(4):
            body = {"server_public_key": NODE, "request_id": "r1", **wrong}
            assert (await relay.post("servers/control", body)).status == 403
        if call == "unregister":
            for expected in (200, 200, 429):
                assert (await relay.unregister()).status == expected
                await relay.register()
            return
        once = relay.control if call == "control" else relay.progress
        seen = [(await once()).status for _ in range(3)]
        assert seen == ([200, 200, 429] if call == "control" else [202, 202, 429])


async def test_one_setting_stands_for_all_node_routes_that_are_not_set() -> None:
    settings: Json = {"node_rate": "1/hour", "poll_rate": "2/hour", "server_tokens": ("right",)}
    right = {"X-Relay-Server-Token": "right"}
    async with inside(**settings) as relay:
        seen = [(await _register(relay, NODE, right)).status for _ in range(2)]
        assert seen == [200, 429]
        body = {"server_public_key": NODE}
        polls = [(await relay.post("servers/poll", body, **right)).status for _ in range(3)]
        assert polls == [200, 200, 429]


async def test_off_is_no_limit() -> None:
    async with inside(public_rate="off", public_quota="off", node_ip_rate="off") as relay:
        await relay.register()
        for number in range(50):
            assert (await submit_from(relay, number)).status == 200
        assert len(relay.context.rates.limiter) == 0


async def test_addresses_that_are_counted_are_bounded() -> None:
    async with inside(max_rate_buckets=16, public_quota="off", public_rate="9/hour") as relay:
        await relay.register()
        for number in range(60):
            await submit_from(relay, number, **{"X-Forwarded-For": f"203.0.113.{number}"})
        assert len(relay.context.rates.limiter) == 16
