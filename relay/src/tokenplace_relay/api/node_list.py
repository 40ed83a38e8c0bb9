"""The public list of compute nodes: load and capabilities, without their keys."""

from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from tokenplace_relay.server.response import JsonObject
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.interface import State
from tokenplace_relay.state.results import NodeEntry
from tokenplace_relay.telemetry.logs import fingerprint


@dataclass(slots=True)
class NodeList:
    """The list as JSON; made once for each snapshot of the state, and shared by all callers."""

    config: Config
    state: State
    _snapshot: tuple[NodeEntry, ...] = ()
    _entries: list[JsonObject] = field(default_factory=list)

    async def entries(self) -> list[JsonObject]:
        """One entry per node, sorted by the fingerprint of its key; raises StateUnreachable."""
        snapshot = await self.state.node_list()
        # The state returns the same tuple until it makes a new list, so identity is enough.
        if snapshot is not self._snapshot:
            made = [_entry(node, self.config.node_lease) for node in snapshot]
            self._entries = sorted(made, key=lambda entry: str(entry["server_public_key"]))
            self._snapshot = snapshot
        return self._entries


NODE_LIST: Final = web.AppKey("node_list", NodeList)


def _entry(node: NodeEntry, lease: int) -> JsonObject:
    return {
        # A fingerprint, because any caller with a node's key could poll in its name.
        "server_public_key": f"sha256:{fingerprint(node.key)}",
        "age_seconds": round(node.age, 3),
        "next_ping_in_x_seconds": lease,
        "queue_depth": node.queue_depth,
        "in_flight_count": node.in_flight,
        "max_concurrency": node.capabilities.concurrency,
        "load_score": node.load,
        "capabilities": node.capabilities.as_json(),
    }
