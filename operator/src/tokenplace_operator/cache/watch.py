"""Watches the cluster with kopf: it lists, watches and reconnects.

An interceptor takes the objects out of the responses (see `kopf_events`), so kopf's own handlers
are never called.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from tokenplace_operator.api.kinds import CHILD_KINDS, RELAY
from tokenplace_operator.api.names import OPERATOR
from tokenplace_operator.cache.event_handler import EventHandler
from tokenplace_operator.cache.kopf_discovery import DiscoveryGuard
from tokenplace_operator.cache.kopf_events import EventInterceptor, OnEvent
from tokenplace_operator.cache.kopf_exit import end_with_the_first
from tokenplace_operator.cache.kopf_faults import tolerate_faults
from tokenplace_operator.cache.kopf_settings import configure
from tokenplace_operator.kube.client import Kube

WATCHED = (RELAY, *CHILD_KINDS)


async def watch(
    kube: Kube,
    handler: EventHandler,
    namespaces: Sequence[str],
    *,
    stop: asyncio.Event,
    ready: asyncio.Event,
    idle_seconds: float,
) -> None:
    """Watch all kinds until `stop`; raises an error when a watch cannot be continued.

    namespaces: the watched ones; empty: all.
    idle_seconds: a watch without any event or bookmark for this time is restarted where it was.
    kopf replaces the handlers of SIGTERM and SIGINT at its start; `ready` is set after that.
    """
    # The default registry is global, and it brings a login of kopf's own.
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    configure(settings, idle_seconds)
    end_with_the_first(registry)
    register(registry, lambda: kube, handler.handle)
    await kopf.operator(
        registry=registry,
        settings=settings,
        # By default kopf asks the system for the user's name, and a pod's user has none.
        identity=OPERATOR,  # type: ignore[arg-type]  # its type is not exported
        # No peering: it writes an object every minute, and the Lease elects the leader already.
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
        ready_flag=ready,
    )


def register(
    registry: kopf.OperatorRegistry, connection: Callable[[], Kube], on_event: OnEvent
) -> None:
    """Let kopf watch all kinds with the login of a connection; `on_event` gets every object."""
    _login(registry, connection, on_event)
    for kind in WATCHED:
        kopf.on.event(
            group=kind.group,
            version=kind.version,
            plural=kind.plural,
            id=kind.plural,
            registry=registry,
        )(_ignore)


async def _ignore(**_: Any) -> None:  # noqa: ANN401 (kopf's arguments)
    """The handler that makes kopf watch a kind; it is never called, as kopf sees no object."""


def _login(
    registry: kopf.OperatorRegistry, connection: Callable[[], Kube], on_event: OnEvent
) -> None:
    """Give kopf a session of its own with our login; kopf closes it."""
    interceptor, guard = EventInterceptor(WATCHED, on_event), DiscoveryGuard(WATCHED)

    async def handle(**_: Any) -> kopf.AiohttpSession:  # noqa: ANN401
        kube = connection()
        # The last one is next to the network: the others only see responses that kopf may see.
        session = kube.new_session(interceptor, guard, tolerate_faults)
        return kopf.AiohttpSession(server=kube.server, aiohttp_session=session)

    kopf.on.login(registry=registry)(handle)
