"""kopf's look for its kinds, which must find them all.

kopf looks once, at its start, and goes on without a kind that it does not find: it would lead and
watch nothing. An API server that is starting lists no more than a part of its groups. So an answer
that lacks what we watch is a failed connection to kopf: it asks again, and ends with an error when
that does not help.
"""

from collections.abc import Iterable

import aiohttp
import msgspec

from tokenplace_operator.api.kinds import Kind


class _Version(msgspec.Struct):
    groupVersion: str  # noqa: N815 (the API's name)


class _Group(msgspec.Struct):
    versions: list[_Version] = []


class _Resource(msgspec.Struct):
    name: str


class _Listed(msgspec.Struct):
    """What the API server has: groups at the root, resources at the path of a version."""

    groups: list[_Group] = []
    resources: list[_Resource] = []

    def names(self) -> frozenset[str]:
        """`apps/v1` of each version, or `deployments` of each resource."""
        versions = (version.groupVersion for group in self.groups for version in group.versions)
        return frozenset((*versions, *(resource.name for resource in self.resources)))


_decode = msgspec.json.Decoder(_Listed).decode


class DiscoveryGuard:
    """Middleware of kopf's session: ClientConnectionError where one of these kinds is missing."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._wanted: dict[str, set[str]] = {}
        for kind in kinds:
            path, _, _ = kind.path(None).rpartition("/")
            self._wanted.setdefault(path, set()).add(kind.plural)
            if kind.group:
                self._wanted.setdefault("/apis", set()).add(kind.api_version)

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Pass on what kopf is told, unless it lacks a kind; another status speaks for itself."""
        response = await handler(request)
        wanted = self._wanted_at(request.url.path)
        if not wanted or response.status not in (200, 404):
            return response
        missing = wanted - await _names(response)
        if missing:
            response.close()
            names = ", ".join(sorted(missing))
            raise aiohttp.ClientConnectionError(f"the API server does not list {names}")
        return response

    def _wanted_at(self, path: str) -> set[str]:
        """What must be listed at a path; the server's own may stand before it."""
        found = (names for end, names in self._wanted.items() if path.endswith(end))
        return next(found, set())


async def _names(response: aiohttp.ClientResponse) -> frozenset[str]:
    """What an answer lists; nothing where it is no list. It can be read again."""
    try:
        return _decode(await response.read()).names()
    except msgspec.DecodeError:
        return frozenset()
