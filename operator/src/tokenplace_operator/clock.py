"""The time of day."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the current time in UTC, for timestamps; durations use time.monotonic."""
    return datetime.now(UTC)
