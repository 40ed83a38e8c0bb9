"""Backs off writes that another controller keeps reverting.

The first writes of the same content are made at once: they repair deletions and manual changes.
Another controller that answers each of them would cause a storm of writes, so the pauses between
further ones double. New content is a change by the user and is written at once. State is in
memory only: a restart begins without backoff.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tokenplace_operator.api.kinds import Identity, Object
from tokenplace_operator.bounded import BoundedDict
from tokenplace_operator.children.drift import first_difference
from tokenplace_operator.children.revert import Revert
from tokenplace_operator.kube.errors import FieldConflict
from tokenplace_operator.metrics import Metrics

FREE_WRITES = 10
FIRST_PAUSE_SECONDS = 1.0
LAST_PAUSE_SECONDS = 300.0
QUIET_SECONDS = 60.0
"""An object that stays as desired for this time, and for twice its pause, leaves the backoff."""
MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Written:
    content: str
    at: float
    how: str = ""
    times: int = 1

    @property
    def pause(self) -> float:
        beyond = self.times - FREE_WRITES
        if beyond < 0:
            return 0.0
        # The exponent is bounded, because a float overflows after a thousand repetitions.
        return min(FIRST_PAUSE_SECONDS * 2.0 ** min(beyond, 16), LAST_PAUSE_SECONDS)

    @property
    def quiet_at(self) -> float:
        # Longer than the pause itself: otherwise each backoff would end just before its next write.
        return self.at + max(QUIET_SECONDS, 2 * self.pause)


class WriteBackoff:
    """The last write to each object and how often it was repeated; by a monotonic clock."""

    def __init__(self, clock: Callable[[], float], metrics: Metrics) -> None:
        self._clock = clock
        self._written: BoundedDict[Identity, _Written] = BoundedDict()
        metrics.backed_off.set_function(self._number)

    def is_backing_off(self, target: Identity, content: str) -> bool:
        """Whether this content must not be written to the object yet."""
        last = self._last(target)
        if last is None or last.content != content:
            return False
        return self._clock() < last.at + last.pause

    def record(self, target: Identity, content: str, how: str) -> None:
        """Note a write; how: the change that it reverted, as `describe_revert` gives it."""
        last = self._last(target)
        now = self._clock()
        # Other content is a change of the relay or of its facts, not an answer to another writer.
        if last is None or last.content != content:
            self._written[target] = _Written(content, now)
        else:
            self._written[target] = _Written(content, now, how, last.times + 1)

    def active(self, targets: Iterable[Identity]) -> tuple[Revert, ...]:
        """The reverts of those of the objects that are in backoff now."""
        reverts = []
        for target in targets:
            last = self._last(target)
            if last is not None and last.pause:
                kind, (_, name) = target
                reverts.append(Revert(kind.kind, name, last.how, self._seconds(last)))
        return tuple(reverts)

    def _seconds(self, last: _Written) -> float:
        now, again = self._clock(), last.at + last.pause
        return (again if now < again else last.quiet_at) - now

    def _last(self, target: Identity) -> _Written | None:
        """The last write of an object, unless it has been quiet since."""
        last = self._written.get(target)
        return None if last is None or self._clock() >= last.quiet_at else last

    def _number(self) -> int:
        now = self._clock()
        return sum(1 for last in self._written.values() if last.pause and now < last.quiet_at)


def describe_revert(
    desired: Object, live: Object | None, conflicts: tuple[FieldConflict, ...] = ()
) -> str:
    """How an object differed from desired: `.spec.replicas is set by kubectl`; never a value."""
    if conflicts:
        named = [f"{conflict.field} is set by {conflict.manager}" for conflict in conflicts]
        return ", ".join(named[:MAX_NAMED])
    if live is None:
        return "it is deleted"
    return f"{first_difference(desired, live) or 'a field'} is changed"
