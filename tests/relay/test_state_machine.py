"""The relay's state against a simple model, under any interleaving of peers and time.

No request is answered twice, none that was accepted is lost, each ends once, bounds hold.
"""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
    run_state_machine_as_test,
)

from tokenplace_harness.model import Sent
from tokenplace_harness.promises import CONFIG, Promises, assert_same
from tokenplace_relay.state.capabilities import Capabilities
from tokenplace_relay.state.digests import digest, secret_digest
from tokenplace_relay.state.errors import (
    Finished,
    Full,
    NotActive,
    UnknownNode,
    UnknownRequest,
    WrongProof,
)
from tokenplace_relay.state.results import NO_PROOF, Pending, Proof, Stage

NODES = st.sampled_from(["node-a", "node-b", "node-c"])
CLIENTS = st.sampled_from(["client-a", "client-b"])
NAMES = st.sampled_from(["r1", "r2", "r3", "r4"])
MAYBE_NAMES = NAMES | st.just("")
SIZES = st.integers(1, 12)
AIMS = st.integers(0, 11)
"""Most calls are about a request or a node that is there: which one."""
READERS = st.sampled_from(["", "", "p", "q"])
ENDS = {Stage.CANCELLED: "cancelled", Stage.EXPIRED: "expired"}


class Relay(Promises):
    """Peers and time in any order."""

    def request(self, aim: int, client: str, name: str) -> tuple[str, str]:
        """The client and name of a request that was sent, or now and then just any."""
        named = [one for one in self.model.sent if one.name]
        if aim < 10 and named:
            return named[-1 - aim % len(named)].client, named[-1 - aim % len(named)].name
        return client, name

    def node_of(self, aim: int, node: str, client: str, name: str) -> str:
        """The node that a request was sent to, or now and then just any."""
        found = [s.node for s in self.model.sent if s.name == name and client in {"", s.client}]
        return found[-1] if aim % 4 and found else self.node(aim, node)

    def node(self, aim: int, node: str) -> str:
        """A node that is registered, or now and then just any."""
        known = sorted(self.model.heard)
        return known[aim % len(known)] if aim < 10 and known else node

    def credential_of(self, node: str) -> bytes:
        """Digest of the credential that a node received, or of a wrong one."""
        return secret_digest(self.credentials.get(node, "none"))

    # Time

    @rule(seconds=st.sampled_from([0.5, 5, 5, 10, 10, 25, 26, 50, 100]), is_seen=st.booleans())
    def wait(self, seconds: float, *, is_seen: bool) -> None:
        self.wait_exactly(seconds, is_seen=is_seen)

    @precondition(lambda self: any(one.is_live for one in self.model.sent))
    @rule(aim=AIMS, is_seen=st.booleans())
    def wait_for_a_deadline(self, aim: int, *, is_seen: bool) -> None:
        ends = sorted(one.deadline for one in self.model.sent if one.is_live)
        self.wait_exactly(max(0.0, ends[aim % len(ends)] - self.clock.now), is_seen=is_seen)

    @rule(seconds=st.sampled_from([5, 25, 26]))
    def wait_and_see(self, seconds: float) -> None:
        self.wait_exactly(seconds, is_seen=True)

    def wait_exactly(self, seconds: float, *, is_seen: bool) -> None:
        self.clock.now += seconds
        self.model.now = self.clock.now
        if is_seen:
            self.state.sweep()
            self.model.tick()

    @rule(seconds=st.sampled_from([-1, -1000]))
    def clock_goes_back(self, seconds: float) -> None:
        """A monotonic clock does not; if one did, nothing would happen."""
        now = self.state.now()
        self.clock.now += seconds
        assert self.state.now() == now
        self.clock.now = now

    # Compute nodes

    @rule(node=NODES)
    def register(self, node: str) -> None:
        fits = node in self.model.heard or len(self.model.heard) < CONFIG.max_nodes
        try:
            self.registrations += 1
            credential = f"credential-{self.registrations}"
            is_new = self.state.register(node, Capabilities(), NO_PROOF, secret_digest(credential))
        except Full as full:
            assert_same((full.status, fits), (503, False))
            return
        assert fits
        assert is_new == (node not in self.model.polled)
        if is_new:
            self.credentials[node] = credential
        if node not in self.model.heard:
            self.model.queues[node] = []
        self.model.asking.discard(node)
        self.model.heard[node] = self.model.now

    @rule(node=NODES, aim=AIMS)
    def claim(self, node: str, aim: int) -> None:
        node = self.node(aim, node)
        try:
            self.state.touch(node)
            work = self.state.claim(node)
        except UnknownNode:
            assert node not in self.model.heard or self.model.is_mute(node)
            if node in self.model.heard:
                self.model.remove(node)
            return
        self.model.heard[node] = self.model.now
        self.model.polled.add(node)
        assert not self.model.is_mute(node)
        wanted = self.model.claim(node)
        assert (work is None) == (wanted is None)
        if work is not None and wanted is not None:
            request = self.state.inspect().requests[work.request]
            assert request.request_id == wanted.name
            assert request.client == digest(wanted.client)
            assert work.remaining == wanted.deadline - self.model.now
            self.handed.append((work, wanted, wanted.hands))

    @precondition(lambda self: self.handed)
    @rule()
    def poller_was_gone(self) -> None:
        work, wanted, hands = self.handed.pop()
        if wanted.state == "claimed" and wanted.hands == hands:
            if not wanted.expired_leases:
                wanted.handed_out = wanted.asked_about = False
            self.model.put_back(wanted)
        self.state.unclaim(work)

    @rule(node=NODES, name=NAMES, aim=AIMS, acknowledge=st.booleans())
    def control(self, node: str, name: str, aim: int, *, acknowledge: bool) -> None:
        name = self.request(aim, "", name)[1]
        self.ask(self.node_of(aim, node, "", name), name, acknowledge=acknowledge)

    @precondition(lambda self: any(one.state == "claimed" for one in self.model.sent))
    @rule(aim=AIMS, seconds=st.sampled_from([31, 40, 40.5]))
    def node_dies_at_work(self, aim: int, seconds: float) -> None:
        held = [one for one in self.model.sent if one.state == "claimed"]
        one = held[aim % len(held)]
        self.ask(one.node, one.name, acknowledge=False)
        self.wait_exactly(seconds, is_seen=True)

    def ask(self, node: str, name: str, *, acknowledge: bool) -> None:
        """Let a node ask about its work."""
        credential = self.credential_of(node)
        try:
            outcome = self.state.control(node, name, credential, acknowledge=acknowledge)
        except WrongProof:
            assert node not in self.model.heard
            return
        if node in self.model.heard:
            self.model.heard[node] = self.model.now
            self.model.asking.add(node)
        renewed = self.model.renew(node, name)
        if renewed:
            assert outcome.status == "active"
            assert outcome.remaining == min(s.deadline for s in renewed) - self.model.now
            return
        assert outcome.status in {"completed/unavailable", "cancelled", "expired"}

    @rule(node=NODES, client=CLIENTS, name=NAMES, size=SIZES, aim=AIMS)
    def progress(self, *, node: str, client: str, name: str, size: int, aim: int) -> None:
        client, name = self.request(aim, client, name)
        node = self.node_of(aim, node, client, name)
        one = next((s for s in self.model.sent if (s.client, s.name) == (client, name)), None)
        try:
            self.state.progress(
                node, digest(client), name, credential=self.credential_of(node),
                progress={"progress": size}, size=size,
            )  # fmt: skip
        except WrongProof:
            assert node not in self.model.heard
        except NotActive:
            assert one is None or (one.state, one.node) != ("claimed", node)
        except Finished:
            assert one is not None
            assert one.deadline <= self.model.now
            self.model.settle(one)
        except Full as full:
            assert_same(full.status, 503)
        else:
            assert one is not None
            assert (one.state, one.node) == ("claimed", node)
            one.has_news = True

    @rule(client=CLIENTS, name=MAYBE_NAMES, size=SIZES,
          proof=st.sampled_from(["none", "right", "wrong"]), aim=AIMS)  # fmt: skip
    def answer(self, *, client: str, name: str, size: int, proof: str, aim: int) -> None:
        if name:
            client, name = self.request(aim, client, name)
        one = self.model.find(client, name) if name else self.model.nameless(client)
        owner = self.credentials.get(one.node, "") if one is not None else ""
        shown = {"none": "", "right": owner, "wrong": "wrong"}[proof]
        must_show = one is not None and one.node in self.model.showing
        if one is not None and one.is_live and proof == "right":
            self.model.settle(one)
            if one.is_live:
                self.model.showing.add(one.node)
        try:
            is_first = self.state.answer(
                digest(client), name, {"answer": size}, size, Proof(secret_digest(shown))
            )
        except UnknownRequest:
            assert one is None
        except Finished as end:
            assert one is not None
            assert not one.is_live
            assert one not in self.model.unread
            assert_same(end.status, "completed" if "answered" in one.state else one.state)
        except WrongProof:
            assert one is not None
            assert one.is_live
            assert proof == "wrong" or (proof == "none" and must_show)
        except Full as full:
            assert_same(full.status, 503)
            held = sum(s.answer_size for s in self.model.unread)
            assert held + size > CONFIG.max_answer_bytes
        else:
            assert one is not None
            assert is_first == one.is_live
            assert proof != "wrong" or not is_first
            assert proof != "none" or not (must_show and is_first)
            if is_first:
                assert one not in self.answered, "answered twice"
                self.answered.add(one)
                one.answer_size = size
                self.model.end(one, "answered")
            else:
                assert one in self.model.unread

    @rule(node=NODES, is_right=st.sampled_from([True, False, False, False]))
    def unregister(self, node: str, *, is_right: bool) -> None:
        known = node in self.model.heard
        try:
            shown = self.credentials[node] if is_right and known else "wrong"
            removed = self.state.unregister(node, secret_digest(shown))
        except WrongProof:
            assert known
            assert not is_right
            return
        assert removed == known
        if known:
            self.model.remove(node)

    # Clients

    @rule(
        client=CLIENTS,
        name=MAYBE_NAMES,
        node=NODES,
        size=SIZES,
        token=st.sampled_from("ab"),
        reader=READERS,
        aim=AIMS,
    )
    def submit(
        self, *, client: str, name: str, node: str, size: int, token: str, reader: str, aim: int
    ) -> None:
        reader = reader if name else ""
        node = self.node(aim, node)
        known = self.model.find(client, name)
        try:
            remaining = self.state.submit(
                digest(client), name, node, {"size": size}, size=size,
                cancel_token=secret_digest(token), reader=secret_digest(reader),
            )  # fmt: skip
        except UnknownNode:
            assert known is None
            gone = node not in self.model.heard or self.model.is_gone(node)
            assert gone or self.model.is_lost(node)
        except Finished:
            assert known is not None
            assert not known.is_live
            assert known not in [*self.model.unread, *self.model.replays]
        except Full as full:
            assert known is None
            assert_same(full.status, self.model.room(client, node, size))
        else:
            if known is not None:
                assert remaining == max(0.0, known.deadline - self.model.now)
                return
            assert self.model.room(client, node, size) == 0
            assert remaining == CONFIG.request_deadline
            ends = self.model.now + CONFIG.request_deadline
            one = Sent(client, name, node, size, token, ends, reader)
            self.model.sent.append(one)
            self.model.queues[node].append(one)
            assert self.woken[-1] == node

    @rule(client=CLIENTS, name=NAMES, token=st.sampled_from("ab"),
          stage=st.sampled_from([Stage.CANCELLED, Stage.EXPIRED]), aim=AIMS)  # fmt: skip
    def cancel(self, *, client: str, name: str, token: str, stage: Stage, aim: int) -> None:
        client, name = self.request(aim, client, name)
        one = self.model.find(client, name)
        try:
            ended = self.state.cancel(
                digest(client), name, secret_digest(token), stage, "cancelled"
            )
        except WrongProof:
            assert one is None or one.token != token or one.state.startswith("answered")
            return
        assert one is not None
        assert one.token == token
        assert ended.removed == (one.state == "queued")
        if one.is_live:
            self.model.end(one, ENDS[stage])
        assert one.state == ended.stage

    @rule(client=CLIENTS, name=NAMES, reader=READERS, aim=AIMS)
    def retrieve(self, client: str, name: str, reader: str, aim: int) -> None:
        client, name = self.request(aim, client, name)
        one = self.model.find(client, name)
        try:
            found = self.state.retrieve(digest(client), name, secret_digest(reader))
        except WrongProof:
            assert one is not None
            assert one.reader not in {"", reader}
        except UnknownRequest:
            assert one is None or one.state == "answered and let go"
        except Finished as end:
            assert one is not None
            assert_same(end.status, one.state)
        else:
            assert one is not None
            if isinstance(found, Pending):
                assert one.is_live, "an end was lost"
                assert found.remaining == one.deadline - self.model.now
                assert (found.progress is not None) == one.has_news
                one.has_news = False
                return
            assert one.state == "answered"
            assert found == {"answer": one.answer_size}
            self.model.read(one)

    @rule(client=CLIENTS, name=NAMES, reader=READERS, aim=AIMS)
    def acknowledge(self, client: str, name: str, reader: str, aim: int) -> None:
        client, name = self.request(aim, client, name)
        one = self.model.find(client, name)
        try:
            self.state.acknowledge(digest(client), name, secret_digest(reader))
        except UnknownRequest:
            assert one is None
        except WrongProof:
            assert one is not None
            assert one.is_live or not reader or one.reader != reader
        except Finished as end:
            assert one is not None
            assert_same(end.status, one.state)
        else:
            assert one is not None
            assert one.reader == reader != ""
            self.model.read(one)
            if one in self.model.replays:
                self.model.let_go(one)

    @rule(client=CLIENTS)
    def retrieve_any(self, client: str) -> None:
        unread = [s for s in self.model.unread if s.client == client and not s.reader]
        try:
            found = self.state.retrieve_any(digest(client))
        except UnknownRequest:
            assert unread == []
        else:
            assert found == {"answer": unread[0].answer_size}
            self.model.read(unread[0])


@pytest.mark.timeout(300)
def test_any_interleaving() -> None:
    run_state_machine_as_test(
        Relay,
        settings=settings(
            max_examples=500,
            stateful_step_count=80,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
