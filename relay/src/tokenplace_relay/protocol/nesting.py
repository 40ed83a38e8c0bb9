"""Limits the JSON outside of strings: nested values take many times their bytes in memory."""

import re
from typing import Final

MAX_BYTES: Final = 64 * 1024
# Possessive quantifiers never backtrack, so a hostile body cannot make the search slow.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A JSON string; one without an end matches too, so that no search starts inside of it."""


def is_sparse(raw: bytes, most: int = MAX_BYTES) -> bool:
    """Whether at most `most` bytes are outside of strings; each string counts as one byte more."""
    outside, end = 0, 0
    if len(raw) <= most:
        return True
    for string in _STRING.finditer(raw):
        # Each string becomes an object, so a list of empty strings must not count as nothing.
        outside += string.start() - end + 1
        end = string.end()
        if outside > most:
            return False
    return outside + len(raw) - end <= most
