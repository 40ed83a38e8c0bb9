"""What all children share: labels, the owner, and the hash of what was applied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tokenplace_operator.api import GROUP, KIND, MANAGER, VERSION, Relay

Object = dict[str, Any]

APPLIED_HASH = f"{GROUP}/applied-hash"


def labels(relay: Relay) -> dict[str, str]:
    """The labels of every child and of the pods; the selector is a part of them."""
    return {
        **relay.selector,
        "app.kubernetes.io/component": "relay",
        "app.kubernetes.io/part-of": "tokenplace",
        "app.kubernetes.io/managed-by": MANAGER,
    }


def owner_reference(relay: Relay) -> Object:
    """Makes the garbage collector delete the child with its relay.

    blockOwnerDeletion stays false: true would demand update rights on the relay's finalizers.
    """
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": relay.name,
        "uid": relay.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def child(
    relay: Relay,
    api_version: str,
    kind: str,
    name: str,
    *,
    extra_labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **body: Any,  # noqa: ANN401 (the body of any kind)
) -> Object:
    """An owned, labelled object; `body` holds its top-level fields besides metadata."""
    metadata: Object = {
        "name": name,
        "namespace": relay.namespace,
        "labels": {**labels(relay), **(extra_labels or {})},
        "ownerReferences": [owner_reference(relay)],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}


def applied_hash(obj: Object) -> str:
    """32 hex digits over everything in `obj` but the hash annotation itself."""
    text = json.dumps(_without_hash(obj), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def seal(obj: Object) -> Object:
    """A copy of `obj` that carries its own hash as an annotation."""
    metadata = obj["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED_HASH: applied_hash(obj)}
    return {**obj, "metadata": {**metadata, "annotations": annotations}}


def _without_hash(obj: Object) -> Object:
    metadata = dict(obj["metadata"])
    kept = {k: v for k, v in metadata.pop("annotations", {}).items() if k != APPLIED_HASH}
    return {**obj, "metadata": {**metadata, "annotations": kept}}
