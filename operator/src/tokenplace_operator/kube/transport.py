"""One HTTP request to the API server: deadline, write guard, JSON, errors.

Every request raises KubeError only. Paths come from kinds, so no API discovery is needed.
"""

import asyncio
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import aiohttp
import msgspec
from kubernetes.aio.client import ApiClient, ApiException
from kubernetes.aio.dynamic import DynamicClient

from tokenplace_operator.api.kinds import LEASE, Object
from tokenplace_operator.kube.errors import Unavailable, error_of
from tokenplace_operator.kube.request_metrics import trace_requests
from tokenplace_operator.metrics import Metrics

REQUEST_SECONDS = 10.0


class Transport:
    """Sends requests over one connection pool to one API server."""

    def __init__(self, api: ApiClient, metrics: Metrics) -> None:
        self._api = api
        self._dynamic = DynamicClient(api)  # type: ignore[no-untyped-call]
        self._metrics = metrics
        self._may_write: Callable[[], bool] = lambda: True

    @property
    def server(self) -> str:
        """Base URL of the API server."""
        return str(self._api.configuration.host)

    def guard_writes(self, may_write: Callable[[], bool]) -> None:
        """Ask `may_write` before each write but those of Leases; False makes it Unavailable.

        So a leader that was suspended past its lease does not write next to its successor.
        """
        self._may_write = may_write

    def new_session(self, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
        """A separate session with the same login and metrics; the caller closes it."""
        configuration = self._api.configuration

        async def authenticate(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            # Asked for at each request: a pod's token is replaced while the session lives.
            bearer = (await configuration.auth_settings()).get("BearerToken")
            if bearer and bearer["value"]:
                request.headers[bearer["key"]] = bearer["value"]
            return await handler(request)

        return aiohttp.ClientSession(
            # No limit: each watch holds a connection, and there is one for each kind and namespace.
            connector=aiohttp.TCPConnector(ssl=self._api.rest_client.ssl_context, limit=0),
            trace_configs=[trace_requests(self._metrics)],
            middlewares=(*middlewares, authenticate),
            read_bufsize=2**21,
            trust_env=has_proxy(),
        )

    async def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        **params: Any,  # noqa: ANN401 (query options of DynamicClient.request)
    ) -> Object:
        """Send a request; return the object in the answer."""
        answer = await self.request_json(method, path, body, **params)
        with valid_shape(method, path):
            answer["metadata"]["name"]
        return answer

    async def request_json(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        **params: Any,  # noqa: ANN401 (query options of DynamicClient.request)
    ) -> Object:
        """Send a request; return the JSON in the answer: an object, a list or a Status."""
        content = await self.request_bytes(method, path, body, **params)
        try:
            return msgspec.json.decode(content, type=Object)
        except ValueError as error:
            raise Unavailable(0, type(error).__name__, f"{method} {path}: {error}") from None

    async def request_bytes(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        **params: Any,  # noqa: ANN401 (query options of DynamicClient.request)
    ) -> bytes:
        """Send a request; return the body of the answer as it came."""
        # Leases are excluded, because a process acquires the Lease before it may write.
        if method != "GET" and f"/{LEASE.plural}" not in path and not self._may_write():
            raise Unavailable(0, "NotLeading", f"{method} {path}: the Lease is not renewed")
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                # Without serialize=False the client wraps the response in an object that hides its
                # body.
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


@contextmanager
def valid_shape(method: str, path: str) -> Iterator[None]:
    """Turn a failed access to a field of the answer into Unavailable.

    A proxy or a broken server may answer 200 with a body that is not what was asked for.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        text = f"{method} {path}: the answer has a wrong shape: {error!r}"
        raise Unavailable(0, "WrongShape", text) from None


def has_proxy() -> bool:
    """Whether the environment names a proxy.

    Only then aiohttp may look there: it also reads ~/.netrc, for each request, in a thread.
    """
    return any(scheme != "no" for scheme in urllib.request.getproxies())
