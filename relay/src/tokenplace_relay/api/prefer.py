"""The `wait` preference of RFC 7240: how long a client wants a call to be held."""

import re
from collections.abc import Sequence
from typing import Final

from multidict import istr

PREFER: Final = istr("Prefer")
_WAIT: Final = re.compile(r'wait\s*=\s*"?(\d{1,9})"?', re.IGNORECASE)


def preference(values: Sequence[str], most: float) -> int:
    """Return the seconds of the `Prefer` headers, at most `most`; 0 without a preference.

    The first `wait` counts. Parameters after `;` and all other preferences are ignored.
    """
    # A list header may be split over several lines (RFC 9110).
    for part in ",".join(values).split(","):
        match = _WAIT.fullmatch(part.partition(";")[0].strip())
        if match is not None:
            return min(int(match[1]), int(most))
    return 0
