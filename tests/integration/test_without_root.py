"""A user who is not root gets a control plane, and a demo that lists what it cannot show."""

import os
import subprocess
import sys
from pathlib import Path

ORDINARY = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
"""Another user for the programs, though files stay readable to it."""


def test_the_demo_shows_the_objects_and_reports_that_no_pod_can_run(tmp_path: Path) -> None:
    demo = (str(Path(sys.executable).with_name("tokenplace-cluster")), "demo", "--once")
    done = subprocess.run(
        [*ORDINARY, *demo],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Not root, so there is no node" in done.stdout
    for child in ("serviceaccount/relay", "deployment.apps/relay", "networkpolicy.networking"):
        assert child in done.stdout
    assert "the relay was not probed. Run as root to see all of it." in done.stdout
