"""The page's sources: its packages, its build, and its own tests, with Node."""

import shutil
import subprocess
from pathlib import Path

from tokenplace_cluster.debian import require_packages

FOLDER = Path(__file__).parents[5] / "relay" / "page"
BUILT = FOLDER.parent / "src" / "tokenplace_relay" / "page"


def packages() -> Path:
    """The folder of installed packages, brought to the state of the lock file."""
    require_packages({"node": "nodejs", "npm": "npm"})
    folder, lock = FOLDER / "node_modules", FOLDER / "package-lock.json"
    stamp = folder / ".tokenplace-lock"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        run("npm", "ci")
        shutil.copyfile(lock, stamp)
    return folder


def run(*command: str, environment: dict[str, str] | None = None) -> str:
    """Run a command in the page's folder; returns what it prints, raises with it on failure."""
    done = subprocess.run(
        command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout
