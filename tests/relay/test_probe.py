"""The probe against a real relay process, and its error messages."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path

import pytest

from tokenplace_relay.peers import probe as probing

PROGRAM = str(Path(sys.executable).with_name("tokenplace-relay"))
STEPS = [
    "make keys", "register compute node", "select compute node", "send sealed request",
    "claim and answer", "retrieve answer", "compare", "unregister compute node",
]  # fmt: skip


def probe(url: str, *arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "probe", url, *arguments],
        env={**os.environ, "TOKENPLACE_PROBE_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def relay_url() -> Iterator[str]:
    with serving() as url:
        yield url


@contextmanager
def serving(**settings: str) -> Iterator[str]:
    port = free_port()
    environment = {"RELAY_HOST": "127.0.0.1", "RELAY_PORT": str(port), "PATH": "", **settings}
    with subprocess.Popen(
        [PROGRAM, "serve"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
        process.kill()


def test_round_trip_passes_and_shows_each_step(relay_url: str) -> None:
    done = probe(relay_url)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [line.strip() for line in done.stdout.splitlines()]
    for step in STEPS:
        assert any(re.match(rf"{step} +\d+\.\d ms  ok$", line) for line in shown), step
    assert shown[-1].endswith("passed")


def test_json_holds_the_same(relay_url: str) -> None:
    done = probe(relay_url, "--json")
    report = json.loads(done.stdout)
    assert report["passed"] is True
    assert [step["name"] for step in report["steps"]] == STEPS


def test_nothing_of_the_probe_stays_behind(relay_url: str) -> None:
    assert probe(relay_url).returncode == 0
    assert probe(relay_url).returncode == 0


@pytest.mark.parametrize("given", ["second", "first, second\n", "\n ,second,\nunknown"])
def test_a_relay_that_asks_for_a_token_takes_the_first_that_is_given(given: str) -> None:
    """`helm test` passes all tokens of the Secret, as the relay reads them."""
    with serving(TOKEN_PLACE_RELAY_SERVER_TOKENS="first,second\n") as url:
        assert probe(url).returncode == 1
        assert probe(url, token="unknown,second").returncode == 1
        done = probe(url, token=given)
    assert done.returncode == 0, done.stdout


def test_no_relay_at_all() -> None:
    done = probe(f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "is the relay running?" in done.stdout


def test_something_else_answers() -> None:
    with answering(200, b"<html>hello</html>") as url:
        done = probe(url)
    assert done.returncode == 1
    assert "is this a token.place relay?" in done.stdout


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        (503, {"code": "draining", "message": "m"}, "the relay is draining"),
        (401, {"code": 401, "message": "m"}, "set TOKENPLACE_PROBE_TOKEN"),
        (429, {"code": "rate_limit_exceeded", "message": "wait"}, "too many requests"),
    ],
)
def test_refusal_is_explained(status: int, error: dict[str, object], sentence: str) -> None:
    with answering(status, json.dumps({"error": error}).encode()) as url:
        done = probe(url)
    assert done.returncode == 1
    assert sentence in done.stdout
    assert "register compute node" in done.stdout


def test_silence_ends_with_the_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = probe(f"http://127.0.0.1:{silent.getsockname()[1]}", "--timeout", "1")
    assert done.returncode == 1
    assert "cancelled: the timeout" in done.stdout


def test_leaving_has_an_end_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A relay that registers the node and then falls silent."""
    monkeypatch.setattr(probing, "UNREGISTER_SECONDS", 0.1)
    with falling_silent(b'{"control_credential": "c"}') as url:
        assert probing.run(url, timeout=1) == 1
    said = capsys.readouterr().out
    assert "cancelled: the timeout of the probe has expired" in said
    assert "no response within 0.1 s" in said


@pytest.mark.parametrize(
    "url",
    ["relay.example.com", "http://[::1", "http://127.0.0.1:99999", "http://:80", "http://a:0"],
)
def test_url_that_is_none(url: str) -> None:
    done = probe(url)
    assert done.returncode == 2
    assert "is not the URL of a relay" in done.stderr


@contextmanager
def falling_silent(first: bytes) -> Iterator[str]:
    """A server that answers the first call, and none after it."""
    over = threading.Event()
    left = [first]

    class Silent(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if left:
                body = left.pop()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            else:
                over.wait(30)

        def do_GET(self) -> None:
            over.wait(30)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            over.set()
            server.shutdown()


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that gives one answer to everything."""

    class Fixed(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Fixed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def free_port() -> int:
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def wait_for_port(port: int) -> None:
    for _ in range(10_000):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            threading.Event().wait(0.02)
        else:
            return
    raise AssertionError("the relay did not start")
