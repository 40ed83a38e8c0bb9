"""The page's sources: its packages, its build, and its own tests, with Node."""

import shutil
import subprocess
from pathlib import Path

from playwright._impl._driver import compute_driver_executable

from tokenplace_cluster.programs.debian import require_packages

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


def node() -> str:
    """Node 20 or newer: the machine's own, else the one that came with Playwright."""
    own = shutil.which("node")
    if own is not None:
        said = subprocess.run([own, "--version"], capture_output=True, text=True, check=True)
        if int(said.stdout.lstrip("v").partition(".")[0]) >= 20:
            return own
    return str(compute_driver_executable()[0])


def run(*command: str, environment: dict[str, str] | None = None) -> str:
    """Run a command in the page's folder; returns what it prints, raises with it on failure."""
    done = subprocess.run(
        command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout
