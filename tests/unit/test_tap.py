"""What lists and watches tell goes to us, and kopf gets to know how far they went."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tokenplace_operator.kinds import DEPLOYMENT, RELAY, SERVICE, Kind, Object
from tokenplace_operator.tap import Tap

WATCH = {"watch": "true"}
ERROR = b'{"type":"ERROR","object":{"code":410}}\n'
SERVICES = "/api/v1/services"

Taken = list[tuple[Kind, str | None, Object]]


def line(event_type: str, version: int) -> bytes:
    return json.dumps({"type": event_type, "object": obj(version)}).encode() + b"\n"


def obj(version: int) -> Object:
    return {"metadata": {"name": "a", "resourceVersion": str(version)}, "spec": {"text": "é\n"}}


class Server:
    """Answers with a status and a body."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""

    async def answer(self, _: web.Request) -> web.Response:
        return web.Response(status=self.status, body=self.body, content_type="application/json")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def taken() -> Taken:
    return []


@pytest.fixture
async def session(server: Server, taken: Taken) -> AsyncIterator[aiohttp.ClientSession]:
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    tap = Tap((RELAY, DEPLOYMENT, SERVICE), lambda *event: taken.append(event))
    async with TestServer(app) as listening:
        url = listening.make_url("/")
        async with aiohttp.ClientSession(base_url=url, middlewares=(tap,)) as opened:
            yield opened


async def seen_by_kopf(
    session: aiohttp.ClientSession, path: str = SERVICES, params: dict[str, str] = WATCH
) -> bytes:
    async with session.get(path, params=params) as answer:
        return b"".join([data async for data in answer.content.iter_chunked(2**16)])


def bookmark(version: int) -> Object:
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}


async def test_events_are_taken_and_a_bookmark_stands_for_them(
    server: Server, session: aiohttp.ClientSession, taken: Taken
) -> None:
    server.body = line("ADDED", 5) + line("MODIFIED", 6) + line("DELETED", 7)
    assert json.loads(await seen_by_kopf(session)) == bookmark(7)
    events = [("ADDED", obj(5)), ("MODIFIED", obj(6)), ("DELETED", obj(7))]
    assert taken == [(SERVICE, *event) for event in events]


async def test_a_bookmark_of_the_server_counts_and_is_not_taken(
    server: Server, session: aiohttp.ClientSession, taken: Taken
) -> None:
    server.body = line("ADDED", 5) + line("BOOKMARK", 9)
    assert json.loads(await seen_by_kopf(session)) == bookmark(9)
    assert [event for _, event, _ in taken] == ["ADDED"]


async def test_the_end_of_a_watch_comes_after_what_was_told(
    server: Server, session: aiohttp.ClientSession, taken: Taken
) -> None:
    server.body = line("ADDED", 5) + ERROR
    first, last = (await seen_by_kopf(session)).splitlines(keepends=True)
    assert (json.loads(first), last) == (bookmark(5), ERROR)
    assert len(taken) == 1


@pytest.mark.parametrize("broken", [b"<html>\n", b"{}\n", b'{"type":"ADDED","object":[]}\n'])
async def test_a_line_that_is_no_event_lets_the_watch_begin_again(
    server: Server, session: aiohttp.ClientSession, taken: Taken, broken: bytes
) -> None:
    server.body = line("ADDED", 5) + broken + line("ADDED", 6)
    first, last = (await seen_by_kopf(session)).splitlines(keepends=True)
    assert (json.loads(first), last) == (bookmark(5), ERROR)
    assert [event["metadata"]["resourceVersion"] for _, _, event in taken] == ["5"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (SERVICES, SERVICE),
        ("/api/v1/namespaces/team/services", SERVICE),
        ("/apis/apps/v1/namespaces/services/deployments", DEPLOYMENT),
        ("/k8s/clusters/c-1/apis/token.place/v1alpha1/tokenplacerelays", RELAY),
    ],
)
async def test_the_kind_is_known_by_the_path(
    server: Server, session: aiohttp.ClientSession, taken: Taken, path: str, kind: Kind
) -> None:
    server.body = line("ADDED", 5)
    await seen_by_kopf(session, path)
    assert [found for found, _, _ in taken] == [kind]


async def test_objects_of_a_list_are_taken_and_its_pages_go_on_empty(
    server: Server, session: aiohttp.ClientSession, taken: Taken
) -> None:
    metadata = {"resourceVersion": "9", "continue": "more"}
    server.body = json.dumps({"metadata": metadata, "items": [obj(5), obj(6)]}).encode()
    async with session.get(SERVICES, params={"limit": "2"}) as answer:
        assert await answer.json() == {"metadata": metadata, "items": []}
    assert taken == [(SERVICE, None, obj(5)), (SERVICE, None, obj(6))]


async def test_a_list_that_is_none_is_a_failed_answer(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.body = b"<html>"
    with pytest.raises(aiohttp.ClientPayloadError):
        await (await session.get(SERVICES)).read()


@pytest.mark.parametrize(
    ("path", "status"), [(SERVICES, 403), ("/api/v1", 200), ("/apis/apps/v1", 200)]
)
async def test_refusals_and_other_questions_pass_as_they_are(
    server: Server, session: aiohttp.ClientSession, taken: Taken, path: str, status: int
) -> None:
    server.status, server.body = status, line("ADDED", 5)
    for params in ({}, WATCH):
        assert await seen_by_kopf(session, path, params) == server.body
    assert not taken
