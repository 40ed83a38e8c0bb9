"""Direct routes: the busiest calls, found by method and path without asking a router.

A direct handler takes a `web.BaseRequest`, which has neither `app` nor `match_info`. So the type
checker refuses a handler that needs what only aiohttp's router provides.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

DirectHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
DirectTable = Mapping[tuple[str, str], DirectHandler]
"""(method, path) -> handler."""


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """A route with a fixed path; raises ValueError for a path with variables."""

    method: str
    path: str
    handler: DirectHandler

    def __post_init__(self) -> None:
        if "{" in self.path:
            raise ValueError(f"a direct route needs a fixed path, got {self.path}")


def table(routes: "list[DirectRoute]") -> DirectTable:
    """Return the routes by method and path."""
    return {(route.method, route.path): route.handler for route in routes}
