"""Which compute node a client is sent to: the smallest capable tier, then the least loaded."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tokenplace_relay.capabilities import TIERS
from tokenplace_relay.state import Node

POLICY: Final = "best_fit_smallest_capable_least_loaded_v1"
DEFAULT_MODEL: Final = "qwen3-8b-instruct"
ALIASES: Final = frozenset(
    {"llama-3.1-8b-instruct", "llama-3-8b-instruct", "gpt-3.5-turbo", "gpt-5-chat-latest"}
)
_ORDER: Final = tuple(TIERS)


@dataclass(frozen=True, slots=True)
class Choice:
    """Outcome of a selection; node is None when none could be chosen."""

    node: Node | None
    eligible: dict[str, int]
    """Tier -> nodes that fit and have room."""
    full: dict[str, int]
    """Tier -> nodes that fit but have no room."""


def resolve_model(asked: str) -> str:
    """The model behind a name: trimmed, in lower case, aliases resolved."""
    name = asked.strip().lower()
    return DEFAULT_MODEL if name in ALIASES else name


def choose(nodes: Iterable[Node], model: str, tier: str, *, now: float, max_queue: int) -> Choice:
    """Choose among fresh nodes for a resolved model and a known tier.

    Of nodes that tie, the one that was chosen longest ago is next: a round robin that needs no
    cursor for each set of them.
    """
    fitting = [node for node in nodes if _fits(node, model, tier)]
    room = [node for node in fitting if _has_room(node, now, max_queue)]
    full = [node for node in fitting if not _has_room(node, now, max_queue)]
    node = min(room, key=lambda one: (_rank(one), one.load(now), one.turn), default=None)
    return Choice(node, _count(room), _count(full))


def _fits(node: Node, model: str, tier: str) -> bool:
    able = node.capabilities
    return model in able.models and _ORDER.index(able.tier) >= _ORDER.index(tier)


def _has_room(node: Node, now: float, max_queue: int) -> bool:
    return node.in_flight(now) < node.capabilities.concurrency and len(node.queue) < max_queue


def _rank(node: Node) -> int:
    return _ORDER.index(node.capabilities.tier)


def _count(nodes: list[Node]) -> dict[str, int]:
    tiers = [node.capabilities.tier for node in nodes]
    return {tier: tiers.count(tier) for tier in TIERS if tier in tiers}
