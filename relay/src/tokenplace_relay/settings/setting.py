"""What a setting is: a dataclass field with its variable, bounds and help, and how it is read."""

import math
import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_NAME: Final = re.compile(r"(?=.{1,254}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
"""What a resolver takes; an empty label, or one that is too long, is an error to it."""
_HOST_RULE: Final = "must be a host name or an address"
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_WORD_RULE: Final = "must be letters, digits, '.', '_' and '-', beginning with a letter or digit"
_TAG_LENGTH: Final = 80


NO_NETWORK: Final = "none"
"""The entry of a list of networks that stands for no network."""


class ConfigError(ValueError):
    """A setting has a value the relay cannot use; the text is one line that names it."""


def setting(
    default: T,
    env: str,
    text: str,
    *,
    low: float = 0,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    secret: bool = False,
    also: tuple[str, ...] = (),
    check: Callable[[str], str | None] | None = None,
    called: str = "",
) -> T:
    """Return a dataclass field that knows its variable, bounds and help text.

    also: older names of the variable; check: the rule that a text breaks, or None; called: what
    its flag says, where that is not the name of the field.
    """
    about = {
        "env": env,
        "also": also,
        "check": check,
        "called": called,
        "text": text,
        "low": low,
        "high": high,
        "choices": choices,
        "secret": secret,
    }
    found: T = field(default=default, repr=not secret, metadata=about)
    return found


def is_url(text: str) -> str | None:
    """The rule for a URL of a server; a value with a password must not be shown."""
    rule = "must be an http or https URL of a host, without user, query or fragment"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return rule
    bare = not (parts.username or parts.password or parts.query or parts.fragment) and port != 0
    fits = parts.scheme in {"http", "https"} and is_host(parts.hostname or "") is None
    return None if bare and fits else rule


def is_host(text: str) -> str | None:
    """The rule for a host name or an address."""
    return None if _NAME.fullmatch(text) or _is_address(text) else _HOST_RULE


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    # The zone of a link, which is of one machine and has no place in a URL.
    return "%" not in text


def is_network(text: str) -> str | None:
    """The rule for an entry of the trusted proxies."""
    try:
        if text != NO_NETWORK:
            ip_network(text)
    except ValueError:
        return "must be networks such as 10.0.0.0/8, or none"
    return None


def is_word(text: str) -> str | None:
    """The rule for a version, a tag or a revision, which is shown to everybody."""
    return None if _WORD.fullmatch(text) else _WORD_RULE


def is_tag(text: str) -> str | None:
    """The rule for the tag of an image, which is shown to everybody."""
    rule = is_word(text) if len(text) <= _TAG_LENGTH else _WORD_RULE
    return f"{rule}, at most {_TAG_LENGTH} of them" if rule else None


@dataclass(frozen=True, slots=True)
class About:
    """One setting as people meet it."""

    field: str
    variable: str
    also: tuple[str, ...]
    default: str
    """'' for none."""
    text: str
    span: str
    """Which values are allowed; '' for any."""
    secret: bool
    flag: str
    """Of `tokenplace-relay serve`; '' for secrets, as others see command lines."""


def describe(spec: "Field[object]") -> About:
    """A setting as people meet it, from its field."""
    return About(
        field=spec.name,
        variable=spec.metadata["env"],
        also=spec.metadata["also"],
        default=_shown(spec.default),
        text=spec.metadata["text"],
        span=_span(spec),
        secret=spec.metadata["secret"],
        flag="" if spec.metadata["secret"] else flag(spec),
    )


def flag(spec: "Field[object]") -> str:
    """The flag of a field."""
    return f"--{spec.metadata['called'] or spec.name.replace('_', '-')}"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return str(default) if isinstance(default, int | float) else str(default or "")


def _span(spec: "Field[object]") -> str:
    if isinstance(spec.default, bool):
        return "true or false"
    if isinstance(spec.default, int | float):
        return _numbers(spec)
    return ", ".join(spec.metadata["choices"])


def _numbers(spec: "Field[object]") -> str:
    low, high = spec.metadata["low"], spec.metadata["high"]
    noun = "a whole number" if isinstance(spec.default, int) else "a number"
    return f"{noun} of at least {low}" if high == math.inf else f"{noun} from {low} to {high}"


def parse(spec: "Field[object]", name: str, text: str) -> object:
    """Read a text that was given under a name; raises ConfigError with one line that names it."""
    default = spec.default
    if isinstance(default, bool):
        return _boolean(name, text)
    if isinstance(default, int | float):
        return _number(spec, name, text)
    if isinstance(default, tuple):
        parts = entries(text)
        if not parts:
            # For what is open without entries, none at all would be a dangerous mistake.
            raise ConfigError(f"{name} has no entry")
        return tuple(_checked(spec, name, part) for part in parts)
    if text and spec.metadata["choices"]:
        return _choice(name, text, spec.metadata["choices"])
    return _checked(spec, name, text)


def _checked(spec: "Field[object]", name: str, text: str) -> str:
    if text and spec.metadata["check"] and (rule := spec.metadata["check"](text)):
        raise ConfigError(f"{name} {rule}")
    return text


def entries(text: str) -> list[str]:
    """The parts of a list by comma or line, without those that are empty."""
    parts = (part.strip() for line in text.splitlines() for part in line.split(","))
    return [part for part in parts if part]


def _boolean(name: str, text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ConfigError(f"{name} must be true or false, got {text!r}")


def _choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    if text.upper() in choices:
        return text.upper()
    raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {text!r}")


def _number(spec: "Field[object]", name: str, text: str) -> float:
    kind: type[int | float] = int if isinstance(spec.default, int) else float
    try:
        value = kind(text)
    except ValueError:
        raise ConfigError(f"{name} must be {_numbers(spec)}, got {text!r}") from None
    if not (spec.metadata["low"] <= value <= spec.metadata["high"]) or value == math.inf:
        raise ConfigError(f"{name} must be {_numbers(spec)}, got {text!r}")
    return value
