"""What the packet count of e2e takes for a denial: silence only, with real connections."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

PACKETS = Path(__file__).parents[2] / ".ci" / "packets"
REACHES = 'reach() { python3 -c "$CONNECT" 127.0.0.1 "$1"; }'


def play(script: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f". {PACKETS}; {script}", "bash", *arguments],
        env={**os.environ, "PAUSE": "0", "relay": "registry/relay:1", **settings},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


@pytest.fixture
def refusing() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[str]:
    """A port whose queue is full: the kernel drops what comes, as a policy does."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        waiting = stack.enter_context(socket.socket())
        waiting.connect(server.getsockname())
        yield str(server.getsockname()[1])


def test_what_gets_no_answer_is_denied(silent: str) -> None:
    done = play(f'{REACHES}; must_not "this" reach "$1"', silent)
    assert (done.returncode, done.stdout) == (0, "denied: this\n"), done.stderr


def test_what_arrives_is_not_denied(listening: str) -> None:
    done = play(f'{REACHES}; must_not "this" reach "$1"', listening)
    assert done.returncode == 1
    assert done.stderr == "NOT DENIED, but it must be: this\n"


def test_a_refusal_is_no_denial(refusing: str) -> None:
    done = play(f'{REACHES}; must_not "this" reach "$1"', refusing)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ConnectionRefusedError" in done.stderr
    assert done.stderr.splitlines()[-1] == "NEITHER DENIED NOR ALLOWED (exit code 1): this"


def test_a_name_that_is_not_known_is_no_denial() -> None:
    done = play('must_not "this" python3 -c "$CONNECT" no-such-name.invalid 80')
    assert (done.returncode, done.stdout) == (1, "")
    assert "NEITHER DENIED NOR ALLOWED" in done.stderr


def test_arriving_packets_are_allowed_and_missing_ones_reported(
    listening: str, refusing: str
) -> None:
    good = play(f'{REACHES}; must "this" reach "$1"', listening)
    assert (good.returncode, good.stdout) == (0, "allowed: this\n")
    bad = play(f'{REACHES}; must "this" reach "$1"', refusing)
    assert bad.returncode == 1
    assert bad.stderr.splitlines()[-1] == "NOT ALLOWED, but it must be: this"


@pytest.mark.parametrize(
    ("kubectl", "told"),
    [
        ('[ "$1" = delete ]', "NEITHER DENIED NOR ALLOWED (exit code 1): this"),
        ('[ "$1" != get ] || true', "the pod packet in here did not end"),
    ],
    ids=["refused", "never starts"],
)
def test_a_pod_that_sends_nothing_ends_the_wait(tmp_path: Path, kubectl: str, told: str) -> None:
    """A kubectl of our own: a cluster refuses no pod of this script on demand."""
    program = tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\n{kubectl}\n")
    program.chmod(0o755)
    settings = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "POD_SECONDS": "0"}
    done = play('must_not "this" reaches here app=x there 80', **settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr.splitlines()
