"""Redacts secrets in objects and logs before they leave a cluster; in doubt, it redacts.

Two passes. The first redacts by place: every environment value, every annotation except those of
controllers, every field with a name like a secret. The second redacts in all text the values that
the first pass redacted, and whatever matches the pattern of a credential.
"""

import re
from collections.abc import Iterable
from typing import Any

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.desired.child import APPLIED_HASH

REDACTED = "<redacted>"
MIN_LENGTH = 6
"""Shorter values, in characters, are too common to be replaced everywhere in logs."""

# Written by controllers, so they hold no secret, and support needs them.
_KEPT_ANNOTATIONS = {APPLIED_HASH, "deployment.kubernetes.io/revision"}
_SECRET_FIELD = re.compile(
    r"(token|secret|password|passwd|passphrase|credentials?|authorization|cookie|api[-_]?key"
    r"|private[-_]?key)$",
    re.IGNORECASE,
)
_MAPS = {"annotations", "volumeAttributes"}
"""Fields with all their values redacted."""

_PATTERNS = (
    # PEM blocks.
    re.compile(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----", re.DOTALL),
    # JSON web tokens: base64url of a JSON object, then two more parts.
    re.compile(r"eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"),
    # User and password in a URL; the host stays.
    re.compile(r"(?<=://)[^/\s:@\"]+:[^/\s@\"]+(?=@)"),
    # Values of an Authorization header.
    re.compile(r"(?i)(?<=bearer )[^\s\"',;]+|(?<=basic )[^\s\"',;]+"),
    # Assignments such as token=abc or "password": "abc"; the name stays.
    re.compile(
        r"(?i)(?<![a-z])((?:[\w-]*(?:token|secret|password|passwd|api[-_]?key|authorization|cookie))"
        r"[\"']?\s*[:=]\s*[\"']?)(?!bearer |basic |<redacted>|null|true|false)[^\s\"',;&}{]+"
    ),
    # Long runs of letters and digits: keys, tokens, ciphertext. The look-behind spares digests.
    re.compile(r"(?<![\w:+=])(?=[\w+=]*[0-9])(?=[\w+=]*[A-Za-z])[A-Za-z0-9+=_]{40,}"),
)


class Redactor:
    """Redacts one bundle: a value redacted in one object is redacted in all later text."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._public: set[str] = set()

    def learn(self, objects: Iterable[Object]) -> None:
        """Record which values of these objects are secret, and which are public."""
        for obj in objects:
            # The redacted copy: what remains visible in it is public.
            self._public |= set(_strings(self._redact_fields(obj)))

    def redact(self, obj: Object) -> Object:
        """A redacted copy of an object."""
        redacted: Object = self._redact_texts(self._redact_fields(obj))
        return redacted

    def redact_text(self, text: str) -> str:
        """A redacted copy of a text, such as a log."""
        # The longest first: a secret may contain another one.
        # A value that is also public, such as a host name, would make the text unreadable.
        for value in sorted(self._values - self._public, key=len, reverse=True):
            text = text.replace(value, REDACTED)
        for pattern in _PATTERNS:
            text = pattern.sub(_replacement, text)
        return text

    def _redact_fields(self, value: Any, name: str = "") -> Any:  # noqa: ANN401 (JSON of any shape)
        if isinstance(value, list):
            if name == "env":
                return [self._variable(item) for item in value]
            return [self._redact_fields(item, name) for item in value]
        if isinstance(value, dict):
            # managedFields are long and of no use for support.
            kept = {key: inner for key, inner in value.items() if key != "managedFields"}
            if name in _MAPS:
                return {key: self._entry(key, inner) for key, inner in kept.items()}
            return {key: self._field(key, inner) for key, inner in kept.items()}
        return value

    def _field(self, name: str, value: Any) -> Any:  # noqa: ANN401 (JSON of any shape)
        if isinstance(value, str) and _SECRET_FIELD.search(name):
            return self._record(value)
        return self._redact_fields(value, name)

    def _variable(self, variable: Object) -> Object:
        # A reference to a Secret names it but holds no value.
        if "value" not in variable:
            return variable
        return {**variable, "value": self._record(str(variable["value"]))}

    def _entry(self, key: str, value: object) -> str:
        return str(value) if key in _KEPT_ANNOTATIONS else self._record(str(value))

    def _record(self, value: str) -> str:
        """Remember a secret value for the second pass; returns its replacement."""
        if len(value) >= MIN_LENGTH:
            self._values.add(value)
        return REDACTED

    def _redact_texts(self, value: Any) -> Any:  # noqa: ANN401 (JSON of any shape)
        if isinstance(value, dict):
            return {key: self._redact_texts(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._redact_texts(item) for item in value]
        return self.redact_text(value) if isinstance(value, str) else value


def is_secret(name: str, value: str) -> bool:
    """Whether a named value is secret, by its name or by the pattern of a credential."""
    return bool(_SECRET_FIELD.search(name)) or Redactor().redact_text(value) != value


def _replacement(match: re.Match[str]) -> str:
    return (match.group(1) if match.re.groups else "") + REDACTED


def _strings(value: Any) -> Iterable[str]:  # noqa: ANN401 (JSON of any shape)
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
