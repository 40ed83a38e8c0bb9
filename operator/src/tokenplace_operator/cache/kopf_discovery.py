"""The discovery guard: makes kopf find every kind that we watch, or fail.

kopf runs API discovery once, at its start, and continues without a kind that it does not find: the
operator would lead and watch nothing. An API server that is starting lists only a part of its
groups. So a response that lacks a watched kind becomes a failed connection: kopf retries, and ends
with an error when that does not help.
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
    """A discovery response: groups at the root, resources at the path of a version."""

    groups: list[_Group] = []
    resources: list[_Resource] = []

    def names(self) -> frozenset[str]:
        """`apps/v1` of each version, or `deployments` of each resource."""
        versions = (version.groupVersion for group in self.groups for version in group.versions)
        return frozenset((*versions, *(resource.name for resource in self.resources)))


_decode = msgspec.json.Decoder(_Listed).decode


class DiscoveryGuard:
    """Middleware of kopf's session: ClientConnectionError when one of these kinds is missing."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._required: dict[str, set[str]] = {}
        for kind in kinds:
            path, _, _ = kind.path(None).rpartition("/")
            self._required.setdefault(path, set()).add(kind.plural)
            # The core group is not in the list at /apis: it has /api/v1 of its own.
            if kind.group:
                self._required.setdefault("/apis", set()).add(kind.api_version)

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Pass on a response unless it lacks a kind; kopf handles other statuses itself."""
        response = await handler(request)
        required = self._required_at(request.url.path)
        # 404 is the answer for a group that is not served (yet), so it lacks the kind as well.
        if not required or response.status not in (200, 404):
            return response
        missing = required - await _names(response)
        if missing:
            response.close()
            names = ", ".join(sorted(missing))
            raise aiohttp.ClientConnectionError(f"the API server does not list {names}")
        return response

    def _required_at(self, path: str) -> set[str]:
        """The names that a path must list; a proxy may serve the API below a path of its own."""
        matches = (names for end, names in self._required.items() if path.endswith(end))
        return next(matches, set())


async def _names(response: aiohttp.ClientResponse) -> frozenset[str]:
    """The names in a response; none when it is no list. The response can be read again."""
    try:
        return _decode(await response.read()).names()
    except msgspec.DecodeError:
        return frozenset()
