"""Rates such as `60/hour`: their text form in settings, and what it means."""

import re
from dataclasses import dataclass
from typing import Final

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_FORM: Final = re.compile(r"(\d{1,9})\s*(?:/|per)\s*(?:(\d{1,6})\s*)?(second|minute|hour|day)s?")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` events in `seconds` seconds; `text` is the form shown to callers."""

    amount: int
    seconds: int
    text: str


def parse(text: str) -> Rate | None:
    """Parse `60/hour`, `5 per 2 minutes`, or `off`, which is None; raises ValueError."""
    cleaned = text.strip().lower()
    if cleaned == "off":
        return None
    match = _FORM.fullmatch(cleaned)
    if match is None:
        raise ValueError("must look like 60/hour, 5 per 2 minutes, or off")
    amount, times, unit = int(match[1]), int(match[2] or 1), match[3]
    if amount < 1 or times < 1:
        raise ValueError("must allow at least 1 in at least 1; off is no limit")
    return Rate(amount, times * _SECONDS[unit], f"{amount} per {times} {unit}")


def rate_error(text: str) -> str | None:
    """Return why a setting is not a rate, or None."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return None
