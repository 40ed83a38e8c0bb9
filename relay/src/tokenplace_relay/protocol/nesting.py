"""How much of JSON stands outside of its texts: what nests becomes many times its own bytes."""

import re
from typing import Final

MOST_BYTES: Final = 64 * 1024
_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""Also one that has no end, so that a search never begins anew within it."""


def is_sparse(raw: bytes, most: int = MOST_BYTES) -> bool:
    """Whether at most so many bytes stand outside of texts, where each text counts as one more."""
    outside, end = 0, 0
    if len(raw) <= most:
        return True
    for text in _TEXT.finditer(raw):
        outside += text.start() - end + 1
        end = text.end()
        if outside > most:
            return False
    return outside + len(raw) - end <= most
