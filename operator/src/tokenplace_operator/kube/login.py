"""Login to the API server: with a pod's service account, or with a kubeconfig."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.kube.errors import Unavailable


@asynccontextmanager
async def login(
    context: str | None = None, kubeconfig: Object | None = None
) -> AsyncIterator[Configuration]:
    """Yield a configuration with address and credentials, which are renewed until the end.

    context: of the kubeconfig; None: its current context.
    kubeconfig: the decoded content of a file, instead of the files that KUBECONFIG names.
    Raises Unavailable when no login is configured.
    """
    configuration = Configuration()
    try:
        renewal = await _load(configuration, context, kubeconfig)
    except kube_config.ConfigException as error:
        raise Unavailable(0, "Config", f"kubeconfig: {error}") from None
    try:
        yield configuration
    finally:
        # The renewal is an endless task of the client library, which nothing else ends.
        if renewal is not None:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)


async def _load(
    configuration: Configuration, context: str | None, kubeconfig: Object | None
) -> asyncio.Task[None] | None:
    """Fill the configuration; return the task that renews tokens of exec plugins, if any."""
    if kubeconfig is not None:
        await kube_config.load_kube_config_from_dict(  # type: ignore[no-untyped-call]
            kubeconfig, context=context, client_configuration=configuration
        )
        return None
    # A KUBECONFIG in a pod is deliberate, so it goes before the pod's own account.
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
