"""A dict with an upper bound on its size."""

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

LIMIT = 4096
"""Entries that a cache of the operator keeps: enough for any cluster that one process serves."""


class BoundedDict(OrderedDict[K, V]):
    """Keeps the `limit` entries that were written last; the oldest makes room for a new one."""

    def __init__(self, limit: int = LIMIT) -> None:
        super().__init__()
        self._limit = limit

    def __setitem__(self, key: K, value: V) -> None:
        """Write an entry, which makes it the newest."""
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._limit:
            self.popitem(last=False)
