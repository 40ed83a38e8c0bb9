"""Children and statuses that somebody undoes each time: written again, but ever less often.

The first writes of the same content are made at once, for people and deletions are repaired so.
Another controller that answers each of them would make a storm of writes; it gets pauses that
double instead. Other content is a wish of the user and never waits. Kept in memory only: a
restart forgives.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tokenplace_operator.api.kinds import Key, Kind, Object
from tokenplace_operator.children.drift import first_difference
from tokenplace_operator.kube.errors import FieldConflict
from tokenplace_operator.metrics import Metrics

FREE_WRITES = 10
FIRST_PAUSE_SECONDS = 1.0
LAST_PAUSE_SECONDS = 300.0
QUIET_SECONDS = 60.0
"""A child that stays as wanted for so long, and for twice its pause, is no longer contested."""
MAX_REMEMBERED = 4096
MAX_NAMED = 3

Where = tuple[Kind, Key]


@dataclass(frozen=True, slots=True)
class Contest:
    """A child that somebody undoes. how: which field, and by whom where the server tells.

    seconds: until it may be written again, or else until it has been quiet for long enough.
    """

    kind: str
    name: str
    how: str
    seconds: float


@dataclass(slots=True)
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
        return min(FIRST_PAUSE_SECONDS * 2.0 ** min(beyond, 16), LAST_PAUSE_SECONDS)

    @property
    def quiet_at(self) -> float:
        return self.at + max(QUIET_SECONDS, 2 * self.pause)


class Contests:
    """What was written to which child, how often, and when; times by a monotonic clock."""

    def __init__(self, clock: Callable[[], float], metrics: Metrics) -> None:
        self._clock = clock
        self._written: OrderedDict[Where, _Written] = OrderedDict()
        metrics.contested.set_function(self._number)

    def is_early(self, where: Where, content: str) -> bool:
        """Whether this content must not be written to the child yet."""
        last = self._last(where)
        if last is None or last.content != content:
            return False
        return self._clock() < last.at + last.pause

    def wrote(self, where: Where, content: str, how: str) -> None:
        """Note a write, and what had been undone: what `undone` says."""
        last = self._last(where)
        now = self._clock()
        if last is None or last.content != content:
            self._written[where] = _Written(content, now)
        else:
            last.at, last.times, last.how = now, last.times + 1, how
        self._written.move_to_end(where)
        if len(self._written) > MAX_REMEMBERED:
            self._written.popitem(last=False)

    def standing(self, children: Iterable[Where]) -> tuple[Contest, ...]:
        """Those of the children that are contested now."""
        found = []
        for where in children:
            last = self._last(where)
            if last is not None and last.pause:
                kind, (_, name) = where
                found.append(Contest(kind.kind, name, last.how, self._left(last)))
        return tuple(found)

    def _left(self, last: _Written) -> float:
        now, again = self._clock(), last.at + last.pause
        return (again if now < again else last.quiet_at) - now

    def _last(self, where: Where) -> _Written | None:
        last = self._written.get(where)
        if last is not None and self._clock() >= last.quiet_at:
            del self._written[where]
            return None
        return last

    def _number(self) -> int:
        now = self._clock()
        return sum(1 for one in self._written.values() if one.pause and now < one.quiet_at)


def undone(desired: Object, live: Object | None, conflicts: tuple[FieldConflict, ...] = ()) -> str:
    """What was done to a child: `.spec.replicas is set by kubectl`; never a value."""
    if conflicts:
        named = [f"{one.field} is set by {one.manager}" for one in conflicts[:MAX_NAMED]]
        return ", ".join(named)
    if live is None:
        return "it is deleted"
    return f"{first_difference(desired, live) or 'a field'} is changed"
