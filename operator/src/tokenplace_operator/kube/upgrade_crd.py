"""Upgrades the CRD in a cluster: the Job of the chart runs this before an upgrade."""

import asyncio
import json
from pathlib import Path

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.subresources import APPLY
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.settings import ConfigError

NAME = "tokenplacerelays.token.place"
PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAME}"
SETTLE_SECONDS = 5.0
"""After that every API server of a cluster serves the new fields to the requests that follow."""


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
    """Apply the definition and wait until every API server serves it; raises KubeError."""
    async with Kube.connect(Metrics()) as kube:
        await kube.request(
            "PATCH",
            PATH,
            crd,
            content_type=APPLY,
            # As Helm, which installed the CRD: with a field manager of our own, a later
            # `helm install` would find conflicts.
            field_manager="helm",
            force_conflicts="true",
        )
    await asyncio.sleep(SETTLE_SECONDS)
