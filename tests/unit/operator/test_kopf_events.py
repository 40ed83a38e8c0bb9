"""Objects of lists and watches go to the operator; kopf gets their resource versions."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tokenplace_cluster.faults.canned_server import WATCH, Canned, canned
from tokenplace_operator.api.kinds import DEPLOYMENT, RELAY, SERVICE, Kind, Object
from tokenplace_operator.cache.kopf_events import EventInterceptor

ERROR = b'{"type":"ERROR","object":{"code":410}}\n'
SERVICES = "/api/v1/services"

Taken = list[tuple[Kind, str | None, Object]]


def line(event_type: str, version: int) -> bytes:
    return json.dumps({"type": event_type, "object": obj(version)}).encode() + b"\n"


def obj(version: int) -> Object:
    metadata = {"namespace": "team", "name": "a", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"text": "é\n"}}


@pytest.fixture
def taken() -> Taken:
    return []


@pytest.fixture
async def server(taken: Taken) -> AsyncIterator[Canned]:
    interceptor = EventInterceptor((RELAY, DEPLOYMENT, SERVICE), lambda *event: taken.append(event))
    async with canned(interceptor) as found:
        yield found


def bookmark(version: int) -> Object:
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}


async def test_events_are_taken_and_a_bookmark_stands_for_them(
    server: Canned, taken: Taken
) -> None:
    server.pieces = [line("ADDED", 5) + line("MODIFIED", 6) + line("DELETED", 7)]
    assert json.loads(await server.read(SERVICES)) == bookmark(7)
    events = [("ADDED", obj(5)), ("MODIFIED", obj(6)), ("DELETED", obj(7))]
    assert taken == [(SERVICE, *event) for event in events]


async def test_a_bookmark_of_the_server_counts_and_is_not_taken(
    server: Canned, taken: Taken
) -> None:
    server.pieces = [line("ADDED", 5) + line("BOOKMARK", 9)]
    assert json.loads(await server.read(SERVICES)) == bookmark(9)
    assert [event for _, event, _ in taken] == ["ADDED"]


async def test_the_end_of_a_watch_comes_after_its_events(server: Canned, taken: Taken) -> None:
    server.pieces = [line("ADDED", 5) + ERROR]
    first, last = (await server.read(SERVICES)).splitlines(keepends=True)
    assert (json.loads(first), last) == (bookmark(5), ERROR)
    assert len(taken) == 1


@pytest.mark.parametrize(
    "broken",
    [
        b"<html>\n",
        b"{}\n",
        b'{"type":"ADDED","object":[]}\n',
        b'{"type":"ADDED","object":{}}\n',
        b'{"type":"BOOKMARK","object":{"metadata":null}}\n',
        b'{"type":"DELETED","object":{"metadata":{"namespace":"a","resourceVersion":"6"}}}\n',
        b'{"type":"MODIFIED","object":{"metadata":{"namespace":"a","name":"b"}}}\n',
    ],
)
async def test_a_line_that_is_no_event_restarts_the_watch(
    server: Canned, taken: Taken, broken: bytes
) -> None:
    server.pieces = [line("ADDED", 5) + broken + line("ADDED", 6)]
    first, last = (await server.read(SERVICES)).splitlines(keepends=True)
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
    server: Canned, taken: Taken, path: str, kind: Kind
) -> None:
    server.pieces = [line("ADDED", 5)]
    await server.read(path)
    assert [found for found, _, _ in taken] == [kind]


async def test_objects_of_a_list_are_taken_and_its_pages_go_on_empty(
    server: Canned, taken: Taken
) -> None:
    metadata = {"resourceVersion": "9", "continue": "more"}
    server.pieces = [json.dumps({"metadata": metadata, "items": [obj(5), obj(6)]}).encode()]
    async with server.session.get(SERVICES, params={"limit": "2"}) as answer:
        assert await answer.json() == {"metadata": metadata, "items": []}
    assert taken == [(SERVICE, None, obj(5)), (SERVICE, None, obj(6))]


@pytest.mark.parametrize(
    "page",
    [
        b"<html>",
        b'{"kind":"Status"}',
        b'{"metadata":{"resourceVersion":"9"}}',
        b'{"metadata":{"resourceVersion":"9"},"items":null}',
        b'{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"a"}}]}',
        b'{"metadata":{"resourceVersion":"9"},"items":[null]}',
        b'{"metadata":null,"items":[]}',
    ],
)
async def test_a_list_that_is_none_is_a_failed_answer(
    server: Canned, taken: Taken, page: bytes
) -> None:
    server.pieces = [page]
    with pytest.raises(aiohttp.ClientPayloadError):
        await (await server.session.get(SERVICES)).read()
    assert not taken


@pytest.mark.parametrize(
    ("path", "status"), [(SERVICES, 403), ("/api/v1", 200), ("/apis/apps/v1", 200)]
)
async def test_refusals_and_other_questions_pass_as_they_are(
    server: Canned, taken: Taken, path: str, status: int
) -> None:
    server.status, server.pieces = status, [line("ADDED", 5)]
    for params in ({}, WATCH):
        assert await server.read(path, params) == line("ADDED", 5)
    assert not taken
