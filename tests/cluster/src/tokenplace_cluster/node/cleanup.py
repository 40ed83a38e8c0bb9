"""Removes what a cluster created on this machine, from a record that is written beforehand.

Each cluster has one JSON record in RECORDS: the driver, the processes, the link, the cgroups and
the folders. A driver that is stopped works through its record. After a SIGKILL of the driver, the
next start does, or `tokenplace-cluster clean`. Mounts, network namespaces, bridges, veths and nft
tables need no entry: they belong to the node's namespaces and end with its first process.
"""

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

RECORDS: Final = (
    Path("/run/tokenplace-cluster")
    if os.geteuid() == 0
    else Path(tempfile.gettempdir()) / f"tokenplace-cluster-{os.geteuid()}"
)
CGROUPS: Final = Path("/sys/fs/cgroup")
_DEADLINE_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, identified by pid and start time, since the kernel reuses pids."""

    pid: int
    start: int
    """Start time in clock ticks since boot: field 22 of /proc/<pid>/stat."""

    @classmethod
    def of(cls, pid: int) -> Self:
        return cls(pid, _start_ticks(pid) or 0)

    def alive(self) -> bool:
        return self.start != 0 and _start_ticks(self.pid) == self.start

    def kill(self) -> None:
        """Send SIGKILL, unless the process has ended."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


@dataclass(slots=True)
class Record:
    """What one cluster created; an entry is on disk before the thing itself exists."""

    path: Path
    directory: str
    driver: Identity
    processes: list[Identity] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    """Names in use until the record is gone; the links end with the node's network namespace."""
    cgroups: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    @classmethod
    def create(cls, directory: Path) -> Self:
        """Create the record of a cluster in a directory, with this process as its driver."""
        RECORDS.mkdir(mode=0o755, exist_ok=True)
        path = RECORDS / f"{uuid.uuid4().hex[:12]}.json"
        record = cls(path, str(directory.resolve()), Identity.of(os.getpid()))
        record.save()
        return record

    @classmethod
    def load(cls, path: Path) -> Self:
        content = json.loads(path.read_text())
        return cls(
            path=path,
            directory=content["directory"],
            driver=Identity(**content["driver"]),
            processes=[Identity(**one) for one in content["processes"]],
            links=content["links"],
            cgroups=content["cgroups"],
            folders=content["folders"],
        )

    def save(self) -> None:
        content = asdict(self)
        del content["path"]
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(content, indent=2))
        temporary.replace(self.path)

    def add_process(self, pid: int) -> None:
        self.processes.append(Identity.of(pid))
        self.save()

    def add(self, *, link: str = "", cgroup: str = "", folder: Path | None = None) -> None:
        """Add a link, a cgroup (its path below the hierarchy's root) or a folder."""
        self.links += [link] if link else []
        self.cgroups += [cgroup] if cgroup else []
        self.folders += [str(folder)] if folder else []
        self.save()

    def undo(self) -> None:
        """Remove everything in the record; safe to repeat after an interruption."""
        for process in reversed(self.processes):
            process.kill()
        for process in self.processes:
            _wait_until_gone(process)
        for cgroup in self.cgroups:
            remove_cgroup(cgroup)
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
        self.path.unlink(missing_ok=True)


def clean(directory: Path) -> list[str]:
    """Remove the remains of clusters in a directory; return a line for each.

    Clusters whose driver still runs are kept.
    """
    path = str(directory.resolve())
    return [
        _undo(record)
        for record in _records()
        if record.directory == path and not record.driver.alive()
    ]


def clean_abandoned() -> list[str]:
    """Remove the remains of all clusters whose driver has ended; return a line for each."""
    return [_undo(record) for record in _records() if not record.driver.alive()]


def held_links() -> set[str]:
    """Links whose networks may still be in use by a cluster that is being removed."""
    return {link for record in _records() for link in record.links}


def remove_cgroup(name: str) -> None:
    """Remove a cgroup and its children, in every hierarchy (v1, hybrid or v2)."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    for root in _cgroup_hierarchies():
        for group in _bottom_up(root / name):
            _remove_one_cgroup(group, deadline)


def create_cgroup(name: str) -> None:
    """Create the parent cgroup of the kubelet's pods, in every hierarchy."""
    for root in _cgroup_hierarchies():
        (root / name).mkdir(exist_ok=True)


def _cgroup_hierarchies() -> list[Path]:
    roots = [CGROUPS, *CGROUPS.iterdir()] if CGROUPS.is_dir() else []
    return [root for root in roots if root.is_mount() and (root / "cgroup.procs").exists()]


def _bottom_up(root: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(root, topdown=False):
        yield Path(folder)


def _remove_one_cgroup(group: Path, deadline: float) -> None:
    while True:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            # A killed process leaves its cgroup a moment after the kill.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _records() -> list[Record]:
    records: list[Record] = []
    for path in sorted(RECORDS.glob("*.json")) if RECORDS.is_dir() else []:
        # Another cluster may end, and remove its record, at any moment.
        with contextlib.suppress(FileNotFoundError):
            records.append(Record.load(path))
    return records


def _undo(record: Record) -> str:
    record.undo()
    return f"{record.directory}: {len(record.processes)} processes, {', '.join(record.links)}"


def _wait_until_gone(process: Identity) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while process.alive() and time.monotonic() < deadline:
        # Collects the process if it is a zombie child of this one.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
        time.sleep(0.02)


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name (state, parent, ...); empty if it ended."""
    try:
        content = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The name is in parentheses, and may itself hold blanks and parentheses.
    return content.rpartition(")")[2].split()


def _start_ticks(pid: int) -> int | None:
    fields = stat_of(pid)
    return None if not fields or fields[0] == "Z" else int(fields[19])
