"""Bringing the kind in a cluster up to date: what the chart's Job does before an upgrade."""

import asyncio
import json
from pathlib import Path

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.settings import ConfigError

NAME = "tokenplacerelays.token.place"
SETTLE_SECONDS = 5.0
"""Every API server of a cluster has the new fields by then; resources that use them come next."""


def read(path: Path) -> Object:
    """The CustomResourceDefinition in a JSON file; raises ConfigError for anything else."""
    try:
        crd = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    is_object = isinstance(crd, dict)
    kind = crd.get("kind") if is_object else None
    name = crd.get("metadata", {}).get("name") if is_object else None
    if (kind, name) != ("CustomResourceDefinition", NAME):
        raise ConfigError(f"{path}: must be the CustomResourceDefinition {NAME}")
    return dict(crd)


async def upgrade(crd: Object) -> None:
    """Apply the definition and wait until it is in use; raises KubeError."""
    async with Kube.connect(Metrics()) as kube:
        await kube.apply_crd(crd)
    await asyncio.sleep(SETTLE_SECONDS)
