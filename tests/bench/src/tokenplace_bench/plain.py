"""What people usually write with kopf: handlers for create, update and delete. A rival, no model.

It makes the same children, with the same builders and the same client, as the tutorials do:
create them in the create handler, write them again in the update handler, delete them in the
delete handler. Nothing checks children afterwards, so a deleted one stays away.

Run as `kopf run --standalone --namespace NAMESPACE tokenplace_bench/plain.py`.
"""

from contextlib import AsyncExitStack
from typing import Any

import kopf

from tokenplace_bench.relays import children
from tokenplace_operator.api.kinds import RELAY, key_of, of
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import Conflict, NotFound
from tokenplace_operator.metrics import Metrics

RESOURCE = (RELAY.group, RELAY.version, RELAY.plural)
resources = AsyncExitStack()


@kopf.on.startup()
async def start(memo: kopf.Memo, settings: kopf.OperatorSettings, **_: Any) -> None:  # noqa: ANN401
    """Log in once."""
    settings.posting.enabled = False
    memo.kube = await resources.enter_async_context(Kube.connect(Metrics()))


@kopf.on.cleanup()
async def stop(**_: Any) -> None:  # noqa: ANN401
    """Log out."""
    await resources.aclose()


@kopf.on.create(*RESOURCE)
async def create(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401
    """Create every child."""
    kube: Kube = memo.kube
    for child in children(dict(body)):
        try:
            await kube.create(child)
        except Conflict:
            # A second try of the handler finds what the first one made.
            await kube.apply(child, force=True)


@kopf.on.update(*RESOURCE)
async def update(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401
    """Write every child again."""
    kube: Kube = memo.kube
    for child in children(dict(body)):
        await kube.apply(child, force=True)


@kopf.on.delete(*RESOURCE)
async def delete(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401
    """Delete every child."""
    kube: Kube = memo.kube
    for child in children(dict(body)):
        try:
            live = await kube.get(of(child), *key_of(child))
        except NotFound:
            continue
        await kube.delete(of(child), *key_of(child), uid=live["metadata"]["uid"])
