"""The registered compute nodes as anybody may see them: load and abilities, and no keys."""

from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from tokenplace_relay.server.response import JsonObject
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.machine import StateMachine
from tokenplace_relay.state.model import Node
from tokenplace_relay.telemetry.logs import fingerprint

FRESH_SECONDS: Final = 1.0
"""Every open page asks once a second; all of them share one list."""


@dataclass(slots=True)
class Roster:
    """The list of nodes, at most a second old, and never with a node too many or too few."""

    config: Config
    state: StateMachine
    _entries: list[JsonObject] = field(default_factory=list)
    _keys: set[str] = field(default_factory=set)
    _made_at: float = -FRESH_SECONDS

    def entries(self) -> list[JsonObject]:
        """One entry per node, sorted by what stands for its key."""
        now = self.state.now()
        if now - self._made_at >= FRESH_SECONDS or self._keys != self.state.nodes.keys():
            nodes = list(self.state.nodes.values())
            made = [_entry(node, now, self.config.node_lease) for node in nodes]
            self._entries = sorted(made, key=lambda entry: str(entry["server_public_key"]))
            self._keys, self._made_at = set(self.state.nodes), now
        return self._entries


ROSTER = web.AppKey("roster", Roster)


def _entry(node: Node, now: float, lease: int) -> JsonObject:
    return {
        # Whoever knows a node's key can write to it and poll for it.
        "server_public_key": f"sha256:{fingerprint(node.key)}",
        "age_seconds": round(max(0.0, now - node.last_seen), 3),
        "next_ping_in_x_seconds": lease,
        "queue_depth": len(node.queue),
        "in_flight_count": node.in_flight(now),
        "max_concurrency": node.capabilities.concurrency,
        "load_score": node.load(now),
        "capabilities": node.capabilities.as_json(),
    }
