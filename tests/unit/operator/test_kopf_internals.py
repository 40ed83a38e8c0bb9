"""kopf and aiohttp still work in the ways that the workarounds of cache/ rely on."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator

import aiohttp
import kopf
import pytest
from kopf._cogs.clients import api, watching
from kopf._cogs.structs.references import Resource
from kopf._core.reactor import orchestration, running

from tokenplace_cluster.faults.canned_server import Canned, canned
from tokenplace_operator.api.kinds import SERVICE
from tokenplace_operator.cache.kopf_events import EventInterceptor
from tokenplace_operator.cache.kopf_exit import WATCHER_PREFIX
from tokenplace_operator.cache.kopf_faults import RESTART_EVENT
from tokenplace_operator.cache.kopf_settings import ERROR_BACKOFFS, configure
from tokenplace_operator.settings import Config

OBJECT = {"metadata": {"namespace": "team", "name": "a", "resourceVersion": "4"}}


@pytest.fixture
async def server() -> AsyncIterator[Canned]:
    async with canned(EventInterceptor((SERVICE,), lambda *_: None)) as found:
        yield found


def test_watch_tasks_have_the_name_by_which_they_are_cancelled() -> None:
    """kopf_exit finds the tasks by this prefix."""
    assert f'name=f"{WATCHER_PREFIX}{{what}}"' in inspect.getsource(orchestration)


def test_pages_are_read_as_json_and_watches_in_chunks() -> None:
    """kopf_events and kopf_faults replace the content of responses."""
    assert "await response.json()" in inspect.getsource(api.get)
    assert "content.iter_chunked(" in inspect.getsource(api)


async def test_a_page_is_read_from_the_content_of_the_response(server: Canned) -> None:
    """aiohttp's json() must read a content that was replaced, and close the response with it."""
    server.pieces = [json.dumps({"metadata": {"resourceVersion": "5"}, "items": [OBJECT]}).encode()]
    async with server.session.get("/api/v1/services") as response:
        assert (await response.json(content_type=None))["items"] == []


def test_an_error_event_with_code_410_restarts_a_watch() -> None:
    """kopf_faults turns all faults of a watch into this event."""
    event = json.loads(RESTART_EVENT)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    source = inspect.getsource(watching)
    assert "raw_type == 'ERROR'" in source
    assert "['code'] == 410" in source


def test_a_bookmark_moves_the_version_of_a_watch() -> None:
    """kopf_events sends bookmarks instead of events."""
    assert "raw_type == 'BOOKMARK'" in inspect.getsource(watching)


def test_a_failed_connection_is_retried_by_the_backoffs_of_the_settings() -> None:
    """kopf_faults and kopf_discovery raise ClientConnectionError, which kopf must retry."""
    assert issubclass(aiohttp.ClientConnectionError, aiohttp.ClientError)
    source = inspect.getsource(api)
    assert "error_backoffs" in source
    assert "aiohttp.ClientConnectionError" in source


def test_a_payload_error_of_a_page_restarts_the_watch() -> None:
    """kopf_events raises ClientPayloadError for a page that is no list."""
    assert "aiohttp.ClientPayloadError" in inspect.getsource(watching)


def test_signals_are_taken_before_ready_is_set() -> None:
    """lifecycle installs its own handlers when `ready` is set."""
    source = inspect.getsource(running)
    assert source.index("add_signal_handler") < source.index("raise_flag(ready_flag)")


def test_every_setting_that_is_set_exists() -> None:
    """kopf's settings are dataclasses with slots or not: a wrong name would be ignored."""
    names = {
        "posting": {"enabled"},
        "scanning": {"disabled"},
        "process": {"ultimate_exiting_timeout"},
        "watching": {
            "chunk_size",
            "server_timeout",
            "connect_timeout",
            "inactivity_timeout",
            "label_selectors",
        },
        "networking": {"request_timeout", "connect_timeout", "error_backoffs"},
        "persistence": {"diffbase_storage", "progress_storage", "finalizer"},
    }
    settings = kopf.OperatorSettings()
    for group, fields in names.items():
        assert fields <= set(type(getattr(settings, group)).__dataclass_fields__)


def test_label_selectors_are_found_by_group_version_and_plural() -> None:
    """kopf_settings sets one for each kind of child resource."""
    settings = kopf.OperatorSettings()
    configure(settings, 70)
    resource = Resource("apps", "v1", "deployments")
    assert list(settings.watching.label_selectors.collect(resource)) == [
        "app.kubernetes.io/managed-by=tokenplace-operator"
    ]


def test_a_missing_right_ends_the_process_before_a_watch_counts_as_idle() -> None:
    assert sum(ERROR_BACKOFFS) < Config().watch_idle_seconds


async def test_the_session_that_we_pass_is_used_and_closed_by_kopf() -> None:
    """AiohttpSession takes a session of ours, with its middlewares."""
    async with aiohttp.ClientSession() as session:
        info = kopf.AiohttpSession(server="http://127.0.0.1:1", aiohttp_session=session)
        assert info.aiohttp_session is session
    await asyncio.sleep(0)
