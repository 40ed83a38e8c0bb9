"""The operator under kopf's command line, for development: `make dev`.

`kopf run --standalone -A -m tokenplace_operator.dev` runs the same components as
`tokenplace-operator run`, without leader election and health endpoints. kopf's own options work:
--verbose, and `-n NAMESPACE` instead of -A.
"""

from contextlib import AsyncExitStack
from typing import Any

import click
import kopf

from tokenplace_operator.api.kinds import Kind, Object
from tokenplace_operator.cache import kopf_settings, watch
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.logs import quieten_kopf
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.settings import Config
from tokenplace_operator.wiring import Components, assemble, reconciler


class Development:
    """The components, started and stopped by kopf."""

    def __init__(self) -> None:
        self._resources = AsyncExitStack()
        self._kube: Kube | None = None
        self._components: Components | None = None

    async def start(self, *, settings: kopf.OperatorSettings, **_: Any) -> None:  # noqa: ANN401
        """Log in, fill the store and start the workers."""
        config = Config(namespaces=_namespaces())
        # kopf's command line makes the settings itself, so they are changed here at its start.
        kopf_settings.configure(settings, config.watch_idle_seconds)
        quieten_kopf()
        metrics = Metrics()
        self._kube = await self._resources.enter_async_context(Kube.connect(metrics))
        self._components = assemble(self._kube, config, metrics, reconciler)
        await self._components.controller.start()

    async def stop(self, **_: Any) -> None:  # noqa: ANN401
        """Let the workers finish and log out."""
        if self._components is not None:
            await self._components.controller.drain(10.0)
        await self._resources.aclose()

    def handle(self, kind: Kind, event_type: str | None, obj: Object) -> None:
        """Pass an event on."""
        if self._components is None:
            raise RuntimeError("an event came before the start")
        self._components.handler.handle(kind, event_type, obj)

    def connection(self) -> Kube:
        """Return the connection whose login kopf shares."""
        if self._kube is None:
            raise RuntimeError("kopf logs in before the start")
        return self._kube


def _namespaces() -> tuple[str, ...]:
    """Return the -n options of `kopf run`."""
    context = click.get_current_context(silent=True)
    return tuple(context.params.get("namespaces") or ()) if context is not None else ()


_development = Development()
_registry = kopf.get_default_registry()
kopf.on.startup(registry=_registry)(_development.start)
kopf.on.cleanup(registry=_registry)(_development.stop)
watch.register(_registry, _development.connection, _development.handle)
