"""Metadata of every child resource: name, labels, owner reference and applied hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tokenplace_operator.api import names
from tokenplace_operator.api.kinds import RELAY, Kind, Object
from tokenplace_operator.api.spec.relay import Relay

APPLIED_HASH = f"{RELAY.group}/applied-hash"
"""Annotation with the hash of what the operator applied last."""


def labels(relay: Relay) -> dict[str, str]:
    """The labels of every child resource and of the pods; they include the pod selector."""
    return {
        # The selector is a part of the labels: the API server rejects a Deployment whose template
        # does not match its own selector.
        **relay.selector,
        "app.kubernetes.io/component": "relay",
        "app.kubernetes.io/part-of": "tokenplace",
        "app.kubernetes.io/managed-by": names.OPERATOR,
    }


def owner_reference(relay: Relay) -> Object:
    """The reference through which the garbage collector deletes the child with its relay."""
    return {
        "apiVersion": RELAY.api_version,
        "kind": RELAY.kind,
        "name": relay.name,
        "uid": relay.uid,
        "controller": True,
        # True would need update rights on the finalizers of the TokenplaceRelay.
        "blockOwnerDeletion": False,
    }


def child(
    relay: Relay,
    kind: Kind,
    *,
    name: str = "",
    extra_labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **body: Any,  # noqa: ANN401 (the body of any kind)
) -> Object:
    """Return an owned and labelled object; `body` holds its fields other than metadata."""
    metadata: Object = {
        "name": name or names.child(kind, relay.name),
        "namespace": relay.namespace,
        # Extra labels come last, because the GPU Service has another component than the relay.
        "labels": {**labels(relay), **(extra_labels or {})},
        "ownerReferences": [owner_reference(relay)],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **body}


def applied_hash(obj: Object) -> str:
    """Return 32 hexadecimal digits over all of `obj` except the hash annotation."""
    # sort_keys: the API server does not keep the order of keys, and the hash must survive a restart
    # of the operator.
    text = json.dumps(_without_hash(obj), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def seal(obj: Object) -> Object:
    """Return a copy of `obj` that carries its own hash as an annotation."""
    metadata = obj["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED_HASH: applied_hash(obj)}
    return {**obj, "metadata": {**metadata, "annotations": annotations}}


def _without_hash(obj: Object) -> Object:
    metadata = dict(obj["metadata"])
    annotations = metadata.pop("annotations", {})
    remaining = {name: text for name, text in annotations.items() if name != APPLIED_HASH}
    return {**obj, "metadata": {**metadata, "annotations": remaining}}
