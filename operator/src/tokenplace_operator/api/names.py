"""What the sections of the spec share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GROUP = "token.place"
VERSION = "v1alpha1"
KIND = "TokenplaceRelay"
APP = "tokenplace-relay"
MANAGER = "tokenplace-operator"

Json = Mapping[str, Any]


class SpecError(Exception):
    """The object cannot be reconciled; each problem names a field and its rule."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
