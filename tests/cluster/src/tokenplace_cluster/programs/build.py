"""The programs of the test cluster: built from Go modules, or taken from a package.

A build is kept in the cache under a key of the module's own files and the Go version, so only a
change of these builds it again. TOKENPLACE_<NAME>_BINARY names an existing program instead.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from tokenplace_cluster.programs.cache import cache_directory, locked
from tokenplace_cluster.programs.prebuilt import prebuilt_program

GO: Final = Path(__file__).parents[3] / "go"
KUBERNETES_VERSION: Final = "1.35.4"
HELM_VERSION: Final = "4.3.1"
_PROMETHEUS_OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator/cmd"
_VERSION_FLAGS: Final = " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in (
        ("gitVersion", f"v{KUBERNETES_VERSION}"),
        ("gitMajor", KUBERNETES_VERSION.split(".")[0]),
        ("gitMinor", KUBERNETES_VERSION.split(".")[1]),
    )
)
PREBUILT: Final = ("registry", "traefik")
KUBERNETES_PROGRAMS: Final = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
)


class BuildError(RuntimeError):
    """A program cannot be built on this machine; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class GoModule:
    """A program that is built from a folder of tests/cluster/go."""

    name: str
    linker_flags: str = ""
    links: tuple[str, ...] = ()
    """The names of a multi-call program: it acts by the name it is called with."""
    package: str = "."
    """The main package: that of another project, unless it needs a main.go of its own here."""
    tags: str = ""
    source: str = ""
    """The folder, if its name differs from that of the program."""

    @property
    def folder(self) -> Path:
        return GO / (self.source or self.name)


MODULES: Final = {
    module.name: module
    for module in (
        GoModule("kubernetes", _VERSION_FLAGS, KUBERNETES_PROGRAMS),
        GoModule("coredns"),
        GoModule("pause"),
        GoModule("witness"),
        GoModule("kstatus"),
        GoModule("policy"),
        GoModule("rules"),
        GoModule("actionlint"),
        GoModule("kubescore"),
        GoModule("helm", f"-X helm.sh/helm/v4/internal/version.version=v{HELM_VERSION}"),
        # Without service discovery other than that of Kubernetes: a third less to build.
        GoModule(
            "prometheus",
            package="github.com/prometheus/prometheus/cmd/prometheus",
            tags="remove_all_sd,enable_kubernetes_sd",
        ),
        GoModule("prometheus-operator", package=f"{_PROMETHEUS_OPERATOR}/operator"),
        GoModule(
            "prometheus-config-reloader",
            package=f"{_PROMETHEUS_OPERATOR}/prometheus-config-reloader",
            source="prometheus-operator",
        ),
    )
}


def program(name: str) -> Path:
    """The path of a program, built or fetched on first use.

    Raises BuildError or PrebuiltError when that is not possible on this machine.
    """
    if name in KUBERNETES_PROGRAMS:
        return _with_links(MODULES["kubernetes"]) / name
    if (existing := _existing(name)) is not None:
        return existing
    return prebuilt_program(name) if name in PREBUILT else _built(MODULES[name])


def programs() -> tuple[str, ...]:
    """The names of all programs, the slowest to build first."""
    others = [name for name in MODULES if name != "kubernetes"]
    return (*KUBERNETES_PROGRAMS, *others, *PREBUILT)


def module_folder(path: str) -> Path:
    """The source folder of a Go module, in the version that tests/cluster/go/crds pins.

    Nothing is compiled. Some projects publish their CRDs in no other package.
    """
    command = [_go(), "mod", "download", "-json", path]
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    done = subprocess.run(
        command, cwd=GO / "crds", env=environment, capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout or "{}")
    if "Dir" not in found:
        raise BuildError(f"{path} cannot be fetched: {found.get('Error') or done.stderr.strip()}")
    return Path(found["Dir"])


def _existing(name: str) -> Path | None:
    """The program that an environment variable names."""
    variable = f"TOKENPLACE_{name.upper().replace('-', '_')}_BINARY"
    named = os.environ.get(variable)
    if not named:
        return None
    if not os.access(named, os.X_OK):
        raise BuildError(f"{variable}={named}: no program is there")
    return Path(named).resolve()


def _built(module: GoModule) -> Path:
    go = _go()
    folder = cache_directory() / f"{module.name}-{_key(module, go)}"
    binary = folder / module.name
    if not binary.exists():
        with locked(folder.with_suffix(".lock")):
            if not binary.exists():
                _build(module, go, folder)
    return binary


def _with_links(module: GoModule) -> Path:
    """A folder with a link for each name of a multi-call program."""
    binary = _existing(module.name) or _built(module)
    digest = hashlib.sha256(str(binary).encode()).hexdigest()[:12]
    folder = cache_directory() / f"{module.name}-links-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in module.links:
        link = folder / name
        if not link.is_symlink() or link.readlink() != binary:
            # Renamed into place: another test run may read the folder.
            beside = folder / f".{name}.{os.getpid()}"
            beside.symlink_to(binary)
            beside.replace(link)
    return folder


def _key(module: GoModule, go: str) -> str:
    inputs = sorted(module.folder.glob("go.*")) + sorted(module.folder.glob("*.go"))
    options = (module.linker_flags, module.tags, module.package.removeprefix("."))
    digest = hashlib.sha256(_go_version(go).encode() + "".join(options).encode())
    for file in inputs:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _build(module: GoModule, go: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        output = Path(scratch) / module.name
        flags = f"-s -w {module.linker_flags}".strip()
        command = [go, "build", "-v", "-trimpath", "-ldflags", flags, f"-tags={module.tags}"]
        command += ["-o", str(output), module.package]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
        total = _package_count(module, go, environment)
        with subprocess.Popen(
            command,
            cwd=module.folder,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            tail = _show_progress(module, process, total)
        if process.returncode != 0:
            raise BuildError(f"building {module.name} failed:\n" + "\n".join(tail))
        output.parent.chmod(0o755)
        folder.mkdir(exist_ok=True)
        output.replace(folder / module.name)


def _package_count(module: GoModule, go: str, environment: dict[str, str]) -> int:
    command = [go, "list", "-deps", f"-tags={module.tags}", module.package]
    done = subprocess.run(
        command, cwd=module.folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(f"the packages of {module.name} cannot be listed:\n{done.stderr.strip()}")
    return len(done.stdout.splitlines())


def _show_progress(module: GoModule, process: subprocess.Popen[str], total: int) -> list[str]:
    """Count the packages as they are compiled; return the last lines, with any errors."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    title = f"building {module.name} (once; kept in {cache_directory()})"
    started = time.monotonic()
    seen: list[str] = []
    assert process.stderr is not None
    with _reporter(console, title) as report:
        for line in process.stderr:
            seen.append(line.rstrip())
            report(f"{len(seen)}/{total} packages, {time.monotonic() - started:.0f} s")
    console.print(f"built {module.name} in {time.monotonic() - started:.0f} s")
    return seen[-30:]


@contextmanager
def _reporter(console: Console, title: str) -> Iterator[Callable[[str], None]]:
    """Report progress: in place on a terminal, else a line every 20 seconds."""
    if console.is_terminal:
        with console.status(title) as status:
            yield lambda text: status.update(f"{title}: {text}")
        return
    console.print(title)
    last = time.monotonic()

    def report(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= 20:
            last = time.monotonic()
            console.print(f"  {text}")

    yield report


def _go() -> str:
    """The machine's Go if it is new enough, else the one that uv.lock pins."""
    installed = _machine_go()
    if installed and _version_tuple(_go_version(installed)) >= _required_version():
        return installed
    return str(prebuilt_program("go"))


def _machine_go() -> str | None:
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def _required_version() -> tuple[int, ...]:
    """The newest Go version that a module asks for."""
    files = [path.read_text() for path in GO.glob("*/go.mod")]
    versions = re.findall(r"^go (\S+)$", "\n".join(files), re.MULTILINE)
    return max(map(_version_tuple, versions))


def _go_version(go: str) -> str:
    return subprocess.run(
        [go, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    ).stdout.strip()


def _version_tuple(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
