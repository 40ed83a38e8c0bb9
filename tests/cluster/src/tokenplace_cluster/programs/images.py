"""The two images, built by buildah from the very Dockerfiles, on a base made of Debian packages.

No registry is needed: the base that the Dockerfiles name is replaced by a local one. Everything is
kept in the cache, in a storage of its own, and built again only when an input changes.
"""

import hashlib
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rich.console import Console

from tokenplace_cluster.programs.cache import cache_directory
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
        """What the local storage calls it."""
        return f"localhost/tokenplace-{self.name}:{self.tag}"


def build(name: Name, revision: str = "local", *, fresh: bool = False) -> Image:
    """Build one image, or find it in the cache unless `fresh`; the revision becomes a label."""
    require_packages(IMAGE_PROGRAMS)
    image = Image(name, f"{_key(name)}-{revision}")
    if fresh or not _exists(image.reference):
        _ensure_base()
        _say(f"building the {name} image")
        _buildah(
            "bud",
            "--isolation=chroot",
            # The same contents whenever it is built from the same inputs.
            "--timestamp=0",
            *(["--no-cache"] if fresh else []),
            f"--file={ROOT / f'Dockerfile.{name}'}",
            # Takes the place of the first base; the other stages use that one.
            f"--from={BASE}",
            f"--build-arg=REVISION={revision}",
            *_certificates(),
            f"--tag={image.reference}",
            str(ROOT),
        )
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
    found: dict[str, object] = json.loads(_buildah("inspect", "--type=image", image.reference))
    return found


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
    """Installing inside the build trusts what this machine trusts."""
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
    # Packages hold more than Python: the page of the relay, the words of the command line.
    sources = sorted((ROOT / name / "src").rglob("*"))
    files += [one for one in sources if one.is_file() and "__pycache__" not in one.parts]
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _exists(reference: str) -> bool:
    command = [*_command(), "inspect", "--type=image", reference]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _command() -> list[str]:
    storage = cache_directory() / "images"
    storage.mkdir(parents=True, exist_ok=True)
    return [
        "buildah",
        f"--root={storage / 'root'}",
        f"--runroot={storage / 'run'}",
        "--storage-driver=vfs",
    ]


def _buildah(*arguments: str) -> str:
    return _run(*_command(), *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise ImageError(f"{command[0]} failed:\n{tail}")
    return done.stdout


def _say(text: str) -> None:
    Console(stderr=True, highlight=False).print(text)
