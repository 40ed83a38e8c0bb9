"""The relay's state machine in memory: the moves of nodes, of clients, and of time.

One thread, no I/O and no await in a move, a clock that is passed in: whatever comes first wins.
"""

from typing import Final

from tokenplace_relay.state.client_transitions import ClientTransitions
from tokenplace_relay.state.model import Stage
from tokenplace_relay.state.node_transitions import NodeTransitions

_MOST: Final = 2000
"""Entries of a kind that one run ends, so that the event loop is not held up."""


class StateMachine(NodeTransitions, ClientTransitions):
    """All of the relay's state, in one process."""

    def sweep(self) -> None:
        """What time asks for: expire, take back, forget, and drop silent nodes."""
        now = self.now()
        for request in self._deadlines.take_ended(now, _MOST):
            self.end(request, Stage.EXPIRED, "provider_timeout")
        for request in self._unconfirmed.take_ended(now, _MOST):
            self.counters.requeued += 1
            request.expired_leases += 1
            self.requeue(request)
        for request in self._unread.take_ended(now, _MOST):
            self._take_from_unread(request)
            self._evict_request(request)
        for request in self._replays.take_ended(now, _MOST):
            self.replay_bytes -= request.answer_size
            self._evict_request(request)
        for request in self._outcomes.take_ended(now, _MOST):
            self._evict_request(request)
        self._tombstones.take_ended(now, _MOST)
        self.evict()
