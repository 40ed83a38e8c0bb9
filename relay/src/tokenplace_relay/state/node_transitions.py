"""Transitions that compute nodes cause; every method is one transition."""

from itertools import chain
from typing import Final

from tokenplace_relay.state.capabilities import Capabilities
from tokenplace_relay.state.digests import Key, proves, request_key
from tokenplace_relay.state.errors import (
    Finished,
    Full,
    NotActive,
    UnknownNode,
    UnknownRequest,
    WrongProof,
)
from tokenplace_relay.state.model import Node, Request, Tombstone
from tokenplace_relay.state.results import NO_PROOF, Control, Envelope, Proof, Stage, Work
from tokenplace_relay.state.tables import StateTables

_MAX_EXPIRED_LEASES: Final = 2
"""Expired leases of one request after which its node is taken to be unable to do it."""


class NodeTransitions(StateTables):
    """Register, claim, control, report progress, answer, unregister."""

    def register(
        self, key: str, capabilities: Capabilities, proof: Proof, credential: bytes
    ) -> bool:
        """Add or renew a node; True when `credential`, a digest, is now the node's.

        A node polls only after it received the answer to its registration. So one that registers
        again before its first poll gets a new credential. Raises Full, and WrongProof for a
        renewal by another peer.
        """
        node = self.nodes.get(key)
        if node is None:
            self._enter(key, capabilities, proof, credential)
            return True
        is_new = not node.has_polled and node.has_token(proof.token)
        if is_new:
            node.credential_digest = credential
        else:
            self._check_owner(node, proof, "register")
        self._note_call(node, capabilities)
        # A node that shows its credential may move to another registration token, as in a rotation.
        node.token = proof.token
        # A restarted node has lost its credential, and cannot send control calls.
        node.has_sent_control = bool(proof.credential)
        return is_new

    def _enter(self, key: str, capabilities: Capabilities, proof: Proof, credential: bytes) -> None:
        if len(self.nodes) >= self._config.max_nodes:
            raise Full(503, "too_many_nodes", "This relay has no room for more compute nodes")
        # A new node gets the newest turn, so it comes after all nodes with an equal load.
        number, now = next(self._numbers), self.now()
        node = Node(key, capabilities, credential, now, proof.token, number)
        self.nodes[key] = node
        self._index.add(node)

    def touch(
        self, key: str, capabilities: Capabilities | None = None, proof: Proof | None = None
    ) -> Node:
        """Note a poll of a registered node; raises UnknownNode and WrongProof."""
        node = self.node(key)
        if proof is not None:
            self._check_owner(node, proof, "poll")
        node.has_polled = True
        self._note_call(node, capabilities)
        return node

    def open_poll(self, key: str) -> Node:
        """Count a poll that is held from now on; raises UnknownNode."""
        node = self.touch(key)
        node.polls += 1
        return node

    def close_poll(self, node: Node) -> None:
        """Count a poll of `open_poll` that is not held any more."""
        node.polls -= 1
        self._changed.add(node)

    def _note_call(self, node: Node, capabilities: Capabilities | None = None) -> None:
        node.last_seen = self.now()
        if capabilities is not None and capabilities != node.capabilities:
            node.capabilities = capabilities
            self._changed.add(node)
        # With this call the node is fresh again, so the index must place it.
        elif self._index.is_stale(node):
            self._changed.add(node)

    def claim(self, key: str) -> Work | None:
        """Hand the oldest live request of a node's queue to it; raises UnknownNode.

        A request whose lease expired twice without a control call ends, because token.place nodes
        silently drop a request that they cannot decrypt. A node that never sent any control call
        has lost its credential: it is removed, so that it registers again.
        """
        now, node = self.now(), self.node(key)
        while node.queue:
            request = next(iter(node.queue.values()))
            # No sweep may have run since the deadline passed.
            if request.deadline <= now:
                self.end(request, Stage.EXPIRED, "provider_timeout")
                continue
            if request.expired_leases >= _MAX_EXPIRED_LEASES and not node.has_sent_control:
                self.remove(node, "capacity_loss")
                raise UnknownNode
            if request.expired_leases >= _MAX_EXPIRED_LEASES:
                self.end(request, Stage.EXPIRED, "provider_timeout")
                continue
            self._lease(node, request)
            # No control call can name an anonymous request, so a missing call proves nothing about
            # it.
            if request.request_id:
                self._unconfirmed.put(request.key, request, now)
            return _claimed_work(request, now)
        return None

    def unclaim(self, work: Work) -> None:
        """Put undelivered work back, unless it was claimed again or renewed."""
        request = self.requests.get(work.request)
        if request is None or request.stage is not Stage.CLAIMED:
            return
        # After a later claim or a renewal the node does have the work, and this undo comes too
        # late.
        if request.fencing_token != work.fencing_token:
            return
        # A first claim that never arrived counts as none. After an expired lease the node may still
        # have the work of an earlier claim.
        if not request.expired_leases:
            request.claimed_at, request.is_confirmed = 0.0, False
        self.requeue(request)

    def control(
        self, key: str, request_id: str, credential: bytes, *, acknowledge: bool
    ) -> Control:
        """Renew the lease of claimed work, or return its end; raises WrongProof."""
        node = self.nodes.get(key)
        is_node = node is not None and proves(credential, node.credential_digest)
        if node is not None and is_node:
            # A node that computes may not poll, so its control calls keep it fresh.
            self._note_call(node)
            node.has_sent_control = True
            renewed = self._renew(node, request_id)
            if renewed is not None:
                return self._counted(Control("active", renewed.deadline - self.now()))
        # A removed node is unknown, but with its old credential it still learns how its work ended.
        stone = self._tombstone(key, request_id, credential)
        if stone is None and not is_node:
            raise WrongProof
        if stone is None:
            return self._counted(Control("completed/unavailable"))
        if acknowledge:
            self._tombstones.drop((key, request_id))
            self.counters.add(self.counters.controls, "acknowledged")
        return self._counted(Control(stone.status, max(0.0, stone.deadline - self.now())))

    def owns(self, key: str, request_id: str, credential: bytes) -> bool:
        """Whether a credential is the node's, or that of the node that once had the request."""
        node = self.nodes.get(key)
        if node is not None and proves(credential, node.credential_digest):
            return True
        return self._tombstone(key, request_id, credential) is not None

    def progress(
        self,
        key: str,
        client: Key,
        request_id: str,
        *,
        credential: bytes,
        progress: Envelope,
        size: int,
    ) -> bool:
        """Keep the newest progress of claimed work; True when it replaced an older request.

        Raises WrongProof, NotActive for a request that this node has not claimed, Finished past
        its deadline, and Full.
        """
        node = self.nodes.get(key)
        if node is None or not proves(credential, node.credential_digest):
            raise WrongProof
        request = self.requests.get(request_key(client, request_id))
        # Work that was queued again after its lease expired is not accepted here: only a control
        # call renews the claim.
        if request is None or request.key not in node.claimed:
            raise NotActive
        if request.deadline <= self.now():
            self.end(request, Stage.EXPIRED, "provider_timeout")
            raise Finished(Stage.EXPIRED)
        replaced = request.progress is not None
        # Only the newest progress is kept, so the bytes of the replaced one do not count.
        held = self.progress_bytes - request.progress_size
        self.check_bytes(held, size, self._config.max_progress_bytes, "progress")
        self.drop_progress(request)
        request.progress, request.progress_size = progress, size
        self.progress_bytes += size
        self._wake_readers(request.key)
        return replaced

    def answer(
        self, client: Key, request_id: str, envelope: Envelope, size: int, proof: Proof = NO_PROOF
    ) -> bool:
        """Take a node's answer; False when an unread one is there already.

        Without a request id it is for the client's oldest anonymous request. Raises
        UnknownRequest, Finished, WrongProof and Full.
        """
        request = self._answered(client, request_id)
        if request is None:
            raise UnknownRequest
        # A node treats every other status than 200 as a lost answer, so a repeat is confirmed.
        if request.stage is Stage.ANSWERED and request.key in self._unread_of(request):
            return False
        # A queued request may be answered too: its lease expired while its node still computed.
        if not request.stage.is_live:
            raise Finished(request.stage, request.reason)
        # A live request has a registered node, because the removal of a node ends its requests.
        self._check_owner(self.nodes[request.node], proof, "answer")
        self.check_bytes(self.unread_bytes, size, self._config.max_answer_bytes, "answers")
        request.answer, request.answer_size = envelope, size
        self.unread_bytes += size
        self.end(request, Stage.ANSWERED)
        return True

    def unregister(self, key: str, credential: bytes) -> bool:
        """Remove a node on its own request; False when it was not there. Raises WrongProof."""
        node = self.nodes.get(key)
        if node is not None and not proves(credential, node.credential_digest):
            raise WrongProof
        return self.expel(key)

    def expel(self, key: str) -> bool:
        """Remove a node on the operator's request; False when it was not there."""
        node = self.nodes.get(key)
        if node is None:
            return False
        self.remove(node, "unregistered")
        return True

    def _check_owner(self, node: Node, proof: Proof, call: str) -> None:
        if not node.is_proven_by(proof, call):
            raise WrongProof
        if proof.credential:
            node.requires_proof.add(call)

    def _lease(self, node: Node, request: Request) -> None:
        """Give a request to its node, or renew its lease."""
        now = self.now()
        self._unconfirmed.drop(request.key)
        node.queue.pop(request.key, None)
        node.claimed[request.key] = request
        request.stage, request.fencing_token = Stage.CLAIMED, next(self._numbers)
        # The first claim counts, so that the waiting time in the log is not changed by a renewal.
        request.claimed_at = request.claimed_at or now
        request.lease_end = min(now + self._config.in_flight_lease, request.deadline)
        node.first_lease_end = min(node.first_lease_end, request.lease_end)
        self._changed.add(node)

    def _renew(self, node: Node, request_id: str) -> Request | None:
        """Renew the live work of an id that was handed to a node; return the one that ends first.

        Work that was queued again after its lease expired is renewed too. Ids are unique within a
        client only, so a node may hold several requests of one id.
        """
        handed = chain(node.claimed.values(), node.queue.values())
        named = [
            request for request in handed if request.request_id == request_id and request.claimed_at
        ]
        # Requests past their deadline are expired first, so that none of them is renewed.
        for request in named:
            self.current(request.key)
        renewed = [request for request in named if request.stage.is_live]
        for request in renewed:
            self._lease(node, request)
            request.is_confirmed = True
            self.counters.lease_renewals += 1
        return min(renewed, key=lambda request: request.deadline, default=None)

    def _tombstone(self, key: str, request_id: str, credential: bytes) -> Tombstone | None:
        stone = self._tombstones.get((key, request_id), self.now())
        return stone if stone is not None and proves(credential, stone.owner_digest) else None

    def _answered(self, client: Key, request_id: str) -> Request | None:
        if request_id:
            return self.current(request_key(client, request_id))
        # token.place relay.py accepts any answer without an id. Here it must match a request, so
        # that an outsider cannot fill the inbox.
        inbox = self.inboxes.get(client)
        if inbox is None or not inbox.anonymous:
            return None
        return self.current(next(iter(inbox.anonymous)))

    def _unread_of(self, request: Request) -> dict[Key, Request]:
        inbox = self.inboxes.get(request.client)
        return inbox.unread if inbox is not None else {}

    def _counted(self, outcome: Control) -> Control:
        # The status has a slash and the metric label an underscore, both as in token.place.
        self.counters.add(self.counters.controls, outcome.status.replace("/", "_"))
        return outcome


def _claimed_work(request: Request, now: float) -> Work:
    return Work(
        request.key,
        request.envelope,
        request.deadline - now,
        request.claimed_at - request.created,
        request.fencing_token,
        request.expired_leases,
    )
