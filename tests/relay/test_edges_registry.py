"""Edge cases of a node's coming and going: status, code, message, and what changed."""

import pytest

from tokenplace_harness.inside import NODE, inside
from tokenplace_harness.steps import (
    ANSWERED,
    CLAIMED,
    KNOWN,
    QUEUED,
    able,
    leave,
    poll,
    register,
    unregister,
    with_credential,
)
from tokenplace_harness.table import Row, play

NO_NODE_KEY = "Missing server public key"
BAD_KEY = "Invalid public key"
WRONG = "Missing or invalid relay server control credential"
CAPABILITIES = "invalid_capabilities"
MODELS = "capabilities.supported_model_ids must be a non-empty string list"
COUNTS = "capability token reservations and concurrency must be positive integers"
TOO_LARGE_RESERVATION = "default output reservation cannot exceed maximum output tokens"
NEW = {"nodes": 1}
POLLED = [*KNOWN, poll()]

REGISTER = [
    Row("new", [], register(), 200, then=NEW, body={
        "next_ping_in_x_seconds": 30, "poll_wait_seconds": 0.0,
        "relay_capabilities": {"encrypted_progress_v1": True, "node_proof_v1": True}}),
    Row("again: no credential", POLLED, register(), 200, body={"control_credential": "absent"}),
    Row("again with the right credential", POLLED, with_credential("servers/register"), 200,
        body={"control_credential": "absent"}),
    Row("again with a wrong credential", POLLED, register(control_credential="x"), 403,
        message=WRONG),
    Row("again before its first poll: it did not get the answer", KNOWN,
        register(control_credential="of another relay"), 200),
    Row("again without the credential that it once showed",
        [*POLLED, with_credential("servers/register")], register(), 403, message=WRONG),
    Row("after leaving", [*KNOWN, unregister()], register(), 200, then=NEW),
    Row("capabilities null are none", [], register(capabilities=None), 200, then=NEW),
    Row("other keys are ignored", [], register(anything={"a": 1}), 200, then=NEW),
    Row("without key", [], register(...), 400, message=NO_NODE_KEY),
    Row("empty key", [], register(""), 400, message=NO_NODE_KEY),
    Row("null key", [], register(None), 400, message=NO_NODE_KEY),
    Row("key that is a number", [], register(5), 400, message=BAD_KEY),
    Row("key that is an object", [], register({"a": 1}), 400, message=BAD_KEY),
    Row("key too long", [], register("x" * 8193), 413,
        message="server_public_key is longer than 8192 characters"),
    *(Row(f"capabilities {given!r}", [], register(capabilities=given), 400, CAPABILITIES,
          "capabilities must be an object") for given in ("v1", 1, True, [1])),
    Row("api_version 1", [], able(api_version=1), 200, then=NEW),
    *(Row(f"api_version {given!r}", [], able(api_version=given), 400, CAPABILITIES,
          "capabilities.api_version must be v1") for given in ("v2", 2, True, "", None, ["v1"])),
    Row("tier of a wrong type", [], able(active_context_tier=8), 400, CAPABILITIES,
        "capabilities.active_context_tier must be a string"),
    Row("tier unknown", [], able(active_context_tier="16k"), 400, CAPABILITIES,
        "capabilities.active_context_tier is unsupported"),
    Row("tier by its other name", [],
        able(context_tier="64k-full", maximum_total_context_tokens=65536), 200, then=NEW),
    *(Row(f"models {given!r}"[:40], [], able(supported_model_ids=given), 400, CAPABILITIES, MODELS)
      for given in ([], "m", None, [1], [""], ["  "], ["m"] * 65, ["m" * 129], {"m": 1})),
    Row("64 models", [], able(supported_model_ids=[f"m{n}" for n in range(64)]), 200, then=NEW),
    Row("models by their other name", [], register(capabilities={"model_ids": ["m"]}), 200,
        then=NEW),
    *(Row(f"context {given!r}", [], able(maximum_total_context_tokens=given), 400, CAPABILITIES,
          "capabilities.maximum_total_context_tokens must be a positive integer")
      for given in (0, -1, 1.5, "8192", True, 1_000_001, None)),
    Row("context below its tier", [], able(maximum_total_context_tokens=8191), 400, CAPABILITIES,
        "capabilities.maximum_total_context_tokens is below the active tier"),
    *(Row(f"{name} {given!r}", [], able(**{name: given}), 400, CAPABILITIES, COUNTS)
      for name in ("default_output_token_reservation", "maximum_output_tokens", "max_concurrency")
      for given in (0, "1", True)),
    Row("concurrency 129", [], able(max_concurrency=129), 400, CAPABILITIES, COUNTS),
    Row("concurrency 128", [], able(max_concurrency=128), 200, then=NEW),
    Row("reservation above maximum", [],
        able(default_output_token_reservation=2, maximum_output_tokens=1), 400, CAPABILITIES,
        TOO_LARGE_RESERVATION),
    Row("backend of a wrong type", [], able(backend_class=1), 400, CAPABILITIES,
        "capabilities.backend_class must be a string"),
    Row("backend unknown is taken as unknown", [], able(backend_class="abacus"), 200, then=NEW),
    Row("a bad renewal changes nothing", KNOWN, able(max_concurrency=0), 400, CAPABILITIES, COUNTS),
]  # fmt: skip


UNREGISTER = [
    Row("alone", KNOWN, unregister(), 200, then={"nodes": -1},
        body={"message": "Server unregistered", "removed": True}),
    Row("with queued work", QUEUED, unregister(), 200,
        then={"nodes": -1, "queued": -1, "ended": 1}, body={"removed": True}),
    Row("with work in hand", CLAIMED, unregister(), 200,
        then={"nodes": -1, "claimed": -1, "ended": 1, "tombstones": 1}, body={"removed": True}),
    Row("with an answer that waits", ANSWERED, unregister(), 200, then={"nodes": -1},
        body={"removed": True}),
    Row("again", [*KNOWN, unregister()], leave(), 200, body={"removed": False}),
    Row("unknown, without credential", [], leave(), 200, body={"removed": False}),
    Row("without credential", KNOWN, leave(), 403, message=WRONG),
    Row("wrong credential", KNOWN, leave(credential="x"), 403, message=WRONG),
    Row("credential of a wrong type", KNOWN, leave(credential=1), 400,
        message="control_credential must be a string"),
    *(Row(f"key {key!r}", KNOWN, leave(key), 400, message=BAD_KEY)
      for key in (..., "", "  ", 5, None, [NODE])),
    Row("by its old address", KNOWN,
        lambda relay: relay.call("POST", "/unregister", {
            "server_public_key": NODE, "control_credential": relay.credentials[NODE]}),
        200, then={"nodes": -1}, body={"message": "Server unregistered", "removed": True}),
    Row("by its old address, without credential", KNOWN,
        lambda relay: relay.call("POST", "/unregister", {"server_public_key": NODE}), 403,
        message=WRONG),
]  # fmt: skip


@pytest.mark.parametrize("row", REGISTER, ids=lambda row: row.name)
async def test_register(row: Row) -> None:
    async with inside() as relay:
        await play(relay, row)


@pytest.mark.parametrize("row", UNREGISTER, ids=lambda row: row.name)
async def test_unregister(row: Row) -> None:
    async with inside() as relay:
        await play(relay, row)


async def test_credential_is_given_once_and_kept_as_a_digest() -> None:
    async with inside() as relay:
        first = await relay.register()
        credential = first.body["control_credential"]
        assert len(credential) == 43
        await relay.post("servers/poll", {"server_public_key": NODE})
        assert "control_credential" not in (await relay.register()).body
        assert credential not in (await relay.state.inspect()).text
        await relay.unregister()
        again = await relay.register()
        assert again.body["control_credential"] != credential


async def test_capabilities_stay_at_a_poll_and_fall_back_at_a_bare_renewal() -> None:
    async with inside() as relay:
        await relay.register(max_concurrency=4)
        await relay.poll()
        assert (await relay.node()).capabilities.concurrency == 4
        await relay.poll(capabilities={"supported_model_ids": ["a", " A ", "b"]})
        assert (await relay.node()).capabilities.models == ("a", "b")
        await register()(relay)
        assert (await relay.node()).capabilities.models == ()
