"""/metrics: families, labels, counts, and who may scrape."""

from collections.abc import Mapping

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tokenplace_harness.peers import serving_node
from tokenplace_harness.process import relay_process
from tokenplace_relay.peers.client import Client
from tokenplace_relay.peers.connection import RelayConnection
from tokenplace_relay.protocol.envelope import Identity

HTTP = {"method", "route", "status_class", "provider_mode", "outcome"}
FAMILIES: dict[str, tuple[str, set[str]]] = {
    "tokenplace_relay_requests": ("counter", {"method", "endpoint", "status"}),
    "tokenplace_http_requests": ("counter", HTTP),
    "tokenplace_http_request_duration_seconds": ("histogram", HTTP | {"le"}),
    "tokenplace_relay_queue_depth": ("gauge", {"provider_mode"}),
    "tokenplace_relay_oldest_queued_request_age_seconds": ("gauge", {"provider_mode"}),
    "tokenplace_relay_in_flight_requests": ("gauge", set()),
    "tokenplace_relay_oldest_in_flight_age_seconds": ("gauge", set()),
    "tokenplace_compute_nodes_registered": ("gauge", set()),
    "tokenplace_compute_nodes_healthy": ("gauge", set()),
    "tokenplace_compute_node_lease_age_seconds": ("gauge", set()),
    "tokenplace_compute_node_evictions": ("counter", {"reason"}),
    "tokenplace_relay_request_outcomes": ("counter", {"outcome"}),
    "tokenplace_relay_compute_control_requests": ("counter", {"state"}),
    "tokenplace_relay_compute_control_lease_renewals": ("counter", set()),
    "tokenplace_build_info": ("gauge", {"version", "revision"}),
    "tokenplace_instrumentation_up": ("gauge", set()),
    # Those of this relay.
    "tokenplace_relay_event_loop_lag_seconds": ("gauge", set()),
    "tokenplace_relay_held_polls": ("gauge", set()),
    "tokenplace_relay_state_bytes": ("gauge", set()),
    "tokenplace_relay_state_requests": ("gauge", set()),
    "tokenplace_relay_registration_failures": ("counter", {"reason"}),
    "tokenplace_relay_poll_failures": ("counter", {"reason"}),
    "tokenplace_relay_rate_limited": ("counter", {"class"}),
    "tokenplace_relay_upstream_up": ("gauge", set()),
    "tokenplace_relay_upstream_probe_seconds": ("gauge", set()),
    "tokenplace_relay_upstream_probes": ("counter", {"verdict"}),
    "process_start_time_seconds": ("gauge", set()),
    "process_resident_memory_bytes": ("gauge", set()),
}
FIXED = {
    ("tokenplace_relay_request_outcomes_total", "outcome"): {
        "completed", "cancelled", "expired", "timed_out", "rate_limited", "dependency_failure",
        "failed",
    },
    ("tokenplace_compute_node_evictions_total", "reason"): {
        "stale_lease", "unregistered", "capacity_loss",
    },
    ("tokenplace_relay_compute_control_requests_total", "state"): {
        "active", "cancelled", "expired", "acknowledged", "completed_unavailable",
    },
    ("tokenplace_relay_rate_limited_total", "class"): {"client", "node", "other"},
}  # fmt: skip
MODEL = "qwen3-8b-instruct"


async def scrape(http: aiohttp.ClientSession, **headers: str) -> str:
    async with http.get("/metrics", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Content-Type"].count("charset") == 1
        return await response.text()


def value(text: str, name: str, labels: Mapping[str, str] | None = None) -> float:
    """One sample; raises when it is not there."""
    wanted = dict(labels or {})
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == wanted:
                return float(sample.value)
    raise AssertionError(f"no {name} {wanted}")


async def test_families_types_labels_and_zeros() -> None:
    with relay_process(TOKENPLACE_GPU_HOST="127.0.0.1") as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            await (await http.get("/livez")).read()
            text = await scrape(http)
    found = {family.name: family for family in text_string_to_metric_families(text)}
    for name, (kind, labels) in FAMILIES.items():
        assert found[name].type == kind, name
        used = {label for sample in found[name].samples for label in sample.labels}
        assert used == labels, name
    for (name, label), wanted in FIXED.items():
        samples = found[name.removesuffix("_total")].samples
        zeros = {one.labels[label]: one.value for one in samples if one.name == name}
        assert zeros == dict.fromkeys(wanted, 0.0)


async def test_a_round_trip_is_counted() -> None:
    with relay_process() as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            async with serving_node(relay.url):
                client = Client(RelayConnection(http, relay.url), Identity.create())
                node = (await client.select(MODEL))["server_public_key"]
                sent = await client.send(node, MODEL, [{"role": "user", "content": "hi"}])
                await client.wait_for_answer(sent)
                text = await scrape(http)
            after = await scrape(http)
    assert value(text, "tokenplace_relay_request_outcomes_total", {"outcome": "completed"}) == 1
    assert value(text, "tokenplace_relay_compute_control_requests_total", {"state": "active"}) == 1
    assert value(text, "tokenplace_relay_compute_control_lease_renewals_total") == 1
    assert value(text, "tokenplace_compute_nodes_registered") == 1
    assert value(text, "tokenplace_compute_nodes_healthy") == 1
    assert value(text, "tokenplace_relay_state_requests") == 1
    assert value(text, "tokenplace_relay_state_bytes") > 0
    labels = {
        "method": "POST", "route": "/api/v1/relay/requests", "status_class": "2xx",
        "provider_mode": "relay", "outcome": "completed",
    }  # fmt: skip
    assert value(text, "tokenplace_http_requests_total", labels) == 1
    assert value(text, "tokenplace_http_request_duration_seconds_count", labels) == 1
    plain = {"method": "POST", "endpoint": "/api/v1/relay/requests", "status": "200"}
    assert value(text, "tokenplace_relay_requests_total", plain) == 1
    assert value(after, "tokenplace_compute_node_evictions_total", {"reason": "unregistered"}) == 1


async def test_failed_registrations_and_polls_are_counted_by_reason() -> None:
    with relay_process(TOKEN_PLACE_RELAY_SERVER_TOKENS="right") as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            base = "/api/v1/relay/servers"
            token = {"X-Relay-Server-Token": "right"}
            await (await http.post(f"{base}/register", json={})).read()
            await (await http.post(f"{base}/register", json={}, headers=token)).read()
            body = {"server_public_key": "unknown"}
            await (await http.post(f"{base}/poll", json=body, headers=token)).read()
            text = await scrape(http)
    name = "tokenplace_relay_registration_failures_total"
    assert value(text, name, {"reason": "unauthorized"}) == 1
    assert value(text, name, {"reason": "invalid"}) == 1
    assert value(text, name, {"reason": "unavailable"}) == 0
    assert value(text, "tokenplace_relay_poll_failures_total", {"reason": "unknown_node"}) == 1


async def test_labels_do_not_grow_with_unknown_paths() -> None:
    with relay_process() as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            for number in range(50):
                await (await http.get(f"/secret-{number}")).read()
                await (await http.get(f"/v1/models/secret-{number}")).read()
                await (await http.request(f"SECRET{number}", "/livez")).read()
            text = await scrape(http)
    assert "secret" not in text.lower()
    routes = {
        sample.labels["route"]
        for family in text_string_to_metric_families(text)
        if family.name == "tokenplace_http_requests"
        for sample in family.samples
    }
    assert routes == {"other", "/api/v1/*"}


@pytest.mark.parametrize(
    ("settings", "header", "status"),
    [
        ({}, None, 200),
        ({"TOKENPLACE_METRICS_TOKEN": "right"}, "Bearer right", 200),
        ({"TOKENPLACE_METRICS_TOKEN": "right"}, "Bearer wrong", 401),
        ({"TOKENPLACE_METRICS_TOKEN": "right"}, "right", 401),
        ({"TOKENPLACE_METRICS_TOKEN": "right"}, "Bearer r\xefght", 401),
        ({"TOKENPLACE_METRICS_TOKEN": "right"}, None, 401),
        ({"TOKENPLACE_METRICS_TOKEN": ""}, None, 401),
        ({"TOKENPLACE_METRICS_TOKEN": ""}, "Bearer ", 401),
        ({"TOKENPLACE_METRICS_DISABLED": "1"}, None, 401),
        (
            {"TOKENPLACE_METRICS_DISABLED": "on", "TOKENPLACE_METRICS_TOKEN": "right"},
            "Bearer right", 401,
        ),
    ],
)  # fmt: skip
async def test_who_may_scrape(settings: dict[str, str], header: str | None, status: int) -> None:
    with relay_process(**settings) as relay:
        headers = {"Authorization": header} if header else {}
        async with (
            aiohttp.ClientSession(relay.url) as http,
            http.get("/metrics", headers=headers) as response,
        ):
            assert response.status == status
            assert response.headers["Cache-Control"] == "no-store"
            text = await response.text()
    assert (text == "unauthorized") is (status == 401)


@pytest.mark.parametrize(
    "header",
    [
        {"X-Forwarded-For": "203.0.113.1"},
        {"X-Forwarded-Host": "relay.example.com"},
        {"Forwarded": "for=203.0.113.1"},
        {"X-Forwarded-For": ""},
    ],
)
async def test_without_a_token_scrapes_through_an_ingress_are_rejected(
    header: dict[str, str],
) -> None:
    with relay_process() as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            await scrape(http)
            async with http.get("/metrics", headers=header) as response:
                assert response.status == 401


async def test_with_its_token_one_scrapes_through_an_ingress() -> None:
    with relay_process(TOKENPLACE_METRICS_TOKEN="right") as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            await scrape(http, Authorization="Bearer right", **{"X-Forwarded-For": "203.0.113.1"})
