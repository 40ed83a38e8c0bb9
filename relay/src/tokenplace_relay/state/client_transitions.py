"""What clients do to the relay's state; every method is one transition."""

from typing import Final

from tokenplace_relay.state.model import (
    Envelope,
    Finished,
    Full,
    Key,
    Node,
    Pending,
    Request,
    Stage,
    UnknownNode,
    UnknownRequest,
    WrongProof,
    digest,
    proves,
    request_key,
)
from tokenplace_relay.state.selection import Choice, choose
from tokenplace_relay.state.tables import StateTables

_SHARE: Final = 4
"""The part of all bytes of requests that one client may have, beside a lone one of any size."""


class ClientTransitions(StateTables):
    """Select, submit, cancel, retrieve."""

    def select(self, model: str, tier: str) -> Choice:
        """Choose a node for a resolved model and a known tier; reserves nothing."""
        now = self.now()
        fresh = [node for node in self.nodes.values() if self.is_fresh(node, now)]
        choice = choose(fresh, model, tier, now=now, max_queue=self._config.max_queue_depth)
        if choice.node is not None:
            choice.node.selection_turn = next(self._numbers)
        return choice

    def submit(
        self,
        client: Key,
        request_id: str,
        node_key: str,
        envelope: Envelope,
        *,
        size: int,
        token: str,
        reader: str = "",
    ) -> float:
        """Queue a request once; return the seconds until its deadline, also for a repeat.

        Raises UnknownNode, Full, and Finished for a repeat of what ended without an answer.
        """
        key = request_key(client, request_id or f"\0{next(self._numbers)}")
        known = self.current(key)
        if known is not None:
            return self._repeated(known)
        node = self._able(node_key)
        self._check_room(client, node, size)
        now = self.now()
        request = Request(
            key=key,
            client=client,
            request_id=request_id,
            node=node.key,
            envelope=envelope,
            size=size,
            created=now,
            deadline=now + self._config.request_deadline,
            cancel_digest=digest(token) if token else b"",
            reader_digest=digest(reader) if reader else b"",
        )
        self.enqueue(request)
        return request.deadline - now

    def cancel(
        self, client: Key, request_id: str, token: str, stage: Stage, reason: str
    ) -> tuple[Stage, int]:
        """End a live request; the same again gives the same. Returns stage and 1 if it was queued.

        Raises WrongProof for a wrong token, an unknown request, and one that was answered.
        """
        request = self.current(request_key(client, request_id))
        if request is None or not proves(token, request.cancel_digest):
            raise WrongProof
        if request.stage is Stage.ANSWERED:
            raise WrongProof
        if not request.stage.is_live:
            return request.stage, 0
        was_queued = request.stage is Stage.QUEUED
        self.end(request, stage, reason)
        return stage, int(was_queued)

    def retrieve(self, client: Key, request_id: str, reader: str = "") -> Envelope | Pending:
        """The answer, readable again until it is forgotten; Pending, with progress, until then."""
        request = self.current(request_key(client, request_id), "pending_request_ttl_exceeded")
        if request is None:
            raise UnknownRequest
        if request.reader_digest and not proves(reader, request.reader_digest):
            raise WrongProof
        if request.stage.is_live:
            progress = request.progress
            self.drop_progress(request)
            return Pending(request.deadline - self.now(), progress)
        if request.stage is not Stage.ANSWERED:
            raise Finished(request.stage, request.reason)
        return self._read(request)

    def acknowledge(self, client: Key, request_id: str, reader: str) -> None:
        """Let go of an answer that has arrived; the same again changes nothing."""
        request = self.current(request_key(client, request_id))
        if request is None:
            raise UnknownRequest
        if not proves(reader, request.reader_digest) or request.stage.is_live:
            raise WrongProof
        if request.stage is not Stage.ANSWERED:
            raise Finished(request.stage, request.reason)
        self.mark_read(request)
        self.end_replay(request)

    def retrieve_any(self, client: Key) -> Envelope:
        """The oldest unread answer of a client, of those that need no proof."""
        inbox = self.inboxes.get(client)
        for request in inbox.unread.values() if inbox is not None else ():
            if not request.reader_digest:
                return self._read(request)
        raise UnknownRequest

    def _read(self, request: Request) -> Envelope:
        if request.answer is None:
            raise UnknownRequest
        answer = request.answer
        self.mark_read(request)
        return answer

    def _repeated(self, known: Request) -> float:
        if known.stage.is_live or known.answer is not None:
            return max(0.0, known.deadline - self.now())
        raise Finished(known.stage, known.reason)

    def _able(self, key: str) -> Node:
        """A node that may still do work: one that is silent for too long counts as gone."""
        node, now = self.node(key), self.now()
        if self.is_removable(node, now) or self.is_unresponsive(node, now):
            raise UnknownNode
        return node

    def _check_room(self, client: Key, node: Node, size: int) -> None:
        config = self._config
        inbox = self.inboxes.get(client)
        if inbox is not None and inbox.pending >= config.max_client_requests:
            raise Full(429, "too_many_requests", "Too many unanswered requests of this client")
        if inbox is not None and inbox.weight + size > config.max_request_bytes // _SHARE:
            raise Full(429, "too_many_requests", "Too many bytes in requests of this client")
        if len(node.queue) >= config.max_queue_depth:
            raise Full(503, "queue_full", "The queue of this compute node is full")
        if self.pending >= config.max_requests:
            raise Full(503, "relay_full", "This relay has no room for more requests")
        self.check_bytes(self.request_bytes, size, config.max_request_bytes, "requests")
        # Room that is left for the answers to what was accepted before.
        self.check_bytes(self.unread_bytes, 0, config.max_answer_bytes // 2, "answers")
