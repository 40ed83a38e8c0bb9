"""spec.state: how many relays may run depends on where they keep their state."""

from __future__ import annotations

from enum import StrEnum


class StateMode(StrEnum):
    """Where a relay keeps registrations and requests."""

    MEMORY = "Memory"
