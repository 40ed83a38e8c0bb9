"""An Event for each change of Ready, and no second one where only the status was not written."""

from datetime import UTC, datetime

import pytest

from tokenplace_harness.clock import FakeClock
from tokenplace_operator.api.kinds import Kind, Object
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.write_backoff import FREE_WRITES, WriteBackoff
from tokenplace_operator.kube.errors import Unavailable
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.reconcile.events import Recorder
from tokenplace_operator.reconcile.status_writer import StatusWriter


class Server:
    """Stores Events; rejects status writes while `refuses` is set."""

    def __init__(self) -> None:
        self.events: dict[str, Object] = {}
        self.refuses = False
        self.statuses: list[Object] = []

    async def apply_status(self, obj: Object) -> Object:
        if self.refuses:
            raise Unavailable(0, "Timeout", "no answer in time")
        self.statuses.append(obj["status"])
        return {**obj, "metadata": {**obj["metadata"], "uid": "a", "resourceVersion": "2"}}

    async def create(self, obj: Object) -> Object:
        self.events[obj["metadata"]["name"]] = obj
        return obj

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        del kind, namespace
        self.events[name] = {**self.events[name], **patch}
        return self.events[name]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(0.0)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def status_writer(server: Server, metrics: Metrics, clock: FakeClock) -> StatusWriter:
    recorder = Recorder(server, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    backoff = WriteBackoff(clock, metrics)
    return StatusWriter(server, Store(metrics), recorder, clock, metrics, backoff)


def relay(version: str = "1") -> Object:
    return {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "metadata": {
            "name": "relay",
            "namespace": "default",
            "uid": "a",
            "resourceVersion": version,
        },
    }


def ready(reason: str) -> Object:
    condition = {"type": "Ready", "status": "False", "reason": reason, "message": "a sentence"}
    return {"conditions": [condition]}


async def test_a_status_that_is_written_later_has_one_event(
    server: Server, status_writer: StatusWriter, metrics: Metrics
) -> None:
    server.refuses = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            await status_writer.write(relay(), ready("ImagePullFailed"))
    server.refuses = False
    await status_writer.write(relay(), ready("ImagePullFailed"))
    (event,) = server.events.values()
    assert (event["reason"], event["count"]) == ("ImagePullFailed", 1)
    name = "tokenplace_operator_status_writes_total"
    counted = [
        metrics.registry.get_sample_value(name, {"result": one}) for one in ("error", "applied")
    ]
    assert counted == [3, 1]


async def test_later_conflicts_are_reported_too(
    server: Server, status_writer: StatusWriter
) -> None:
    server.refuses = True
    for reason in ("ImagePullFailed", "ContainerCrashing"):
        with pytest.raises(Unavailable):
            await status_writer.write(relay(), ready(reason))
    assert {one["reason"] for one in server.events.values()} == {
        "ImagePullFailed",
        "ContainerCrashing",
    }


async def test_the_same_change_of_a_newer_relay_counts_up(
    server: Server, status_writer: StatusWriter
) -> None:
    for version in ("1", "5"):
        await status_writer.write(relay(version), ready("ImagePullFailed"))
    (event,) = server.events.values()
    assert event["count"] == 2


async def test_a_writer_that_reverts_the_status_causes_pauses_and_no_storm(
    server: Server, status_writer: StatusWriter, clock: FakeClock
) -> None:
    for second in range(FREE_WRITES + 1):
        status = ready("ImagePullFailed")
        # Another writer deleted the status, so its times start again.
        status["conditions"][0]["lastTransitionTime"] = f"2026-01-01T00:00:{second:02}Z"
        waits = await status_writer.write(relay(str(second)), status)
    assert len(server.statuses) == FREE_WRITES
    (event,) = server.events.values()
    assert (waits, event["count"]) == (1.0, FREE_WRITES)

    clock.now += 1.0
    assert await status_writer.write(relay("90"), ready("ImagePullFailed")) is None
    assert await status_writer.write(relay("91"), ready("ImagePullFailed")) == 2.0
    assert len(server.statuses) == FREE_WRITES + 1


async def test_another_status_does_not_wait(server: Server, status_writer: StatusWriter) -> None:
    for number in range(FREE_WRITES + 1):
        await status_writer.write(relay(str(number)), ready("ImagePullFailed"))
    assert await status_writer.write(relay("90"), ready("ContainerCrashing")) is None
    assert server.statuses[-1] == ready("ContainerCrashing")


async def test_what_others_add_to_the_conditions_is_no_reason_to_write(
    server: Server, status_writer: StatusWriter
) -> None:
    theirs = {"type": "example.com/Audited", "status": "True", "reason": "Seen", "message": ""}
    ours = ready("ImagePullFailed")
    there = {**relay(), "status": {"conditions": [theirs, *ours["conditions"]]}}
    for _ in range(2 * FREE_WRITES):
        assert await status_writer.write(there, ours) is None
    assert server.statuses == []
    await status_writer.write(there, ready("ContainerCrashing"))
    assert server.statuses == [ready("ContainerCrashing")]


def unresolved(reason: str = "GPUHostUnresolved", value: str = "False") -> Object:
    """The status of a relay that serves, whatever its policy does."""
    policy = {"type": "NetworkPolicyAccurate", "status": value, "reason": reason}
    serves = {"type": "Ready", "status": "True", "reason": "Available", "message": "It serves."}
    return {"conditions": [serves, {**policy, "message": "gpu.example.com does not resolve"}]}


async def test_a_host_that_does_not_resolve_has_one_warning(
    server: Server, status_writer: StatusWriter
) -> None:
    well = {**relay(), "status": unresolved("PolicyUpToDate", "True")}
    await status_writer.write(well, unresolved())
    (event,) = server.events.values()
    assert (event["type"], event["reason"]) == ("Warning", "GPUHostUnresolved")
    assert "does not resolve" in event["message"]

    status = unresolved()
    status["conditions"][1]["message"] = "gpu.example.com does not resolve: another word"
    await status_writer.write({**relay("2"), "status": unresolved()}, status)
    await status_writer.write(
        {**relay("3"), "status": status}, unresolved("PolicyUpToDate", "True")
    )
    (event,) = server.events.values()
    assert event["count"] == 1


async def test_events_are_written_even_where_only_the_status_is_not(
    server: Server, status_writer: StatusWriter
) -> None:
    server.refuses = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            await status_writer.write(relay(), unresolved())
    counts = {one["reason"]: one["count"] for one in server.events.values()}
    assert counts == {"Available": 1, "GPUHostUnresolved": 1}
