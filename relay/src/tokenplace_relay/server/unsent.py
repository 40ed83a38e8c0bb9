"""Counts the bytes of responses that peers have not read yet, over all connections."""

from tokenplace_relay.server.response import ApiError


class UnsentBytes:
    """Bytes waiting to be sent; a large response is refused when there are too many."""

    __slots__ = ("fresh", "held", "is_tracked", "limit", "small")

    def __init__(self, limit: int, small: int) -> None:
        self.limit = limit
        self.small = small
        """Responses of at most this many bytes are never refused."""
        self.held = 0
        """Bytes that the kernel did not accept yet."""
        self.fresh = 0
        """Bytes of large responses made in this turn of the event loop, not written yet."""
        self.is_tracked = False
        """Whether connections report their bytes; aiohttp's own connections do not."""

    @property
    def is_full(self) -> bool:
        """Whether large responses are refused now."""
        # Responses reach the kernel at the end of the turn. Without `fresh`, any number of large
        # responses made in one turn would pass.
        return self.held + self.fresh >= self.limit

    def reserve(self, size: int) -> None:
        """Count a large response of `size` bytes that is made now; raises ApiError 503."""
        self.check(size)
        # Only WriteBatcher resets `fresh`, and aiohttp's own connections do not use it.
        if self.is_tracked:
            self.fresh += size

    def check(self, size: int) -> None:
        """Raise ApiError 503 for a large response of `size` bytes while the limit is reached."""
        if size > self.small and self.is_full:
            text = "This relay is sending too much at once"
            raise ApiError(503, text, "relay_full", retry_after=5)
