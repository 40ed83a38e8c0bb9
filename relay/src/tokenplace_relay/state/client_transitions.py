"""Transitions that clients cause; every method is one transition."""

from typing import Final

from tokenplace_relay.state.capabilities import TIERS
from tokenplace_relay.state.digests import Key, proves, request_key
from tokenplace_relay.state.errors import (
    Finished,
    Full,
    TooLarge,
    UnknownNode,
    UnknownRequest,
    WrongProof,
)
from tokenplace_relay.state.model import Node, Request
from tokenplace_relay.state.results import Cancellation, Choice, Envelope, Pending, Stage
from tokenplace_relay.state.selection import choice, choose
from tokenplace_relay.state.tables import StateTables

_SHARE: Final = 4
"""One client may have this part of all request bytes; a single request may be larger."""
_NAMES_OF_TEXT: Final = 2
"""An answer's text is sent under both of its names, so its body is twice as large."""


class ClientTransitions(StateTables):
    """Select, submit, cancel, retrieve."""

    def select(self, model: str, tier: str) -> Choice:
        """Choose a node for a resolved model and a tier; reserves nothing."""
        now = self.now()
        groups = self._index.groups(model, now) if tier in TIERS else ()
        node, eligible, full = choose(groups, tier)
        if node is None:
            # A silent node counts as registered until it is evicted, and no sweep may have run.
            self.evict()
        chosen = choice(node, eligible, full, now=now, any_node=bool(self.nodes))
        if node is not None:
            # Nothing is reserved, so the turn spreads clients that select before any of them
            # submits.
            node.selection_turn = next(self._numbers)
            self._changed.add(node)
        return chosen

    def submit(
        self,
        client: Key,
        request_id: str,
        node_key: str,
        envelope: Envelope,
        *,
        size: int,
        cancel_token: bytes,
        reader: bytes = b"",
    ) -> float:
        """Queue a request once; return the seconds until its deadline, also for a repeat.

        Raises UnknownNode, Full, and Finished for a repeat of what ended without an answer.
        """
        # Without an id every request is a new one, so a number makes its key unique.
        key = request_key(client, request_id or f"\0{next(self._numbers)}")
        existing = self.current(key)
        # A repeat is answered before any bound is checked, because its request is accepted already.
        if existing is not None:
            return self._repeated(existing)
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
            cancel_digest=cancel_token,
            reader_digest=reader,
        )
        self.enqueue(request)
        return request.deadline - now

    def cancel(
        self, client: Key, request_id: str, cancel_token: bytes, stage: Stage, reason: str
    ) -> Cancellation:
        """End a live request; a repeat gives the stage in which it ended.

        Raises WrongProof for a wrong token, an unknown request, and one that was answered.
        """
        request = self.current(request_key(client, request_id))
        # An unknown id gets the same error as a wrong token, so a caller cannot probe for ids of
        # other clients.
        if request is None or not proves(cancel_token, request.cancel_digest):
            raise WrongProof
        if request.stage is Stage.ANSWERED:
            raise WrongProof
        # A client that lost the first answer may repeat the call, and gets the same result.
        if not request.stage.is_live:
            return Cancellation(request.stage, 0)
        was_queued = request.stage is Stage.QUEUED
        self.end(request, stage, reason)
        return Cancellation(stage, int(was_queued))

    def retrieve(
        self, client: Key, request_id: str, reader: bytes = b"", room: int | None = None
    ) -> Envelope | Pending:
        """The answer, readable again until it is evicted; Pending, with progress, before it.

        room is the bytes that its body may have. Raises UnknownRequest, WrongProof, Finished and
        TooLarge.
        """
        # token.place relay.py gives this reason when a retrieve finds the deadline passed.
        request = self.current(request_key(client, request_id), "pending_request_ttl_exceeded")
        if request is None:
            raise UnknownRequest
        # This comes before the stage, so that a caller without the token does not learn whether an
        # answer is there.
        if request.reader_digest and not proves(reader, request.reader_digest):
            raise WrongProof
        if request.stage.is_live:
            # As in token.place relay.py, each progress is read once; the next read returns a newer
            # one.
            progress = request.progress
            self.drop_progress(request)
            return Pending(request.deadline - self.now(), progress)
        if request.stage is not Stage.ANSWERED:
            raise Finished(request.stage, request.reason)
        return self._read(request, room)

    def acknowledge(self, client: Key, request_id: str, reader: bytes) -> None:
        """Drop an answer that has arrived; a repeat changes nothing."""
        request = self.current(request_key(client, request_id))
        if request is None:
            raise UnknownRequest
        # A client can compute the acknowledgement token before there is an answer, so a live
        # request refuses it.
        if not proves(reader, request.reader_digest) or request.stage.is_live:
            raise WrongProof
        if request.stage is not Stage.ANSWERED:
            raise Finished(request.stage, request.reason)
        self.mark_read(request)
        self.end_replay(request)

    def retrieve_any(self, client: Key, room: int | None = None) -> Envelope:
        """The oldest unread answer of a client that needs no proof."""
        inbox = self.inboxes.get(client)
        for request in inbox.unread.values() if inbox is not None else ():
            # The client of a protected answer has an id for it and must send its token, so it is
            # skipped.
            if not request.reader_digest:
                return self._read(request, room)
        raise UnknownRequest

    def _read(self, request: Request, room: int | None) -> Envelope:
        if request.answer is None:
            raise UnknownRequest
        if room is not None and _NAMES_OF_TEXT * request.answer_size > room:
            raise TooLarge
        answer = request.answer
        self.mark_read(request)
        return answer

    def _repeated(self, existing: Request) -> float:
        # An answer may have been evicted. Its request still counts as finished, so that a repeat
        # does not run it a second time.
        if existing.stage.is_live or existing.answer is not None:
            return max(0.0, existing.deadline - self.now())
        raise Finished(existing.stage, existing.reason)

    def _able(self, key: str) -> Node:
        """A node that may still do work; raises UnknownNode for one that is silent for too long."""
        # Selection and submission are two calls, and the node may have gone silent in between.
        node, now = self.node(key), self.now()
        if self.is_removable(node, now) or self.is_unresponsive(node, now):
            raise UnknownNode
        return node

    def _check_room(self, client: Key, node: Node, size: int) -> None:
        config = self._config
        inbox = self.inboxes.get(client)
        if inbox is not None and inbox.pending >= config.max_client_requests:
            raise Full(429, "too_many_requests", "Too many unanswered requests of this client")
        # A client without other requests has no inbox, so a single request may be of any size.
        if inbox is not None and inbox.weight + size > config.max_request_bytes // _SHARE:
            raise Full(429, "too_many_requests", "Too many bytes in requests of this client")
        if len(node.queue) >= config.max_queue_depth:
            raise Full(503, "queue_full", "The queue of this compute node is full")
        if self.pending >= config.max_requests:
            raise Full(503, "relay_full", "This relay has no room for more requests")
        self.check_bytes(self.request_bytes, size, config.max_request_bytes, "requests")
        # Half of the room stays free for answers to requests that were accepted before.
        self.check_bytes(self.unread_bytes, 0, config.max_answer_bytes // 2, "answers")
