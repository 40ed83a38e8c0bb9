"""The API server as a few calls: objects in and out are dicts, errors are a handful of classes.

The only module that imports `kubernetes`. Paths come from kinds, so nothing is discovered.
Every call has a deadline and raises KubeError only.
"""

import asyncio
import os
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import aiohttp
import msgspec
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, ApiException, Configuration
from kubernetes.aio.dynamic import DynamicClient

from tokenplace_operator.api.kinds import LEASE, POD, Kind, Object, key_of, of
from tokenplace_operator.kube.errors import KubeError, NotFound, Unavailable, error_of
from tokenplace_operator.kube.request_metrics import trace_requests
from tokenplace_operator.metrics import Metrics

CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FIELD_MANAGER = "tokenplace-operator"
STATUS_FIELD_MANAGER = "tokenplace-operator/status"
HAND_OVER_FIELD_MANAGER = "tokenplace-operator/hand-over"
REQUEST_SECONDS = 10.0
PAGE_SIZE = 100
"""Objects of a page of a list: a page is held as text and as objects before it is cut down."""
APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"

NEVER_STORED = "1"
"""A resourceVersion that no object has."""

Objects = list[Object]


class Kube:
    """One connection pool to one API server; made by `connect`."""

    def __init__(self, api: ApiClient, metrics: Metrics) -> None:
        self._api = api
        self._dynamic = DynamicClient(api)  # type: ignore[no-untyped-call]
        self._metrics = metrics
        self.may_write: Callable[[], bool] = lambda: True
        """Asked before each write but those of the Lease: it stops a leader that was held up."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, metrics: Metrics, context: str | None = None, kubeconfig: Object | None = None
    ) -> AsyncIterator["Kube"]:
        """Log in as a pod, or else as the kubeconfig says; closes its session at the end.

        kubeconfig: the content of a file, as an alternative to the files that KUBECONFIG names.
        """
        configuration = Configuration()
        try:
            refresher = await _login(configuration, context, kubeconfig)
        except kube_config.ConfigException as error:
            raise Unavailable(0, "Config", f"kubeconfig: {error}") from None
        configuration.trace_configs = [trace_requests(metrics)]
        try:
            configuration.client_session_kwargs = {"trust_env": _has_proxy()}
            async with ApiClient(configuration) as api:
                yield cls(api, metrics)
        finally:
            if refresher is not None:
                refresher.cancel()
                await asyncio.gather(refresher, return_exceptions=True)

    @property
    def server(self) -> str:
        """Base URL of the API server."""
        return str(self._api.configuration.host)

    def new_session(self, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
        """A session of its own to the same server, logged in as we are, for who closes it."""
        configuration = self._api.configuration

        async def authenticate(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            bearer = (await configuration.auth_settings()).get("BearerToken")
            if bearer and bearer["value"]:
                request.headers[bearer["key"]] = bearer["value"]
            return await handler(request)

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._api.rest_client.ssl_context, limit=0),
            trace_configs=[trace_requests(self._metrics)],
            middlewares=(*middlewares, authenticate),
            read_bufsize=2**21,
            trust_env=_has_proxy(),
        )

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows a kind now; every logged-in user may ask."""
        path = f"/apis/{kind.api_version}"
        try:
            found = await self._ask("GET", path)
        except NotFound:
            return False
        with _shape_of("GET", path):
            return any(resource["name"] == kind.plural for resource in found["resources"])

    async def apply(
        self,
        obj: Object,
        *,
        force: bool = False,
        dry_run: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Object:
        """Server-side apply; raises Conflict unless forced."""
        return await self._request(
            "PATCH",
            _path_of(obj),
            obj,
            content_type=APPLY,
            field_manager=manager,
            force_conflicts="true" if force else "false",
            dry_run="All" if dry_run else None,
        )

    async def apply_new(self, obj: Object) -> Object:
        """Server-side apply of an object that does not exist; Conflict when it does.

        The server takes a version as a condition on what is there, and creates what is not.
        """
        metadata = {**obj["metadata"], "resourceVersion": NEVER_STORED}
        return await self.apply({**obj, "metadata": metadata})

    async def apply_crd(self, crd: Object) -> Object:
        """Server-side apply of a CustomResourceDefinition as `helm`, which made it, forced."""
        return await self._request(
            "PATCH",
            f"{CRD_PATH}/{crd['metadata']['name']}",
            crd,
            content_type=APPLY,
            # With a name of our own, a later `helm install` would find its fields taken.
            field_manager="helm",
            force_conflicts="true",
        )

    async def hand_over(self, obj: Object) -> Object:
        """Server-side apply under a name of its own: keeps fields that we no longer apply."""
        return await self._request(
            "PATCH",
            _path_of(obj),
            obj,
            content_type=APPLY,
            field_manager=HAND_OVER_FIELD_MANAGER,
        )

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status alone, as `tokenplace-operator/status`, forced."""
        return await self._request(
            "PATCH",
            _path_of(obj, "status"),
            obj,
            content_type=APPLY,
            field_manager=STATUS_FIELD_MANAGER,
            force_conflicts="true",
        )

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
            page = await self._ask(
                "GET",
                kind.path(namespace),
                label_selector=label_selector or None,
                limit=limit,
                _continue=token,
            )
            with _shape_of("GET", kind.path(namespace)):
                items += _items(page, kind)
                token = page["metadata"].get("continue") or None
                version = str(page["metadata"]["resourceVersion"])
            if token is None:
                return items, version

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Read one object."""
        return await self._request("GET", kind.path(namespace, name))

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, orphan: bool = False
    ) -> None:
        """Delete exactly the object with this uid; gone already is success.

        orphan: what it owns stays, without an owner.
        """
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Orphan" if orphan else "Background",
        }
        try:
            await self._ask("DELETE", kind.path(namespace, name), body)
        except NotFound:
            return

    async def create(self, obj: Object) -> Object:
        """Create; Conflict when the name is in use."""
        path = of(obj).path(obj["metadata"]["namespace"])
        return await self._request("POST", path, obj, field_manager=FIELD_MANAGER)

    async def replace(self, obj: Object) -> Object:
        """Replace the object; Conflict when its resourceVersion is no longer the newest."""
        return await self._request("PUT", _path_of(obj), obj, field_manager=FIELD_MANAGER)

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
        """JSON merge patch: for Events, and for what a person asks of the command line."""
        return await self._request(
            "PATCH",
            kind.path(namespace, name),
            patch,
            content_type=MERGE_PATCH,
            field_manager=manager,
            dry_run="All" if dry_run else None,
        )

    async def pod_log(
        self, namespace: str, pod: str, container: str, *, lines: int, previous: bool = False
    ) -> str:
        """The last lines that a container wrote; previous: the container before its restart."""
        query = {"container": container, "tailLines": str(lines), "timestamps": "true"}
        if previous:
            query["previous"] = "true"
        content = await self._read(
            "GET",
            POD.path(namespace, pod, "log"),
            query_params=list(query.items()),
            header_params={"Accept": "text/plain, application/json"},
        )
        return content.decode(errors="replace")

    async def _request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        **params: Any,  # noqa: ANN401 (query options of DynamicClient.request)
    ) -> Object:
        """The object that the server answers with."""
        found = await self._ask(method, path, body, **params)
        with _shape_of(method, path):
            found["metadata"]["name"]
        return found

    async def _ask(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        **params: Any,  # noqa: ANN401 (query options of DynamicClient.request)
    ) -> Object:
        """The JSON that the server answers with: an object, a list or a Status."""
        content = await self._read(method, path, body, **params)
        try:
            return msgspec.json.decode(content, type=Object)
        except ValueError as error:
            raise Unavailable(0, type(error).__name__, f"{method} {path}: {error}") from None

    async def _read(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        **params: Any,  # noqa: ANN401 (query options of DynamicClient.request)
    ) -> bytes:
        if method != "GET" and f"/{LEASE.plural}" not in path and not self.may_write():
            raise Unavailable(0, "NotLeading", f"{method} {path}: the Lease is not renewed")
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                response = await self._dynamic.request(
                    method, path, body=body, serialize=False, **params
                )
                return cast("bytes", await response.read())
        except ApiException as error:
            raise error_of(
                int(error.status or 0), error.reason, error.body, error.headers
            ) from None
        except TimeoutError:
            raise Unavailable(0, "Timeout", f"{method} {path}: no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(0, type(error).__name__, f"{method} {path}: {error}") from None


def _items(page: Object, kind: Kind) -> Objects:
    """The objects of a page, which itself says what kind they are."""
    named = {"apiVersion": kind.api_version, "kind": kind.kind}
    items = [{**item, **named} for item in page["items"]]
    for item in items:
        key_of(item)
        item["metadata"].pop("managedFields", None)  # More than the rest of some objects.
    return items


@contextmanager
def _shape_of(method: str, path: str) -> Iterator[None]:
    """An answer that is not what was asked for is none: a proxy's, or that of a broken server."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        text = f"{method} {path}: the answer has a wrong shape: {error!r}"
        raise Unavailable(0, "WrongShape", text) from None


def _path_of(obj: Object, subresource: str | None = None) -> str:
    metadata = obj["metadata"]
    return of(obj).path(metadata["namespace"], metadata["name"], subresource)


def _has_proxy() -> bool:
    """Whether the environment names a proxy.

    Only then aiohttp may look there: it reads ~/.netrc as well, for each request, in a thread.
    """
    return any(scheme != "no" for scheme in urllib.request.getproxies())


async def _login(
    configuration: Configuration, context: str | None, kubeconfig: Object | None
) -> asyncio.Task[None] | None:
    """Fill the configuration; return the task that renews tokens of exec plugins, if any."""
    if kubeconfig is not None:
        await kube_config.load_kube_config_from_dict(  # type: ignore[no-untyped-call]
            kubeconfig, context=context, client_configuration=configuration
        )
        return None
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ
    if in_pod and context is None:
        # Reads the projected token again every minute.
        kube_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        return None
    loader = await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=os.environ.get("KUBECONFIG"),
        context=context,
        client_configuration=configuration,
    )
    renew = kube_config.refresh_token(loader, configuration)  # type: ignore[no-untyped-call]
    return asyncio.create_task(renew, name="kubeconfig-token")
