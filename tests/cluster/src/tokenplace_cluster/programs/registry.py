"""A local OCI registry, for images that are pushed and pulled by digest."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tokenplace_cluster.node.cleanup import Record
from tokenplace_cluster.programs.oci_archive import MANIFEST_TYPE, digest, single_binary_image
from tokenplace_cluster.programs.service import Service


@dataclass(slots=True)
class Registry:
    """A running registry; address is its host:port, for plain HTTP."""

    address: str
    _service: Service

    @classmethod
    def start(cls, directory: Path, address: str, *, binary: Path, record: Record) -> Self:
        """Start a registry with its store below a directory, and wait until it is ready."""
        directory.mkdir(parents=True)
        configuration = directory / "config.json"
        configuration.write_text(json.dumps(_configuration(directory / "store", address)))
        service = Service.start(
            "registry",
            [str(binary), "serve", str(configuration)],
            log=directory / "registry.log",
            record=record,
        )
        registry = cls(address, service)
        service.wait_until(registry.ready, seconds=20)
        return registry

    def ready(self) -> bool:
        """Whether it answers `/v2/`, the base of the registry API."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/v2/", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def push_binary(self, repository: str, binary: bytes, *, entrypoint: str) -> str:
        """Push an image that holds one static program; return its reference by digest."""
        blobs, manifest = single_binary_image(binary, entrypoint=entrypoint)
        for blob in blobs:
            self._push_blob(repository, blob)
        name = digest(manifest)
        url = f"http://{self.address}/v2/{repository}/manifests/{name}"
        self._send("PUT", url, manifest, MANIFEST_TYPE)
        return f"{self.address}/{repository}@{name}"

    def stop(self) -> None:
        self._service.stop()

    def _push_blob(self, repository: str, blob: bytes) -> None:
        url = f"http://{self.address}/v2/{repository}/blobs/uploads/"
        location = self._send("POST", url, b"", "application/octet-stream")
        separator = "&" if "?" in location else "?"
        target = f"{location}{separator}digest={digest(blob)}"
        self._send("PUT", target, blob, "application/octet-stream")

    def _send(self, method: str, url: str, body: bytes, content_type: str) -> str:
        request = urllib.request.Request(
            url, data=body, method=method, headers={"Content-Type": content_type}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return str(response.headers.get("Location", ""))


def _configuration(store: Path, address: str) -> dict[str, object]:
    return {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(store)}, "delete": {"enabled": True}},
        "http": {"addr": address, "relativeurls": False},
    }
