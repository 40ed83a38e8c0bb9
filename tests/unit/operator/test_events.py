"""Events: one for equal causes, a new one once the server dropped it, counted as written."""

from datetime import UTC, datetime

import pytest

from tokenplace_operator.api.conditions import Reason
from tokenplace_operator.api.kinds import Kind, Object
from tokenplace_operator.kube.errors import Conflict, KubeError, NotFound, Unavailable
from tokenplace_operator.reconcile.events import Recorder

ABOUT = {
    "apiVersion": "token.place/v1alpha1",
    "kind": "TokenplaceRelay",
    "metadata": {"name": "relay", "namespace": "default", "uid": "u"},
}


class Server:
    """Keeps Events as the API server does; `failure` is what it answers instead."""

    def __init__(self) -> None:
        self.events: dict[str, Object] = {}
        self.failure: KubeError | None = None

    async def create(self, obj: Object) -> Object:
        name = obj["metadata"]["name"]
        if self.failure is not None:
            raise self.failure
        if name in self.events:
            raise Conflict(409, "AlreadyExists", f'events "{name}" already exists')
        self.events[name] = obj
        return obj

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        del kind, namespace
        if self.failure is not None:
            raise self.failure
        if name not in self.events:
            raise NotFound(404, "NotFound", f'events "{name}" not found')
        self.events[name] = {**self.events[name], **patch}
        return self.events[name]

    def counts(self) -> list[int]:
        return [one["count"] for one in self.events.values()]


@pytest.fixture
def server() -> Server:
    return Server()


def recorder(server: Server) -> Recorder:
    return Recorder(server, lambda: datetime(2026, 1, 1, tzinfo=UTC))


async def record(recorder: Recorder) -> None:
    await recorder.record(ABOUT, Reason.AVAILABLE, "The relay serves.", warning=False)


async def test_an_event_that_the_server_dropped_is_created_again(server: Server) -> None:
    recording = recorder(server)
    for _ in range(3):
        await record(recording)
    assert server.counts() == [3]
    server.events.clear()
    await record(recording)
    assert server.counts() == [1]
    await record(recording)
    assert server.counts() == [2]


async def test_only_what_was_written_is_counted(server: Server) -> None:
    recording = recorder(server)
    server.failure = Unavailable(429, "TooManyRequests", "")
    await record(recording)
    server.failure = None
    await record(recording)
    assert server.counts() == [1]
    server.failure = Unavailable(503, "ServiceUnavailable", "")
    await record(recording)
    server.failure = None
    await record(recording)
    assert server.counts() == [2]


async def test_the_next_process_goes_on_counting(server: Server) -> None:
    first = recorder(server)
    for _ in range(3):
        await record(first)
    second = recorder(server)
    await record(second)
    assert server.counts() == [3], "perhaps the same one, told before the status was written"
    await record(second)
    assert server.counts() == [4]
