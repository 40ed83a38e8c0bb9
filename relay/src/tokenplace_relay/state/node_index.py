"""The order in which selection tries nodes, kept current so that a choice needs no search.

Nodes with equal capabilities form a group; a group's nodes with room are sorted by load and then
by selection turn. A transition only marks its node as changed; the next choice places the changed
nodes again. Time alone changes a node too, when a lease of its work expires or when its own lease
does: a heap of such moments names the nodes to place again.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Final

from tokenplace_relay.state.capabilities import TIERS, Capabilities
from tokenplace_relay.state.model import Node, per_place

_RANK: Final = {tier: rank for rank, tier in enumerate(TIERS)}
_MARGIN: Final = 1e-6
"""Seconds before a lease's end from which a node is checked at each choice.

`now - seen <= lease` and `seen + lease` round differently, so the exact moment is not computable.
"""
_MAX_STALE_MOMENTS: Final = 4
"""Heap entries per node beyond which the heap is rebuilt."""

_Place = tuple[float, int, Node]
"""(load per place, selection turn, node); turns are unique, so nodes are never compared."""


@dataclass(slots=True, eq=False)
class Group:
    """Fresh nodes with equal capabilities."""

    capabilities: Capabilities
    rank: int
    """Of the context tier, in rising order."""
    room: list[_Place] = field(default_factory=list)
    """Nodes with room, the next one to choose first."""
    full: int = 0
    """Nodes without room."""

    @property
    def is_empty(self) -> bool:
        """Whether it has no node."""
        return not self.room and not self.full


@dataclass(slots=True)
class _Entry:
    """The place of one node in the index."""

    group: Group | None = None
    """None for a node that is not fresh."""
    place: _Place | None = None
    """None for a node without room."""
    moment: float = inf
    """When its earliest entry in the heap is due."""


class NodeIndex:
    """Groups of the fresh nodes, by model; and the nodes that are not fresh."""

    def __init__(
        self, is_fresh: Callable[[Node, float], bool], lease: float, max_queue: int
    ) -> None:
        self._is_fresh = is_fresh
        self._lease = lease
        self._max_queue = max_queue
        self._entries: dict[Node, _Entry] = {}
        self._groups: dict[Capabilities, Group] = {}
        self._by_model: dict[str, dict[Group, None]] = {}
        # The number decides between equal moments, because nodes cannot be compared.
        self._moments: list[tuple[float, int, Node]] = []
        self._numbers = count()
        self._stale: dict[Node, None] = {}
        self.changed: set[Node] = set()
        """Nodes to place again; a transition adds the node that it changed."""

    @property
    def watched_moments(self) -> int:
        """Entries of the heap, useless ones too."""
        return len(self._moments)

    def add(self, node: Node) -> None:
        """Take in a new node."""
        self._entries[node] = _Entry()
        self.changed.add(node)

    def remove(self, node: Node) -> None:
        """Take out a node."""
        entry = self._entries.pop(node, None)
        if entry is not None:
            self._unplace(entry)
        self._stale.pop(node, None)

    def is_stale(self, node: Node) -> bool:
        """Whether the node was not fresh when it was placed last."""
        return node in self._stale

    def stale(self, now: float) -> list[Node]:
        """The nodes that are not fresh."""
        self._refresh(now)
        return list(self._stale)

    def groups(self, model: str, now: float) -> Iterable[Group]:
        """The groups of fresh nodes that serve a model."""
        self._refresh(now)
        return self._by_model.get(model, ())

    def _refresh(self, now: float) -> None:
        """Place every node again that changed, or that time changed."""
        moments, changed = self._moments, self.changed
        while moments and moments[0][0] <= now:
            moment, _, node = heappop(moments)
            entry = self._entries.get(node)
            # A moment that was replaced by an earlier one stays in the heap, and is skipped here.
            if entry is not None and entry.moment == moment:
                entry.moment = inf
                changed.add(node)
        if not changed:
            return
        for node in changed:
            entry = self._entries.get(node)
            # A node may have been removed after it changed.
            if entry is not None:
                self._place(node, entry, now)
        changed.clear()

    def _place(self, node: Node, entry: _Entry, now: float) -> None:
        self._unplace(entry)
        if not self._is_fresh(node, now):
            # No moment is watched: only a call of the node makes it fresh, and that marks it as
            # changed.
            self._stale[node] = None
            return
        self._stale.pop(node, None)
        group = entry.group = self._group(node.capabilities)
        flying, queued = node.in_flight(now), len(node.queue)
        if flying >= node.capabilities.concurrency or queued >= self._max_queue:
            group.full += 1
        else:
            load = per_place(flying + queued, node.capabilities)
            entry.place = load, node.selection_turn, node
            insort(group.room, entry.place)
        self._watch(node, entry, now)

    def _unplace(self, entry: _Entry) -> None:
        group = entry.group
        if group is None:
            return
        if entry.place is None:
            group.full -= 1
        else:
            del group.room[bisect_left(group.room, entry.place)]
        entry.group = entry.place = None
        # Capabilities are chosen by peers, so groups without a node would pile up.
        if group.is_empty:
            self._drop(group)

    def _watch(self, node: Node, entry: _Entry, now: float) -> None:
        """Note when time changes this node, unless an earlier check is noted already."""
        # A held poll keeps its node fresh, and its end marks the node as changed.
        silent = inf if node.polls else node.last_seen + self._lease - _MARGIN
        # Most leases are far from their end, and this runs for every change of a node.
        first = node.first_lease_end
        moment = min(silent, first if now < first else node.next_lease_end(now))
        # At an earlier moment the node is placed and watched again, so a later one needs no entry.
        if moment < entry.moment:
            entry.moment = moment
            heappush(self._moments, (moment, next(self._numbers), node))
            if len(self._moments) > _MAX_STALE_MOMENTS * len(self._entries):
                self._rebuild()

    def _rebuild(self) -> None:
        """Keep the earliest moment of each node only; the others are never used."""
        numbered = ((entry.moment, node) for node, entry in self._entries.items())
        self._moments = sorted(
            (moment, next(self._numbers), node) for moment, node in numbered if moment < inf
        )

    def _group(self, capabilities: Capabilities) -> Group:
        group = self._groups.get(capabilities)
        if group is None:
            group = self._groups[capabilities] = Group(capabilities, _RANK[capabilities.tier])
            for model in capabilities.models:
                self._by_model.setdefault(model, {})[group] = None
        return group

    def _drop(self, group: Group) -> None:
        del self._groups[group.capabilities]
        for model in group.capabilities.models:
            groups = self._by_model[model]
            del groups[group]
            if not groups:
                del self._by_model[model]
