"""A write that another writer keeps reverting, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Revert:
    """An object that another writer keeps reverting.

    how: the changed field, and its writer where the server names one.
    seconds: until the next write, or after it until the backoff ends.
    """

    kind: str
    name: str
    how: str
    seconds: float
