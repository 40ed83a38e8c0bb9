"""Writes an OCI image that holds one static program, without a container tool.

The layout follows the OCI image specification: layer, configuration, manifest and index.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterable
from typing import Final

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"

Document = dict[str, object]


def architecture() -> str:
    """This machine's architecture as image platforms name it."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def single_binary_image(binary: bytes, *, entrypoint: str) -> tuple[list[bytes], bytes]:
    """The blobs of an image (layer, configuration), and its manifest."""
    layer = _tar([(entrypoint.lstrip("/"), binary, 0o755)])
    config = _encode(
        {
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": [entrypoint], "User": "65534:65534"},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
    )
    manifest = _encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(_LAYER, layer)],
        }
    )
    return [layer, config], manifest


def single_binary_archive(name: str, binary: bytes, *, entrypoint: str) -> bytes:
    """An OCI archive that `ctr images import` reads: the image under its name."""
    blobs, manifest = single_binary_image(binary, entrypoint=entrypoint)
    named = {
        **_descriptor(MANIFEST_TYPE, manifest),
        "platform": {"architecture": architecture(), "os": "linux"},
        "annotations": {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name.rpartition(":")[2],
        },
    }
    files = [
        ("oci-layout", _encode({"imageLayoutVersion": "1.0.0"}), 0o644),
        ("index.json", _encode({"schemaVersion": 2, "manifests": [named]}), 0o644),
    ]
    files += [
        (f"blobs/sha256/{digest(blob).removeprefix('sha256:')}", blob, 0o644)
        for blob in (*blobs, manifest)
    ]
    return _tar(files)


def digest(blob: bytes) -> str:
    """The name of a blob: sha256:<hex>."""
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _descriptor(media_type: str, blob: bytes) -> Document:
    return {"mediaType": media_type, "digest": digest(blob), "size": len(blob)}


def _encode(document: Document) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _tar(files: Iterable[tuple[str, bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content, mode in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
