"""The errors of the API server as a few classes."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tokenplace_operator.api.kinds import Object

_CONFLICT_WITH = re.compile(r'conflict with "([^"]+)"')
# The last one: after another writer changed a port's number, our apply adds a port of the same
# name, and the server rejects the result.
_CANNOT_CHANGE = ("immutable", "may not change", "Duplicate value")
"""Words in the messages of the server's own rules on fields that cannot be changed."""


class KubeError(Exception):
    """The API server refused or did not answer; `code` 0 means no answer."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that another field manager owns: `.spec.replicas`, `kubectl`."""

    field: str
    manager: str


class Conflict(KubeError):  # noqa: N818 (named as the API names them)
    """409: a stale resourceVersion, a name in use, or fields of other managers in `causes`."""

    def __init__(
        self, code: int, reason: str, message: str, causes: tuple[FieldConflict, ...] = ()
    ) -> None:
        super().__init__(code, reason, message)
        self.causes = causes


class NotFound(KubeError):  # noqa: N818 (named as the API names them)
    """404: no such object, or no such kind."""

    @property
    def knows_kind(self) -> bool:
        """Whether only the object is missing: its name is in quotes, of an unknown kind nothing."""
        return '"' in self.message


class Invalid(KubeError):  # noqa: N818 (named as the API names them)
    """400 or 422: the object breaks a rule; a retry does not help.

    is_immutable: whether a rule of the kind itself forbids this change of the live object, so that
    only a new object can satisfy it.
    """

    def __init__(self, code: int, reason: str, message: str, *, is_immutable: bool = False) -> None:
        super().__init__(code, reason, message)
        self.is_immutable = is_immutable


class Forbidden(KubeError):  # noqa: N818 (named as the API names them)
    """401 or 403: the operator lacks a right; the message names it."""


class Unavailable(KubeError):  # noqa: N818 (named as the API names them)
    """429, 5xx, a broken connection or no answer in time; `retry_after` is in seconds."""

    def __init__(
        self, code: int, reason: str, message: str, retry_after: float | None = None
    ) -> None:
        super().__init__(code, reason, message)
        self.retry_after = retry_after


def error_of(
    code: int | None,
    phrase: str | None,
    body: str | bytes | None,
    headers: Mapping[str, str] | None,
) -> KubeError:
    """Map the Status body of a refusal to our classes; phrase: what HTTP calls the code."""
    code = int(code or 0)
    try:
        status = json.loads(body or "{}")
    except ValueError:
        status = {}
    # A proxy in front of the API server may answer with a body of its own.
    if not isinstance(status, dict):
        status = {}
    reason = str(status.get("reason") or phrase or "")
    # Bounded, because it is copied into conditions and logs.
    message = str(status.get("message") or "")[:1000]
    if code == 409:
        return Conflict(code, reason, message, _field_conflicts(status))
    if code == 429 or code >= 500:
        return Unavailable(code, reason, message, _retry_after(headers))
    if code in {400, 422}:
        return Invalid(code, reason, message, is_immutable=code == 422 and _forbids_change(status))
    classes = {401: Forbidden, 403: Forbidden, 404: NotFound}
    return classes.get(code, KubeError)(code, reason, message)


def _forbids_change(status: Object) -> bool:
    """Whether a rule of the kind itself does: admission policies may use the same words.

    The denial of a policy has no reason in its causes; a webhook could set one.
    """
    if "denied the request" in str(status.get("message")):
        return False
    return any(
        str(cause.get("reason")).startswith("FieldValue")
        and any(text in str(cause.get("message")) for text in _CANNOT_CHANGE)
        for cause in _causes(status)
    )


def _causes(status: Object) -> list[Object]:
    return (status.get("details") or {}).get("causes") or []


def _field_conflicts(status: Object) -> tuple[FieldConflict, ...]:
    conflicts = []
    for cause in _causes(status):
        if cause.get("reason") != "FieldManagerConflict":
            continue
        # The manager is only in the text; the Status has no field for it.
        match = _CONFLICT_WITH.search(cause.get("message", ""))
        conflicts.append(FieldConflict(cause.get("field", ""), match[1] if match else "unknown"))
    return tuple(conflicts)


def _retry_after(headers: Mapping[str, str] | None) -> float | None:
    value = (headers or {}).get("Retry-After", "")
    return float(value) if value.isdecimal() else None
