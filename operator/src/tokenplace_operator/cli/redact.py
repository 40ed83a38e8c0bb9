"""Takes out of objects and logs what must not leave a cluster: when unsure, it goes.

Two passes. The first replaces values by their place: every environment value, every annotation
but those of the controllers, every field that is named like a secret. The second looks at
all text for the values that the first one took, and for what looks like a credential.
"""

import re
from collections.abc import Iterable
from typing import Any

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.desired.child import APPLIED_HASH

GONE = "<redacted>"
SHORTEST = 6
"""Values below this length are too common to be searched for in logs."""

_KEPT_ANNOTATIONS = {APPLIED_HASH, "deployment.kubernetes.io/revision"}
_SECRET_FIELD = re.compile(
    r"(token|secret|password|passwd|passphrase|credentials?|authorization|cookie|api[-_]?key"
    r"|private[-_]?key)$",
    re.IGNORECASE,
)
_MAPS = {"annotations", "volumeAttributes"}
"""Fields whose every value is redacted."""

_PATTERNS = (
    re.compile(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----", re.DOTALL),
    re.compile(r"eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"),
    re.compile(r"(?<=://)[^/\s:@\"]+:[^/\s@\"]+(?=@)"),
    re.compile(r"(?i)(?<=bearer )[^\s\"',;]+|(?<=basic )[^\s\"',;]+"),
    re.compile(
        r"(?i)(?<![a-z])((?:[\w-]*(?:token|secret|password|passwd|api[-_]?key|authorization|cookie))"
        r"[\"']?\s*[:=]\s*[\"']?)(?!bearer |basic |<redacted>|null|true|false)[^\s\"',;&}{]+"
    ),
    # Long runs of letters and digits that are no digest: keys, tokens, ciphertext.
    re.compile(r"(?<![\w:+=])(?=[\w+=]*[0-9])(?=[\w+=]*[A-Za-z])[A-Za-z0-9+=_]{40,}"),
)


class Redactor:
    """Redacts one bundle: what is taken from one object is taken from all text after it."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._public: set[str] = set()

    def learn(self, objects: Iterable[Object]) -> None:
        """Note what is secret in these objects, and what stays readable in them."""
        for one in objects:
            self._public |= set(_strings(self._strip(one)))

    def shown(self, obj: Object) -> Object:
        """A copy of an object that may be shown to others."""
        found: Object = self._scrub(self._strip(obj))
        return found

    def text(self, text: str) -> str:
        """A text, such as a log, that may be shown to others."""
        for value in sorted(self._values - self._public, key=len, reverse=True):
            text = text.replace(value, GONE)
        for pattern in _PATTERNS:
            text = pattern.sub(_replacement, text)
        return text

    def _strip(self, value: Any, name: str = "") -> Any:  # noqa: ANN401 (JSON of any shape)
        if isinstance(value, list):
            if name == "env":
                return [self._variable(one) for one in value]
            return [self._strip(one, name) for one in value]
        if isinstance(value, dict):
            kept = {key: one for key, one in value.items() if key != "managedFields"}
            if name in _MAPS:
                return {key: self._entry(key, one) for key, one in kept.items()}
            return {key: self._field(key, one) for key, one in kept.items()}
        return value

    def _field(self, name: str, value: Any) -> Any:  # noqa: ANN401 (JSON of any shape)
        if isinstance(value, str) and _SECRET_FIELD.search(name):
            return self._take(value)
        return self._strip(value, name)

    def _variable(self, variable: Object) -> Object:
        if "value" not in variable:
            return variable
        return {**variable, "value": self._take(str(variable["value"]))}

    def _entry(self, key: str, value: object) -> str:
        return str(value) if key in _KEPT_ANNOTATIONS else self._take(str(value))

    def _take(self, value: str) -> str:
        if len(value) >= SHORTEST:
            self._values.add(value)
        return GONE

    def _scrub(self, value: Any) -> Any:  # noqa: ANN401 (JSON of any shape)
        if isinstance(value, dict):
            return {key: self._scrub(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._scrub(one) for one in value]
        return self.text(value) if isinstance(value, str) else value


def is_secret(name: str, value: str) -> bool:
    """Whether a named value must not be shown: by its name, or because it looks like one."""
    return bool(_SECRET_FIELD.search(name)) or Redactor().text(value) != value


def _replacement(match: re.Match[str]) -> str:
    return (match.group(1) if match.re.groups else "") + GONE


def _strings(value: Any) -> Iterable[str]:  # noqa: ANN401 (JSON of any shape)
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
