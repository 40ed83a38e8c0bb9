"""Which compute node a client is sent to: the smallest capable tier, then the least loaded."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tokenplace_relay.state.capabilities import TIERS
from tokenplace_relay.state.model import Node, per_place

POLICY: Final = "best_fit_smallest_capable_least_loaded_v1"
DEFAULT_MODEL: Final = "qwen3-8b-instruct"
ALIASES: Final = frozenset(
    {"llama-3.1-8b-instruct", "llama-3-8b-instruct", "gpt-3.5-turbo", "gpt-5-chat-latest"}
)
_RANK: Final = {tier: rank for rank, tier in enumerate(TIERS)}
_LAST: Final[tuple[int, float, int]] = (len(_RANK), 0.0, 0)
"""Comes after every node."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Outcome of a selection; node is None when none could be chosen."""

    node: Node | None
    eligible: dict[str, int]
    """Tier -> nodes that fit and have room."""
    full: dict[str, int]
    """Tier -> nodes that fit but have no room."""


NO_CHOICE: Final = Choice(None, {}, {})


def resolve_model(asked: str) -> str:
    """The model behind a name: trimmed, in lower case, aliases resolved."""
    name = asked.strip().lower()
    return DEFAULT_MODEL if name in ALIASES else name


def choose(nodes: Iterable[Node], model: str, tier: str, *, now: float, max_queue: int) -> Choice:
    """Choose among fresh nodes for a resolved model and a known tier.

    Of nodes that tie, the one that was chosen longest ago is next: a round robin that needs no
    cursor for each set of them.
    """
    room: dict[str, int] = {}
    full: dict[str, int] = {}
    best: Node | None = None
    best_order = _LAST
    lowest = _RANK[tier]
    for node in nodes:
        able = node.capabilities
        rank = _RANK[able.tier]
        if rank < lowest or model not in able.models:
            continue
        flying, queued = node.in_flight(now), len(node.queue)
        if flying >= able.concurrency or queued >= max_queue:
            full[able.tier] = full.get(able.tier, 0) + 1
            continue
        room[able.tier] = room.get(able.tier, 0) + 1
        order = (rank, per_place(flying + queued, able), node.selection_turn)
        if order < best_order:
            best, best_order = node, order
    return Choice(best, room, full)
