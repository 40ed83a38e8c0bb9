"""The API server as a few verbs: objects in and out are dicts, errors are KubeError."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubernetes.aio.client import ApiClient

from tokenplace_operator.api.kinds import Kind, Object, key_of, of
from tokenplace_operator.api.names import OPERATOR
from tokenplace_operator.kube.errors import KubeError, NotFound
from tokenplace_operator.kube.login import login
from tokenplace_operator.kube.request_metrics import trace_requests
from tokenplace_operator.kube.subresources import APPLY, Subresources
from tokenplace_operator.kube.transport import has_proxy, valid_shape
from tokenplace_operator.metrics import Metrics

FIELD_MANAGER = OPERATOR
HAND_OVER_FIELD_MANAGER = f"{OPERATOR}/hand-over"
PAGE_SIZE = 100
"""Objects per page of a list: a page is in memory both as text and as objects for a moment."""
MERGE_PATCH = "application/merge-patch+json"

NEVER_STORED = "1"
"""A resourceVersion that no object has."""

Objects = list[Object]


class Kube(Subresources):
    """The verbs on objects, over one connection pool to one API server; made by `connect`."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, metrics: Metrics, context: str | None = None, kubeconfig: Object | None = None
    ) -> AsyncIterator["Kube"]:
        """Log in (see `login`) and yield a client; its connections are closed at the end."""
        async with login(context, kubeconfig) as configuration:
            configuration.trace_configs = [trace_requests(metrics)]
            configuration.client_session_kwargs = {"trust_env": has_proxy()}
            async with ApiClient(configuration) as api:
                yield cls(api, metrics)

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server serves a kind now; every logged-in user may ask."""
        path = f"/apis/{kind.api_version}"
        try:
            # Discovery answers with a list of resources, which has no metadata.name.
            answer = await self.request_json("GET", path)
        except NotFound:
            return False
        with valid_shape("GET", path):
            return any(resource["name"] == kind.plural for resource in answer["resources"])

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Read one object."""
        return await self.request("GET", kind.path(namespace, name))

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = ""
    ) -> tuple[Objects, str]:
        """Return all objects of a kind, without managedFields, and the version of the list."""
        try:
            return await self._list(kind, namespace, label_selector, PAGE_SIZE)
        except KubeError as error:
            if error.code != 410:
                raise
        # The continue token expired between two pages; one big page has none.
        return await self._list(kind, namespace, label_selector, None)

    async def _list(
        self, kind: Kind, namespace: str | None, label_selector: str, limit: int | None
    ) -> tuple[Objects, str]:
        items: Objects = []
        token: str | None = None
        while True:
            page = await self.request_json(
                # Without a resourceVersion the API server reads from etcd. From its cache, the list
                # could be older than our last write.
                "GET",
                kind.path(namespace),
                label_selector=label_selector or None,
                limit=limit,
                _continue=token,
            )
            with valid_shape("GET", kind.path(namespace)):
                items += _items(page, kind)
                token = page["metadata"].get("continue") or None
                version = str(page["metadata"]["resourceVersion"])
            if token is None:
                return items, version

    async def apply(
        self,
        obj: Object,
        *,
        force: bool = False,
        dry_run: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Object:
        """Server-side apply; raises Conflict unless forced."""
        return await self.request(
            "PATCH",
            _path_of(obj),
            obj,
            content_type=APPLY,
            field_manager=manager,
            force_conflicts="true" if force else "false",
            dry_run="All" if dry_run else None,
        )

    async def apply_new(self, obj: Object) -> Object:
        """Server-side apply of an object that must not exist yet; Conflict when it does.

        The server checks a resourceVersion only against an existing object.
        """
        metadata = {**obj["metadata"], "resourceVersion": NEVER_STORED}
        return await self.apply({**obj, "metadata": metadata})

    async def hand_over(self, obj: Object) -> Object:
        """Server-side apply under a second field manager: keeps fields that we stop applying."""
        return await self.request(
            "PATCH",
            _path_of(obj),
            obj,
            content_type=APPLY,
            field_manager=HAND_OVER_FIELD_MANAGER,
        )

    async def create(self, obj: Object) -> Object:
        """Create; Conflict when the name is in use."""
        path = of(obj).path(obj["metadata"]["namespace"])
        return await self.request("POST", path, obj, field_manager=FIELD_MANAGER)

    async def replace(self, obj: Object) -> Object:
        """Replace the object; Conflict when its resourceVersion is not the newest."""
        return await self.request("PUT", _path_of(obj), obj, field_manager=FIELD_MANAGER)

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Object,
        *,
        manager: str = FIELD_MANAGER,
        dry_run: bool = False,
    ) -> Object:
        """JSON merge patch: for Events, and for commands of the user."""
        return await self.request(
            "PATCH",
            kind.path(namespace, name),
            patch,
            content_type=MERGE_PATCH,
            field_manager=manager,
            dry_run="All" if dry_run else None,
        )

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, orphan: bool = False
    ) -> None:
        """Delete exactly the object with this uid; gone already is success.

        orphan: keep the objects that it owns, without an owner.
        """
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            # The name may belong to a new object by now.
            "preconditions": {"uid": uid},
            "propagationPolicy": "Orphan" if orphan else "Background",
        }
        try:
            await self.request_json("DELETE", kind.path(namespace, name), body)
        except NotFound:
            return


def _items(page: Object, kind: Kind) -> Objects:
    """The objects of a page; only the page itself names their kind."""
    type_meta = {"apiVersion": kind.api_version, "kind": kind.kind}
    items = [{**item, **type_meta} for item in page["items"]]
    for item in items:
        # Raises KeyError for an item without a name, which `valid_shape` turns into Unavailable.
        key_of(item)
        item["metadata"].pop("managedFields", None)  # More than the rest of some objects.
    return items


def _path_of(obj: Object) -> str:
    metadata = obj["metadata"]
    return of(obj).path(metadata["namespace"], metadata["name"])
