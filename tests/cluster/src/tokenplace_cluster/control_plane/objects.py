"""Objects of one namespace over HTTP, by the names of kinds that kubectl takes.

A test reads in a loop until an operator has acted. With a kubectl process for each read, these
loops would take the processor from the operator and the API server that they wait for.
"""

from typing import Any, Final, NamedTuple

import pykube
import requests

REQUEST_SECONDS: Final = 60
_DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

Object = dict[str, Any]


class Resource(NamedTuple):
    """A resource of the API as discovery describes it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool


class Objects:
    """Reads objects; every refusal of the API server is a failed assertion, as in `Relays`."""

    def __init__(self, api: pykube.HTTPClient, namespace: str) -> None:
        self.namespace = namespace
        self._api = api
        self._resources: dict[str, Resource] = {}

    def get(self, kind: str, name: str, *, managed_fields: bool = False) -> Object:
        """One object."""
        found = self._read(f"{self._path(self._resource(kind))}/{name}")
        return found if managed_fields else _without_managed_fields(found)

    def all(self, kinds: str) -> list[Object]:
        """All objects of one kind, or of several that are separated by commas."""
        return [obj for kind in kinds.split(",") for obj in self._all(self._resource(kind))]

    def dry_run(self, obj: Object) -> Object:
        """The object as the API server would store it."""
        answer = self._create(obj)
        assert answer.ok, answer.text
        found: Object = answer.json()
        return found

    def refusal(self, obj: Object) -> str:
        """The reason why the API server would refuse an object; empty when it would accept it."""
        answer = self._create(obj)
        return "" if answer.ok else str(answer.json()["message"])

    def _create(self, obj: Object) -> requests.Response:
        """Create an object with strict validation, but store nothing."""
        answer: requests.Response = self._api.session.post(
            f"{self._api.url}{self._path(self._resource(obj['kind']))}",
            params={"dryRun": "All", "fieldValidation": "Strict", "fieldManager": "kubectl-create"},
            json=obj,
            timeout=REQUEST_SECONDS,
        )
        return answer

    def _all(self, resource: Resource) -> list[Object]:
        # A list of the built-in kinds names them once and not in each item.
        named = {"apiVersion": resource.api_version, "kind": resource.kind}
        items = self._read(self._path(resource))["items"]
        return [_without_managed_fields({**named, **item}) for item in items]

    def _path(self, resource: Resource) -> str:
        group = "/apis" if "/" in resource.api_version else "/api"
        place = f"/namespaces/{self.namespace}" if resource.namespaced else ""
        return f"{group}/{resource.api_version}{place}/{resource.plural}"

    def _read(self, path: str, accept: str = "application/json") -> Object:
        try:
            answer = self._api.session.get(
                f"{self._api.url}{path}", headers={"Accept": accept}, timeout=REQUEST_SECONDS
            )
        except requests.RequestException as error:
            raise AssertionError(f"GET {path}: {error}") from error
        assert answer.ok, f"GET {path}: {answer.status_code} {answer.text}"
        found: Object = answer.json()
        return found

    def _resource(self, kind: str) -> Resource:
        name = kind.lower()
        if name not in self._resources:
            self._resources = self._discover()
        assert name in self._resources, f"the server has no resource type {kind}"
        return self._resources[name]

    def _discover(self) -> dict[str, Resource]:
        """Resources by every name that they have; the first group that has a name wins."""
        found: dict[str, Resource] = {}
        for root in ("/api", "/apis"):
            for group in self._read(root, _DISCOVERY)["items"]:
                for name, resource in _names(group):
                    found.setdefault(name, resource)
        return found


def _names(group: Object) -> list[tuple[str, Resource]]:
    """The names of each resource in the preferred version of a group."""
    name = group["metadata"].get("name", "")
    preferred = group["versions"][0]
    api_version = "/".join(filter(None, (name, preferred["version"])))
    found = []
    for one in preferred.get("resources", []):
        kind, plural = one["responseKind"]["kind"], one["resource"]
        resource = Resource(api_version, kind, plural, one["scope"] == "Namespaced")
        names = {plural, f"{plural}.{name}", one.get("singularResource", ""), kind.lower()}
        found += [(alias, resource) for alias in {*names, *one.get("shortNames", [])}]
    return found


def _without_managed_fields(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}
