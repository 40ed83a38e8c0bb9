"""CORS: scripts of every origin may call the client routes, without cookies.

Paths and headers are those of token.place relay.py. Nodes, operators and probes are not browsers,
so their routes are excluded.
"""

import re
from collections.abc import Mapping
from typing import Final

from multidict import CIMultiDict

_OPEN: Final = re.compile(
    r"(/api)?/v1/(chat/completions|completions|health|images/generations|models(/[^/]+)?|public-key)"
    r"|/api/v1/(community/.+|server-providers)"
    r"|/api/v1/relay/(servers/next|requests|requests/cancel|responses/retrieve)"
)
HEADERS: Final = CIMultiDict(
    {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
)
PREFLIGHT: Final[Mapping[str, str]] = {
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Accept",
    "Access-Control-Max-Age": "600",
}
"""Additional headers of the response to OPTIONS."""


def is_open(path: str) -> bool:
    """Whether scripts of other origins may call this path."""
    return _OPEN.fullmatch(path) is not None
