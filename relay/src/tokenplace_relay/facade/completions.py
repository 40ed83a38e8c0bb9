"""Requests and answers of OpenAI's API: checks and shapes, as pure functions.

Bounds are those of compute nodes, so that a node does not refuse a request that passed here.
"""

import sys
from dataclasses import dataclass, field
from typing import Any, Final

from tokenplace_relay.server.response import ApiError, JsonObject
from tokenplace_relay.state.selection import ALIASES, DEFAULT_MODEL, resolve_model

MAX_MESSAGES: Final = 64
MAX_CONTENT_BYTES: Final = 512 * 1024
MAX_OUTPUT_TOKENS: Final = 8192
MAX_STOPS: Final = 16
MAX_STOP_LENGTH: Final = 256
_ROLES: Final = frozenset({"system", "user", "assistant"})
_NUMBERS: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_READ: Final = frozenset(
    {
        "model", "messages", "prompt", "stream", "n", "max_tokens", "max_completion_tokens", "seed",
        "stop", "metadata", "encrypted", "client_public_key", *_NUMBERS,
    }
)  # fmt: skip
_IGNORED: Final = frozenset(
    {"user", "store", "stream_options", "safety_identifier", "prompt_cache_key", "service_tier"}
)
_USAGE: Final = ("prompt_tokens", "completion_tokens", "total_tokens")


@dataclass(frozen=True, slots=True)
class Completion:
    """A checked request."""

    model: str
    """The name in the request; the answer repeats it."""
    messages: list[JsonObject] = field(repr=False)
    options: JsonObject
    metadata: JsonObject | None = field(default=None, repr=False)


def chat(body: JsonObject) -> Completion:
    """Check the body of a chat completion; raises ApiError that names the parameter."""
    return _request(body, messages(body.get("messages")))


def text(body: JsonObject) -> Completion:
    """Check the body of a text completion: its prompt is one message of the user."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise refusal("prompt must be a string", "prompt")
    return _request(body, messages([{"role": "user", "content": prompt}]))


def messages(given: object) -> list[JsonObject]:
    """Messages as compute nodes take them: role, content and name, all of them text."""
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_MESSAGES:
        raise refusal(f"messages must be a list of 1 to {MAX_MESSAGES} messages", "messages")
    checked = [_message(item, f"messages[{number}]") for number, item in enumerate(given)]
    if sum(len(message["content"].encode()) for message in checked) > MAX_CONTENT_BYTES:
        raise refusal(f"messages are larger than {MAX_CONTENT_BYTES} bytes", "messages")
    return checked


def chat_answer(
    completion: Completion, answer: JsonObject, request_id: str, created: int
) -> JsonObject:
    """The chat.completion object for a node's answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": _content(answer)},
        "finish_reason": _finish(answer),
        "logprobs": None,
    }
    head = {"id": f"chatcmpl-{request_id}", "object": "chat.completion", "created": created}
    return _answer(completion, answer, head, choice)


def text_answer(
    completion: Completion, answer: JsonObject, request_id: str, created: int
) -> JsonObject:
    """The text_completion object for a node's answer."""
    choice = {
        "index": 0,
        "text": _content(answer),
        "finish_reason": _finish(answer),
        "logprobs": None,
    }
    head = {"id": f"cmpl-{request_id}", "object": "text_completion", "created": created}
    return _answer(completion, answer, head, choice)


def refusal(message: str, param: str | None, code: str = "invalid_value") -> ApiError:
    """An error 400 in OpenAI's shape; param names the wrong parameter."""
    return failure(400, message, code, "invalid_request_error", param)


def failure(
    status: int,
    message: str,
    code: str,
    kind: str,
    param: str | None = None,
    *,
    retry_after: int | None = None,
) -> ApiError:
    """An error in OpenAI's shape; retry_after is in seconds."""
    extra = {"type": kind, "param": param}
    return ApiError(status, message, code, extra=extra, retry_after=retry_after)


def _request(body: JsonObject, checked: list[JsonObject]) -> Completion:
    if body.get("stream"):
        text = "Streaming is not supported by API v1; send stream: false"
        raise refusal(text, "stream", "streaming_not_supported")
    if body.get("n") not in (None, 1):
        raise refusal("n must be 1", "n")
    for name in sorted(body.keys() - _READ - _IGNORED):
        # A parameter that is turned off, such as `logprobs: false`, changes nothing.
        if body[name]:
            raise refusal(f"{name[:64]} is not supported", name[:64], "unsupported_parameter")
    metadata = body.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise refusal("metadata must be an object", "metadata")
    return Completion(_model(body), checked, _options(body), metadata)


def _model(body: JsonObject) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model.strip():
        raise refusal("model must be a string", "model")
    if resolve_model(model) != DEFAULT_MODEL:
        offered = ", ".join([DEFAULT_MODEL, *sorted(ALIASES)])
        text = f"This model is not served here; use one of: {offered}"
        raise refusal(text, "model", "model_not_supported")
    return model


def _message(given: object, where: str) -> JsonObject:
    if not isinstance(given, dict):
        raise refusal(f"{where} must be an object", where)
    role = given.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise refusal(f"{where}.role must be system, user or assistant", f"{where}.role")
    message = {"role": role, "content": _text(given.get("content"), f"{where}.content")}
    name = given.get("name")
    if name is not None:
        if not isinstance(name, str) or not 1 <= len(name) <= 64:
            raise refusal(f"{where}.name must be a string of 1 to 64 characters", f"{where}.name")
        message["name"] = name
    if any(given[key] for key in given.keys() - {"role", "content", "name"}):
        raise refusal(f"{where} may only have role, content and name", where)
    return message


def _text(content: object, where: str) -> str:
    """The text of a content, which is a string or a list of text parts; raises ApiError."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") if _is_text_part(part) else None for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(parts) > 0:
            return "".join(texts)
    raise refusal(f"{where} must be text", where)


def _is_text_part(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


def _options(body: JsonObject) -> JsonObject:
    options: JsonObject = {}
    for name in _NUMBERS:
        if body.get(name) is not None:
            options[name] = _number(body[name], name)
    for name in ("max_completion_tokens", "max_tokens"):
        if body.get(name) is not None:
            options["max_tokens"] = _whole(body[name], name, 1, MAX_OUTPUT_TOKENS)
    if body.get("seed") is not None:
        options["seed"] = _whole(body["seed"], "seed", -(2**63), 2**63 - 1)
    if body.get("stop") is not None:
        options["stop"] = _stops(body["stop"])
    return options


def _number(value: object, name: str) -> float:
    # The range also excludes NaN, infinity, and integers that no float can hold.
    most = sys.float_info.max
    if isinstance(value, bool) or not isinstance(value, int | float) or not -most <= value <= most:
        raise refusal(f"{name} must be a number", name)
    return value


def _whole(value: object, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise refusal(f"{name} must be a whole number from {low} to {high}", name)
    return value


def _stops(value: object) -> list[str]:
    stops = [value] if isinstance(value, str) else value
    if isinstance(stops, list) and len(stops) <= MAX_STOPS:
        texts = [stop for stop in stops if isinstance(stop, str) and len(stop) <= MAX_STOP_LENGTH]
        if len(texts) == len(stops):
            return texts
    text = f"stop must be at most {MAX_STOPS} texts of at most {MAX_STOP_LENGTH} characters"
    raise refusal(text, "stop")


def _content(answer: JsonObject) -> str:
    message = answer.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str):
        text = "The compute node answered without a message"
        raise failure(502, text, "compute_node_invalid_payload", "server_error")
    return content


def _finish(answer: JsonObject) -> str:
    reason = answer.get("finish_reason")
    return reason if isinstance(reason, str) else "stop"


def _answer(
    completion: Completion, answer: JsonObject, head: JsonObject, choice: JsonObject
) -> JsonObject:
    shaped: JsonObject = {**head, "model": completion.model, "choices": [choice]}
    # The usage comes from the node. When it is malformed it is left out, not guessed.
    usage = answer.get("usage")
    if isinstance(usage, dict) and all(_is_count(usage.get(name)) for name in _USAGE):
        shaped["usage"] = {name: usage[name] for name in _USAGE}
    if completion.metadata is not None:
        shaped["metadata"] = completion.metadata
    return shaped


def _is_count(value: Any) -> bool:  # noqa: ANN401 (any JSON value)
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
