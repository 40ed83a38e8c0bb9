"""Which compute node a client is sent to: the smallest capable tier, then the least loaded."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from tokenplace_relay.state.capabilities import TIERS
from tokenplace_relay.state.model import Node
from tokenplace_relay.state.node_index import Group
from tokenplace_relay.state.results import Choice, SelectedNode

POLICY: Final = "best_fit_smallest_capable_least_loaded_v1"
DEFAULT_MODEL: Final = "qwen3-8b-instruct"
ALIASES: Final = frozenset(
    {"llama-3.1-8b-instruct", "llama-3-8b-instruct", "gpt-3.5-turbo", "gpt-5-chat-latest"}
)
_RANK: Final = {tier: rank for rank, tier in enumerate(TIERS)}
Counts = dict[str, int]
_LAST: Final[tuple[int, float, int]] = (len(_RANK), 0.0, 0)
"""Sorts after every node."""


def resolve_model(name: str) -> str:
    """The model behind a name: trimmed, in lower case, aliases resolved."""
    model = name.strip().lower()
    return DEFAULT_MODEL if model in ALIASES else model


def choose(
    groups: Iterable[Group], tier: str
) -> tuple[Node | None, dict[str, int], dict[str, int]]:
    """Choose among groups that serve the model: (node, eligible by tier, full by tier).

    An unknown tier fits no node. Of nodes with equal load, the one that was chosen longest ago is
    next: a round robin without a cursor for each set of nodes.
    """
    eligible: dict[str, int] = {}
    full: dict[str, int] = {}
    best: Node | None = None
    best_order = _LAST
    lowest = _RANK.get(tier, len(_RANK))
    for group in groups:
        # A larger tier serves requests for a smaller one, never the reverse.
        if group.rank < lowest:
            continue
        name = group.capabilities.tier
        # Full nodes are counted for the error: busy nodes and missing nodes have different codes.
        if group.full:
            full[name] = full.get(name, 0) + group.full
        if group.room:
            eligible[name] = eligible.get(name, 0) + len(group.room)
            load, turn, node = group.room[0]
            order = (group.rank, load, turn)
            if order < best_order:
                best, best_order = node, order
    return best, eligible, full


def choice(
    node: Node | None, eligible: dict[str, int], full: dict[str, int], *, now: float, any_node: bool
) -> Choice:
    """The frozen outcome of a selection."""
    selected = None
    if node is not None:
        selected = SelectedNode(
            node.key, node.capabilities, len(node.queue), node.in_flight(now), node.load(now)
        )
    return Choice(selected, MappingProxyType(eligible), MappingProxyType(full), any_node)
