"""A relay inside the test's own process, on a real socket, with a clock that the test moves."""

import io
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tokenplace_harness.clock import FakeClock
from tokenplace_harness.mode import MODE
from tokenplace_relay.api.app_context import CONTEXT, Context
from tokenplace_relay.app import make_app, make_runner
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.interface import State
from tokenplace_relay.state.results import NodeSnapshot

Json = dict[str, Any]
Setting = float | str | bool | tuple[str, ...]
NODE, OTHER_NODE, CLIENT, OTHER_CLIENT = "node-key", "other-node-key", "client-key", "other-client"
MODEL = "qwen3-8b-instruct"
TOKEN = "cancel-token"
SEALED = {"ciphertext": "sealed", "cipherkey": "wrapped", "iv": "iv"}
RELAY = "/api/v1/relay"


@dataclass(frozen=True)
class Answer:
    """One answer of the relay."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def error(self) -> Json:
        """The object of an error."""
        found: Json = self.body["error"]
        return found


@dataclass
class Inside:
    """A relay and the calls of its peers, in short."""

    url: str
    context: Context
    http: aiohttp.ClientSession
    clock: FakeClock
    runner: web.AppRunner
    credentials: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The relay's state, through its interface."""
        return self.context.state

    async def advance(self, seconds: float) -> None:
        """Move the clock, and sweep the state as the relay's timer does."""
        self.clock.advance(seconds)
        await self.state.sweep()

    async def node(self, key: str = NODE) -> NodeSnapshot:
        """The state of one compute node."""
        return (await self.state.inspect()).nodes[key]

    async def counts(self) -> dict[str, int]:
        """How many records of each kind the relay keeps."""
        seen = await self.state.inspect()
        requests = list(seen.requests.values())
        return {
            "nodes": len(seen.nodes),
            "queued": sum(one.stage == "queued" for one in requests),
            "claimed": sum(one.stage == "claimed" for one in requests),
            "progress": sum(one.stage.is_live and one.has_progress for one in requests),
            "unread": sum(one.is_unread for one in requests),
            "ended": sum(not one.stage.is_live and not one.is_unread for one in requests),
            "tombstones": seen.tombstones,
        }

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One HTTP exchange; body goes as JSON, raw as it is."""
        sent = dict(headers or {})
        if body is not None:
            raw = json.dumps(body).encode()
        content: dict[str, Any] = {}
        if raw is not None:
            content["data"] = io.BytesIO(raw)
            sent.setdefault("Content-Type", "application/json")
        async with self.http.request(method, self.url + path, headers=sent, **content) as response:
            data = await response.read()
            is_json = response.content_type == "application/json"
            parsed = await response.json() if data and is_json else data
            return Answer(response.status, parsed, response.headers)

    async def post(self, route: str, body: object, **headers: str) -> Answer:
        """Call a route below /api/v1/relay."""
        return await self.call("POST", f"{RELAY}/{route}", body, headers=headers)

    async def register(self, key: str = NODE, **capabilities: object) -> Answer:
        """Register a node that serves the usual model."""
        able = {"supported_model_ids": [MODEL], **capabilities}
        answer = await self.post(
            "servers/register", {"server_public_key": key, "capabilities": able}
        )
        if answer.status == 200 and "control_credential" in answer.body:
            self.credentials[key] = answer.body["control_credential"]
        return answer

    async def submit(
        self, request_id: str | None = "r1", key: str = NODE, client: str = CLIENT, **more: object
    ) -> Answer:
        """Submit a request."""
        body = {"client_public_key": client, "server_public_key": key, **SEALED, **more}
        body.setdefault("cancel_token", TOKEN)
        if request_id is not None:
            body["request_id"] = request_id
        return await self.post("requests", body)

    async def poll(self, key: str = NODE, **more: object) -> Answer:
        """Ask for work."""
        return await self.post("servers/poll", {"server_public_key": key, **more})

    async def control(
        self, request_id: str = "r1", key: str = NODE, credential: str | None = None, **more: object
    ) -> Answer:
        """Ask about work."""
        proof = self.credentials.get(key, "") if credential is None else credential
        body = {"server_public_key": key, "request_id": request_id, "control_credential": proof}
        return await self.post("servers/control", {**body, **more})

    async def respond(
        self, request_id: str | None = "r1", client: str = CLIENT, **more: object
    ) -> Answer:
        """Send an answer."""
        body: Json = {"client_public_key": client, **SEALED, **more}
        if request_id is not None:
            body["request_id"] = request_id
        return await self.post("responses", body)

    async def progress(self, request_id: str = "r1", key: str = NODE, **more: object) -> Answer:
        """Send progress of a request."""
        body: Json = {
            "server_public_key": key,
            "client_public_key": CLIENT,
            "request_id": request_id,
            "control_credential": self.credentials.get(key, ""),
            "protocol": "tokenplace_api_v1_relay_e2ee",
            "version": 1,
            **SEALED,
            **more,
        }
        return await self.post("progress", body)

    async def retrieve(
        self, request_id: str | None = "r1", client: str = CLIENT, **headers: str
    ) -> Answer:
        """Ask for an answer."""
        body = {"client_public_key": client}
        if request_id is not None:
            body["request_id"] = request_id
        return await self.post("responses/retrieve", body, **headers)

    async def cancel(
        self, request_id: str = "r1", token: str = TOKEN, client: str = CLIENT, **more: object
    ) -> Answer:
        """Take a request back."""
        body = {"client_public_key": client, "request_id": request_id, "cancel_token": token}
        return await self.post("requests/cancel", {**body, **more})

    async def unregister(self, key: str = NODE, credential: str | None = None) -> Answer:
        """Take a node out."""
        proof = self.credentials.get(key, "") if credential is None else credential
        body = {"server_public_key": key, "control_credential": proof}
        return await self.post("servers/unregister", body)


@asynccontextmanager
async def inside(*, real_time: bool = False, **settings: Setting) -> AsyncIterator[Inside]:
    """A relay on a free port; polls are not held unless poll_wait is given."""
    values: Json = {"poll_wait": 0.0, "housekeeping_interval": 60.0, "plain_http": MODE.plain_http}
    values.update(settings)
    config = Config(**values)
    clock = FakeClock()
    ticking: Callable[[], float] = time.monotonic if real_time else clock
    app = make_app(config, ticking)
    runner = make_runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession() as http:
            yield Inside(url, app[CONTEXT], http, clock, runner)
    finally:
        await runner.cleanup()
