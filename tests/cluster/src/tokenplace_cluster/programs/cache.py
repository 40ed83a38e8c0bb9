"""The cache for what is slow to build or fetch: it survives test runs and lies outside the tree."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_directory() -> Path:
    """The folder of the cache; TOKENPLACE_CACHE_DIR names another one."""
    if named := os.environ.get("TOKENPLACE_CACHE_DIR"):
        return Path(named)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "tokenplace"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file while one process fills the cache; the kernel frees it on exit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
