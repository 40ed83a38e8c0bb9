"""How the relays of a test run serve HTTP: `pytest tests/relay --plain-http` sets it."""

from dataclasses import dataclass


@dataclass
class Mode:
    """The mode of every relay that a test starts."""

    plain_http: bool = False
    """Whether relays use aiohttp's own connections and responses."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a relay process in this mode."""
        return {"RELAY_PLAIN_HTTP": "true"} if self.plain_http else {}


MODE = Mode()
