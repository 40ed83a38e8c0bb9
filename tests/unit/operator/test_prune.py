"""A pruned child is gone, with or without a watch event of its deletion."""

from unittest.mock import AsyncMock

import pytest

from tokenplace_operator.api.kinds import DEPLOYMENT, SERVICE_MONITOR, Kind
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.apply import Applier
from tokenplace_operator.children.plan import Plan
from tokenplace_operator.children.write_backoff import WriteBackoff
from tokenplace_operator.metrics import Metrics


@pytest.mark.parametrize(("kind", "is_known"), [(SERVICE_MONITOR, False), (DEPLOYMENT, True)])
async def test_only_a_watched_child_is_cached_until_its_deletion_event(
    kind: Kind, *, is_known: bool
) -> None:
    metrics, kube = Metrics(), AsyncMock()
    store = Store(metrics)
    metadata = {"namespace": "team", "name": "relay", "uid": "u", "resourceVersion": "1"}
    child = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    store.put(child)
    applier = Applier(kube, store, metrics, WriteBackoff(lambda: 0.0, metrics), AsyncMock())
    await applier.execute(Plan(prune=(child,)))
    kube.delete.assert_awaited_once_with(kind, "team", "relay", uid="u")
    assert (store.get(kind, ("team", "relay")) is not None) is is_known
