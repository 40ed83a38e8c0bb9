"""The outcome of a reconcile."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """requeue_after: seconds until the next reconcile; None: only an event causes it."""

    requeue_after: float | None = None
