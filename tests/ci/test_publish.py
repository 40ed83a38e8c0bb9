"""What a release pushes, on a real registry: whole, under every tag, and never over another."""

import http.server
import json
import os
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenplace_cluster.node.cleanup import Record
from tokenplace_cluster.programs import oci_archive
from tokenplace_cluster.programs.build import program
from tokenplace_cluster.programs.debian import PUBLISH_PROGRAMS, require_packages
from tokenplace_cluster.programs.helm import CHART
from tokenplace_cluster.programs.registry import Registry

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
INDEX = "application/vnd.oci.image.index.v1+json"

Object = dict[str, Any]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry of our own; returns its host:port."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    record = Record.create(folder)
    started = Registry.start(
        folder / "registry", f"127.0.0.1:{port}", binary=program("registry"), record=record
    )
    yield started.address
    started.stop()
    record.undo()


def archive(path: Path, text: str) -> Path:
    """An archive as Buildx writes it: two platforms and an attestation in one index."""
    blobs: list[bytes] = []
    manifests: list[Object] = []
    for architecture in ("amd64", "arm64", "unknown"):
        made, manifest = oci_archive.single_binary_image(
            f"{text} for {architecture}".encode(), entrypoint="/program"
        )
        blobs += [*made, manifest]
        system = "unknown" if architecture == "unknown" else "linux"
        platform = {"architecture": architecture, "os": system}
        manifests.append({**descriptor(oci_archive.MANIFEST_TYPE, manifest), "platform": platform})
    index = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
    blobs.append(index)
    files = {f"blobs/{oci_archive.digest(one).replace(':', '/')}": one for one in blobs}
    files["oci-layout"] = encode({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = encode({"schemaVersion": 2, "manifests": [descriptor(INDEX, index)]})
    with tarfile.open(path, "w") as opened:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, BytesIO(content))
    return path


def descriptor(kind: str, content: bytes) -> Object:
    return {"mediaType": kind, "digest": oci_archive.digest(content), "size": len(content)}


def encode(document: Object) -> bytes:
    return json.dumps(document).encode()


def run(script: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    require_packages(PUBLISH_PROGRAMS)
    return subprocess.run(
        [ROOT / ".ci" / script, *arguments],
        env={**os.environ, "REGISTRY_PLAIN_HTTP": "1", **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def digest_of(reference: str) -> str:
    done = run("manifest-digest", reference)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_everything_is_pushed_under_every_tag(registry: str, tmp_path: Path) -> None:
    built = archive(tmp_path / "image.tar", "whole")
    repository = f"{registry}/whole"
    done = run("publish-image", str(built), repository, "sha-1234567", "1.2.3")
    assert done.returncode == 0, done.stderr
    key, _, reference = done.stdout.strip().partition("=")
    digest = reference.rpartition("@")[2]
    assert (key, reference) == ("reference", f"{repository}@{digest}")
    for tag in ("sha-1234567", "1.2.3"):
        assert digest_of(f"{repository}:{tag}") == digest
    shown = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{reference}"],
        capture_output=True,
        text=True,
        check=True,
    )
    platforms = [one["platform"]["architecture"] for one in json.loads(shown.stdout)["manifests"]]
    assert platforms == ["amd64", "arm64", "unknown"]


def test_the_same_image_contents_may_be_published_again(registry: str, tmp_path: Path) -> None:
    built = archive(tmp_path / "image.tar", "again")
    first = run("publish-image", str(built), f"{registry}/again", "1.0.0")
    second = run("publish-image", str(built), f"{registry}/again", "1.0.0", "sha-7654321")
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert first.stdout == second.stdout
    assert "1.0.0 already names" in second.stderr


def test_a_tag_never_gets_other_image_contents(registry: str, tmp_path: Path) -> None:
    repository = f"{registry}/taken"
    assert run("publish-image", str(archive(tmp_path / "a", "a")), repository, "1.0.0").stdout
    before = digest_of(f"{repository}:1.0.0")
    done = run("publish-image", str(archive(tmp_path / "b", "b")), repository, "new", "1.0.0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not overwritten" in done.stderr
    assert digest_of(f"{repository}:1.0.0") == before
    assert run("manifest-digest", f"{repository}:new").returncode == 3


def test_a_release_is_published_after_the_build_of_its_commit(
    registry: str, tmp_path: Path
) -> None:
    """Main builds the commit, then its tag does; times and labels differ, so the digests do too."""
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    names: list[tuple[str, str]] = []
    for ref in ("refs/heads/main", f"refs/tags/v{version}"):
        found = run("image-facts", GITHUB_REF=ref, GITHUB_SHA="HEAD").stdout.splitlines()
        facts = dict(line.split("=", 1) for line in found)
        built = archive(tmp_path / facts["version"], facts["version"])
        done = run("publish-image", str(built), f"{registry}/released", *facts["tags"].split())
        assert done.returncode == 0, done.stderr
        digest = done.stdout.strip().rpartition("@")[2]
        names.append((facts["tags"], digest))
        assert digest_of(f"{registry}/released:{facts['tags']}") == digest
    (first, its_digest), (second, other_digest) = names
    assert first.startswith("sha-")
    assert second == version
    assert its_digest != other_digest
    assert digest_of(f"{registry}/released:{first}") == its_digest


@pytest.mark.parametrize("tag", ["latest", "main-LATEST"])
def test_no_tag_is_called_latest(registry: str, tmp_path: Path, tag: str) -> None:
    done = run("publish-image", str(archive(tmp_path / "a", "a")), f"{registry}/moving", tag)
    assert (done.returncode, done.stdout) == (1, "")
    assert "refused" in done.stderr


def test_a_failing_registry_is_not_an_empty_one(tmp_path: Path) -> None:
    class Broken(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        done = run("publish-image", str(archive(tmp_path / "a", "a")), f"{address}/x", "1.0.0")
        server.shutdown()
    assert (done.returncode, done.stdout) == (1, "")
    assert "exists: nothing is pushed" in done.stderr


def test_logs_in_when_the_registry_asks_for_it() -> None:
    class Guarded(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            good = self.headers["Authorization"] == "Basic dTpw"
            assert self.path == "/token?service=here&scope=pull"
            self.send_response(200 if good else 403)
            self.end_headers()
            self.wfile.write(b'{"token": "t"}')

        def do_HEAD(self) -> None:
            good = self.headers["Authorization"] == "Bearer t"
            self.send_response(200 if good else 401)
            realm = f"http://{self.headers['Host']}/token"
            ask = f'Bearer realm="{realm}",service="here",scope="pull"'
            self.send_header("WWW-Authenticate", ask)
            self.send_header("Docker-Content-Digest", "sha256:" + "b" * 64)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        reference = f"127.0.0.1:{server.server_port}/x:1"
        good = run("manifest-digest", reference, REGISTRY_USER="u", REGISTRY_PASSWORD="p")
        bad = run("manifest-digest", reference, REGISTRY_USER="u", REGISTRY_PASSWORD="wrong")
        server.shutdown()
    assert good.stdout == "sha256:" + "b" * 64 + "\n"
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "wrong" not in bad.stderr


def test_a_version_of_the_chart_is_published_once(registry: str) -> None:
    helm = {"HELM": str(program("helm"))}
    first = run("publish-chart", f"{registry}/charts", "1.2.3", **helm)
    assert first.returncode == 0, first.stderr
    reference = first.stdout.strip().removeprefix("reference=")
    name, _, digest = reference.partition("@")
    assert name == f"{registry}/charts/tokenplace-relay"
    assert digest_of(f"{name}:1.2.3") == digest
    again = run("publish-chart", f"{registry}/charts", "1.2.3", **helm)
    assert (again.returncode, again.stdout) == (1, "")
    assert "raise the version" in again.stderr
    assert digest_of(f"{name}:1.2.3") == digest
    assert run("publish-chart", f"{registry}/charts", "1.2.4", **helm).returncode == 0


def test_the_published_chart_has_its_version_for_itself_and_the_images(
    registry: str, tmp_path: Path
) -> None:
    helm = str(program("helm"))
    done = run("publish-chart", f"{registry}/versioned", "2.0.0-rc.1", HELM=helm)
    assert done.returncode == 0, done.stderr
    pulled = subprocess.run(
        [helm, "show", "chart", "--plain-http", "--version=2.0.0-rc.1",
         f"oci://{registry}/versioned/tokenplace-relay"],
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    assert "version: 2.0.0-rc.1" in pulled.stdout.splitlines()
    assert "appVersion: 2.0.0-rc.1" in pulled.stdout.splitlines()
