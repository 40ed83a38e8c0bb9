"""Capabilities of a compute node, checked field by field (token.place relay.py)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TIERS: Final[Mapping[str, int]] = {"8k-fast": 8192, "64k-full": 65536}
"""Context tier -> tokens of context, in rising order."""

BACKENDS: Final = frozenset({"cpu", "cuda", "metal", "vulkan", "gpu", "unknown"})
MAX_MODELS: Final = 64
MAX_MODEL_LENGTH: Final = 128
MAX_TOKENS: Final = 1_000_000
MAX_CONCURRENCY: Final = 128
_POSITIVE: Final = "capability token reservations and concurrency must be positive integers"


class InvalidCapabilities(ValueError):
    """Capabilities that a compute node sent are malformed; the text names the field."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Checked capabilities; the defaults are for a node that sends none."""

    # No models: such a node is listed but never selected, as in token.place relay.py.
    models: tuple[str, ...] = ()
    tier: str = "8k-fast"
    context_tokens: int = 8192
    output_reservation: int = 1024
    output_tokens: int = 1024
    concurrency: int = 1
    backend: str = "unknown"

    def as_json(self) -> dict[str, Any]:
        """The JSON that nodes send and diagnostics show."""
        return {
            "api_version": "v1",
            "supported_model_ids": list(self.models),
            "active_context_tier": self.tier,
            "maximum_total_context_tokens": self.context_tokens,
            "default_output_token_reservation": self.output_reservation,
            "maximum_output_tokens": self.output_tokens,
            "max_concurrency": self.concurrency,
            "backend_class": self.backend,
        }


def parse(given: object) -> Capabilities:
    """Check capabilities as a node sends them; raises InvalidCapabilities."""
    if not isinstance(given, dict):
        raise InvalidCapabilities("capabilities must be an object")
    # True equals 1 in Python, and is no version.
    if given.get("api_version", "v1") not in ("v1", 1) or given.get("api_version") is True:
        raise InvalidCapabilities("capabilities.api_version must be v1")
    tier = _tier(given)
    context = _context(given, tier)
    reservation = _integer(given, "default_output_token_reservation", 1024, MAX_TOKENS)
    # A node that sends only a reservation above 1024 must not be refused because of a maximum that
    # it did not send.
    output = _integer(given, "maximum_output_tokens", max(1024, reservation), MAX_TOKENS)
    if reservation > output:
        raise InvalidCapabilities("default output reservation cannot exceed maximum output tokens")
    return Capabilities(
        models=_models(given),
        tier=tier,
        context_tokens=context,
        output_reservation=reservation,
        output_tokens=output,
        concurrency=_integer(given, "max_concurrency", 1, MAX_CONCURRENCY),
        backend=_backend(given),
    )


def _tier(given: dict[str, Any]) -> str:
    # `context_tier` is an alias in token.place relay.py.
    tier = given.get("active_context_tier", given.get("context_tier", "8k-fast"))
    if not isinstance(tier, str):
        raise InvalidCapabilities("capabilities.active_context_tier must be a string")
    if tier not in TIERS:
        raise InvalidCapabilities("capabilities.active_context_tier is unsupported")
    return tier


def _context(given: dict[str, Any], tier: str) -> int:
    name = "maximum_total_context_tokens"
    tokens = given.get(name, TIERS[tier])
    if not _is_count(tokens, MAX_TOKENS):
        raise InvalidCapabilities(f"capabilities.{name} must be a positive integer")
    if tokens < TIERS[tier]:
        raise InvalidCapabilities(f"capabilities.{name} is below the active tier")
    return int(tokens)


def _models(given: dict[str, Any]) -> tuple[str, ...]:
    # `model_ids` is an alias in token.place relay.py.
    models = given.get("supported_model_ids", given.get("model_ids"))
    wrong = InvalidCapabilities("capabilities.supported_model_ids must be a non-empty string list")
    if not isinstance(models, list) or not 1 <= len(models) <= MAX_MODELS:
        raise wrong
    cleaned = [model.strip().lower() if isinstance(model, str) else "" for model in models]
    if not all(1 <= len(model) <= MAX_MODEL_LENGTH for model in cleaned):
        raise wrong
    return tuple(dict.fromkeys(cleaned))


def _backend(given: dict[str, Any]) -> str:
    backend = given.get("backend_class", "unknown")
    if not isinstance(backend, str):
        raise InvalidCapabilities("capabilities.backend_class must be a string")
    name = backend.strip().lower()
    # A new backend is no reason to refuse a node: selection does not depend on it.
    return name if name in BACKENDS else "unknown"


def _integer(given: dict[str, Any], name: str, default: int, limit: int) -> int:
    value = given.get(name, default)
    if not _is_count(value, limit):
        raise InvalidCapabilities(_POSITIVE)
    return int(value)


def _is_count(value: object, limit: int) -> bool:
    # bool is a subclass of int, and JSON's true is no count.
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limit
