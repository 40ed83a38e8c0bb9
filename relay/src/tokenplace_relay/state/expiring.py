"""Entries with one common time to live: the oldest ends first, and every operation is O(1)."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ExpiringMap(Generic[K, V]):
    """A map whose entries end `seconds` after they were put in; the caller removes ended ones."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._entries.values())

    def put(self, key: K, value: V, now: float) -> float:
        """Add or renew an entry; return when it ends."""
        ends = now + self.seconds
        self._entries[key] = ends, value
        # An OrderedDict leaves a renewed key in its old place, which would break the order by end.
        self._entries.move_to_end(key)
        return ends

    def get(self, key: K, now: float) -> V | None:
        """The entry, unless it has ended."""
        ends, value = self._entries.get(key, (now, None))
        return value if ends > now else None

    def drop(self, key: K) -> None:
        """Remove an entry, if it is there."""
        self._entries.pop(key, None)

    def take_ended(self, now: float, most: int) -> list[V]:
        """Remove and return ended entries, the oldest first, at most `most`."""
        ended: list[V] = []
        while self._entries and len(ended) < most:
            # With one common time to live the entries are in order, so the first live one ends the
            # scan.
            if next(iter(self._entries.values()))[0] > now:
                break
            ended.append(self.take_oldest())
        return ended

    def take_oldest(self) -> V:
        """Remove and return the entry that ends next."""
        return self._entries.popitem(last=False)[1][1]
