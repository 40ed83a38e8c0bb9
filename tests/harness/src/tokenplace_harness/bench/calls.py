"""What the benchmark's peers send, in the sizes of real ones, and what they are answered.

Bare aiohttp gets the same calls as the relay, and gives answers of the same size.
"""

from typing import Any, Final

Json = dict[str, Any]

RELAY: Final = "/api/v1/relay"
# Keys of 604 characters, a short chat of 1,240.
PARTS: Final = {"cipherkey": "k" * 344, "iv": "i" * 24}
HEADER: Final = {"protocol": "tokenplace_api_v1_relay_e2ee", "version": 1}
TEXT: Final = "c" * 1240
CREDENTIAL: Final = "c" * 43


def key(name: str) -> str:
    """A key as long as a real one."""
    return f"{name}-".ljust(604, "k")


def select(model: str) -> str:
    """The path of a client that asks for a node."""
    return f"{RELAY}/servers/next?model={model}&context_tier=8k-fast"


def request(client: Json, node: str) -> Json:
    """The request that a client submits; client: its key and the request's id."""
    sealed = {**PARTS, **HEADER, "ciphertext": TEXT, "cancel_token": "t" * 32}
    return {**client, "server_public_key": node, **sealed}


def control(node: str, request_id: str, credential: str) -> Json:
    """A node's word that it works on a request."""
    mine = {"server_public_key": node, "request_id": request_id}
    return {**mine, "control_credential": credential}


def response(client: Json) -> Json:
    """A node's answer."""
    return {**client, **PARTS, **HEADER, "chat_history": TEXT}


_SEALED: Final = {
    "client_public_key": key("client"), "request_id": "r" * 32,
    **PARTS, **HEADER, "ciphertext": TEXT, "chat_history": TEXT,
}  # fmt: skip
_DEADLINE: Final = {
    "request_deadline_remaining_seconds": 479.9988, "request_ttl_seconds": 479.9988,
}  # fmt: skip
ANSWERS: Final[dict[str, Json]] = {
    f"{RELAY}/servers/next": {
        "server_public_key": key("node"), "requested_context_tier": "8k-fast",
        "requested_model": "bench-model", "resolved_model": "bench-model",
        "selected_context_tier": "8k-fast", "selected_context_window_tokens": 8192,
        "selected_model_support": ["bench-model"],
        "selection_policy": "best_fit_smallest_capable_least_loaded_v1",
        "eligible_node_count": 2, "eligible_tier_counts": {"8k-fast": 2},
        "selected_queue_depth": 0, "selected_in_flight_count": 1,
        "selected_load_score": 0.007812, "spillover": False,
    },
    f"{RELAY}/requests": {"message": "Request received", **_DEADLINE},
    f"{RELAY}/servers/poll": {
        **_SEALED, **_DEADLINE, "e2ee_v1": True, "next_ping_in_x_seconds": 0
    },
    f"{RELAY}/servers/control": {"status": "active", "next_poll_seconds": 2.0, **_DEADLINE},
    f"{RELAY}/responses": {"message": "Response received and queued for client"},
    f"{RELAY}/responses/retrieve": _SEALED,
}  # fmt: skip
"""Path -> an answer as the relay gives it."""
