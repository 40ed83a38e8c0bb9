"""The elector under faults that a real API server does not produce on demand: slow, hung, racing.

Time is a counter that only `sleep` and the fake API move.
"""

import asyncio
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from random import Random

import pytest

from tokenplace_operator.api.kinds import Kind, Object
from tokenplace_operator.kube.errors import Conflict, NotFound, Unavailable
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.runtime.leader_election import Elector, LeaseLostError, LeaseTimes


class World:
    """One Lease, one clock, and faults."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lease: Object | None = None
        self.version = 0
        self.fault: Callable[[str], None] = lambda _: None
        self.hang = False
        self.on_sleep: Callable[[], None] = lambda: None

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()
        await asyncio.sleep(0)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        assert (kind.kind, namespace, name) == ("Lease", "system", "operator")
        self.fault("get")
        if self.lease is None:
            raise NotFound(404, "NotFound", "no lease")
        return deepcopy(self.lease)

    async def create(self, obj: Object) -> Object:
        self.fault("create")
        if self.lease is not None:
            raise Conflict(409, "AlreadyExists", "exists")
        return self.write(obj)

    async def replace(self, obj: Object) -> Object:
        self.fault("replace")
        if self.hang:
            await asyncio.Event().wait()
        if self.lease is None:
            raise NotFound(404, "NotFound", "no lease")
        if obj["metadata"].get("resourceVersion") != self.lease["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "stale")
        return self.write(obj)

    def write(self, obj: Object) -> Object:
        self.version += 1
        self.lease = deepcopy(obj)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return deepcopy(self.lease)

    def held_by(self, holder: str, seconds: int = 15) -> None:
        meta = {"namespace": "system", "name": "operator"}
        if self.lease is not None:
            meta = self.lease["metadata"]
        spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "leaseTransitions": 4}
        self.write({"metadata": meta, "spec": spec})

    def spec(self) -> Object:
        assert self.lease is not None
        spec: Object = self.lease["spec"]
        return spec

    def elector(self, identity: str = "me", times: LeaseTimes | None = None) -> Elector:
        return Elector(
            self,
            namespace="system",
            name="operator",
            identity=identity,
            times=times or LeaseTimes(),
            metrics=Metrics(),
            clock=self.clock,
            now=lambda: datetime(2026, 11, 24, tzinfo=UTC),
            sleep=self.sleep,
            rng=Random(1),
        )


@pytest.fixture
def world() -> World:
    return World()


def unavailable(_: str) -> None:
    raise Unavailable(503, "ServiceUnavailable", "down")


async def test_the_first_one_creates_the_lease(world: World) -> None:
    await world.elector().acquire()
    assert world.spec()["holderIdentity"] == "me"
    assert world.spec()["leaseDurationSeconds"] == 15
    assert world.spec()["leaseTransitions"] == 0
    assert world.spec()["renewTime"] == "2026-11-24T00:00:00.000000Z"


async def test_a_standby_waits_the_whole_lease_of_a_silent_leader(world: World) -> None:
    world.held_by("other")
    started = world.now
    await world.elector().acquire()
    assert 15 < world.now - started <= 17.1
    assert world.spec()["holderIdentity"] == "me"
    assert world.spec()["leaseTransitions"] == 5


async def test_a_standby_never_takes_a_lease_that_is_renewed(world: World) -> None:
    world.held_by("other")

    class EnoughError(Exception):
        """Ends the wait after two lease durations."""

    def renew() -> None:
        world.held_by("other")
        if world.now > 130:
            raise EnoughError

    world.on_sleep = renew
    with pytest.raises(EnoughError):
        await world.elector().acquire()
    assert world.spec()["holderIdentity"] == "other"


async def test_a_released_lease_is_taken_at_the_next_look(world: World) -> None:
    leader = world.elector("first")
    await leader.acquire()
    standby = world.elector("second")
    world.on_sleep = lambda: None
    waiting = asyncio.create_task(standby.acquire())
    await asyncio.sleep(0)
    await leader.release()
    released = world.now
    await asyncio.wait_for(waiting, 1)
    assert world.now - released <= 2
    assert world.spec()["holderIdentity"] == "second"


async def test_release_leaves_an_empty_holder_for_one_second(world: World) -> None:
    elector = world.elector()
    await elector.acquire()
    await elector.release()
    assert world.spec()["holderIdentity"] == ""
    assert world.spec()["leaseDurationSeconds"] == 1


async def test_release_leaves_the_lease_of_another_alone(world: World) -> None:
    world.held_by("other")
    before = deepcopy(world.lease)
    await world.elector().release()
    assert world.lease == before


async def test_errors_while_renewing_are_survived_until_the_deadline(world: World) -> None:
    elector = world.elector()
    await elector.acquire()
    acquired = world.now
    world.fault = unavailable
    with pytest.raises(LeaseLostError, match="not renewed for 10 s"):
        await elector.keep()
    assert 10 <= world.now - acquired <= 10.01


async def test_one_good_renewal_moves_the_deadline(world: World) -> None:
    elector = world.elector()
    await elector.acquire()
    acquired = world.now

    def fault(_: str) -> None:
        if not 106 <= world.now < 107:
            unavailable("")

    world.fault = fault
    with pytest.raises(LeaseLostError):
        await elector.keep()
    assert world.now - acquired == pytest.approx(16)


async def test_a_hung_renewal_cannot_outlive_the_deadline() -> None:
    loop = asyncio.get_running_loop()
    world = World()
    elector = Elector(
        world,
        namespace="system",
        name="operator",
        identity="me",
        times=LeaseTimes(lease=0.6, renew=0.3, retry=0.05, request=0.1),
        metrics=Metrics(),
        clock=loop.time,
        now=lambda: datetime.now(UTC),
    )
    await elector.acquire()
    world.hang = True
    started = loop.time()
    with pytest.raises(LeaseLostError):
        await elector.keep()
    assert loop.time() - started < 0.5


async def test_a_conflict_with_another_holder_ends_leadership_at_once(world: World) -> None:
    elector = world.elector()
    await elector.acquire()
    world.held_by("other")
    with pytest.raises(LeaseLostError, match="'other' leads now"):
        await elector.keep()


async def test_a_conflict_with_our_own_late_write_does_not(world: World) -> None:
    elector = world.elector()
    await elector.acquire()
    world.held_by("me")
    until = world.now + 30

    class StopError(Exception):
        pass

    def end() -> None:
        if world.now > until:
            raise StopError

    world.on_sleep = end
    with pytest.raises(StopError):
        await elector.keep()
    assert world.spec()["holderIdentity"] == "me"


async def test_a_deleted_lease_ends_leadership(world: World) -> None:
    elector = world.elector()
    await elector.acquire()
    world.lease = None
    with pytest.raises(LeaseLostError):
        await elector.keep()


async def test_of_two_that_see_a_free_lease_one_leads(world: World) -> None:
    first, second = world.elector("first"), world.elector("second")
    tasks = [asyncio.create_task(elector.acquire()) for elector in (first, second)]
    done, pending = await asyncio.wait(tasks, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
    holder = world.spec()["holderIdentity"]
    assert len(done) == 1
    assert holder == ("first" if tasks[0] in done else "second")
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


def test_the_proportions_follow_the_lease() -> None:
    assert LeaseTimes.of(15.0) == LeaseTimes()
