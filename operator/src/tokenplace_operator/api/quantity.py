"""Kubernetes quantities in the canonical form of the API server.

Source: k8s.io/apimachinery/pkg/api/resource, Quantity.CanonicalizeBytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import ceil

_PATTERN = re.compile(
    r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]{1,3})?"
)
MAX_CHARACTERS = 64
"""The API server caps values above 2^63; without a limit, arithmetic on them could take minutes."""
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {-3: "n", -2: "u", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P", 6: "E"}
_POWER = {suffix: power for power, suffix in _DECIMAL.items()}


@lru_cache(maxsize=1024)
def canonical(quantity: str | int) -> str:
    """Return the quantity as the API server stores it: `0.5` is `500m`, `1024Mi` is `1Gi`.

    Raises ValueError for text that is not a quantity.
    """
    sign, number, suffix = _parts(quantity)
    amount = Fraction(number) * _multiplier(suffix)
    return ("-" if sign == "-" and amount else "") + _format(amount, suffix)


def amount(quantity: str | int) -> Fraction:
    """Return the value of a quantity in its base unit; ValueError for text that is not one."""
    sign, number, suffix = _parts(quantity)
    return (-1 if sign == "-" else 1) * Fraction(number) * _multiplier(suffix)


def canonical_values(quantities: Mapping[str, str | int]) -> dict[str, str]:
    """Return a resource list with canonical values."""
    return {name: canonical(quantity) for name, quantity in quantities.items()}


def _parts(quantity: str | int) -> tuple[str, str, str]:
    text = str(quantity)
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"a quantity has at most {MAX_CHARACTERS} characters")
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity")
    return match[1], match[2], match[3] or ""


def _multiplier(suffix: str) -> Fraction:
    if suffix in _POWER:
        return Fraction(1000) ** _POWER[suffix]
    if suffix in _BINARY:
        return Fraction(1024) ** _BINARY.index(suffix)
    return Fraction(10) ** int(suffix[1:])


def _format(amount: Fraction, suffix: str) -> str:
    exact = amount.denominator == 1
    # As the API server does: below 1024 and for fractions, a binary quantity is written as a
    # decimal one.
    if suffix in _BINARY[1:] and exact and amount >= 1024:
        return _in_steps(int(amount), 1024, _BINARY)
    names = [_DECIMAL[power] for power in sorted(_DECIMAL)]
    # A lone E is the suffix exa; with digits after it, it is an exponent and stays one.
    if suffix[:1] in {"e", "E"} and suffix != "E":
        names = [f"e{3 * power}" if power else "" for power in sorted(_DECIMAL)]
    # The API server keeps nothing below a billionth, and rounds up.
    return _in_steps(ceil(amount * 10**9), 1000, tuple(names))


def _in_steps(number: int, step: int, names: tuple[str, ...]) -> str:
    position = 0
    if number == 0:
        return "0"
    while number % step == 0 and position < len(names) - 1:
        number //= step
        position += 1
    return f"{number}{names[position]}"
