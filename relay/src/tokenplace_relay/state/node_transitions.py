"""What compute nodes do to the relay's state; every method is one transition."""

import secrets
from itertools import chain
from typing import Final

from tokenplace_relay.state.capabilities import Capabilities
from tokenplace_relay.state.model import (
    Control,
    Envelope,
    Finished,
    Full,
    Key,
    Node,
    NotActive,
    Proof,
    Request,
    Stage,
    Tombstone,
    UnknownNode,
    UnknownRequest,
    WrongProof,
    digest,
    proves,
    request_key,
)
from tokenplace_relay.state.tables import StateTables

NO_PROOF = Proof()
_MAX_EXPIRED_LEASES: Final = 2
"""Lapses of one request after which the node that asks for it again cannot do it."""


class NodeTransitions(StateTables):
    """Register, claim, control, report progress, answer, unregister."""

    def register(self, key: str, capabilities: Capabilities, proof: Proof = NO_PROOF) -> str | None:
        """Add or renew a node; return its credential, only until its first poll.

        Nodes poll once they are registered: one that registers again before that did not get the
        answer. Raises Full, and WrongProof when a living node is renewed by another one.
        """
        now = self.now()
        node = self.nodes.get(key)
        if node is None:
            return self._enter(key, capabilities, proof)
        if not node.has_polled and node.has_token(proof.token):
            credential = secrets.token_urlsafe(32)
            node.credential_digest = digest(credential)
        else:
            self._check_owner(node, proof, "register")
            credential = None
        node.capabilities, node.last_seen, node.token = capabilities, now, proof.token
        # It may have begun anew, and then it does not know the credential that it once had.
        node.has_sent_control = bool(proof.credential)
        return credential

    def _enter(self, key: str, capabilities: Capabilities, proof: Proof) -> str:
        """Add a node; return its credential."""
        if len(self.nodes) >= self._config.max_nodes:
            raise Full(503, "too_many_nodes", "This relay has no room for more compute nodes")
        credential = secrets.token_urlsafe(32)
        number, now = next(self._numbers), self.now()
        self.nodes[key] = Node(key, capabilities, digest(credential), now, proof.token, number)
        return credential

    def touch(
        self, key: str, capabilities: Capabilities | None = None, proof: Proof | None = None
    ) -> Node:
        """Note a sign of life of a registered node, and what it can do now."""
        node = self.node(key)
        if proof is not None:
            self._check_owner(node, proof, "poll")
        node.last_seen, node.has_polled = self.now(), True
        if capabilities is not None:
            node.capabilities = capabilities
        return node

    def claim(self, key: str) -> Request | None:
        """Hand the oldest live request of a node's queue to it.

        A request that was taken twice and never asked about ends: its node cannot open it, as real
        nodes drop that without a word. A node that never asked about anything lost its credential:
        it is dropped, so that it registers anew and its clients look elsewhere, and UnknownNode is
        raised.
        """
        now, node = self.now(), self.node(key)
        while node.queue:
            request = next(iter(node.queue.values()))
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
            if request.request_id:
                self._unconfirmed.put(request.key, request, now)
            return request
        return None

    def unclaim(self, request: Request, fencing_token: int) -> None:
        """Put undelivered work back, unless it was handed out or renewed after this token."""
        if request.stage is not Stage.CLAIMED or request.fencing_token != fencing_token:
            return
        if not request.expired_leases:
            request.claimed_at, request.is_confirmed = 0.0, False
        self.requeue(request)

    def control(self, key: str, request_id: str, credential: str, *, acknowledge: bool) -> Control:
        """Renew the lease of claimed work, or tell what became of it."""
        node = self.nodes.get(key)
        is_node = node is not None and proves(credential, node.credential_digest)
        if node is not None and is_node:
            node.last_seen, node.has_sent_control = self.now(), True
            renewed = self._renew(node, request_id)
            if renewed is not None:
                return self._counted(Control("active", renewed.deadline - self.now()))
        stone = self._tombstone(key, request_id, credential)
        if stone is None and not is_node:
            raise WrongProof
        if stone is None:
            return self._counted(Control("completed/unavailable"))
        if acknowledge:
            self._tombstones.drop((key, request_id))
            self.counters.add(self.counters.controls, "acknowledged")
        return self._counted(Control(stone.status, max(0.0, stone.deadline - self.now())))

    def is_owner(self, key: str, request_id: str, credential: str) -> bool:
        """Whether a credential is that of a node, or of the one that once had this request."""
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
        credential: str,
        progress: Envelope,
        size: int,
    ) -> bool:
        """Keep the newest progress of claimed work; True when it replaced older ones.

        Raises WrongProof; NotActive for work that is not this node's, or not any more; Finished
        when its deadline has passed; Full.
        """
        node = self.nodes.get(key)
        if node is None or not proves(credential, node.credential_digest):
            raise WrongProof
        request = self.requests.get(request_key(client, request_id))
        if request is None or request.key not in node.claimed:
            raise NotActive
        if request.deadline <= self.now():
            self.end(request, Stage.EXPIRED, "provider_timeout")
            raise Finished(Stage.EXPIRED)
        replaced = request.progress is not None
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
        """Take a node's answer; False when one is there already and was not read.

        Without a request id it is for the client's oldest live request that has none.
        """
        request = self._asked(client, request_id)
        if request is None:
            raise UnknownRequest
        if request.stage is Stage.ANSWERED and request.key in self._unread_of(request):
            return False
        if not request.stage.is_live:
            raise Finished(request.stage, request.reason)
        self._check_owner(self.nodes[request.node], proof, "answer")
        self.check_bytes(self.unread_bytes, size, self._config.max_answer_bytes, "answers")
        request.answer, request.answer_size = envelope, size
        self.unread_bytes += size
        self.end(request, Stage.ANSWERED)
        return True

    def unregister(self, key: str, credential: str) -> bool:
        """Remove a node at its own wish; False when it was not there."""
        node = self.nodes.get(key)
        if node is not None and not proves(credential, node.credential_digest):
            raise WrongProof
        return self.expel(key)

    def expel(self, key: str) -> bool:
        """Remove a node at the operator's wish; False when it was not there."""
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
        """Give work to its node, or renew its lease; after this only a deadline takes it away."""
        now = self.now()
        self._unconfirmed.drop(request.key)
        node.queue.pop(request.key, None)
        node.claimed[request.key] = request
        request.stage, request.fencing_token = Stage.CLAIMED, next(self._numbers)
        request.claimed_at = request.claimed_at or now
        request.lease_end = min(now + self._config.in_flight_lease, request.deadline)
        node.first_lease_end = min(node.first_lease_end, request.lease_end)

    def _renew(self, node: Node, request_id: str) -> Request | None:
        """Renew the live work of an id that was handed to a node; the one that ends first.

        Also what was put back since. Ids are the clients' own, so two may have chosen the same.
        """
        handed = chain(node.claimed.values(), node.queue.values())
        named = [one for one in handed if one.request_id == request_id and one.claimed_at]
        for request in named:
            self.current(request.key)
        renewed = [one for one in named if one.stage.is_live]
        for request in renewed:
            self._lease(node, request)
            request.is_confirmed = True
            self.counters.lease_renewals += 1
        return min(renewed, key=lambda one: one.deadline, default=None)

    def _tombstone(self, key: str, request_id: str, credential: str) -> Tombstone | None:
        stone = self._tombstones.get((key, request_id), self.now())
        return stone if stone is not None and proves(credential, stone.owner_digest) else None

    def _asked(self, client: Key, request_id: str) -> Request | None:
        if request_id:
            return self.current(request_key(client, request_id))
        inbox = self.inboxes.get(client)
        if inbox is None or not inbox.anonymous:
            return None
        return self.current(next(iter(inbox.anonymous)))

    def _unread_of(self, request: Request) -> dict[Key, Request]:
        inbox = self.inboxes.get(request.client)
        return inbox.unread if inbox is not None else {}

    def _counted(self, outcome: Control) -> Control:
        self.counters.add(self.counters.controls, outcome.status.replace("/", "_"))
        return outcome
