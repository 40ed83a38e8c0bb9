"""The demo as a newcomer types it."""

import subprocess
import sys
from pathlib import Path


def test_demo_ends_with_a_passed_probe() -> None:
    program = str(Path(sys.executable).with_name("tokenplace-cluster"))
    done = subprocess.run(
        [program, "demo", "--once"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "networkpolicy.networking.k8s.io/relay" in done.stdout
