"""Settings as dataclass fields: variable, range, help text, and how a text is parsed."""

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
"""A host name that a resolver accepts: no empty label, none above 63 characters."""
_HOST_RULE: Final = "must be a host name or an address"
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_WORD_RULE: Final = "must be letters, digits, '.', '_' and '-', beginning with a letter or digit"
_TAG_LENGTH: Final = 80


NO_NETWORK: Final = "none"
"""The entry of a list of networks that stands for no network."""


class ConfigError(ValueError):
    """A setting is invalid; the text is one line that names it."""


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
    """Return a dataclass field with its variable, range and help text.

    also: older names of the variable; check: returns the rule that a text breaks, or None;
    called: the name of the flag, if it is not the name of the field.
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
    # A secret is left out of repr(), so that a traceback or log line cannot contain it.
    result: T = field(default=default, repr=not secret, metadata=about)
    return result


def is_url(text: str) -> str | None:
    """Return the rule that a server URL breaks, or None; the URL may not hold a password."""
    rule = "must be an http or https URL of a host, without user, query or fragment"
    try:
        parts = urlsplit(text)
        # urlsplit checks the port only when it is read, and raises ValueError here.
        port = parts.port
    except ValueError:
        return rule
    bare = not (parts.username or parts.password or parts.query or parts.fragment) and port != 0
    fits = parts.scheme in {"http", "https"} and is_host(parts.hostname or "") is None
    return None if bare and fits else rule


def is_host(text: str) -> str | None:
    """Return the rule that a host name or address breaks, or None."""
    return None if _NAME.fullmatch(text) or _is_address(text) else _HOST_RULE


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    # A zone such as %eth0 names an interface of one machine and has no place in a URL.
    return "%" not in text


def is_network(text: str) -> str | None:
    """Return the rule that a network breaks, or None; "none" is allowed."""
    try:
        if text != NO_NETWORK:
            ip_network(text)
    except ValueError:
        return "must be networks such as 10.0.0.0/8, or none"
    return None


def is_word(text: str) -> str | None:
    """Return the rule that a version, tag or revision breaks, or None."""
    return None if _WORD.fullmatch(text) else _WORD_RULE


def is_tag(text: str) -> str | None:
    """Return the rule that an image tag breaks, or None."""
    rule = is_word(text) if len(text) <= _TAG_LENGTH else _WORD_RULE
    return f"{rule}, at most {_TAG_LENGTH} of them" if rule else None


@dataclass(frozen=True, slots=True)
class About:
    """One setting as help and documentation show it."""

    field: str
    variable: str
    also: tuple[str, ...]
    default: str
    """'' if there is none."""
    text: str
    span: str
    """The allowed values; '' for any."""
    secret: bool
    flag: str
    """Flag of `tokenplace-relay serve`; '' for secrets, because other users see command lines."""


def describe(spec: "Field[object]") -> About:
    """Return the description of a setting."""
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
    """Return the flag of a field."""
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
    """Parse the text of the variable or flag `name`; raises ConfigError with one line."""
    default = spec.default
    # bool is a subclass of int, so it must be tested first.
    if isinstance(default, bool):
        return _boolean(name, text)
    if isinstance(default, int | float):
        return _number(spec, name, text)
    if isinstance(default, tuple):
        parts = entries(text)
        if not parts:
            # An empty list of tokens would open the relay to every node.
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
    """Split a list at commas and lines, without empty parts."""
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
    # float() accepts "inf", which passes where there is no upper bound; "nan" fails the
    # comparisons.
    if not (spec.metadata["low"] <= value <= spec.metadata["high"]) or value == math.inf:
        raise ConfigError(f"{name} must be {_numbers(spec)}, got {text!r}")
    return value
