"""Builds the images of relay and operator with buildah, on a base made of Debian packages.

No image registry is needed: a local base takes the place of the one that the Dockerfiles name.
Images stay in the cache, in a storage of their own, and are built again only when an input changes.
"""

import functools
import hashlib
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rich.console import Console

from tokenplace_cluster.programs.cache import cache_directory, locked
from tokenplace_cluster.programs.debian import IMAGE_PROGRAMS, require_packages

ROOT: Final = Path(__file__).parents[5]
REPOSITORY: Final = "ghcr.io/futuroptimist"
BASE: Final = "localhost/tokenplace-base:bookworm"
_PACKAGES: Final = "python3,python3-venv,ca-certificates"
_HOST_CERTIFICATES: Final = Path("/etc/ssl/certs")

Name = Literal["relay", "operator"]


class ImageError(RuntimeError):
    """An image cannot be built or pushed; the message holds the end of the output."""


@dataclass(frozen=True, slots=True)
class Image:
    """A built image in the local storage."""

    name: str
    tag: str

    @property
    def reference(self) -> str:
        """Its name in the local storage."""
        return f"localhost/tokenplace-{self.name}:{self.tag}"


def build(name: Name, revision: str = "local", *, fresh: bool = False) -> Image:
    """Build an image, unless the cache has it; revision becomes a label, fresh ignores the cache.

    Raises ImageError.
    """
    require_packages(IMAGE_PROGRAMS)
    image = Image(name, f"{_key(name)}-{revision}")
    # Test processes build the same images: the second one waits, and takes the result.
    with locked(_storage() / "build.lock"):
        if fresh or not _exists(image.reference):
            _ensure_base()
            _say(f"building the {name} image")
            try:
                _build(image, revision, fresh=fresh)
            finally:
                # buildah keeps the container of each first stage, mounted.
                _buildah("rm", "--all")
    return image


def push(image: Image, registry: str) -> str:
    """Push to a registry at host:port over plain HTTP; return the reference by digest."""
    repository = f"{registry}/tokenplace-{image.name}"
    with tempfile.NamedTemporaryFile("r") as digest:
        _buildah(
            "push",
            "--quiet",
            "--tls-verify=false",
            f"--digestfile={digest.name}",
            image.reference,
            f"docker://{repository}:{image.tag}",
        )
        return f"{repository}@{digest.read().strip()}"


def archive(image: Image, path: Path) -> None:
    """Write an image to a new OCI archive."""
    _buildah("push", "--quiet", image.reference, f"oci-archive:{path}")


def inspect(image: Image) -> dict[str, object]:
    """The OCI configuration of an image."""
    configuration: dict[str, object] = json.loads(
        _buildah("inspect", "--type=image", image.reference)
    )
    return configuration


def _build(image: Image, revision: str, *, fresh: bool) -> None:
    _buildah(
        "bud",
        "--isolation=chroot",
        # Images of two revisions share their layers, so the second one takes seconds.
        "--layers",
        *(["--no-cache"] if fresh else []),
        # The same inputs give the same image contents at any time.
        "--timestamp=0",
        f"--file={ROOT / f'Dockerfile.{image.name}'}",
        # Replaces the first base; the other stages are built from that one.
        f"--from={BASE}",
        f"--build-arg=REVISION={revision}",
        *_certificates(),
        f"--tag={image.reference}",
        str(ROOT),
    )


def _ensure_base() -> None:
    if _exists(BASE):
        return
    _say("making a base image of Debian packages (once)")
    with tempfile.TemporaryDirectory(dir=cache_directory()) as folder:
        archive = Path(folder) / "base.tar"
        _run("mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(archive))
        dockerfile = Path(folder) / "Dockerfile"
        dockerfile.write_text("FROM scratch\nADD base.tar /\n")
        _buildah("bud", "--isolation=chroot", f"--tag={BASE}", f"--file={dockerfile}", folder)


def _certificates() -> list[str]:
    """Flags that give a build the certificate authorities of this machine."""
    if not _HOST_CERTIFICATES.is_dir():
        return []
    return [
        f"--volume={_HOST_CERTIFICATES}:{_HOST_CERTIFICATES}:ro",
        "--volume=/usr/local/share/ca-certificates:/usr/local/share/ca-certificates:ro",
        "--volume=/usr/share/ca-certificates:/usr/share/ca-certificates:ro",
    ]


def _key(name: Name) -> str:
    """A hash of everything that the build reads."""
    files = [ROOT / f"Dockerfile.{name}", ROOT / "uv.lock", ROOT / ".ci" / "uv.txt"]
    files.append(ROOT / ".ci" / "list-licences")
    files += [ROOT / "pyproject.toml", ROOT / name / "pyproject.toml"]
    # Packages hold more than Python files, such as the relay's page.
    sources = sorted((ROOT / name / "src").rglob("*"))
    files += [path for path in sources if path.is_file() and "__pycache__" not in path.parts]
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _exists(reference: str) -> bool:
    command = [*_command(_driver()), "inspect", "--type=image", reference]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@functools.cache
def _driver() -> str:
    """overlay where the kernel and the file system allow it, else vfs, which copies each layer."""
    command = [*_command("overlay"), "info"]
    possible = subprocess.run(command, capture_output=True, check=False).returncode == 0
    return "overlay" if possible else "vfs"


def _storage() -> Path:
    return cache_directory() / "images"


def _command(driver: str) -> list[str]:
    storage = _storage() / driver
    storage.mkdir(parents=True, exist_ok=True)
    return [
        "buildah",
        f"--root={storage / 'root'}",
        f"--runroot={storage / 'run'}",
        f"--storage-driver={driver}",
    ]


def _buildah(*arguments: str) -> str:
    return _run(*_command(_driver()), *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise ImageError(f"{command[0]} failed:\n{tail}")
    return done.stdout


def _say(text: str) -> None:
    Console(stderr=True, highlight=False).print(text)
