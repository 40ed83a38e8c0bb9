"""RSA never runs in the thread of the event loop, nor is its library loaded there."""

import ast
import asyncio
import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tokenplace_harness.inside import MODEL, Inside, inside
from tokenplace_harness.peers import serving_node
from tokenplace_relay.protocol import ciphers
from tokenplace_relay.protocol.envelope import Identity, Sealed

SOURCES = Path(ciphers.__file__).parent
CALLS = ("new_pair", "public_key", "seal", "candidates")
MANY = 12
HELLO = [{"role": "user", "content": "hello"}]

Threads = dict[str, set[int]]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    """In which threads each call to RSA ran."""
    seen: Threads = {name: set() for name in CALLS}

    def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: object, **named: object) -> object:
            seen[name].add(threading.get_ident())
            found = call(*args, **named)
            # A generator works when it is asked, which is here, too.
            return list(found) if name == "candidates" else found

        return run

    for name in CALLS:
        monkeypatch.setattr(ciphers, name, watched(name, getattr(ciphers, name)))
    return seen


async def test_many_calls_of_the_facade_leave_the_loop_alone(threads: Threads) -> None:
    async with inside(facade=True, public_rate="off") as relay, serving_node(relay.url):
        caller = await asyncio.to_thread(Identity.create)
        key = (await relay.call("GET", "/v1/public-key")).body["public_key"]
        sealed = await asyncio.to_thread(sealed_list, HELLO, key)
        plain = {"model": MODEL, "messages": HELLO}
        closed = {
            **plain,
            "encrypted": True,
            "messages": sealed,
            "client_public_key": caller.public,
        }
        answers = await asyncio.gather(
            *(chat(relay, plain) for _ in range(MANY)), *(chat(relay, closed) for _ in range(MANY))
        )
    assert {answer["choices"][0]["message"]["content"] for answer in answers[:MANY]} == {"hello"}
    opened = [await asyncio.to_thread(caller.open, sealed_of(one)) for one in answers[MANY:]]
    assert {one["choices"][0]["message"]["content"] for one in opened} == {"hello"}
    for name, idents in threads.items():
        assert idents, f"{name} was not called"
        assert threading.get_ident() not in idents, name


async def chat(relay: Inside, body: dict[str, Any]) -> dict[str, Any]:
    """One call, again while the only node is busy."""
    while True:
        answer = await relay.call("POST", "/v1/chat/completions", body)
        if answer.status != 503:
            assert answer.status == 200, answer.body
            found: dict[str, Any] = answer.body
            return found


def sealed_list(messages: list[dict[str, str]], key: str) -> dict[str, str]:
    """Messages as a caller seals them to the relay: a list, not an envelope."""
    recipient = ciphers.public_key(key)
    wrapped, iv, body = ciphers.seal(msgspec.json.encode(messages), recipient, oaep=True)
    parts = {"ciphertext": body, "cipherkey": wrapped, "iv": iv}
    return {name: base64.b64encode(part).decode() for name, part in parts.items()}


def sealed_of(answer: dict[str, Any]) -> Sealed:
    data = answer["data"]
    return Sealed(data["ciphertext"], data["cipherkey"], data["iv"])


def test_only_one_module_loads_the_library() -> None:
    """So that what is watched above is all that there is."""
    users = set()
    for path in SOURCES.glob("*.py"):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cryptography"):
                users.add(path.stem)
    assert users == {"ciphers"}


def test_a_relay_starts_without_the_library() -> None:
    code = "import json, sys, tokenplace_relay.main; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "tokenplace_relay.facade.facade" in loaded
    assert not [name for name in loaded if name.startswith("cryptography")]
